"""Standard uncertainties: the covariance of some unknowns with all others marginalised."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.linalg
from scipy import sparse

from multicopy_refinement._typing import BoolArray, FloatArray
from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.parallel import in_threads
from multicopy_refinement.posterior.blocks import Kind, Point
from multicopy_refinement.posterior.posterior import Posterior
from multicopy_refinement.solve.common_factor import common_factor
from multicopy_refinement.solve.curvature import inverse_of, subtract_product
from multicopy_refinement.solve.gauss_newton import all_above, inside, null_space
from multicopy_refinement.solve.precision import MANY, clearly_determined

#: A value between 0 and 1 of which nothing is known has this standard deviation.
UNDETERMINED_SU = 12**-0.5
#: A direction with a larger su than this is taken as not seen by the data at all.
UNSEEN_SU = 50.0
#: A group has a part in what is not seen when its projection exceeds this.
_PART = 1e-3
#: Rows of a large matrix that are worked on at once.
_PANEL = 256
#: Reflections that tell the misfit of many groups.
_SCORES = 10_000


@dataclass(frozen=True, eq=False)
class Beside:
    """Another block, as far as it goes with the occupancies.

    Attributes
    ----------
    su
        Of each of its unknowns, ``[size]``.
    correlation
        With the occupancy of the same number where the block has as many; None otherwise.
    """

    su: FloatArray
    correlation: FloatArray | None


@dataclass(frozen=True, eq=False)
class Covariance:
    """Covariance of occupancies under their sums, all other unknowns marginalised.

    Attributes
    ----------
    matrix
        Of what the data see, ``[n_groups, n_groups]``.
    unseen
        Orthonormal directions that the data do not see, ``[n_groups, m]``.
    information
        H of the occupancies, all others marginalised, ``[n_groups, n_groups]``.
    others
        The other blocks.
    response
        H_pp^-1 H_pq over all other unknowns p: how they answer to changes of occupancies, with the
        sign reversed, ``[n_others, n_groups]``.
    sums
        Under which it is.
    su_conditional
        The su of every occupancy were all other unknowns known, or, where surroundings count, with
        coordinates and B known; nan where it is not determined.
    common_factor
        The direction of occupancies that the scale can undo, which is unseen then; None where the
        data tell them apart.
    data_alone
        The covariance without restraints on occupancies; None where there are none.
    conditional
        The covariance that `su_conditional` is of, which has none itself.
    """

    matrix: FloatArray
    unseen: FloatArray
    information: FloatArray
    others: dict[Kind, Beside]
    response: FloatArray
    sums: SumConstraints
    su_conditional: FloatArray
    common_factor: FloatArray | None = None
    data_alone: Covariance | None = None
    conditional: Covariance | None = None

    def su_of(self, combination: FloatArray, flat: float | None = None) -> float:
        """Return the su of c'q, nan where the data do not determine it.

        They do where, without restraints, its su is smaller than ``flat``, the standard deviation
        of a value of which nothing is known; that of `flat_sd` when left out.
        """
        source = self if self.data_alone is None else self.data_alone
        unseen = np.linalg.norm(source.unseen.T @ combination)
        if unseen > _PART * np.linalg.norm(combination):
            return float("nan")
        known = flat_sd(self.sums, combination) if flat is None else flat
        if _su(source.matrix, combination) > known:
            return float("nan")
        return _su(self.matrix, combination)

    @cached_property
    def su(self) -> FloatArray:
        """Return the su of every occupancy, nan where it is not determined."""
        source = self if self.data_alone is None else self.data_alone
        flat = flat_sds(self.sums)
        return np.where(
            _determined(source.matrix, source.unseen, flat), _root_diagonal(self.matrix), np.nan
        )


def _su(matrix: FloatArray, combination: FloatArray) -> float:
    return float(np.sqrt(max(float(combination @ matrix @ combination), 0.0)))


def flat_sd(sums: SumConstraints, combination: FloatArray) -> float:
    """Return the standard deviation of a sum of occupancies of which nothing is known.

    m of the K members of a complete set, flat on the simplex with total T, have that of a Beta
    distribution, T sqrt(m (K - m)/(K^2 (K + 1))); where a set may sum to less, what is missing is
    one more member. Alone, an occupancy has 1/sqrt(12).
    """
    groups = np.flatnonzero(combination)
    sets = np.unique(sums.set_index[groups])
    if len(sets) != 1 or sets[0] < 0:
        return UNDETERMINED_SU * float(np.abs(combination).max(initial=1.0))
    number = int(sets[0])
    total = 1.0 if sums.parent[number] >= 0 else float(sums.totals[number])
    return simplex_sd(
        len(groups), len(sums.members[number]), total, complete=bool(sums.complete[number])
    )


def flat_sds(sums: SumConstraints) -> FloatArray:
    """Return `flat_sd` of every single occupancy, ``[n_groups]``."""
    found = np.full(len(sums.set_index), UNDETERMINED_SU)
    for number, members in enumerate(sums.members):
        total = 1.0 if sums.parent[number] >= 0 else float(sums.totals[number])
        complete = bool(sums.complete[number])
        found[members] = simplex_sd(1, len(members), total, complete=complete)
    return found


def _root_diagonal(matrix: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(np.maximum(np.diag(matrix), 0.0)))


def _determined(matrix: FloatArray, unseen: FloatArray, flat: FloatArray) -> BoolArray:
    """Return which single occupancies are seen, with an su below the flat ones."""
    seen = np.linalg.norm(unseen, axis=1) <= _PART
    return np.asarray(seen & (_root_diagonal(matrix) <= flat))


def simplex_sd(m: int, k: int, total: float = 1.0, *, complete: bool = True) -> float:
    """Return the standard deviation of m of k members of a set of which nothing is known."""
    k += 0 if complete else 1
    if m == k:
        return UNDETERMINED_SU
    return float(total * np.sqrt(m * (k - m) / (k**2 * (k + 1))))


def covariance(posterior: Posterior, at: Point) -> Covariance:
    """Return the covariance Z (Z'HZ)^-1 Z' at a point, Z a basis of what the sums allow.

    H is the Schur complement H_qq - H_qp H_pp^-1 H_pq over all other unknowns p of the search and
    the nuisance. Each term counts with its variance factor. Members at a bound are not
    conditioned away.
    """
    whole = posterior.with_nuisance(at)
    many = len(at[Kind.OCCUPANCY]) >= MANY
    seen, said = posterior.informations(whole, precise=not many)
    q = whole.space.place(Kind.OCCUPANCY)
    clear = many and clearly_determined(seen[q, q])
    if many and not clear:
        seen, said = posterior.informations(whole)
    factor = common_factor(posterior, at)
    if said is None or not said.any():
        return _marginal(posterior.sums, whole, seen, factor, clear=clear)
    found = _marginal(posterior.sums, whole, seen + said, factor, clear=clear)
    return replace(found, data_alone=_marginal(posterior.sums, whole, seen, factor, clear=clear))


def _marginal(
    sums: SumConstraints, whole: Point, h: FloatArray, factor: FloatArray | None, *, clear: bool
) -> Covariance:
    q = whole.space.indices([Kind.OCCUPANCY])
    p = np.setdiff1d(np.arange(whole.space.size), q)
    own = h[whole.space.place(Kind.OCCUPANCY), whole.space.place(Kind.OCCUPANCY)]
    cross, rest = h[np.ix_(q, p)], h[np.ix_(p, p)]
    solved = solve_positive(rest, cross.T)  # H_pp^-1 H_pq
    rows = sums.equalities[0]
    marginal = cross @ solved
    np.subtract(own, marginal, out=marginal)
    bound = rows if factor is None else np.vstack([rows, factor])
    matrix, unseen = _inverse_along(bound, marginal, many=clear)
    if clear and factor is None and unseen.shape[1] == 0:
        # H_qq has H_qp H_pp^-1 H_pq more than the marginal information
        known = matrix @ cross
        held = matrix.copy()
        subtract_product(held, known, solve_positive(rest + cross.T @ known, known.T))
        unseen_held = unseen
    else:
        held, unseen_held = _inverse_along(rows, own)
    su = np.where(_determined(held, unseen_held, flat_sds(sums)), _root_diagonal(held), np.nan)
    if factor is not None:
        unseen = np.column_stack([unseen, factor])
    others = _beside(whole, p, solved, rest, matrix)
    found = Covariance(matrix, unseen, marginal, others, solved, sums, su, common_factor=factor)
    if len(sums) == 0:  # nobody asks for sums of groups
        return found
    conditional = replace(found, matrix=held, unseen=unseen_held, common_factor=None)
    return replace(found, conditional=conditional)


def _inverse_along(
    sums: FloatArray, h: FloatArray, *, many: bool = False
) -> tuple[FloatArray, FloatArray]:
    """Return Z (Z'HZ)^-1 Z' of what the data see under A d = 0, and what they do not see.

    With many groups, where all is known clearly, that is C - C A'(A C A')^-1 A C, C = H^-1.
    """
    if many and clearly_determined(h):
        inverse = inverse_of(h.copy())
        if inverse is not None:
            if len(sums):
                ties = sparse.csr_matrix(sums)
                across = np.asarray(ties @ inverse)
                tied = solve_positive(across @ ties.T, across)
                subtract_product(inverse, across.T, tied)
            return inverse, np.zeros((len(h), 0))
    free = null_space(sums, len(h))
    inner = inside(free, h)
    if all_above(inner, UNSEEN_SU**-2):
        factor = scipy.linalg.cholesky(inner, lower=True, check_finite=False)
        across = scipy.linalg.solve_triangular(factor, free.T, lower=True, check_finite=False)
        return np.asarray(across.T @ across), np.zeros((len(free), 0))
    values, vectors = np.linalg.eigh(inner)
    directions = free @ vectors
    seen = values > UNSEEN_SU**-2
    weighted = directions[:, seen] / np.sqrt(values[seen])
    return np.asarray(weighted @ weighted.T), np.asarray(directions[:, ~seen])


def misfit(posterior: Posterior, at: Point, found: Covariance) -> FloatArray:
    """Return the su that the scatter of the scores gives over that of the information, ``[n]``.

    The sandwich C K C of White (1982, Econometrica 50, 1), K = sum (dlog p/dx)(dlog p/dx)' over
    the reflections, is the covariance also where the model of errors is wrong; the ratio is 1
    where it is right, and larger where the reflections that a group shows in are worse fitted than
    others. Of many groups it is that of 10,000 reflections, known to 1.5%.
    """
    whole = posterior.with_nuisance(at)
    many = len(at[Kind.OCCUPANCY]) >= MANY
    products = posterior.data.score_products(whole, _SCORES if many else None)
    products /= posterior.data.variance_factor**2
    if posterior.differences is not None:  # their errors are others
        products += posterior.differences.score_products(whole)
    q = whole.space.indices([Kind.OCCUPANCY])
    p = np.setdiff1d(np.arange(whole.space.size), q)
    dtype = np.float32 if many else np.float64
    products = products.astype(dtype, copy=False)
    sandwich = np.empty(len(q))

    def work(first: int, last: int) -> None:
        for start in range(first, last, _PANEL):
            some = slice(start, min(start + _PANEL, last))
            rows = np.empty((some.stop - start, whole.space.size), dtype=dtype)
            rows[:, q], rows[:, p] = found.matrix[some], -found.matrix[some] @ found.response.T
            sandwich[some] = ((rows @ products) * rows).sum(axis=1)

    in_threads(work, len(q))
    plain = np.diag(found.matrix)
    known = np.isfinite(found.su) & (plain > 0)
    ratio = np.full(len(q), np.nan)
    ratio[known] = np.sqrt(np.maximum(sandwich[known], 0.0) / plain[known])
    return ratio


def _beside(
    at: Point, p: np.ndarray, solved: FloatArray, rest: FloatArray, matrix: FloatArray
) -> dict[Kind, Beside]:
    """Return su and correlations of the unknowns ``p`` beside the occupancies."""
    variance = np.diag(solve_positive(rest, np.eye(len(rest))))
    su = np.sqrt(np.maximum(variance + ((solved @ matrix) * solved).sum(axis=1), 0.0))
    between = -solved @ matrix
    n = len(matrix)
    found: dict[Kind, Beside] = {}
    for kind in at.space.kinds:
        if kind is Kind.OCCUPANCY:
            continue
        mine = np.isin(p, at.space.indices([kind]))
        correlation = None
        if int(mine.sum()) == n:
            size = np.sqrt(np.maximum(np.diag(matrix), 1e-300)) * np.maximum(su[mine], 1e-300)
            correlation = np.clip(np.diag(between[mine]) / size, -1.0, 1.0)
        found[kind] = Beside(su[mine], correlation)
    return found


def solve_positive(matrix: FloatArray, right: FloatArray) -> FloatArray:
    """Return matrix^-1 right for a positive matrix whose scales differ widely."""
    scale = 1 / np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    scaled = matrix * scale * scale[:, None] + 1e-12 * np.eye(len(matrix))
    return np.asarray(
        scale[:, None] * scipy.linalg.solve(scaled, scale[:, None] * right, assume_a="pos")
    )


def inverse_positive(matrix: FloatArray) -> FloatArray:
    """Return the inverse of a positive matrix whose scales differ widely.

    Raises
    ------
    numpy.linalg.LinAlgError
        It is not positive.
    """
    if len(matrix) == 0:
        return np.zeros((0, 0))
    scale = 1 / np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    scaled = matrix * scale
    scaled *= scale[:, None]
    scaled.flat[:: len(scaled) + 1] += 1e-12
    inverse = inverse_of(scaled)
    if inverse is None:
        raise np.linalg.LinAlgError("the matrix is not positive")
    inverse *= scale
    inverse *= scale[:, None]
    return inverse
