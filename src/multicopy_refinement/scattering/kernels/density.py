"""Density of Gaussian atoms on a grid, and the adjoint: from a gradient map to the atoms.

    rho(x) = sum_j q_j sum_i a_ji ((2 pi)^3 det W_ji)^(-1/2) exp(-d'W_ji^-1 d / 2),   d = x - x_j,
    W_ji = U_j + b_ji

In steps of the grid the exponent is -d'Qd/2. On a plane u = const of the grid it parts into what
hangs on u alone (a number), on v and w (a table of the plane), and exp(-du (Q12 dv + Q13 dw)),
by which the table changes from plane to plane: its growth. So a box takes few exponentials, and
the long loops over planes are multiplications and additions. Each Gaussian ends where its exponent
is its ``level``. Tables have the precision of the grid, sums over planes are in float64.

The splat of Gaussians to a grid and FFT is by Sayre (1951), Acta Cryst. 4, 362 and Ten Eyck (1977),
Acta Cryst. A33, 486; the adjoint by Agarwal (1978), Acta Cryst. A34, 791.

It is one long file on purpose: the cache of compiled code knows the file of a function, not the
files of those it calls, and would keep old code when only another file changed. Functions of the
inner loops take plain arrays: taking them out of a tuple counts references, which costs more there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, uint64

_FAST = {"contract", "nsz", "reassoc"}

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
        Heights in electrons, and widths b/(8 pi^2) in A^2, ``[n, m]``.
    level
        Exponents at which Gaussians end, ``[n, m]``.
    widest
        Gaussian of each atom that reaches farthest, ``[n]``.
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
    widest: np.ndarray
    step: np.ndarray
    inverse_step: np.ndarray


class _Box(NamedTuple):
    """Tables of one atom's box: v and w lie in a plane of ``area`` points, a row a value of v."""

    value: np.ndarray  # [m, area] the Gaussians of a plane, without their scale
    growth: np.ndarray  # [m, area] factors from plane to plane
    plane: np.ndarray  # [area] density, or the gradient map
    along: np.ndarray  # [m, side] one axis, while tables are made
    across: np.ndarray  # [m, side]
    scale: np.ndarray  # [m, 3] the factor of u: value, ratio, change of the ratio
    height: np.ndarray  # [m]
    q: np.ndarray  # [m, 6] Q of each Gaussian
    inverse: np.ndarray  # [m, 6] W^-1
    ellipse: np.ndarray  # [m, 6] see _ellipse
    steep: np.ndarray  # [m] bool: tables could overflow
    grows: np.ndarray  # [m] bool: tables change from plane to plane
    own: np.ndarray  # [m, 4] first plane and end of each Gaussian, its first row and end
    row: np.ndarray  # [side] place of each row in the grid
    low: np.ndarray  # [side] first point of each row inside the ellipsoid
    high: np.ndarray  # [side] and one past the last


@njit(nogil=True, cache=True, fastmath=_FAST)
def _new_box(m: int, side: int, grid: np.ndarray) -> _Box:
    area = side * side
    return _Box(
        np.empty((m, area), grid.dtype), np.empty((m, area), grid.dtype),
        np.empty(area, grid.dtype), np.empty((m, side)), np.empty((m, side)), np.empty((m, 3)),
        np.empty(m), np.empty((m, 6)), np.empty((m, 6)), np.empty((m, 6)),
        np.empty(m, np.bool_), np.empty(m, np.bool_), np.empty((m, 4), np.int64),
        np.empty(side, np.int64), np.empty(side, np.int64), np.empty(side, np.int64),
    )  # fmt: skip


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
def _extent(
    u: np.ndarray, atom: int, b: float, inverse_step: np.ndarray, axis: int, level: float,
    centre: float,
) -> tuple[int, int]:  # fmt: skip
    """Return first point and number of points of an atom's box along an axis."""
    reach = _half_width(u, atom, b, inverse_step, axis, level)
    first = int(np.ceil(centre - reach))
    return first, int(np.floor(centre + reach)) + 1 - first


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
    """Fill what the ellipsoid d'Qd < 2 level is in planes and rows.

    Rows of the plane du: |dv + [0] du| < sqrt([2] - [1] du^2). Points of the row dv:
    |dw + [3] du + [4] dv| < sqrt([5] ([2] - [1] du^2 - (dv + [0] du)^2)).
    """
    per_w = 1.0 / q[i, 2]
    p11, p12 = q[i, 0] - q[i, 4] * q[i, 4] * per_w, q[i, 3] - q[i, 4] * q[i, 5] * per_w
    p22 = q[i, 1] - q[i, 5] * q[i, 5] * per_w
    per_v = 1.0 / p22
    ellipse[i, 0], ellipse[i, 1] = p12 * per_v, (p11 - p12 * p12 * per_v) * per_v
    ellipse[i, 2] = 2.0 * level * per_v
    ellipse[i, 3], ellipse[i, 4], ellipse[i, 5] = q[i, 4] * per_w, q[i, 5] * per_w, p22 * per_w


@njit(nogil=True, cache=True, fastmath=_FAST)
def _fill_bell(
    out: np.ndarray, i: int, n: int, ends: tuple[int, int], start: float, q: float
) -> None:
    """Fill out[i, :n] with exp(-q x^2/2), x = start + index, zero outside of the ends."""
    for j in range(ends[0]):
        out[i, j] = 0.0
    for j in range(ends[1], n):
        out[i, j] = 0.0
    x = start + ends[0]
    value, ratio, change = np.exp(-0.5 * q * x * x), np.exp(-q * (x + 0.5)), np.exp(-q)
    for j in range(ends[0], ends[1]):
        out[i, j] = value
        value *= ratio
        ratio *= change


@njit(nogil=True, cache=True, fastmath=_FAST)
def _times_powers(
    out: np.ndarray, i: int, ends: tuple[int, int], exponent: float, per_step: float
) -> None:
    """Multiply out[i, first:end] by exp(exponent + (index - first) * per_step)."""
    value, ratio = np.exp(exponent), np.exp(per_step)
    for j in range(ends[0], ends[1]):
        out[i, j] *= value
        value *= ratio


@njit(nogil=True, cache=True, fastmath=_FAST)
def _outer(
    out: np.ndarray, i: int, along: np.ndarray, rows: tuple[int, int], across: np.ndarray,
    columns: int,
) -> None:  # fmt: skip
    """Fill rows of a plane with products of a column and a row."""
    for k in range(rows[0], rows[1]):
        factor, at = along[i, k], uint64(k * columns)
        for j in range(uint64(columns)):
            out[i, at + j] = factor * across[i, j]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _start(
    atoms: Gaussians, atom: int, first: tuple[int, int, int], rows: int, columns: int, box: _Box
) -> None:
    """Make the tables of an atom for the first plane of its box."""
    value, along, across, own, scale = box.value, box.along, box.across, box.own, box.scale
    growth, q, steep, grows, inverse = box.growth, box.q, box.steep, box.grows, box.inverse
    u, step, inverse_step, levels = atoms.u, atoms.step, atoms.inverse_step, atoms.level
    a, all_b, height, ellipse = atoms.a, atoms.b, box.height, box.ellipse
    cu = atoms.position[atom, 0]
    dv, dw = first[1] - atoms.position[atom, 1], first[2] - atoms.position[atom, 2]
    for i in range(len(q)):
        if a[atom, i] == 0.0:  # elements with fewer Gaussians than others
            own[i, 0], own[i, 1], height[i] = 0, 0, 0.0
            continue
        b, level = all_b[atom, i], levels[atom, i]
        determinant = _quadratic_form(u, atom, b, step, i, q, inverse)
        height[i] = a[atom, i] / np.sqrt((2.0 * np.pi) ** 3 * determinant)
        _ellipse(q, i, level, ellipse)
        half_u = _half_width(u, atom, b, inverse_step, 0, level)
        half_v = _half_width(u, atom, b, inverse_step, 1, level)
        half_w = _half_width(u, atom, b, inverse_step, 2, level)
        of_v = max(0, int(np.ceil(-half_v - dv))), min(rows, int(np.floor(half_v - dv)) + 1)
        of_w = max(0, int(np.ceil(-half_w - dw))), min(columns, int(np.floor(half_w - dw)) + 1)
        own[i, 0], own[i, 1] = int(np.ceil(cu - half_u)), int(np.floor(cu + half_u)) + 1
        own[i, 2], own[i, 3] = of_v
        du = own[i, 0] - cu
        scale[i, 0] = np.exp(-0.5 * q[i, 0] * du * du)
        scale[i, 1], scale[i, 2] = np.exp(-q[i, 0] * (du + 0.5)), np.exp(-q[i, 0])
        steepest = max(q[i, 0] * half_u**2, q[i, 1] * half_v**2, q[i, 2] * half_w**2)
        steep[i] = steepest > 2.0 * _STEEP
        grows[i] = (q[i, 3] != 0.0 or q[i, 4] != 0.0) and not steep[i]
        if steep[i]:
            continue
        if grows[i]:
            _fill_bell(along, i, rows, of_v, 0.0, 0.0)
            _fill_bell(across, i, columns, of_w, 0.0, 0.0)
            _times_powers(along, i, of_v, -q[i, 3] * (dv + of_v[0]), -q[i, 3])
            _times_powers(across, i, of_w, -q[i, 4] * (dw + of_w[0]), -q[i, 4])
            _outer(growth, i, along, of_v, across, columns)
        _fill_bell(along, i, rows, of_v, dv, q[i, 1])
        _fill_bell(across, i, columns, of_w, dw, q[i, 2])
        if q[i, 3] != 0.0:
            _times_powers(along, i, of_v, -q[i, 3] * du * (dv + of_v[0]), -q[i, 3] * du)
        if q[i, 4] != 0.0:
            _times_powers(across, i, of_w, -q[i, 4] * du * (dw + of_w[0]), -q[i, 4] * du)
        _outer(value, i, along, of_v, across, columns)
        if q[i, 5] != 0.0:
            for k in range(of_v[0], of_v[1]):
                ends, v = (k * columns + of_w[0], k * columns + of_w[1]), dv + k
                _times_powers(value, i, ends, -q[i, 5] * v * (dw + of_w[0]), -q[i, 5] * v)


@njit(nogil=True, cache=True, fastmath=_FAST)
def _fill_steep(i: int, d: tuple[float, float, float], rows: int, columns: int, box: _Box) -> None:
    """Fill the plane of a Gaussian whose factors could overflow, scale included."""
    q = box.q[i]
    for k in range(rows):
        v = d[1] + k
        for j in range(columns):
            w = d[2] + j
            box.value[i, k * columns + j] = np.exp(
                -0.5 * (q[0] * d[0] * d[0] + q[1] * v * v + q[2] * w * w)
                - (q[3] * d[0] * v + q[4] * d[0] * w + q[5] * v * w)
            )


@njit(nogil=True, cache=True, fastmath=_FAST)
def _grow(value: np.ndarray, growth: np.ndarray, i: int, first: int, end: int) -> None:
    """Take a Gaussian's table to the next plane."""
    for j in range(uint64(first), uint64(end)):
        value[i, j] *= growth[i, j]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _rows_inside(ellipse: np.ndarray, i: int, du: float, dv: float, rows: int) -> tuple[int, int]:
    """Return the rows of a plane that an ellipsoid reaches, first and end."""
    square = ellipse[i, 2] - ellipse[i, 1] * du * du
    if square <= 0.0:
        return 0, 0
    half, middle = np.sqrt(square), -ellipse[i, 0] * du - dv
    return max(0, int(np.ceil(middle - half))), min(rows, int(np.floor(middle + half)) + 1)


@njit(nogil=True, cache=True, fastmath=_FAST)
def _ends_of_rows(
    ellipse: np.ndarray, i: int, d: tuple[float, float, float], rows: tuple[int, int],
    columns: int, low: np.ndarray, high: np.ndarray,
) -> None:  # fmt: skip
    """Fill where the rows of a plane enter and leave the ellipsoid."""
    tilt, per_row, wide = ellipse[i, 0] * d[0], ellipse[i, 4], ellipse[i, 5]
    square, start = ellipse[i, 2] - ellipse[i, 1] * d[0] * d[0], -ellipse[i, 3] * d[0] - d[2]
    for k in range(rows[0], rows[1]):
        v = d[1] + k
        half = np.sqrt(max(0.0, wide * (square - (v + tilt) * (v + tilt))))
        middle = start - per_row * v
        low[k] = max(0, int(np.ceil(middle - half)))
        high[k] = min(columns, int(np.floor(middle + half)) + 1)


@njit(nogil=True, cache=True, fastmath=_FAST)
def _clear(plane: np.ndarray, first: int, end: int) -> None:
    for j in range(uint64(first), uint64(end)):
        plane[j] = 0.0


@njit(nogil=True, cache=True, fastmath=_FAST)
def _add_gaussian(
    plane: np.ndarray, value: np.ndarray, i: int, first: int, end: int, factor: float
) -> None:
    c = plane.dtype.type(factor)
    for j in range(uint64(first), uint64(end)):
        plane[j] += c * value[i, j]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _add_to_grid(
    grid: np.ndarray, u: int, plane: np.ndarray, columns: int, rows: tuple[int, int], start: int,
    row: np.ndarray, low: np.ndarray, high: np.ndarray,
) -> None:  # fmt: skip
    """Add a plane to the grid: rows in pieces that do not cross the edge of the cell."""
    nw = grid.shape[2]
    for k in range(rows[0], rows[1]):
        at, end, v = low[k], high[k], row[k]
        place = (start + at) % nw if start + at >= nw else start + at
        while at < end:
            run = min(end - at, nw - place)
            to, of = uint64(place), uint64(k * columns + at)
            for j in range(uint64(run)):
                grid[u, v, to + j] += plane[of + j]
            at += run
            place = 0


@njit(nogil=True, cache=True, fastmath=_FAST)
def _copy_from_grid(
    grid: np.ndarray, u: int, plane: np.ndarray, columns: int, rows: tuple[int, int], start: int,
    row: np.ndarray, low: np.ndarray, high: np.ndarray,
) -> None:  # fmt: skip
    """Fill a plane from the grid, as `_add_to_grid` goes."""
    nw = grid.shape[2]
    for k in range(rows[0], rows[1]):
        at, end, v = low[k], high[k], row[k]
        place = (start + at) % nw if start + at >= nw else start + at
        while at < end:
            run = min(end - at, nw - place)
            of, to = uint64(place), uint64(k * columns + at)
            for j in range(uint64(run)):
                plane[to + j] = grid[u, v, of + j]
            at += run
            place = 0


@njit(nogil=True, cache=True, fastmath=_FAST)
def _reaches_slab(u: int, planes: int, nu: int, first: int, last: int) -> bool:
    found = False
    for place in range(u, u + planes):
        found = found or first <= place % nu < last
    return found


@njit(nogil=True, cache=True, fastmath=_FAST)
def splat_slab(first: int, last: int, grid: np.ndarray, atoms: Gaussians, side: int) -> None:
    """Add the density of atoms to the planes first..last of the first axis of a grid.

    Parameters
    ----------
    first, last
        Slab of planes that this call owns.
    grid
        ``[nu, nv, nw]``, added to.
    side
        Points along the longest edge of a box in v and w.
    """
    nu, nv, nw = grid.shape
    box = _new_box(atoms.a.shape[1], side, grid)
    value, plane, q, scale, steep = box.value, box.plane, box.q, box.scale, box.steep
    growth, grows, own, height = box.growth, box.grows, box.own, box.height
    row, low, high, ellipse = box.row, box.low, box.high, box.ellipse
    position, all_u, all_b, levels = atoms.position, atoms.u, atoms.b, atoms.level
    all_widest, all_weight, inverse_step = atoms.widest, atoms.weight, atoms.inverse_step
    for atom in range(len(all_weight)):
        widest = all_widest[atom]
        b, level = all_b[atom, widest], levels[atom, widest]
        u1, planes = _extent(all_u, atom, b, inverse_step, 0, level, position[atom, 0])
        if not _reaches_slab(u1, planes, nu, first, last):
            continue
        v1, rows = _extent(all_u, atom, b, inverse_step, 1, level, position[atom, 1])
        w1, columns = _extent(all_u, atom, b, inverse_step, 2, level, position[atom, 2])
        if rows <= 0 or columns <= 0:
            continue
        _start(atoms, atom, (u1, v1, w1), rows, columns, box)
        for k in range(rows):
            row[k] = (v1 + k) % nv
        dv, dw, start = v1 - position[atom, 1], w1 - position[atom, 2], w1 % nw
        weight = all_weight[atom]
        for u in range(u1, u1 + planes):
            du, place_u = u - position[atom, 0], u % nu
            owned = first <= place_u < last
            top, bottom = _rows_inside(ellipse, widest, du, dv, rows)
            _clear(plane, top * columns, bottom * columns)
            for i in range(len(q)):
                if u < own[i, 0] or u >= own[i, 1]:
                    continue
                if owned:
                    k1, k2 = _rows_inside(ellipse, i, du, dv, rows)
                    k1, k2 = max(k1, top, own[i, 2]), min(k2, bottom, own[i, 3])
                    factor = weight * height[i]
                    if steep[i]:
                        _fill_steep(i, (du, dv, dw), rows, columns, box)
                    else:
                        factor *= scale[i, 0]
                    _add_gaussian(plane, value, i, k1 * columns, max(k1, k2) * columns, factor)
                scale[i, 0] *= scale[i, 1]
                scale[i, 1] *= scale[i, 2]
                if grows[i]:
                    _grow(value, growth, i, own[i, 2] * columns, own[i, 3] * columns)
            if not owned:
                continue
            _ends_of_rows(ellipse, widest, (du, dv, dw), (top, bottom), columns, low, high)
            _add_to_grid(grid, place_u, plane, columns, (top, bottom), start, row, low, high)


@njit(nogil=True, cache=True, fastmath=_FAST)
def gather_atoms(
    first: int, last: int, grid: np.ndarray, atoms: Gaussians, side: int, only_weight: bool,
    d_weight: np.ndarray, d_position: np.ndarray, d_u: np.ndarray,
) -> None:  # fmt: skip
    """Fill the derivatives of sum_x grid(x) rho(x) by the atoms first..last.

    Parameters
    ----------
    first, last
        Range of atoms that this call owns.
    grid
        Gradient map, ``[nu, nv, nw]``.
    side
        As in `splat_slab`.
    only_weight
        Leave ``d_position`` and ``d_u`` as they are.
    d_weight, d_position
        ``[n]``, and per step of the grid ``[n, 3]``.
    d_u
        By the elements 11 22 33 12 13 23, an off-diagonal one standing for both places ``[n, 6]``.
    """
    nu, nv, nw = grid.shape
    m = atoms.a.shape[1]
    box = _new_box(m, side, grid)
    value, plane, scale, steep = box.value, box.plane, box.scale, box.steep
    v, w = np.empty(side * side, grid.dtype), np.empty(side * side, grid.dtype)
    growth, grows, own, height = box.growth, box.grows, box.own, box.height
    row, low, high, ellipse = box.row, box.low, box.high, box.ellipse
    position, all_u, all_b, levels = atoms.position, atoms.u, atoms.b, atoms.level
    all_widest, inverse_step = atoms.widest, atoms.inverse_step
    # sums of map times Gaussian, times 1, du, dv, dw, du^2, dv^2, dw^2, du dv, du dw, dv dw
    moments = np.empty((m, 10))
    for atom in range(first, last):
        moments[:] = 0.0
        widest = all_widest[atom]
        b, level = all_b[atom, widest], levels[atom, widest]
        u1, planes = _extent(all_u, atom, b, inverse_step, 0, level, position[atom, 0])
        v1, rows = _extent(all_u, atom, b, inverse_step, 1, level, position[atom, 1])
        w1, columns = _extent(all_u, atom, b, inverse_step, 2, level, position[atom, 2])
        if rows <= 0 or columns <= 0:
            continue
        _start(atoms, atom, (u1, v1, w1), rows, columns, box)
        dv, dw, start = v1 - position[atom, 1], w1 - position[atom, 2], w1 % nw
        _fill_axes(v, w, rows, columns, dv, dw)
        for k in range(rows):
            row[k] = (v1 + k) % nv
        for u in range(u1, u1 + planes):
            du, place_u = u - position[atom, 0], u % nu
            top, bottom = _rows_inside(ellipse, widest, du, dv, rows)
            _clear(plane, top * columns, bottom * columns)
            _ends_of_rows(ellipse, widest, (du, dv, dw), (top, bottom), columns, low, high)
            _copy_from_grid(grid, place_u, plane, columns, (top, bottom), start, row, low, high)
            for i in range(m):
                if u < own[i, 0] or u >= own[i, 1]:
                    continue
                k1, k2 = _rows_inside(ellipse, i, du, dv, rows)
                k1, k2 = max(k1, top, own[i, 2]), min(k2, bottom, own[i, 3])
                j1, j2 = k1 * columns, max(k1, k2) * columns
                c = scale[i, 0]
                if steep[i]:
                    c = 1.0
                    _fill_steep(i, (du, dv, dw), rows, columns, box)
                if only_weight:
                    moments[i, 0] += c * _product(plane, value, i, j1, j2)
                else:
                    _add_moments(moments, plane, value, v, w, i, (j1, j2), c, du)
                scale[i, 0] *= scale[i, 1]
                scale[i, 1] *= scale[i, 2]
                if grows[i]:
                    _grow(value, growth, i, own[i, 2] * columns, own[i, 3] * columns)
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
def _fill_axes(
    v: np.ndarray, w: np.ndarray, rows: int, columns: int, first_v: float, first_w: float
) -> None:
    """Fill where the points of a plane are, from the centre of the atom."""
    for k in range(rows):
        for j in range(columns):
            v[k * columns + j] = first_v + k
            w[k * columns + j] = first_w + j


@njit(nogil=True, cache=True, fastmath=_FAST)
def _product(plane: np.ndarray, value: np.ndarray, i: int, first: int, end: int) -> float:
    total = plane.dtype.type(0)
    for j in range(uint64(first), uint64(end)):
        total += plane[j] * value[i, j]
    return float(total)


@njit(nogil=True, cache=True, fastmath=_FAST)
def _add_moments(
    moments: np.ndarray, plane: np.ndarray, value: np.ndarray, v: np.ndarray, w: np.ndarray,
    i: int, ends: tuple[int, int], c: float, du: float,
) -> None:  # fmt: skip
    """Add a plane's sums to the moments of a Gaussian."""
    zero = plane.dtype.type(0)
    s1, s2, s3, s22, s33, s23 = zero, zero, zero, zero, zero, zero
    for j in range(uint64(ends[0]), uint64(ends[1])):
        x = plane[j] * value[i, j]
        y, z = x * v[j], x * w[j]
        s1 += x
        s2 += y
        s3 += z
        s22 += y * v[j]
        s33 += z * w[j]
        s23 += y * w[j]
    moments[i, 0] += c * s1
    moments[i, 1] += c * du * s1
    moments[i, 2] += c * s2
    moments[i, 3] += c * s3
    moments[i, 4] += c * du * du * s1
    moments[i, 5] += c * s22
    moments[i, 6] += c * s33
    moments[i, 7] += c * du * s2
    moments[i, 8] += c * du * s3
    moments[i, 9] += c * s23


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
        # columns of W^-1 S: what a step along u, v and w is after W^-1
        for k in range(3):
            tilted[0, k] = n[0] * step[0, k] + n[3] * step[1, k] + n[4] * step[2, k]
            tilted[1, k] = n[3] * step[0, k] + n[1] * step[1, k] + n[5] * step[2, k]
            tilted[2, k] = n[4] * step[0, k] + n[5] * step[1, k] + n[2] * step[2, k]
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
