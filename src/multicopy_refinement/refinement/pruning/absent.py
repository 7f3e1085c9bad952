"""Which groups go next: those that the data support least, as many as do not depend on another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import BoolArray
from multicopy_refinement.occupancy.groups import OccupancyGroups
from multicopy_refinement.occupancy.reduced import nested_within
from multicopy_refinement.refinement.discoveries import DISCOVERY_RATE
from multicopy_refinement.refinement.found import Flag, Found, Ligand, State
from multicopy_refinement.refinement.maximum import Maximum
from multicopy_refinement.refinement.solution import Solution
from multicopy_refinement.solve.covariance import Covariance

#: Groups that go in one step are less correlated than this, and farther apart, in A.
UNCORRELATED, APART = 0.1, 4.0


@dataclass(frozen=True)
class Doubtful:
    """A group, or several of which only the sum is known, that the data do not support.

    Attributes
    ----------
    name, groups, members, n_atoms
        What it is; the names of its groups, and how many atoms go with it.
    occupancy, su, p_absent, gain, gain_free
        What was found of it.
    """

    name: str
    groups: tuple[int, ...]
    occupancy: float
    su: float
    p_absent: float
    gain: float
    gain_free: float
    members: tuple[str, ...]
    n_atoms: int


def doubtful_groups(solution: Solution) -> list[Doubtful]:
    """Return what is not supported, that with the largest p_absent first."""
    groups, found = solution.groups, solution.results
    doubtful = [
        _doubtful(groups, solution[groups.names[g]], (g,))
        for g, flags in enumerate(found.flags)
        if Flag.NOT_SUPPORTED in flags
    ]
    known = {one.groups for one in doubtful}
    sums: tuple[Ligand | State, ...] = (*solution.ligands, *solution.states)
    for one in sums:
        members = tuple(g for g in one.groups if groups.refined[g])
        unknown = all(Flag.UNDETERMINED in found.flags[g] for g in members)
        if Flag.NOT_SUPPORTED in one.flags and unknown and members not in known:
            known.add(members)
            doubtful.append(_doubtful(groups, one, members))
    return sorted(doubtful, key=lambda one: (-one.p_absent, one.gain, one.name))


def _doubtful(
    groups: OccupancyGroups, one: Found | Ligand | State, members: tuple[int, ...]
) -> Doubtful:
    going = nested_within(groups.sums, list(members))
    return Doubtful(
        one.name, members, one.occupancy, one.su, one.p_absent, one.delta_log_likelihood,
        one.delta_log_likelihood_free, tuple(groups.names[g] for g in going),
        int(np.isin(groups.index, going).sum()),
    )  # fmt: skip


def may_go(one: Doubtful, groups: OccupancyGroups, protected: BoolArray) -> bool:
    """Return whether nothing of what would go is protected; ``protected`` is of atoms."""
    going = nested_within(groups.sums, list(one.groups))
    return not protected[np.isin(groups.index, going)].any()


def next_to_go(doubtful: list[Doubtful], best: Maximum) -> list[Doubtful]:
    """Return the first of what is doubtful, and others that it cannot change.

    Another goes in the same step when its p exceeds the false discovery rate, so that it would not
    pass with any number of other groups, and when it is in another set, away from and uncorrelated
    with all that go: to second order the likelihood it gains does not depend on them then.
    """
    chosen = doubtful[:1]
    for one in doubtful[1:]:
        if one.p_absent > DISCOVERY_RATE and all(_apart(one, other, best) for other in chosen):
            chosen.append(one)
    return chosen


def _apart(one: Doubtful, other: Doubtful, best: Maximum) -> bool:
    groups = best.solution.groups
    mine, theirs = (nested_within(groups.sums, list(x.groups)) for x in (one, other))
    sets = [{int(s) for s in groups.set_index[g] if s >= 0} for g in (mine, theirs)]
    if sets[0] & sets[1] or best.covariance is None:
        return False
    table = groups.table
    xyz = [table.xyz[np.isin(groups.index, g)] for g in (mine, theirs)]
    distance = np.linalg.norm(xyz[0][:, None] - xyz[1][None], axis=2)
    return bool(distance.min() > APART) and _correlation(one, other, best) < UNCORRELATED


def _correlation(one: Doubtful, other: Doubtful, best: Maximum) -> float:
    """Return |r| of two sums of occupancies; 1 where one does not vary."""
    found = best.covariance
    assert isinstance(found, Covariance)
    rows = [np.isin(best.refined, x.groups).astype(np.float64) for x in (one, other)]
    across = [float(a @ found.matrix @ b) for a, b in ((rows[0], rows[0]), (rows[1], rows[1]),
                                                       (rows[0], rows[1]))]  # fmt: skip
    if min(across[:2]) <= 0:
        return 1.0
    return abs(across[2]) / float(np.sqrt(across[0] * across[1]))
