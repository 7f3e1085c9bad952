"""What the data say of a group's absence, and which members they cannot tell apart."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.parallel import in_threads
from multicopy_refinement.posterior.blocks import Kind, Point
from multicopy_refinement.posterior.posterior import Posterior
from multicopy_refinement.solve.covariance import UNDETERMINED_SU, Covariance
from multicopy_refinement.solve.quadratic import QuadraticProgramError, solve_step


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


def evidence(posterior: Posterior, at: Point, found: Covariance) -> FloatArray:
    """Return the log-likelihood gain of each group over its absence, ``[n_groups]``.

    Absent means q_g = 0 and the rest of its set at its best by the quadratic model, evaluated with
    the full likelihood; the rest of the model is held.
    """
    data, sums, occupancy = posterior.data, posterior.sums, at[Kind.OCCUPANCY]
    f = data.forward.f_model(at)
    here = data.value_of(f)
    gains = np.empty(len(occupancy))

    def work(first: int, last: int) -> None:
        for group in range(first, last):
            members = _members(sums, group)
            after = occupancy.copy()
            after[members] += _without(sums, group, members, occupancy, found.information)
            after = sums.restored(after, tolerance=1e-9)  # what is nested follows
            moved = np.flatnonzero(after != occupancy)
            change = data.forward.change(at, moved, (after - occupancy)[moved])
            gains[group] = here - data.value_of(f + change)

    in_threads(work, len(occupancy))
    return gains


def _members(sums: SumConstraints, group: int) -> IntArray:
    """Return what moves when a group is left out: its complete set, and what it is parent of."""
    number = sums.set_index[group]
    if number < 0 or not sums.complete[number]:
        mates = np.array([group])
    else:
        mates = np.flatnonzero(sums.set_index == number)
    inner = np.flatnonzero(sums.parent == group)
    return np.concatenate([mates, np.flatnonzero(np.isin(sums.set_index, inner))])


def _without(
    sums: SumConstraints,
    group: int,
    members: IntArray,
    occupancy: FloatArray,
    information: FloatArray,
) -> FloatArray:
    """Return the changes of a set's members when one of them is left out."""
    same_set = (sums.set_index[members] == sums.set_index[group]) & (members != group)
    others = members[same_set]
    change = np.where(same_set, 0.0, -occupancy[members])  # the group, and all that is nested in it
    if len(others) == 0:
        return change
    total = occupancy[others].sum()
    share = occupancy[others] / total if total > 0 else np.full(len(others), 1 / len(others))
    start = share * (total + occupancy[group])  # ratios kept
    moved = start - occupancy[others]
    if len(others) > 1:
        h = information[np.ix_(others, others)]
        lost = information[np.ix_(others, [group])][:, 0] * occupancy[group]
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
