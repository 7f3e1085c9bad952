"""What the uncertainties say of each group: flags, states, and a notice of what is undetermined."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.occupancy.groups import OccupancyGroups
from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.posterior.blocks import Kind, Point
from multicopy_refinement.refinement.course import Relaxation
from multicopy_refinement.refinement.found import (
    AtomUncertainties,
    Correlations,
    Flag,
    GroupResults,
    State,
)
from multicopy_refinement.refinement.support import Support
from multicopy_refinement.solve.covariance import Covariance, simplex_sd
from multicopy_refinement.solve.evidence import coincident_members
from multicopy_refinement.words import counted

#: A value is indistinguishable from a bound when it is nearer to it than this many su.
NEAR = 2.0
#: Ratio of the su by scatter to su that is flagged.
POOR_FIT = 1.5
#: Correlation of occupancy and B shift that is flagged.
CORRELATED = 0.8
#: Coordinates and B that are held are off where refining them would change an occupancy by more
#: than this times what they add to its su, and by more than its su.
HELD_OFF = 3.0

#: Rows of a large matrix that are looked at at once.
_PANEL = 256


def group_results(
    groups: OccupancyGroups, refined: IntArray, at: Point, found: Covariance, support: Support,
    bounded: BoolArray, fit: FloatArray, atom_su: AtomUncertainties | None, change: FloatArray,
) -> GroupResults:  # fmt: skip
    """Return the results of all groups from those of the refined ones.

    ``bounded`` is what `at_bound` says, ``fit`` what `misfit` says, ``atom_su`` what is known of
    the atoms, ``change`` by how much occupancies would change with coordinates and B.
    """
    occupancy, beside = at[Kind.OCCUPANCY], found.others.get(Kind.B_GROUP)
    blank = np.full(len(groups), np.nan)

    def spread(values: FloatArray | None) -> FloatArray:
        full = blank.copy()
        if values is not None:
            full[refined] = values
        return full

    su = found.su
    relaxed = np.clip(occupancy + change, 0.0, _highest(found.sums))
    relaxed[np.isnan(su)] = np.nan
    off = held_off(relaxed - occupancy, su, found.su_conditional)
    correlation = None if beside is None else beside.correlation
    flags: list[tuple[Flag, ...]] = [()] * len(groups)
    for i, group in enumerate(refined.tolist()):
        flags[group] = flags_of(
            float(occupancy[i]), float(su[i]),
            0.0 if correlation is None else float(correlation[i]), float(fit[i]),
            bounded=bool(bounded[i]), supported=bool(support.supported[i]), off=bool(off[i]),
        )  # fmt: skip
    b_su = None if beside is None else np.where(np.isfinite(su), beside.su, np.nan)
    of_xyz, of_b = blank.copy(), blank.copy()
    if atom_su is not None:
        for group in refined.tolist():
            atoms = groups.members[group]
            known = np.isfinite(atom_su.xyz[atoms])
            if known.any():
                of_xyz[group] = atom_su.xyz[atoms][known].mean()
                of_b[group] = atom_su.b[atoms][known].mean()
    shares = np.zeros(len(groups), dtype=bool)
    if found.common_factor is not None:
        shares[refined] = found.common_factor > 0
    return GroupResults(
        su=spread(su), su_conditional=spread(found.su_conditional),
        delta_b=spread(at.get(Kind.B_GROUP)), delta_b_su=spread(b_su),
        b_correlation=spread(correlation), delta_log_likelihood=spread(support.gain),
        delta_log_likelihood_free=spread(support.gain_free), wald=spread(support.wald),
        p_absent=spread(support.p_absent), misfit=spread(fit), su_xyz=of_xyz, b_su=of_b,
        share_factor=shares,
        flags=tuple(flags), of_differences=spread(support.of_differences),
        relaxed=spread(relaxed),
    )  # fmt: skip


def flags_of(
    occupancy: float, su: float, correlation: float, fit: float, *, bounded: bool, supported: bool,
    off: bool = False,
) -> tuple[Flag, ...]:  # fmt: skip
    """Return what is to be known of an occupancy; ``fit`` is its misfit."""
    flags = []
    if np.isnan(su):
        flags.append(Flag.UNDETERMINED)
    elif not supported:
        flags.append(Flag.NOT_SUPPORTED)
    if bounded:
        flags.append(Flag.AT_BOUND)
    if occupancy < NEAR * su:
        flags.append(Flag.INDISTINGUISHABLE_FROM_0)
    if 1 - occupancy < NEAR * su:
        flags.append(Flag.INDISTINGUISHABLE_FROM_1)
    if abs(correlation) > CORRELATED:
        flags.append(Flag.CORRELATED_WITH_B)
    if fit > POOR_FIT:
        flags.append(Flag.POOR_FIT)
    if off:
        flags.append(Flag.HELD_OFF)
    return tuple(flags)


def _highest(sums: SumConstraints) -> FloatArray:
    """Return what each occupancy can be at most by itself: on a symmetry element less than 1."""
    rows, most = sums.limits
    found = np.ones(len(sums.set_index))
    alone = np.flatnonzero((rows != 0).sum(axis=1) == 1)
    for row in alone.tolist():
        (group,) = np.flatnonzero(rows[row])
        found[group] = min(found[group], most[row])
    return found


def held_off(change: FloatArray, su: FloatArray, su_conditional: FloatArray) -> BoolArray:
    """Return whether the data would have coordinates or B that are held elsewhere, bool ``[n]``.

    Were they right, the occupancy with them held would be the better one, and that with them
    refined would differ from it by su^2 - su_conditional^2 in the variance (Hausman 1978,
    Econometrica 46, 1251): by how much more it does is a test of what is held.
    """
    added = np.sqrt(np.maximum(su**2 - su_conditional**2, 0.0))
    with np.errstate(invalid="ignore"):
        return np.asarray((np.abs(change) > su) & (np.abs(change) > HELD_OFF * added))


@dataclass(frozen=True, eq=False)
class StateMembers:
    """Groups whose sum is told as that of a state.

    Attributes
    ----------
    name
        Of the state.
    places
        Of its members among the refined groups.
    flat
        Standard deviation of their sum if nothing is known of it.
    of_model
        Whether it is told in any case: a state of the model; else where the data determine it.
    """

    name: str
    places: IntArray
    flat: float
    of_model: bool


def state_members(
    groups: OccupancyGroups, refined: IntArray, found: Covariance
) -> list[StateMembers]:
    """Return the states of the model, and the sums of members that coincide.

    A complete set in which all coincide has no such sum beside its total; one that may sum to less
    has. Members that coincide are one for the question what would be known of the sum without
    data.
    """
    place, states = {group: i for i, group in enumerate(refined.tolist())}, groups.states
    of_model = [
        StateMembers(
            one.name, np.array([place[g] for g in one.groups]), simplex_sd(1, len(states)),
            of_model=True,
        )
        for one in states
        if groups.refined[list(one.groups)].all()
    ]  # fmt: skip
    known = [sorted(one.places.tolist()) for one in of_model]
    coinciding = []
    for number, clusters in enumerate(coincident_members(found.sums, found)):
        open_ = not found.sums.complete[number]
        if all(len(cluster) == 1 for cluster in clusters) or (len(clusters) < 2 and not open_):
            continue
        flat = simplex_sd(1, len(clusters) + open_)
        for cluster in [c for c in clusters if c not in known]:
            name = _state_name(groups, [int(refined[m]) for m in cluster])
            coinciding.append(StateMembers(name, np.array(cluster), flat, of_model=False))
    return of_model + coinciding


def determined_states(
    refined: IntArray, at: Point, members: list[StateMembers], support: Support, su: FloatArray,
    su_conditional: FloatArray,
) -> tuple[State, ...]:  # fmt: skip
    """Return the states of `state_members` with their support and the su of their sums."""
    states = []
    for i, one in enumerate(members):
        undetermined = bool(np.isnan(su[i]))
        if undetermined and not one.of_model:
            continue
        occupancy = float(at[Kind.OCCUPANCY][one.places].sum())
        flags: tuple[Flag, ...] = () if support.supported[i] else (Flag.NOT_SUPPORTED,)
        states.append(
            State(
                one.name, tuple(int(refined[m]) for m in one.places.tolist()), occupancy,
                float(su[i]), float(su_conditional[i]), float(support.gain[i]),
                float(support.gain_free[i]), float(support.wald[i]), float(support.p_absent[i]),
                (Flag.UNDETERMINED,) if undetermined else flags,
            )
        )  # fmt: skip
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
    set_index = sums.set_index
    most_of = np.empty(len(known))
    for start in range(0, len(known), _PANEL):
        own = known[start : start + _PANEL]
        size = np.abs(found.matrix[np.ix_(own, known)]) / (su[own, None] * su[known])
        mates = (set_index[own, None] == set_index[known]) & (set_index[own, None] >= 0)
        size[mates | (own[:, None] == known)] = 0.0
        most_of[start : start + _PANEL] = size.max(axis=1)
    chosen = np.sort(known[np.argsort(-most_of, kind="stable")[:most]])
    between = found.matrix[np.ix_(chosen, chosen)] / np.outer(su[chosen], su[chosen])
    return Correlations(tuple(refined[chosen].tolist()), between)


def _state_name(groups: OccupancyGroups, members: list[int]) -> str:
    first = groups.names[members[0]]
    letters = [groups.names[g].rpartition(":")[2] for g in members]
    return f"{first.rpartition(':')[0]}:{'+'.join(letters)}"


def notices_of_atoms(table: AtomTable, relaxation: Relaxation | None) -> tuple[Notice, ...]:
    """Return notices of atoms whose B went to the highest that it may be, or whose U is shared."""
    if relaxation is None:
        return ()
    notices = []
    for code, atoms, text in (
        (
            "b_at_limit", relaxation.faint,
            "B of {} went to the highest that it may be: the data have nothing there",
        ),
        (
            "shared_u", relaxation.shared,
            "{} of several conformers had one U in the file, to the last figure, and keep one",
        ),
    ):  # fmt: skip
        if len(atoms):
            labels = table.labels(atoms)
            said = text.format(counted(len(labels), "atom"))
            notices.append(Notice(code, f"{said}: {listed(list(labels))}", labels))
    return tuple(notices)


def held_off_notice(groups: OccupancyGroups, results: GroupResults) -> tuple[Notice, ...]:
    """Return a notice that names the groups whose held coordinates or B the data refuse."""
    chosen = [g for g, flags in enumerate(results.flags) if Flag.HELD_OFF in flags]
    if not chosen:
        return ()
    named = [f"{groups.names[g]} (about {results.relaxed[g]:.2f})" for g in chosen]
    count = counted(len(named), "group")
    return (
        Notice(
            "held_off",
            f"the data would have coordinates or B elsewhere that are held near {count}, and with "
            "them refined (--parameters occupancy,xyz,b_iso) another occupancy: "
            f"{listed(named, 12)}",
            groups.table.labels(np.isin(groups.index, chosen)),
        ),
    )


def undetermined_notice(
    groups: OccupancyGroups, results: GroupResults, states: tuple[State, ...] = ()
) -> tuple[Notice, ...]:
    """Return notices that name the groups whose occupancy the data do not determine.

    Those in sums that are determined are counted. Those of which only a common factor is missing
    have an su conditional on it.
    """
    flagged = np.array([Flag.UNDETERMINED in flags for flags in results.flags], dtype=bool)
    scaled = flagged & np.isfinite(results.su_conditional) & results.share_factor
    notices = []
    if scaled.any():
        chosen = np.flatnonzero(scaled)
        names = [groups.names[g] for g in chosen.tolist()]
        notices.append(
            Notice(
                "common_factor",
                f"the occupancies of {len(names)} groups are known up to a common factor: next to "
                "nothing is held beside them, and the scale undoes it. Hold what is known to be "
                f"full by a rule (fix = [...]): {listed(names, 12)}",
                groups.table.labels(np.isin(groups.index, chosen)),
            )
        )
    rest = np.flatnonzero(flagged & ~scaled)
    if len(rest):
        names = [groups.names[g] for g in rest.tolist()]
        summed = {g for one in states if np.isfinite(one.su) for g in one.groups}
        n_summed = len(summed & set(rest.tolist()))
        sums = f"; sums that hold {n_summed} of them are determined (states)" if n_summed else ""
        notices.append(
            Notice(
                "undetermined",
                f"the data do not determine the occupancy of {counted(len(names), 'group')}; "
                f"{'it keeps what it' if len(names) == 1 else 'they keep what they'} had as far as "
                f"set and likelihood allow: "
                f"{listed(names, 12)}{sums}",
                groups.table.labels(np.isin(groups.index, rest)),
            )
        )
    return tuple(notices)
