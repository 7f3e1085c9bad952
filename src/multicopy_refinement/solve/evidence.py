"""What the data say of a group's absence, and which members they cannot tell apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import BoolArray, ComplexArray, FloatArray, IntArray
from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.parallel import in_threads
from multicopy_refinement.posterior.bijvoet import BijvoetTerm, bijvoet_difference
from multicopy_refinement.posterior.blocks import Kind, Point
from multicopy_refinement.posterior.forward import Rescaling
from multicopy_refinement.posterior.posterior import Posterior
from multicopy_refinement.solve.covariance import UNDETERMINED_SU, Covariance
from multicopy_refinement.solve.quadratic import QuadraticProgramError, solve_step

#: Occupancies that would follow by less than this part of their su stay: together with that of the
#: group they cost 0.02 in log-likelihood. At most so many follow, those that would most.
_SMALLEST_MOVE, _MOST_FOLLOWERS = 0.2, 12
#: Models whose amplitudes differ by no more than this part of the mean one are the same.
_SAME_MODEL = 1e-6
#: Of groups that the data do not see no other occupancy can be told anything.
_NO_VARIANCE = 1e-10


def coincident_members(sums: SumConstraints, found: Covariance) -> list[list[list[int]]]:
    """Return, for each set, its members gathered by what the data can tell apart.

    Two members are together when moving occupancy from one to the other, all else held, has an su
    above 0.29: their structure factors are the same as far as the data see.
    """
    gathered = []
    h = found.information
    for number in range(int(sums.set_index.max(initial=-1)) + 1):
        rest = np.flatnonzero(sums.set_index == number).tolist()
        clusters: list[list[int]] = []
        while rest:
            cluster = [rest.pop(0)]
            for one in cluster:  # grows while it is walked
                alike = [
                    o for o in rest if _difference_information(h, one, o) < UNDETERMINED_SU**-2
                ]
                cluster += alike
                rest = [o for o in rest if o not in alike]
            clusters.append(sorted(cluster))
        gathered.append(clusters)
    return gathered


def _difference_information(h: FloatArray, one: int, other: int) -> float:
    """Return d'Hd for d = e_one - e_other: the information on what is moved between them."""
    return float(h[one, one] + h[other, other] - 2 * h[one, other])


@dataclass(frozen=True, eq=False)
class Evidence:
    """Log-likelihood that is lost without groups, one by one.

    Attributes
    ----------
    gain, gain_free
        Of the work and the free set, ``[n]``; the second nan where there is no free set.
    of_differences
        What of the gain is that of Bijvoet differences, ``[n]``; None where these are no data.
    """

    gain: FloatArray
    gain_free: FloatArray
    of_differences: FloatArray | None = None


def evidence(
    posterior: Posterior, at: Point, found: Covariance, candidates: Sequence[IntArray] | None = None
) -> Evidence:
    """Return what is lost without each candidate: a group, or several that leave together.

    The model without it is at its own optimum: the rest of its set by a small quadratic program,
    all other occupancies, scale and solvent by the quadratic model, and the errors of the data
    estimated anew. Its likelihood is evaluated in full.

    Parameters
    ----------
    posterior, at
        The posterior and its maximum.
    found
        The covariance there.
    candidates
        Indices of groups; every group alone when left out.
    """
    if candidates is None:
        candidates = [np.array([g]) for g in range(len(at[Kind.OCCUPANCY]))]
    judge = Judge.of(posterior, at)
    nulls = _Nulls(posterior, at, found)
    size = posterior.data.size(at)
    lost = np.tile(judge.lost(size), (len(candidates), 1))
    differences = _Differences.of(posterior, at)
    apart = np.zeros((len(candidates), 2))
    least = _SAME_MODEL * float(np.sqrt(np.mean(size**2)))

    def work(first: int, last: int) -> None:
        for number in range(first, last):
            null = nulls.without(candidates[number])
            if np.abs(null.size - size).max(initial=0.0) > least:  # what coincides loses nothing
                lost[number] = judge.lost(null.size)
                if differences is not None:
                    apart[number] = differences.lost(null)

    in_threads(work, len(candidates))
    factor = np.array([judge.factor[members].mean() for members in candidates])
    gain, free = lost[:, 0] * factor, lost[:, 1]
    if differences is None:
        return Evidence(gain, free)
    return Evidence(gain + apart[:, 0], free + apart[:, 1], apart[:, 0])


@dataclass(frozen=True, eq=False)
class _Null:
    """A model without some groups.

    Attributes
    ----------
    f_model, size
        F_model, and what is measured of it, ``[n]``.
    occupancy
        Of all refined groups.
    step, rescale
        The change of scale and solvent, and what it does.
    """

    f_model: ComplexArray
    size: FloatArray
    occupancy: FloatArray
    step: FloatArray
    rescale: Rescaling

    @property
    def stretch(self) -> FloatArray:
        """By what the overall scale is multiplied, ``[n]``."""
        return self.rescale.stretch(self.step)


@dataclass(frozen=True, eq=False)
class _Differences:
    """Log-likelihood of Bijvoet differences that models lose against the present one.

    The figure of merit is held; the variance that the model adds is estimated anew for each, from
    the work set.
    """

    term: BijvoetTerm
    at: Point
    overall: FloatArray
    present: tuple[float, float]

    @classmethod
    def of(cls, posterior: Posterior, at: Point) -> _Differences | None:
        term = posterior.differences
        if term is None:
            return None
        present = _of_differences(term, term.calculated(at))
        return cls(term, at, term.forward.overall(at), present)

    def lost(self, null: _Null) -> tuple[float, float]:
        """Return what work and free set lose."""
        second = self.term.signal.f_second(null.occupancy, self.at.get(Kind.B_GROUP))
        calculated = bijvoet_difference(
            self.term.errors.merit, null.f_model, self.overall * null.stretch * second
        )
        work, free = _of_differences(self.term, calculated)
        return self.present[0] - work, self.present[1] - free


def _of_differences(term: BijvoetTerm, calculated: FloatArray) -> tuple[float, float]:
    """Return log p of the differences of work and free set, the variance estimated anew."""
    residual = term.observed - calculated
    each = term.errors.renewed(residual, term.work).log_densities(residual)
    return float(each[term.work].sum()), float(each[term.free].sum())


@dataclass(frozen=True, eq=False)
class Judge:
    """Log-likelihoods that other models lose against the present one.

    Attributes
    ----------
    lost
        By work and free set, for an |F_model|.
    factor
        For each group, what brings a loss with the errors of the work set to those of the free
        set: the ratio of informations, ``[n_groups]``.
    """

    lost: Callable[[FloatArray], tuple[float, float]]
    factor: FloatArray

    @classmethod
    def of(cls, posterior: Posterior, at: Point) -> Judge:
        """Return it for the model at a point, with errors renewed where the target has any."""
        data, n = posterior.data, len(at[Kind.OCCUPANCY])
        size = data.size(at)
        first, n_work = float(data.target.values(size)[data.work].sum()), int(data.work.sum())

        def held(size: FloatArray) -> tuple[float, float]:
            return first - float(data.target.values(size)[data.work].sum()), float("nan")

        def scaled(size: FloatArray) -> tuple[float, float]:
            """Gaussian errors: with the variance that fits the work set best."""
            lost = held(size)[0] / data.variance_factor
            grown = np.log1p(2 * lost / n_work) if lost > 0 else 2 * lost / n_work
            return 0.5 * n_work * float(grown), float("nan")

        if data.renewal is None:
            return cls(held, np.ones(n))
        renewed = data.renewal(size)
        if renewed is None:
            return cls(scaled, np.ones(n))
        renewal, target = renewed
        mine, theirs = data.diagonal_information(at, Kind.OCCUPANCY, data.target, target)
        return cls(renewal.lost, np.where(theirs > 0, mine / np.maximum(theirs, 1e-300), 1.0))


class _Nulls:
    """Models without some groups, the rest of them at its best."""

    def __init__(self, posterior: Posterior, at: Point, found: Covariance) -> None:
        self.sums, self.forward, self.found = posterior.sums, posterior.data.forward, found
        self.at, self.occupancy = at, at[Kind.OCCUPANCY]
        self.observable = posterior.data.observable.at(at)
        self.present = self.forward.f_model(at)
        self.rescale = self.forward.rescaling(posterior.with_nuisance(at))
        self.su = np.sqrt(np.maximum(np.diag(found.matrix), 1e-300))

    def without(self, groups: IntArray) -> _Null:
        """Return the model without some groups."""
        after = self._occupancy_without(groups)
        change = after - self.occupancy
        moved = np.flatnonzero(change)
        f = self.present + self.forward.change(self.at, moved, change[moved])
        step = -(self.found.response @ change)
        f = self.rescale(f, step)
        size = self.observable.moved(Point(self.rescale.space, step)).size(f)
        return _Null(f, size, after, step, self.rescale)

    def _occupancy_without(self, groups: IntArray) -> FloatArray:
        """Return the occupancies without some groups."""
        after, moved = self.occupancy.copy(), []
        for number in np.unique(self.sums.set_index[groups]).tolist():  # what is in no set: -1
            inside = groups[self.sums.set_index[groups] == number]
            members = _members(self.sums, inside)
            after[members] += _without(
                self.sums, inside, members, self.occupancy, self.found.information
            )
            moved.append(members)
        members = np.unique(np.concatenate(moved))
        # all others follow as far as the quadratic model takes them
        follow = self._followed(members, (after - self.occupancy)[members])
        after = np.clip(after + follow, 0.0, 1.0)
        held = np.zeros(len(after), dtype=bool)
        held[members] = True
        # what is nested in what has moved follows, and no sum is broken by rounding
        after = self.sums.restored(after, held, tolerance=1e-9)
        return self.sums.restored(after, tolerance=1e-9)

    def _followed(self, members: IntArray, change: FloatArray) -> FloatArray:
        """Return the mean change of all other occupancies, given that of some: C_om C_mm^-1 d."""
        matrix = self.found.matrix
        own = matrix[np.ix_(members, members)]
        moved = np.zeros(len(self.occupancy))
        if float(np.diag(own).max(initial=0.0)) < _NO_VARIANCE:
            return moved
        if len(members) == 1:
            pull = change / own[0]
        else:
            pull = np.linalg.pinv(own, rcond=1e-6, hermitian=True) @ change
        moved = pull @ matrix[members]
        moved[members] = 0.0
        parts = np.abs(moved) / self.su
        few = (
            np.partition(parts, -_MOST_FOLLOWERS)[-_MOST_FOLLOWERS]
            if len(parts) > _MOST_FOLLOWERS
            else 0.0
        )
        moved[(parts < _SMALLEST_MOVE) | (parts < few)] = 0.0
        return np.asarray(moved)


def _members(sums: SumConstraints, groups: IntArray) -> IntArray:
    """Return what moves when groups of one set are left out: the set, where it is complete."""
    if len(sums) == 0:
        return groups
    number = sums.set_index[groups[0]]
    mates = groups
    if number >= 0 and sums.complete[number]:
        mates = np.flatnonzero(sums.set_index == number)
    inner = np.flatnonzero(np.isin(sums.parent, groups))
    nested = np.flatnonzero(np.isin(sums.set_index, inner))
    return np.concatenate([mates, np.setdiff1d(nested, mates)])


def _without(
    sums: SumConstraints,
    groups: IntArray,
    members: IntArray,
    occupancy: FloatArray,
    information: FloatArray,
) -> FloatArray:
    """Return the changes of a set's members when some of them are left out."""
    same_set = (sums.set_index[members] == sums.set_index[groups[0]]) & ~np.isin(members, groups)
    same_set &= sums.set_index[groups[0]] >= 0
    others = members[same_set]
    change = np.where(same_set, 0.0, -occupancy[members])  # the groups, and all nested in them
    if len(others) == 0:
        return change
    total = occupancy[others].sum()
    share = occupancy[others] / total if total > 0 else np.full(len(others), 1 / len(others))
    start = share * (total + occupancy[groups].sum())  # ratios kept
    moved = start - occupancy[others]
    if len(others) > 1:
        h = information[np.ix_(others, others)]
        lost = information[np.ix_(others, groups)] @ occupancy[groups]
        gradient = lost - h @ moved
        ridge = 1e-6 * np.diag(np.maximum(np.diag(h), 1e-6))
        with suppress(QuadraticProgramError):  # ratios kept is a way to be without it, too
            moved = moved + solve_step(
                h + ridge, gradient, np.ones((1, len(others))), -start, 1 - start
            )
    change[same_set] = moved
    return change


def at_bound(sums: SumConstraints, occupancy: FloatArray) -> BoolArray:
    """Return which occupancies are 0 or 1, or alone at the limit of their set, to four decimals."""
    found = (occupancy < 5e-5) | (occupancy > 1 - 5e-5)
    for number, members in enumerate(sums.members):
        if len(members) == 1 and not sums.complete[number]:
            found[members] |= occupancy[members] > sums.wanted(number, occupancy) - 5e-5
    return np.asarray(found)
