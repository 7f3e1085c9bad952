"""What the uncertainties say of each group: flags, states, and a notice of what is undetermined."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.occupancy.groups import OccupancyGroups
from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.posterior.blocks import Kind, Point
from multicopy_refinement.refinement.solution import Correlations, Flag, GroupResults, State
from multicopy_refinement.solve.covariance import Covariance
from multicopy_refinement.solve.evidence import coincident_members

#: A value is indistinguishable from a bound when it is nearer to it than this many su.
NEAR = 2.0
#: Correlation of occupancy and B shift that is flagged.
CORRELATED = 0.8


def group_results(
    groups: OccupancyGroups, refined: IntArray, at: Point, found: Covariance, gains: FloatArray,
    bounded: BoolArray,
) -> GroupResults:  # fmt: skip
    """Return the results of all groups from those of the refined ones; `at_bound` says bounded."""
    occupancy, beside = at[Kind.OCCUPANCY], found.others.get(Kind.B_GROUP)
    blank = np.full(len(groups), np.nan)

    def spread(values: FloatArray | None) -> FloatArray:
        full = blank.copy()
        if values is not None:
            full[refined] = values
        return full

    su = found.su
    flags: list[tuple[Flag, ...]] = [()] * len(groups)
    for i, group in enumerate(refined.tolist()):
        related = None if beside is None else beside.correlation
        correlation = 0.0 if related is None else float(related[i])
        flags[group] = _flags(
            float(occupancy[i]), float(su[i]), correlation, bounded=bool(bounded[i])
        )
    b_su = None if beside is None else np.where(np.isfinite(su), beside.su, np.nan)
    return GroupResults(
        spread(su), spread(at.get(Kind.B_GROUP)), spread(b_su),
        spread(None if beside is None else beside.correlation), spread(gains), tuple(flags),
    )  # fmt: skip


def _flags(occupancy: float, su: float, correlation: float, *, bounded: bool) -> tuple[Flag, ...]:
    flags = []
    if np.isnan(su):
        flags.append(Flag.UNDETERMINED)
    if bounded:
        flags.append(Flag.AT_BOUND)
    if occupancy < NEAR * su:
        flags.append(Flag.INDISTINGUISHABLE_FROM_0)
    if 1 - occupancy < NEAR * su:
        flags.append(Flag.INDISTINGUISHABLE_FROM_1)
    if abs(correlation) > CORRELATED:
        flags.append(Flag.CORRELATED_WITH_B)
    return tuple(flags)


def determined_states(
    groups: OccupancyGroups, refined: IntArray, at: Point, sums: SumConstraints, found: Covariance
) -> tuple[State, ...]:
    """Return the sums of members that coincide, for sets in which some do but not all."""
    states, occupancy = [], at[Kind.OCCUPANCY]
    for clusters in coincident_members(sums, found):
        if len(clusters) < 2 or all(len(cluster) == 1 for cluster in clusters):
            continue
        for cluster in clusters:
            combination = np.zeros(len(occupancy))
            combination[cluster] = 1.0
            su = found.su_of(combination)
            if np.isfinite(su):
                members = tuple(int(refined[i]) for i in cluster)
                states.append(
                    State(
                        _state_name(groups, members), members, float(occupancy[cluster].sum()), su
                    )
                )
    return tuple(states)


def worst_correlations(
    found: Covariance, refined: IntArray, sums: SumConstraints, most: int = 12
) -> Correlations | None:
    """Return the correlations of the groups that depend most on others than their set's members.

    The last member of a complete set is what the others leave: it is left out.
    """
    su = np.sqrt(np.maximum(np.diag(found.matrix), 0.0))
    last = [int(sums.members[i][-1]) for i in np.flatnonzero(sums.complete) if len(sums.members[i])]
    wanted = np.isfinite(found.su) & (su > 0)
    wanted[last] = False
    known = np.flatnonzero(wanted)
    if len(known) < 2:
        return None
    matrix = found.matrix[np.ix_(known, known)] / np.outer(su[known], su[known])
    set_index = sums.set_index[known]
    mates = (set_index[:, None] == set_index) & (set_index >= 0)
    size = np.where(mates | np.eye(len(known), dtype=bool), 0.0, np.abs(matrix))
    chosen: list[int] = []
    for pair in np.argsort(-size, axis=None, kind="stable").tolist():
        chosen += [g for g in divmod(pair, len(known)) if g not in chosen]
        if len(chosen) >= min(most, len(known)):
            break
    chosen = sorted(chosen[:most])
    return Correlations(
        tuple(int(refined[known[i]]) for i in chosen), matrix[np.ix_(chosen, chosen)]
    )


def _state_name(groups: OccupancyGroups, members: tuple[int, ...]) -> str:
    first = groups.names[members[0]]
    letters = [groups.names[g].rpartition(":")[2] for g in members]
    return f"{first.rpartition(':')[0]}:{'+'.join(letters)}"


def undetermined_notice(groups: OccupancyGroups, results: GroupResults) -> tuple[Notice, ...]:
    """Return a notice that names the groups whose occupancy the data do not determine."""
    names = [groups.names[g] for g, flags in enumerate(results.flags) if Flag.UNDETERMINED in flags]
    if not names:
        return ()
    atoms = np.isin(
        groups.index, [g for g, f in enumerate(results.flags) if Flag.UNDETERMINED in f]
    )
    return (
        Notice(
            "undetermined",
            f"the data do not determine the occupancy of {len(names)} "
            f"groups; they keep what they had as far as set and likelihood allow: "
            f"{listed(names, 12)}",
            groups.table.labels(atoms),
        ),
    )
