"""Gauss-Newton without a matrix: steps by conjugate gradients, occupancies under exact sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.linalg
from scipy import sparse
from scipy.sparse import linalg as sparse_linalg

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.posterior.blocks import Kind, Point, Space
from multicopy_refinement.solve.gauss_newton import held_directions
from multicopy_refinement.solve.quadratic import QuadraticProgramError, solve_step

#: A step is good enough when what is left of the gradient has fallen to this, in the metric of the
#: preconditioner; and products are at most so many.
_TOLERANCE, _MOST_PRODUCTS = 0.25, 20
#: A coordinate moves by no more than this in a step (A), a displacement by this part of it.
LONGEST_MOVE, LARGEST_CHANGE = 0.3, 0.5
#: An occupancy has less than this part in what the data determine: it is not determined.
_PART = 1e-3
_SHORTER = (1.0, 0.5, 0.25, 0.1)


class Around(Protocol):
    """What a posterior is around a point."""

    @property
    def point(self) -> Point:
        """Where."""
        ...

    @property
    def value(self) -> float:
        """The log posterior."""
        ...

    @property
    def gradient(self) -> FloatArray:
        """Its derivatives, ``[size]``."""
        ...

    @property
    def driving(self) -> FloatArray:
        """What of the gradient drives a step, ``[size]``."""
        ...

    @property
    def restraints(self) -> sparse.csr_matrix:
        """Information of all but the data, sparse ``[size, size]``."""
        ...

    @property
    def local(self) -> sparse.csr_matrix:
        """The data's information near the diagonal, on what is not dense, sparse."""
        ...

    def times(self, v: FloatArray) -> FloatArray:
        """Return H v."""
        ...


class Joint(Protocol):
    """A posterior that is known by its values, gradients and products."""

    space: Space
    sums: SumConstraints
    held: FloatArray

    def value(self, at: Point) -> float:
        """Return the log posterior."""
        ...

    def around(self, at: Point) -> Around:
        """Return its quadratic model."""
        ...


@dataclass(frozen=True, eq=False)
class Step:
    """A step that was taken.

    Attributes
    ----------
    point
        Where it ended.
    gain
        Of the log posterior; 0 where no step brought any.
    products
        Products with H that it took.
    whole
        Whether it was not shortened.
    shift
        Of all unknowns in units of their su, rms: sqrt(d'g/n) with H d = g, before anything was
        shortened.
    around
        What the posterior was where it began.
    """

    point: Point
    gain: float
    products: int
    around: Around
    whole: bool = False
    shift: float = 0.0


def step_from(
    joint: Joint, at: Point, dense: FloatArray, damping: FloatArray,
    limited: Callable[[Point, FloatArray], FloatArray],
) -> Step:  # fmt: skip
    """Return a step of the joint posterior from a point that raises it.

    H d = g is solved by conjugate gradients (Hestenes & Stiefel 1952, J. Res. Natl. Bur. Stand. 49,
    409) within what the sums leave free; occupancies at a bound that pull outward stay there. The
    preconditioner is the dense information of occupancies, scale and solvent, and a sparse
    factor of the restraints with the data's diagonal for all else.

    Parameters
    ----------
    dense
        Information of occupancies, scale and solvent, ``[m, m]``; that of a point nearby will do.
    damping
        What is added to the diagonal of H, ``[size]`` (Levenberg 1944, Q. Appl. Math. 2, 164): a
        step goes where the data lead, but not far along what they do not determine.
    limited
        What a step from a point may be of one that is too long.
    """
    here = joint.around(at)
    stays = _stays(joint, at, here, dense)
    subspace = _Subspace(joint, at, here, dense, damping, stays)

    def times(v: FloatArray) -> FloatArray:
        return here.times(v) + damping * v

    d, products = _conjugate(times, here.driving, subspace.preconditioned)
    d, more = _within_bounds(joint, at, here.driving, times, d, subspace)
    shift = float(np.sqrt(max(float(d @ here.driving), 0.0) / len(d)))
    d = limited(at, d)
    tilt = here.gradient - here.driving
    for part in _SHORTER:
        moved = _moved(joint, at, part * d)
        gain = joint.value(moved) - here.value - float(tilt @ (moved.x - at.x))
        if gain > 0:
            return Step(moved, gain, products + more, here, part == 1.0, shift)
    return Step(at, 0.0, products + more, here)


def audited_su(
    joint: Joint, at: Point, dense: FloatArray, damping: FloatArray, groups: IntArray,
    progress: Callable[[int], None] = lambda _: None,
) -> FloatArray:  # fmt: skip
    """Return the su of some occupancies with all other unknowns marginalised, ``[n]``.

    su^2 = x_q with H x = e_q under the sums, by conjugate gradients: no unknown is left out and no
    reflection, at the price of some tens of products a group. nan where the data do not determine
    the occupancy. ``damping`` is what is known of each unknown beside data and restraints,
    ``progress`` is told how many are done.
    """
    here = joint.around(at)
    m = len(at[Kind.OCCUPANCY])
    subspace = _Subspace(joint, at, here, dense, damping, np.zeros(m, dtype=bool))

    def times(v: FloatArray) -> FloatArray:
        return here.times(v) + damping * v

    found = np.full(len(groups), np.nan)
    for i, group in enumerate(groups.tolist()):
        unit = np.zeros(at.space.size)
        unit[group] = 1.0
        part = subspace.basis @ (subspace.basis.T @ unit[: subspace.n])
        if part[group] > _PART:
            x, _ = _conjugate(times, unit, subspace.preconditioned, 0.02, 4 * _MOST_PRODUCTS)
            found[i] = np.sqrt(max(float(x[group]), 0.0))
        progress(i + 1)
    return found


class _Subspace:
    """Directions that a step may take, and the preconditioner within them."""

    def __init__(
        self, joint: Joint, at: Point, here: Around, dense: FloatArray, damping: FloatArray,
        stays: BoolArray,
    ) -> None:  # fmt: skip
        self.n = len(dense)
        self.basis = self._basis(joint, at, dense, stays)
        damped = dense + np.diag(damping[: self.n])
        inner = self.basis.T @ damped @ self.basis
        inner.flat[:: len(inner) + 1] += 1e-9 * np.maximum(np.diag(inner).max(initial=0.0), 1e-9)
        self._dense = scipy.linalg.cho_factor(inner, lower=True) if len(inner) else None
        rest = here.restraints[self.n :, self.n :]
        stiff = rest + here.local + sparse.diags(damping[self.n :])
        self._sparse = (
            sparse_linalg.splu(
                stiff.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0,
                options={"SymmetricMode": True},
            )
            if stiff.shape[0] else None
        )  # fmt: skip

    def _basis(self, joint: Joint, at: Point, dense: FloatArray, stays: BoolArray) -> FloatArray:
        """Return an orthonormal basis of what occupancies, scale and solvent may do."""
        q, m = at[Kind.OCCUPANCY], len(at[Kind.OCCUPANCY])
        rows = joint.sums.equalities[0]
        at_limit = joint.sums.limits[0]
        full = joint.sums.limits[1] - at_limit @ q < 1e-9
        unseen = held_directions(dense[:m, :m], rows, ~stays)
        of_q = np.concatenate([rows, np.eye(m)[stays], at_limit[full], unseen.T])
        every = np.concatenate([of_q, np.zeros((len(of_q), self.n - m))], axis=1)
        return _allowed(np.concatenate([every, joint.held[:, : self.n]]), self.n)

    def preconditioned(self, r: FloatArray, *, occupancies: bool = True) -> FloatArray:
        """Return M^-1 r within the subspace; occupancies, scale and solvent held when False."""
        found = np.zeros_like(r)
        if occupancies and self._dense is not None:
            inner = scipy.linalg.cho_solve(self._dense, self.basis.T @ r[: self.n])
            found[: self.n] = self.basis @ inner
        if self._sparse is not None:
            found[self.n :] = self._sparse.solve(r[self.n :])
        return found


def _allowed(rows: FloatArray, n: int) -> FloatArray:
    """Return an orthonormal basis of all d with A d = 0, where rows may depend on one another."""
    if len(rows) == 0:
        return np.eye(n)
    q, r, _ = scipy.linalg.qr(rows.T, pivoting=True)
    rank = int((np.abs(np.diag(r)) > 1e-9 * max(abs(r[0, 0]), 1e-300)).sum())
    return np.asarray(q[:, rank:])


def _stays(joint: Joint, at: Point, here: Around, dense: FloatArray) -> BoolArray:
    """Return which occupancies are at a bound and would leave it, with all else held."""
    q, m = at[Kind.OCCUPANCY], len(at[Kind.OCCUPANCY])
    if m == 0:
        return np.zeros(0, dtype=bool)
    low, high = np.minimum(-q, 0.0), np.maximum(1 - q, 0.0)
    information = dense[:m, :m].copy()
    information.flat[:: m + 1] += 1e-6 * max(float(np.diag(information).max()), 1e-9)
    limits, most = joint.sums.limits
    try:
        step = solve_step(
            information, here.driving[:m], joint.sums.equalities[0], low, high,
            limits=(limits, most - limits @ q),
        )  # fmt: skip
    except QuadraticProgramError:
        return np.asarray((q <= 0) | (q >= 1))
    return np.asarray(((q <= 1e-9) | (q >= 1 - 1e-9)) & (np.abs(step) < 1e-9))


def _conjugate(
    times: Callable[[FloatArray], FloatArray], gradient: FloatArray,
    preconditioned: Callable[[FloatArray], FloatArray], tolerance: float = _TOLERANCE,
    most: int = _MOST_PRODUCTS,
) -> tuple[FloatArray, int]:  # fmt: skip
    """Return d with H d = g in the range of the preconditioner, and how many products it took."""
    d = np.zeros_like(gradient)
    r = gradient.copy()
    z = preconditioned(r)
    p, size = z.copy(), float(r @ z)
    enough = tolerance**2 * size
    for product in range(1, most + 1):
        if size <= enough:
            return d, product - 1
        h = times(p)
        bend = float(p @ h)
        if bend <= 0:  # rounding
            return d, product
        length = size / bend
        d += length * p
        r -= length * h
        z = preconditioned(r)
        new = float(r @ z)
        p = z + (new / size) * p
        size = new
    return d, most


def _within_bounds(
    joint: Joint,
    at: Point,
    gradient: FloatArray,
    times: Callable[[FloatArray], FloatArray],
    d: FloatArray,
    subspace: _Subspace,
) -> tuple[FloatArray, int]:
    """Return a step whose occupancies stay in their bounds.

    Where they would leave them, the nearest ones inside are taken, and all other unknowns answer.
    """
    q = at[Kind.OCCUPANCY]
    m = len(q)
    wanted = q + d[:m]
    limits, most = joint.sums.limits
    inside = (wanted >= -1e-12).all() and (wanted <= 1 + 1e-12).all()
    if inside and (limits @ wanted <= most + 1e-12).all():
        return d, 0
    size = np.eye(m)
    low, high = np.minimum(-q, 0.0), np.maximum(1 - q, 0.0)
    step = solve_step(
        size, d[:m], joint.sums.equalities[0], low, high, limits=(limits, most - limits @ q)
    )
    fixed = np.zeros_like(d)
    fixed[:m] = step
    left = gradient - times(fixed)

    def others(r: FloatArray) -> FloatArray:
        return subspace.preconditioned(r, occupancies=False)

    rest, products = _conjugate(times, left, others)
    return fixed + rest, products + 1


def _moved(joint: Joint, at: Point, step: FloatArray) -> Point:
    x = at.x + step
    moved = Point(at.space, x)
    q = at.space.place(Kind.OCCUPANCY)
    x[q] = joint.sums.restored(np.clip(x[q], 0.0, 1.0))
    for kind in (Kind.SOLVENT,):
        if kind in at.space:
            place = at.space.place(kind)
            x[place] = np.clip(x[place], at.space.lower[place], at.space.upper[place])
    return moved
