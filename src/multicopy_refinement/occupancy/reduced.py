"""Groups of a model that has lost atoms: sets that stay as they were, or end with one member."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.atoms.numbering import number_residues
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.occupancy.groups import ModelState, OccupancyGroups, Restraint, Why
from multicopy_refinement.occupancy.sums import SumConstraints

#: Totals and occupancies that are 1.
_ONE = 1 - 1e-6


def nested_within(sums: SumConstraints, groups: list[int]) -> list[int]:
    """Return groups with all that sum to one of them, and so on: what goes when they go."""
    found = list(dict.fromkeys(groups))
    for group in found:  # grows while it is walked
        for number in np.flatnonzero(sums.parent == group).tolist():
            found += [g for g in sums.members[number].tolist() if g not in found]
    return found


def settled(sums: SumConstraints, left: BoolArray) -> IntArray:
    """Return the groups, of those that are ``left``, that are alone in a sum of 1 now."""
    found = []
    for number, members in enumerate(sums.members):
        here = members[left[members]]
        whole = sums.complete[number] and sums.parent[number] < 0 and sums.totals[number] > _ONE
        if whole and len(here) == 1 and len(members) > 1:
            found.append(int(here[0]))
    return np.array(found, dtype=np.int64)


def reduced(
    groups: OccupancyGroups, table: AtomTable, kept: BoolArray, index: IntArray,
    occupancy: FloatArray,
) -> OccupancyGroups:  # fmt: skip
    """Return the groups of the atoms that are left.

    A member that is alone in a sum of 1 is there always: it is held at 1. All other sums stay:
    partners in a complete set take the share of what has gone, ratios kept; what sums to at most
    a total keeps its occupancies.

    Parameters
    ----------
    groups
        Those of all atoms; no group is left in a set whose parent has gone (`nested_within`).
    table
        The atoms that are left.
    kept
        Which of the atoms they are, ``[n_atoms]``.
    index
        Group of every atom now, ``[n_atoms]``: some may have another than before. Numbers beyond
        the groups are of new ones, which are held.
    occupancy
        Of the groups, and of new ones behind them.
    """
    n = len(occupancy)
    more = n - len(groups)
    refined = np.concatenate([groups.refined, np.zeros(more, dtype=bool)])
    rule = np.concatenate([groups.rule, np.full(more, Why.RESIDUE)])
    set_index = np.concatenate([groups.set_index, np.full(more, -1)])
    q, here = occupancy.copy(), index[kept]
    alone = settled(replace(groups.sums, set_index=set_index), np.isin(np.arange(n), here))
    q[alone], refined[alone], set_index[alone] = 1.0, False, -1
    here = _joined(table, here, ~refined & (q > _ONE))
    _, first = np.unique(here, return_index=True)
    present = here[np.sort(first)]
    place = np.full(n, -1)
    place[present] = np.arange(len(present))
    sums = replace(groups.sums, set_index=set_index).renumbered(present)
    held = ~refined[present]
    changed = np.append(alone, np.arange(len(groups), n))
    named = {g: t for g, t in groups.labels.items() if place[g] >= 0 and g not in changed}
    return OccupancyGroups(
        table, place[here], sums.restored(q[present], held, tolerance=1e-9),
        refined[present], rule[present], sums,
        restraints=tuple(r for r in (_restraint(r, place) for r in groups.restraints) if r),
        labels={int(place[g]): text for g, text in named.items()},
        set_labels={
            number: groups.sets[int(set_index[present[members[0]]])].name
            for number, members in enumerate(sums.members)
        },
        states=tuple(s for s in (_state(s, place) for s in groups.states) if s.groups),
    )  # fmt: skip


def _joined(table: AtomTable, group: IntArray, full: BoolArray) -> IntArray:
    """Return the groups of atoms; what is full and without altloc is one in each residue."""
    atoms = np.flatnonzero(full[group] & (table.altloc == b""))
    residue = number_residues(table)[atoms]
    first = {int(r): int(g) for r, g in zip(residue[::-1], group[atoms][::-1], strict=True)}
    joined = group.copy()
    joined[atoms] = [first[int(r)] for r in residue]
    return joined


def _restraint(one: Restraint, place: IntArray) -> Restraint | None:
    """Return a restraint of what is left of its groups; others are 0."""
    kept = [i for i, g in enumerate(one.groups) if place[g] >= 0]
    if not kept:
        return None
    return replace(
        one, groups=tuple(int(place[one.groups[i]]) for i in kept),
        weights=tuple(one.weights[i] for i in kept),
    )  # fmt: skip


def _state(one: ModelState, place: IntArray) -> ModelState:
    return replace(one, groups=tuple(int(place[g]) for g in one.groups if place[g] >= 0))
