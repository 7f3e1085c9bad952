"""Density of Gaussian atoms on a grid, and the adjoint: from a gradient map to the atoms.

    rho(x) = sum_j q_j sum_i a_ji ((2 pi)^3 det W_ji)^(-1/2) exp(-d'W_ji^-1 d / 2),   d = x - x_j,
    W_ji = U_j + b_ji

In steps of the grid the exponent is -d'Qd/2. A row of the grid (u and v constant) takes of it

    factor(u, v) * table(w; v),   table = exp(-(Q33 dw^2/2 + Q13 du dw + Q23 dv dw)):

the factor is a number and the table is a short vector. From plane to plane both change by
multiplication, so a box takes few exponentials. Where Q23 = 0, as for isotropic atoms wherever
the axes v and w are at right angles, one table serves all rows of a plane. Rows are whole vectors
of `LANES` points, zero beyond the atom's reach; so that they need not stop at the edge of the cell,
the grid has a margin behind it (`LANES` explains). Each Gaussian ends where its exponent is its
``level``. Tables and sums have the precision of the grid.

The splat of Gaussians to a grid and FFT is by Sayre (1951), Acta Cryst. 4, 362 and Ten Eyck (1977),
Acta Cryst. A33, 486; the adjoint by Agarwal (1978), Acta Cryst. A34, 791.

It is one long file on purpose: the cache of compiled code knows the file of a function, not the
files of those it calls, and would keep old code when only another file changed. Functions of the
inner loops take plain arrays: taking them out of a tuple counts references, which costs more there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import extending, njit, types
from numba.core import cgutils

_FAST = {"contract", "nsz", "reassoc"}

#: Points of a row are worked on by so many: one AVX-512 register of float32, or as many smaller
#: ones as the processor needs. A grid has a margin of a whole number of them behind its last axis.
LANES = 16

#: A Gaussian whose factors have larger exponents is evaluated point by point: products of two
#: factors up to e^40 still fit into float32.
_STEEP = 40.0

#: Elements 11 22 33 12 13 23.
_FIRST, _SECOND = (0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)


class Gaussians(NamedTuple):
    """Atoms as sums of Gaussians, and the lattice of the grid.

    Attributes
    ----------
    position
        In steps of the grid, ``[n, 3]``.
    weight
        Occupancies, ``[n]``.
    u
        Displacement tensors, blur included, in A^2, 11 22 33 12 13 23, ``[n, 6]``.
    a, b
        Heights, and widths b/(8 pi^2) in A^2, ``[n, m]``.
    level
        Exponents at which Gaussians end, ``[n, m]``.
    reach
        How far the Gaussians of each atom reach along the axes of the grid, in steps, ``[n, 3]``.
    widest
        Gaussian of each isotropic atom that reaches farthest, ``[n]``; -1 for others, of which
        another may reach farthest in each direction.
    step
        Steps of the grid in A as columns, upper triangular, ``[3, 3]``.
    inverse_step
        Its inverse, ``[3, 3]``.
    """

    position: np.ndarray
    weight: np.ndarray
    u: np.ndarray
    a: np.ndarray
    b: np.ndarray
    level: np.ndarray
    reach: np.ndarray
    widest: np.ndarray
    step: np.ndarray
    inverse_step: np.ndarray


class _Box(NamedTuple):
    """Tables of one atom's box; a row is a value of v, its points are ``lanes`` values of w."""

    table: np.ndarray  # [m * side * most] vectors of rows, one after the other
    growth: np.ndarray  # [m * most] their change from plane to plane
    factor: np.ndarray  # [m * most] factors of the rows of a plane
    along: np.ndarray  # [m * most] what hangs on v of them, zero beyond the reach
    along_growth: np.ndarray  # [m * most] its change from plane to plane
    bell: np.ndarray  # [most] one row or column, while tables are made
    scale: np.ndarray  # [m, 3] what hangs on u: value, ratio, change of the ratio
    height: np.ndarray  # [m]
    q: np.ndarray  # [m, 6] Q of each Gaussian
    inverse: np.ndarray  # [m, 6] W^-1
    ellipse: np.ndarray  # [m, 3] see _ellipse
    steep: np.ndarray  # [m] bool: tables could overflow
    own: np.ndarray  # [m, 4] first plane and end of each Gaussian, its first row and end
    row: np.ndarray  # [side] where each row of a plane begins in the grid


@njit(nogil=True, cache=True, fastmath=_FAST)
def _new_box(m: int, side: int, most: int, grid: np.ndarray) -> _Box:
    return _Box(
        np.zeros(m * side * most, grid.dtype), np.ones(m * most, grid.dtype),
        np.zeros(m * most, grid.dtype), np.zeros(m * most, grid.dtype),
        np.ones(m * most, grid.dtype), np.empty(most), np.empty((m, 3)), np.empty(m),
        np.empty((m, 6)), np.empty((m, 6)), np.empty((m, 3)), np.empty(m, np.bool_),
        np.empty((m, 4), np.int64), np.empty(side, np.int64),
    )  # fmt: skip


# --- vectors of LANES points ----------------------------------------------------------------------
# The compiler makes vector instructions of long loops over arrays, but of rows of 10 to 30 points
# it makes one instruction a point. So they are written as vectors.

#: Its declared type counts the typing context among the arguments of a call.
_intrinsic: Any = extending.intrinsic


class _Vectors:
    """Writes instructions on vectors of `LANES` elements of arrays of one type."""

    def __init__(self, context: Any, builder: Any, element: Any) -> None:
        self.context, self.builder = context, builder
        self.element = context.get_value_type(element)
        self.kind = ir.VectorType(self.element, LANES)
        self.align = self.element.get_abi_size(context.target_data)

    def data(self, array_type: Any, array: Any) -> Any:
        """Return the pointer to an array's elements."""
        return self.context.make_array(array_type)(self.context, self.builder, array).data

    def place(self, data: Any, index: Any) -> Any:
        """Return the pointer to the vector that begins at an element."""
        return self.builder.bitcast(self.builder.gep(data, [index]), self.kind.as_pointer())

    def load(self, data: Any, index: Any) -> Any:
        return self.builder.load(self.place(data, index), align=self.align)

    def store(self, value: Any, data: Any, index: Any) -> None:
        self.builder.store(value, self.place(data, index), align=self.align)

    def repeat(self, scalar: Any) -> Any:
        """Return a vector of one number."""
        first = ir.Constant(ir.IntType(32), 0)
        one = self.builder.insert_element(ir.Constant(self.kind, ir.Undefined), scalar, first)
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return self.builder.shuffle_vector(one, one, zeros)

    def element_at(self, data: Any, index: Any) -> Any:
        return self.builder.load(self.builder.gep(data, [index]))

    def number(self, value: Any) -> Any:
        """Return a vector of one float64, in the type of the elements."""
        if value.type != self.element:
            value = self.builder.fptrunc(value, self.element)
        return self.repeat(value)

    def times(self, x: Any, y: Any) -> Any:
        return self.builder.fmul(x, y, flags=("contract",))

    def plus_times(self, total: Any, x: Any, y: Any) -> Any:
        return self.builder.fadd(total, self.times(x, y), flags=("contract",))

    def sums(self, n: int) -> list[Any]:
        """Return places of vectors that start at zero; they end up in registers."""
        places = [cgutils.alloca_once(self.builder, self.kind) for _ in range(n)]
        for place in places:
            self.builder.store(ir.Constant(self.kind, [0.0] * LANES), place)
        return places


@_intrinsic
def _add_row(
    typing_context: Any, grid: Any, to: Any, table: Any, at: Any, size: Any, factor: Any,
    of: Any, side: Any, m: Any,
) -> Any:  # fmt: skip
    """Add sum_i factor[of + i side] table[at + i size + (0..LANES)] to grid[to + (0..LANES)]."""
    signature = types.void(grid, to, table, at, size, factor, of, side, m)

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        v = _Vectors(context, builder, grid.dtype)
        grid_, to_, table_, at_, size_, factor_, of_, side_, m_ = arguments
        grid_, table_, factor_ = v.data(grid, grid_), v.data(table, table_), v.data(factor, factor_)
        (total,) = v.sums(1)
        builder.store(v.load(grid_, to_), total)
        with cgutils.for_range(builder, m_) as loop:
            c = v.element_at(factor_, builder.add(of_, builder.mul(loop.index, side_)))
            x = v.load(table_, builder.add(at_, builder.mul(loop.index, size_)))
            builder.store(v.plus_times(builder.load(total), v.repeat(c), x), total)
        v.store(builder.load(total), grid_, to_)
        return context.get_dummy_value()

    return signature, write


@_intrinsic
def _add_bent_row(
    typing_context: Any, grid: Any, to: Any, table: Any, at: Any, size: Any, bend: Any, m: Any,
    first_w: Any,
) -> Any:  # fmt: skip
    """Add sum_i (b_i0 + b_i1 w + b_i2 w^2) table[at + i size + ...] to grid[to + (0..LANES)].

    With w = first_w + (0..LANES) and b_ij = bend[3 i + j].
    """
    signature = types.void(grid, to, table, at, size, bend, m, first_w)

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        v = _Vectors(context, builder, grid.dtype)
        grid_, to_, table_, at_, size_, bend_, m_, first_w_ = arguments
        grid_, table_, bend_ = v.data(grid, grid_), v.data(table, table_), v.data(bend, bend_)
        ramp = ir.Constant(v.kind, [float(i) for i in range(LANES)])
        w = builder.fadd(v.number(first_w_), ramp)
        (total,) = v.sums(1)
        builder.store(v.load(grid_, to_), total)
        with cgutils.for_range(builder, m_) as loop:
            of = builder.mul(loop.index, m_.type(3))
            b0, b1, b2 = (
                v.repeat(v.element_at(bend_, builder.add(of, m_.type(j)))) for j in range(3)
            )
            x = v.load(table_, builder.add(at_, builder.mul(loop.index, size_)))
            c = v.plus_times(b0, w, v.plus_times(b1, w, b2))
            builder.store(v.plus_times(builder.load(total), c, x), total)
        v.store(builder.load(total), grid_, to_)
        return context.get_dummy_value()

    return signature, write


@_intrinsic
def _add_rows_to_sums(
    typing_context: Any, sums: Any, to: Any, lanes: Any, grid: Any, start: Any, row: Any,
    table: Any, at: Any, stride: Any, factor: Any, of: Any, v0: Any, du: Any, ends: Any,
) -> Any:  # fmt: skip
    """Add the rows of a plane to the sums over a box, for one vector of w.

    With x_k = grid[start + row[k] + (0..LANES)] table[at + k stride + (0..LANES)], c_k =
    factor[of + k] and v_k = v0 + k, for k in the range of ends, the vectors at sums[to + i lanes]
    grow by sum_k c_k x_k times 1, du, du^2, v_k, v_k du, v_k^2 (i from 0 to 5).
    """
    signature = types.void(
        sums, to, lanes, grid, start, row, table, at, stride, factor, of, v0, du, ends
    )

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        v = _Vectors(context, builder, grid.dtype)
        sums_, to_, lanes_, grid_, start_, row_, table_, at_, stride_, factor_, of_, v0_, du_ = (
            arguments[:-1]
        )
        first, end = cgutils.unpack_tuple(builder, arguments[-1], 2)
        sums_, grid_, row_ = v.data(sums, sums_), v.data(grid, grid_), v.data(row, row_)
        table_, factor_ = v.data(table, table_), v.data(factor, factor_)
        one, of_v, of_vv = places = v.sums(3)
        with cgutils.for_range(builder, end, start=first) as loop:
            k = loop.index
            x = v.load(grid_, builder.add(start_, v.element_at(row_, k)))
            x = v.times(x, v.load(table_, builder.add(at_, builder.mul(k, stride_))))
            x = v.times(x, v.repeat(v.element_at(factor_, builder.add(of_, k))))
            along = v.number(builder.fadd(v0_, builder.sitofp(k, v0_.type)))
            y = v.times(x, along)
            builder.store(builder.fadd(builder.load(one), x), one)
            builder.store(builder.fadd(builder.load(of_v), y), of_v)
            builder.store(v.plus_times(builder.load(of_vv), y, along), of_vv)
        s1, s2, s3 = (builder.load(place) for place in places)
        d = v.number(du_)
        for i, term in enumerate((s1, v.times(s1, d), v.times(v.times(s1, d), d), s2,
                                  v.times(s2, d), s3)):  # fmt: skip
            place = builder.add(to_, builder.mul(lanes_, lanes_.type(i)))
            v.store(builder.fadd(v.load(sums_, place), term), sums_, place)
        return context.get_dummy_value()

    return signature, write


@_intrinsic
def _fill_scaled(
    typing_context: Any, out: Any, at: Any, values: Any, c: Any,
) -> Any:  # fmt: skip
    """Fill out[at + (0..LANES)] with c values[at + (0..LANES)]."""
    signature = types.void(out, at, values, c)

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        v = _Vectors(context, builder, out.dtype)
        out_, at_, values_, c_ = arguments
        x = v.load(v.data(values, values_), at_)
        v.store(v.times(x, v.number(c_)), v.data(out, out_), at_)
        return context.get_dummy_value()

    return signature, write


@_intrinsic
def _multiply(
    typing_context: Any, table: Any, at: Any, growth: Any, of: Any,
) -> Any:  # fmt: skip
    """Multiply table[at + (0..LANES)] by growth[of + (0..LANES)]."""
    signature = types.void(table, at, growth, of)

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        v = _Vectors(context, builder, table.dtype)
        table_, at_, growth_, of_ = arguments
        table_, growth_ = v.data(table, table_), v.data(growth, growth_)
        v.store(v.times(v.load(table_, at_), v.load(growth_, of_)), table_, at_)
        return context.get_dummy_value()

    return signature, write


def margin(side: int) -> int:
    """Return how many points a grid needs behind its last axis for boxes of ``side`` points."""
    return (side + LANES - 1) // LANES * LANES


_whole_vectors = njit(nogil=True, cache=True)(margin)


# --- one atom's box ------------------------------------------------------------------------------


@njit(nogil=True, cache=True, fastmath=_FAST)
def _half_width(
    u: np.ndarray, atom: int, b: float, inverse_step: np.ndarray, axis: int, level: float
) -> float:
    """Return how far a Gaussian reaches along an axis of the grid, in steps."""
    x, y, z = inverse_step[axis, 0], inverse_step[axis, 1], inverse_step[axis, 2]
    variance = (
        x * x * (u[atom, 0] + b) + y * y * (u[atom, 1] + b) + z * z * (u[atom, 2] + b)
        + 2.0 * (x * y * u[atom, 3] + x * z * u[atom, 4] + y * z * u[atom, 5])
    )  # fmt: skip
    return float(np.sqrt(2.0 * level * variance))


@njit(nogil=True, cache=True, fastmath=_FAST)
def _extent(reach: np.ndarray, atom: int, axis: int, centre: float) -> tuple[int, int]:
    """Return first point and number of points of an atom's box along an axis."""
    first = int(np.ceil(centre - reach[atom, axis]))
    return first, int(np.floor(centre + reach[atom, axis])) + 1 - first


@njit(nogil=True, cache=True, fastmath=_FAST)
def _quadratic_form(
    u: np.ndarray, atom: int, b: float, s: np.ndarray, i: int, q: np.ndarray, inverse: np.ndarray
) -> float:
    """Fill W^-1 and Q of a Gaussian, and return the determinant of W."""
    w11, w22, w33 = u[atom, 0] + b, u[atom, 1] + b, u[atom, 2] + b
    w12, w13, w23 = u[atom, 3], u[atom, 4], u[atom, 5]
    c11, c12, c13 = w22 * w33 - w23 * w23, w13 * w23 - w12 * w33, w12 * w23 - w13 * w22
    determinant = w11 * c11 + w12 * c12 + w13 * c13
    per = 1.0 / determinant
    m11, m12, m13 = c11 * per, c12 * per, c13 * per
    m22, m33 = (w11 * w33 - w13 * w13) * per, (w11 * w22 - w12 * w12) * per
    m23 = (w12 * w13 - w11 * w23) * per
    inverse[i, 0], inverse[i, 1], inverse[i, 2] = m11, m22, m33
    inverse[i, 3], inverse[i, 4], inverse[i, 5] = m12, m13, m23
    # Q = S'MS with S upper triangular: columns of MS first
    y1, y2 = m11 * s[0, 1] + m12 * s[1, 1], m12 * s[0, 1] + m22 * s[1, 1]
    z1 = m11 * s[0, 2] + m12 * s[1, 2] + m13 * s[2, 2]
    z2 = m12 * s[0, 2] + m22 * s[1, 2] + m23 * s[2, 2]
    z3 = m13 * s[0, 2] + m23 * s[1, 2] + m33 * s[2, 2]
    q[i, 0] = s[0, 0] * s[0, 0] * m11
    q[i, 1] = s[0, 1] * y1 + s[1, 1] * y2
    q[i, 2] = s[0, 2] * z1 + s[1, 2] * z2 + s[2, 2] * z3
    q[i, 3], q[i, 4], q[i, 5] = s[0, 0] * y1, s[0, 0] * z1, s[0, 1] * z1 + s[1, 1] * z2
    for k in range(3, 6):  # rounding of right angles
        if abs(q[i, k]) < 1e-12 * (q[i, 0] + q[i, 1] + q[i, 2]):
            q[i, k] = 0.0
    return float(determinant)


@njit(nogil=True, cache=True, fastmath=_FAST)
def _ellipse(q: np.ndarray, i: int, level: float, ellipse: np.ndarray) -> None:
    """Fill what the ellipsoid d'Qd < 2 level is in planes.

    Rows of the plane du: |dv + [0] du| < sqrt([2] - [1] du^2).
    """
    per_w = 1.0 / q[i, 2]
    p11, p12 = q[i, 0] - q[i, 4] * q[i, 4] * per_w, q[i, 3] - q[i, 4] * q[i, 5] * per_w
    per_v = 1.0 / (q[i, 1] - q[i, 5] * q[i, 5] * per_w)
    ellipse[i, 0], ellipse[i, 1] = p12 * per_v, (p11 - p12 * p12 * per_v) * per_v
    ellipse[i, 2] = 2.0 * level * per_v


@njit(nogil=True, cache=True, fastmath=_FAST)
def _fill_bell(out: np.ndarray, ends: tuple[int, int], start: float, q: float) -> None:
    """Fill out with exp(-q x^2/2), x = start + index, zero outside of the ends."""
    out[: ends[0]] = 0.0
    out[ends[1] :] = 0.0
    x = start + ends[0]
    value, ratio, change = np.exp(-0.5 * q * x * x), np.exp(-q * (x + 0.5)), np.exp(-q)
    for j in range(ends[0], ends[1]):
        out[j] = value
        value *= ratio
        ratio *= change


@njit(nogil=True, cache=True, fastmath=_FAST)
def _fill_powers(out: np.ndarray, at: int, ends: tuple[int, int], start: float, q: float) -> None:
    """Fill out[at + index] with exp(-q x), x = start + index, for the indices of the ends."""
    value, ratio = np.exp(-q * (start + ends[0])), np.exp(-q)
    for j in range(ends[0], ends[1]):
        out[at + j] = value
        value *= ratio


@njit(nogil=True, cache=True, fastmath=_FAST)
def _fill_row(
    out: np.ndarray, at: int, n: int, bell: np.ndarray, ends: tuple[int, int], start: float,
    q: float,
) -> None:  # fmt: skip
    """Fill out[at + (0..n)] with bell times exp(-q x), x = start + index, zero outside the ends."""
    out[at : at + ends[0]] = 0.0
    out[at + ends[1] : at + n] = 0.0
    if q == 0.0:
        for j in range(ends[0], ends[1]):
            out[at + j] = bell[j]
        return
    value, ratio = np.exp(-q * (start + ends[0])), np.exp(-q)
    for j in range(ends[0], ends[1]):
        out[at + j] = bell[j] * value
        value *= ratio


@njit(nogil=True, cache=True, fastmath=_FAST)
def _measure(atoms: Gaussians, atom: int, box: _Box) -> bool:
    """Fill heights, quadratic forms and planes of an atom's Gaussians.

    Returns whether the vectors of its rows differ.
    """
    q, steep, inverse, ellipse = box.q, box.steep, box.inverse, box.ellipse
    own, height, a, all_b, levels = box.own, box.height, atoms.a, atoms.b, atoms.level
    u, step, inverse_step = atoms.u, atoms.step, atoms.inverse_step
    centre, differ = atoms.position[atom, 0], False
    for i in range(len(height)):
        own[i, :] = 0
        height[i], steep[i] = 0.0, False
        if a[atom, i] == 0.0:  # elements with fewer Gaussians than others
            continue
        b, level = all_b[atom, i], levels[atom, i]
        determinant = _quadratic_form(u, atom, b, step, i, q, inverse)
        height[i] = a[atom, i] / np.sqrt((2.0 * np.pi) ** 3 * determinant)
        _ellipse(q, i, level, ellipse)
        half_u = _half_width(u, atom, b, inverse_step, 0, level)
        half_v = _half_width(u, atom, b, inverse_step, 1, level)
        half_w = _half_width(u, atom, b, inverse_step, 2, level)
        own[i, 0], own[i, 1] = int(np.ceil(centre - half_u)), int(np.floor(centre + half_u)) + 1
        steepest = max(q[i, 0] * half_u**2, q[i, 1] * half_v**2, q[i, 2] * half_w**2)
        steep[i] = steepest > 2.0 * _STEEP
        differ = differ or steep[i] or q[i, 5] != 0.0
    return differ


@njit(nogil=True, cache=True, fastmath=_FAST)
def _start(
    atoms: Gaussians, atom: int, first: tuple[int, int, int], rows: int, columns: int, lanes: int,
    box: _Box,
) -> int:  # fmt: skip
    """Make the tables of an atom for the first plane of its box.

    Returns how far apart the vectors of neighbouring rows are: 0 where all rows have the same.
    """
    table, growth, along, bell = box.table, box.growth, box.along, box.bell
    along_growth, own, scale, height = box.along_growth, box.own, box.scale, box.height
    q, steep, u, inverse_step = box.q, box.steep, atoms.u, atoms.inverse_step
    m, most, side = len(height), len(bell), len(box.row)
    cu = atoms.position[atom, 0]
    dv, dw = first[1] - atoms.position[atom, 1], first[2] - atoms.position[atom, 2]
    tilted = _measure(atoms, atom, box)
    stride = lanes if tilted else 0
    for i in range(m):
        if height[i] == 0.0 or steep[i]:
            along[i * most : i * most + most] = 1.0
            scale[i, 0], scale[i, 1], scale[i, 2] = 1.0, 1.0, 1.0
            table[i * side * most : i * side * most + lanes * (rows if tilted else 1)] = 0.0
            own[i, 3] = rows
            continue
        b, level = atoms.b[atom, i], atoms.level[atom, i]
        half_v = _half_width(u, atom, b, inverse_step, 1, level)
        half_w = _half_width(u, atom, b, inverse_step, 2, level)
        of_v = max(0, int(np.ceil(-half_v - dv))), min(rows, int(np.floor(half_v - dv)) + 1)
        of_w = max(0, int(np.ceil(-half_w - dw))), min(columns, int(np.floor(half_w - dw)) + 1)
        own[i, 2], own[i, 3] = of_v
        du = own[i, 0] - cu
        scale[i, 0] = np.exp(-0.5 * q[i, 0] * du * du)
        scale[i, 1], scale[i, 2] = np.exp(-q[i, 0] * (du + 0.5)), np.exp(-q[i, 0])
        _fill_bell(bell, of_v, dv, q[i, 1])
        _fill_row(along, i * most, most, bell, of_v, dv, q[i, 3] * du)
        if q[i, 3] != 0.0:
            _fill_powers(along_growth, i * most, of_v, dv, q[i, 3])
        if q[i, 4] != 0.0:
            _fill_powers(growth, i * most, of_w, dw, q[i, 4])
        _fill_bell(bell, of_w, dw, q[i, 2])
        at = i * side * most
        for k in range(rows if tilted else 1):
            tilt = q[i, 4] * du + q[i, 5] * (dv + k)
            _fill_row(table, at + k * lanes, lanes, bell, of_w, dw, tilt)
    return stride


@njit(nogil=True, cache=True, fastmath=_FAST)
def _fill_steep(
    table: np.ndarray, first: int, lanes: int, i: int, q: np.ndarray,
    d: tuple[float, float, float], rows: int, columns: int,
) -> None:  # fmt: skip
    """Fill a plane's vectors of a Gaussian whose factors could overflow, all factors included."""
    for k in range(rows):
        at, v = first + k * lanes, d[1] + k
        for j in range(columns):
            w = d[2] + j
            table[at + j] = np.exp(
                -0.5 * (q[i, 0] * d[0] * d[0] + q[i, 1] * v * v + q[i, 2] * w * w)
                - (q[i, 3] * d[0] * v + q[i, 4] * d[0] * w + q[i, 5] * v * w)
            )
        table[at + columns : at + lanes] = 0.0


@njit(nogil=True, cache=True, fastmath=_FAST)
def _rows_inside(ellipse: np.ndarray, i: int, du: float, dv: float, rows: int) -> tuple[int, int]:
    """Return the rows of a plane that an ellipsoid reaches, first and end; all for i < 0."""
    if i < 0:
        return 0, rows
    square = ellipse[i, 2] - ellipse[i, 1] * du * du
    if square <= 0.0:
        return 0, 0
    half, middle = np.sqrt(square), -ellipse[i, 0] * du - dv
    return max(0, int(np.ceil(middle - half))), min(rows, int(np.floor(middle + half)) + 1)


@njit(nogil=True, cache=True, fastmath=_FAST)
def _fill_factors(
    factor: np.ndarray, i: int, most: int, along: np.ndarray, c: float, rows: tuple[int, int]
) -> None:
    """Fill the factors of a plane's rows, in whole vectors."""
    for k in range(rows[0] // LANES * LANES, rows[1], LANES):
        _fill_scaled(factor, i * most + k, along, c)


@njit(nogil=True, cache=True, fastmath=_FAST)
def _to_next_plane(
    i: int, side: int, lanes: int, stride: int, rows: tuple[int, int], scale: np.ndarray,
    q: np.ndarray, along: np.ndarray, along_growth: np.ndarray, table: np.ndarray,
    growth: np.ndarray,
) -> None:  # fmt: skip
    """Change the tables of a Gaussian to those of the next plane."""
    scale[i, 0] *= scale[i, 1]
    scale[i, 1] *= scale[i, 2]
    most = len(growth) // len(q)
    if q[i, 3] != 0.0:
        for k in range(i * most + rows[0] // LANES * LANES, i * most + rows[1], LANES):
            _multiply(along, k, along_growth, k)
    if q[i, 4] != 0.0:
        at = i * side * most
        for k in range(rows[0] if stride else 0, rows[1] if stride else 1):
            for j in range(0, lanes, LANES):
                _multiply(table, at + k * lanes + j, growth, i * most + j)


@njit(nogil=True, cache=True, fastmath=_FAST)
def _reaches_slab(u: int, planes: int, nu: int, first: int, last: int) -> bool:
    found = False
    for place in range(u, u + planes):
        found = found or first <= place % nu < last
    return found


@njit(nogil=True, cache=True, fastmath=_FAST)
def _fill_tilted(n: np.ndarray, step: np.ndarray, tilted: np.ndarray) -> None:
    """Fill the columns of W^-1 S: what a step along u, v and w is after W^-1."""
    for k in range(3):
        tilted[0, k] = n[0] * step[0, k] + n[3] * step[1, k] + n[4] * step[2, k]
        tilted[1, k] = n[3] * step[0, k] + n[1] * step[1, k] + n[5] * step[2, k]
        tilted[2, k] = n[4] * step[0, k] + n[5] * step[1, k] + n[2] * step[2, k]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _fill_polynomials(
    atoms: Gaussians, atom: int, box: _Box, change: np.ndarray, polynomial: np.ndarray
) -> None:
    """Fill what each Gaussian is multiplied by for its derivative along a change of the atom.

    A polynomial in 1, du, dv, dw, du^2, dv^2, dw^2, du dv, du dw, dv dw, ``[m, 10]``: the adjoint
    of `_chain`.
    """
    weight, of_u = atoms.weight[atom], change[4:]
    p0, p1, p2 = change[1], change[2], change[3]
    tilted = np.empty((3, 3))
    for i in range(len(box.q)):
        q, n, c = box.q[i], box.inverse[i], polynomial[i]
        c[:] = 0.0
        if box.height[i] == 0.0:
            continue
        c[0] = change[0]
        c[1] = weight * (q[0] * p0 + q[3] * p1 + q[4] * p2)
        c[2] = weight * (q[3] * p0 + q[1] * p1 + q[5] * p2)
        c[3] = weight * (q[4] * p0 + q[5] * p1 + q[2] * p2)
        if not of_u.any():
            continue
        _fill_tilted(n, atoms.step, tilted)
        for e in range(6):
            x, y = tilted[_FIRST[e]], tilted[_SECOND[e]]
            t = (0.5 if e < 3 else 1.0) * weight * of_u[e]
            c[0] -= t * n[e]
            c[4] += t * x[0] * y[0]
            c[5] += t * x[1] * y[1]
            c[6] += t * x[2] * y[2]
            c[7] += t * (x[0] * y[1] + x[1] * y[0])
            c[8] += t * (x[0] * y[2] + x[2] * y[0])
            c[9] += t * (x[1] * y[2] + x[2] * y[1])


@njit(nogil=True, cache=True, fastmath=_FAST)
def _fill_bend(
    bend: np.ndarray, polynomial: np.ndarray, factor: np.ndarray, k: int, most: int, du: float,
    dv: float,
) -> None:  # fmt: skip
    """Fill what the polynomials of a row are in w, times the factors of the row."""
    for i in range(len(polynomial)):
        c, f = polynomial[i], factor[i * most + k]
        bend[3 * i] = f * (
            c[0] + du * (c[1] + c[4] * du) + dv * (c[2] + c[5] * dv + c[7] * du)
        )  # fmt: skip
        bend[3 * i + 1] = f * (c[3] + c[8] * du + c[9] * dv)
        bend[3 * i + 2] = f * c[6]


@njit(nogil=True, cache=True, fastmath=_FAST)
def splat_slab(
    first: int, last: int, grid: np.ndarray, nw: int, atoms: Gaussians, side: int,
    change: np.ndarray,
) -> None:  # fmt: skip
    """Fill the planes first..last of the first axis of a grid with the density of atoms.

    Or with the derivative of that density along a change of the atoms.

    Parameters
    ----------
    first, last
        Slab of planes that this call owns.
    grid
        ``[nu, nv, nw + margin]``. What falls into the margin belongs to the beginning of its row.
    nw
        Points along the third axis of the cell.
    side
        Points along the longest edge of a box in v and w; rounded up to whole vectors it is at
        most the margin.
    change
        None, ``[0, 10]``, or of each atom its weight, its position in steps of the grid, and its
        U by the elements 11 22 33 12 13 23, ``[n, 10]``. What a Gaussian ends at does not change.
    """
    nu, nv, pitch = grid.shape
    points = grid.reshape(-1)
    points[first * nv * pitch : last * nv * pitch] = 0.0
    m, most = atoms.a.shape[1], _whole_vectors(side)
    box = _new_box(m, side, most, grid)
    table, factor, scale, steep, q = box.table, box.factor, box.scale, box.steep, box.q
    growth, along, along_growth, own = box.growth, box.along, box.along_growth, box.own
    height, row, ellipse = box.height, box.row, box.ellipse
    position = atoms.position
    all_widest, all_weight, reach = atoms.widest, atoms.weight, atoms.reach
    changes = len(change) > 0
    polynomial, bend = np.zeros((m, 10)), np.zeros(3 * m, grid.dtype)
    for atom in range(len(all_weight)):
        if changes and not change[atom].any():
            continue
        widest = all_widest[atom]
        u1, planes = _extent(reach, atom, 0, position[atom, 0])
        if not _reaches_slab(u1, planes, nu, first, last):
            continue
        v1, rows = _extent(reach, atom, 1, position[atom, 1])
        w1, columns = _extent(reach, atom, 2, position[atom, 2])
        if rows <= 0 or columns <= 0:
            continue
        lanes = _whole_vectors(columns)
        stride = _start(atoms, atom, (u1, v1, w1), rows, columns, lanes, box)
        for k in range(rows):
            row[k] = (v1 + k) % nv * pitch + w1 % nw
        dv, dw = v1 - position[atom, 1], w1 - position[atom, 2]
        weight = 1.0 if changes else all_weight[atom]
        if changes:
            _fill_polynomials(atoms, atom, box, change[atom], polynomial)
        for u in range(u1, u1 + planes):
            du, place_u = u - position[atom, 0], u % nu
            owned = first <= place_u < last
            top, bottom = _rows_inside(ellipse, widest, du, dv, rows)
            if owned:
                for i in range(m):
                    reached = own[i, 0] <= u < own[i, 1]
                    c = weight * height[i] * scale[i, 0] if reached else 0.0
                    _fill_factors(factor, i, most, along, c, (top, bottom))
                    if reached and steep[i]:
                        at = i * side * most
                        _fill_steep(table, at, lanes, i, q, (du, dv, dw), rows, columns)
                plane = place_u * nv * pitch
                for k in range(top, bottom):
                    if changes:
                        _fill_bend(bend, polynomial, factor, k, most, du, dv + k)
                        for j in range(0, lanes, LANES):
                            _add_bent_row(points, plane + row[k] + j, table, k * stride + j,
                                          side * most, bend, m, dw + j)  # fmt: skip
                        continue
                    for j in range(0, lanes, LANES):
                        _add_row(points, plane + row[k] + j, table, k * stride + j, side * most,
                                 factor, k, most, m)  # fmt: skip
            for i in range(m):
                if own[i, 0] <= u < own[i, 1] and not steep[i]:
                    _to_next_plane(i, side, lanes, stride, (own[i, 2], own[i, 3]), scale, q, along,
                                   along_growth, table, growth)  # fmt: skip


@njit(nogil=True, cache=True, fastmath=_FAST)
def gather_atoms(
    first: int, last: int, grid: np.ndarray, nw: int, atoms: Gaussians, side: int,
    only_weight: bool, d_weight: np.ndarray, d_position: np.ndarray, d_u: np.ndarray,
) -> None:  # fmt: skip
    """Fill the derivatives of sum_x grid(x) rho(x) by the atoms first..last.

    Parameters
    ----------
    first, last
        Range of atoms that this call owns.
    grid
        Gradient map, ``[nu, nv, nw + margin]``, the margin repeating the beginning of the row.
    nw, side
        As in `splat_slab`.
    only_weight
        Leave ``d_position`` and ``d_u`` as they are.
    d_weight, d_position
        ``[n]``, and per step of the grid ``[n, 3]``.
    d_u
        By the elements 11 22 33 12 13 23, an off-diagonal one standing for both places ``[n, 6]``.
    """
    nu, nv, pitch = grid.shape
    points = grid.reshape(-1)
    m, most = atoms.a.shape[1], _whole_vectors(side)
    box = _new_box(m, side, most, grid)
    table, factor, scale, steep, q = box.table, box.factor, box.scale, box.steep, box.q
    growth, along, along_growth, own = box.growth, box.along, box.along_growth, box.own
    height, row, ellipse = box.height, box.row, box.ellipse
    position = atoms.position
    all_widest, reach = atoms.widest, atoms.reach
    # sums of map times Gaussian, of each point of w, times 1, du, du^2, dv, dv du, dv^2
    sums = np.empty(m * 6 * most, grid.dtype)
    # and over w, times 1, du, dv, dw, du^2, dv^2, dw^2, du dv, du dw, dv dw
    moments = np.empty((m, 10))
    for atom in range(first, last):
        widest = all_widest[atom]
        u1, planes = _extent(reach, atom, 0, position[atom, 0])
        v1, rows = _extent(reach, atom, 1, position[atom, 1])
        w1, columns = _extent(reach, atom, 2, position[atom, 2])
        if rows <= 0 or columns <= 0:
            continue
        lanes = _whole_vectors(columns)
        stride = _start(atoms, atom, (u1, v1, w1), rows, columns, lanes, box)
        dv, dw = v1 - position[atom, 1], w1 - position[atom, 2]
        for k in range(rows):
            row[k] = (v1 + k) % nv * pitch + w1 % nw
        sums[: m * 6 * lanes] = 0.0
        for u in range(u1, u1 + planes):
            du, plane = u - position[atom, 0], u % nu * nv * pitch
            top, bottom = _rows_inside(ellipse, widest, du, dv, rows)
            for i in range(m):
                if not own[i, 0] <= u < own[i, 1]:
                    continue
                at = i * side * most
                if steep[i]:
                    _fill_steep(table, at, lanes, i, q, (du, dv, dw), rows, columns)
                k1, k2 = max(top, own[i, 2]), min(bottom, own[i, 3])
                _fill_factors(factor, i, most, along, scale[i, 0], (k1, k2))
                for j in range(0, lanes, LANES):
                    _add_rows_to_sums(
                        sums, i * 6 * lanes + j, lanes, points, plane + j, row, table, at + j,
                        stride, factor, i * most, dv, du, (k1, k2),
                    )  # fmt: skip
                if not steep[i]:
                    _to_next_plane(i, side, lanes, stride, (own[i, 2], own[i, 3]), scale, q, along,
                                   along_growth, table, growth)  # fmt: skip
        _fill_moments(moments, sums, lanes, dw)
        d_weight[atom] = _total(height, moments)
        if not only_weight:
            _chain(atoms, atom, box, moments, d_position[atom], d_u[atom])


@njit(nogil=True, cache=True, fastmath=_FAST)
def _total(height: np.ndarray, moments: np.ndarray) -> float:
    total = 0.0
    for i in range(len(height)):
        total += height[i] * moments[i, 0]
    return total


@njit(nogil=True, cache=True, fastmath=_FAST)
def _fill_moments(moments: np.ndarray, sums: np.ndarray, lanes: int, first_w: float) -> None:
    """Fill the sums over a box from those of each point of w."""
    moments[:] = 0.0
    for i in range(len(moments)):
        at = i * 6 * lanes
        for j in range(lanes):
            w = first_w + j
            one, of_u, of_uu = sums[at + j], sums[at + lanes + j], sums[at + 2 * lanes + j]
            of_v, of_uv = sums[at + 3 * lanes + j], sums[at + 4 * lanes + j]
            moments[i, 0] += one
            moments[i, 1] += of_u
            moments[i, 2] += of_v
            moments[i, 3] += one * w
            moments[i, 4] += of_uu
            moments[i, 5] += sums[at + 5 * lanes + j]
            moments[i, 6] += one * w * w
            moments[i, 7] += of_uv
            moments[i, 8] += of_u * w
            moments[i, 9] += of_v * w


@njit(nogil=True, cache=True, fastmath=_FAST)
def _chain(
    atoms: Gaussians, atom: int, box: _Box, moments: np.ndarray, d_position: np.ndarray,
    d_u: np.ndarray,
) -> None:  # fmt: skip
    """Add derivatives by position and U, from sums over the box.

    With X = sum map rho dd', d by the centre is Q sum map rho d, and d by W is
    (W^-1 X W^-1 - W^-1 sum map rho) / 2 in Cartesian axes.
    """
    step = atoms.step
    tilted = np.empty((3, 3))
    for i in range(len(box.q)):
        if box.height[i] == 0.0:
            continue
        h = atoms.weight[atom] * box.height[i]
        q, n, s = box.q[i], box.inverse[i], moments[i]
        d_position[0] += h * (q[0] * s[1] + q[3] * s[2] + q[4] * s[3])
        d_position[1] += h * (q[3] * s[1] + q[1] * s[2] + q[5] * s[3])
        d_position[2] += h * (q[4] * s[1] + q[5] * s[2] + q[2] * s[3])
        _fill_tilted(n, step, tilted)
        for e in range(6):
            x, y = tilted[_FIRST[e]], tilted[_SECOND[e]]
            second = (
                x[0] * y[0] * s[4] + x[1] * y[1] * s[5] + x[2] * y[2] * s[6]
                + (x[0] * y[1] + x[1] * y[0]) * s[7]
                + (x[0] * y[2] + x[2] * y[0]) * s[8]
                + (x[1] * y[2] + x[2] * y[1]) * s[9]
            )  # fmt: skip
            places = 1.0 if e < 3 else 2.0
            d_u[e] += places * 0.5 * h * (second - s[0] * n[e])
