"""The default rule: one group for each altloc part of a residue."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.atoms.connections import part_of_polymer
from multicopy_refinement.atoms.hydrogen_pairs import HydrogenPairs, find_hydrogen_pairs
from multicopy_refinement.atoms.numbering import number_in_order, number_residues
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.occupancy.automatic.uneven import rule_apart
from multicopy_refinement.occupancy.groups import OccupancyGroups, Why, group_means
from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.occupancy.values import (
    NEARLY_COMPLETE,
    RESOLUTION,
    SAME_OCCUPANCY,
    SAME_UNITS,
    GroupingResult,
    clamped_occupancies,
    cluster_values,
    normalise_sets,
    not_full,
)
from multicopy_refinement.words import counted


def group_by_residue(table: AtomTable) -> GroupingResult:
    """Return the groups of `residue_parts`, their sets scaled to the sums."""
    parts = residue_parts(table)
    return normalise_sets(parts.groups, list(parts.notices))


def residue_parts(table: AtomTable) -> GroupingResult:
    """Return one group for each altloc part of a residue, in sets that are to sum to 1 or less.

    A residue is a chain, a number and an insertion code. Its atoms fall apart by altloc. A part is
    one group; only a part with blank altloc falls apart further, by distinct occupancies.
    Hydrogens follow the atom that they are bound to. Two or more altloc parts of a residue are a
    set: complete in a polymer; in a ligand, water or ion complete where the file's values sum to
    0.95 or more, and otherwise at most 1, since there may be nothing in the rest of the molecules.
    Refined are groups with occupancy other than 1 and all members of sets.
    """
    occupancy, notices = clamped_occupancies(table)
    units = np.rint(occupancy / RESOLUTION).astype(np.int64)
    residue = number_residues(table)
    altloc = table.altloc.view(np.uint8)
    pairs = find_hydrogen_pairs(table, residue)
    part = _parts(residue, altloc, pairs)
    n_parts = int(part.max()) + 1 if len(part) else 0
    deciding = _deciding_atoms(table.hydrogen, part, n_parts)
    low, high = _extremes(units, part, n_parts, deciding)
    uneven = high - low > SAME_UNITS
    first = _first(part, n_parts)
    blank = altloc[first] == 0
    paired = np.zeros(n_parts, dtype=bool)
    paired[part[pairs.hydrogen]] = paired[part[pairs.deuterium]] = True
    group, rule = _split_blank_parts(table, units, part, deciding, uneven & blank)
    rule[: len(blank)][~blank] = Why.ALTLOC
    rule[: len(blank)][paired] = Why.HYDROGEN_PAIR
    notices += _notice_uneven(table, occupancy, residue, part, deciding, first[uneven & ~blank])
    used = group_means(occupancy, group, deciding, len(rule))
    set_index, residue_of_set = _altloc_sets(residue[first], blank | paired, len(rule))
    n_sets = len(residue_of_set)
    partial = _partial_sets(table, residue, set_index, residue_of_set, used)
    set_index[group[pairs.hydrogen]] = set_index[group[pairs.deuterium]] = n_sets + np.arange(
        len(pairs)
    )
    notices += _notice_followers(table, occupancy, group, used, ~deciding)
    notices += _notice_shared(table, units, group, deciding, used, uneven, blank)
    refined = not_full(used) | (set_index >= 0)
    order = number_in_order(group)  # groups are numbered as they appear in the file
    old = np.empty(len(rule), dtype=np.int64)
    old[order] = group
    sums = _sums(set_index, n_sets, group[pairs.parent], partial).renumbered(old)
    groups = OccupancyGroups(table, order, used[old], refined[old], rule[old], sums)
    return GroupingResult(groups, tuple(notices))


def _parts(residue: IntArray, altloc: np.ndarray, pairs: HydrogenPairs) -> IntArray:
    """Return the part of each atom: by residue and altloc, atoms of H/D pairs on their own."""
    key = residue * 256 + altloc
    if len(pairs):
        beyond = int(key.max()) + 1
        key[pairs.hydrogen] = beyond + 2 * np.arange(len(pairs))
        key[pairs.deuterium] = beyond + 2 * np.arange(len(pairs)) + 1
    return number_in_order(key)


def _sums(
    set_index: IntArray, first_pair: int, parent: IntArray, partial: BoolArray
) -> SumConstraints:
    """Return sets that sum to 1, at most 1 where partial, and pairs that sum to their parents."""
    n_sets = first_pair + len(parent)
    totals, above = np.ones(n_sets), np.full(n_sets, -1)
    above[first_pair:], totals[first_pair:] = parent, 0.0
    complete = np.concatenate([~partial, np.ones(len(parent), dtype=bool)])
    return SumConstraints(set_index, totals, complete, above)


def _deciding_atoms(hydrogen: BoolArray, part: IntArray, n_parts: int) -> BoolArray:
    """Return the atoms whose occupancy decides: all but hydrogens that have a heavy partner."""
    has_heavy = np.zeros(n_parts, dtype=bool)
    has_heavy[part[~hydrogen]] = True
    return ~hydrogen | ~has_heavy[part]


def _extremes(
    units: IntArray, part: IntArray, n_parts: int, deciding: BoolArray
) -> tuple[IntArray, IntArray]:
    low = np.full(n_parts, np.iinfo(np.int64).max)
    high = np.full(n_parts, np.iinfo(np.int64).min)
    np.minimum.at(low, part[deciding], units[deciding])
    np.maximum.at(high, part[deciding], units[deciding])
    return low, high


def _first(part: IntArray, n_parts: int) -> IntArray:
    first = np.empty(n_parts, dtype=np.int64)
    first[part[::-1]] = np.arange(len(part))[::-1]
    return first


def _split_blank_parts(
    table: AtomTable, units: IntArray, part: IntArray, deciding: BoolArray, split: BoolArray
) -> tuple[IntArray, IntArray]:
    """Return groups and rules after splitting blank parts, one group per distinct occupancy."""
    group = part.copy()
    n_groups = len(split)
    rules = [int(Why.RESIDUE)] * n_groups
    if not split.any():
        return group, np.array(rules, dtype=np.int64)
    order = np.argsort(part, kind="stable")
    start = np.searchsorted(part[order], np.arange(len(split) + 1))
    for number in np.flatnonzero(split).tolist():
        atoms = order[start[number] : start[number + 1]]
        heavy = atoms[deciding[atoms]]
        cluster = cluster_values(units[heavy])
        for value in range(1, int(cluster.max()) + 1):
            group[heavy[cluster == value]] = n_groups + value - 1
        rules[number] = int(Why.VALUE)
        rules += [int(Why.VALUE)] * int(cluster.max())
        n_groups += int(cluster.max())
        for atom in atoms[~deciding[atoms]]:
            distance = np.linalg.norm(table.xyz[heavy] - table.xyz[atom], axis=1)
            group[atom] = group[heavy[np.argmin(distance)]]
    return group, np.array(rules, dtype=np.int64)


def _altloc_sets(
    residue_of_part: IntArray, blank: BoolArray, n_groups: int
) -> tuple[IntArray, IntArray]:
    """Return the set of each group, and the residue of each set: one with two or more altlocs."""
    altlocs = np.bincount(
        residue_of_part[~blank], minlength=int(residue_of_part.max(initial=0)) + 1
    )
    member = np.flatnonzero(~blank & (altlocs[residue_of_part] >= 2))
    residues, number = np.unique(residue_of_part[member], return_inverse=True)
    set_index = np.full(n_groups, -1)
    set_index[member] = number
    return set_index, residues


def _partial_sets(
    table: AtomTable, residue: IntArray, set_index: IntArray, residue_of_set: IntArray,
    occupancy: FloatArray,
) -> BoolArray:  # fmt: skip
    """Return which sets may be absent from some molecules, ``[n_sets]``."""
    member = set_index >= 0
    total = np.bincount(set_index[member], occupancy[member], minlength=len(residue_of_set))
    partial = np.round(total, 6) < NEARLY_COMPLETE
    partial[partial] = ~part_of_polymer(table, residue, residue_of_set[partial])
    return np.asarray(partial)


# ---------------------------------------------------------------------- notices


def _notice_uneven(
    table: AtomTable, occupancy: FloatArray, residue: IntArray, part: IntArray,
    deciding: BoolArray, first_atoms: IntArray,
) -> list[Notice]:  # fmt: skip
    """Name the altloc parts whose atoms differ in occupancy: they share their mean."""
    notices = []
    for first in first_atoms.tolist():
        whole = np.flatnonzero(part == part[first])
        atoms = whole[deciding[whole]]
        values = occupancy[atoms]
        labels = table.labels(atoms)
        notices.append(
            Notice(
                "uneven_part",
                f"{table.residue_label(first)}:{table.altloc[first].decode()}: "
                f"occupancies from {values.min():.2f} to {values.max():.2f} in one conformer; its "
                f"atoms share their mean {values.mean():.3f}; to keep them apart, a rule: "
                f"{rule_apart(table, residue, occupancy, whole)}",
                labels,
            )
        )
    return notices


def _notice_followers(
    table: AtomTable, occupancy: FloatArray, group: IntArray, value: FloatArray,
    follower: BoolArray,
) -> list[Notice]:  # fmt: skip
    """Name hydrogens that take another occupancy than the file gives them."""
    off = follower & (np.abs(occupancy - value[group]) > SAME_OCCUPANCY + RESOLUTION / 2)
    if not off.any():
        return []
    labels = table.labels(off)
    return [
        Notice(
            "hydrogen_occupancy",
            f"{counted(len(labels), 'hydrogen', 'take')} the occupancy of the atom bound to "
            f"{'it' if len(labels) == 1 else 'them'}: {listed(list(labels))}",
            labels,
        )
    ]


def _notice_shared(
    table: AtomTable, units: IntArray, group: IntArray, deciding: BoolArray, value: FloatArray,
    uneven: BoolArray, blank: BoolArray,
) -> list[Notice]:  # fmt: skip
    """Name atoms whose occupancy changes because values within 0.01 are one value."""
    changed = deciding & (np.abs(units * RESOLUTION - value[group]) > RESOLUTION / 2)
    reported = np.zeros(len(value), dtype=bool)
    reported[: len(blank)] = uneven & ~blank
    changed &= ~reported[group]
    if not changed.any():
        return []
    labels = table.labels(changed)
    return [
        Notice(
            "shared_value",
            f"{counted(len(labels), 'atom', 'take')} the mean of the group, which is "
            f"within 0.01 of the own occupancy: {listed(list(labels))}",
            labels,
        )
    ]
