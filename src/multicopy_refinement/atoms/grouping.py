"""The rules that turn a table of atoms into occupancy groups and sets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.atoms.groups import OccupancyGroups, Why
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.notices import Notice, listed

#: Occupancies that differ by no more than this (inclusive, as written) are one value.
SAME_OCCUPANCY = 0.01
#: A group is refined when its occupancy differs from 1 by more than this.
FULL_TOLERANCE = 0.001
#: Occupancies are compared as multiples of this, so that 0.60 and 0.61 differ by exactly 0.01.
RESOLUTION = 1e-4
_SAME_UNITS = round(SAME_OCCUPANCY / RESOLUTION)


class Grouping(StrEnum):
    """How atoms are put into occupancy groups."""

    RESIDUE = "residue"
    COPIES = "copies"


@dataclass(frozen=True, eq=False)
class GroupingResult:
    """Groups and what was noticed while they were made."""

    groups: OccupancyGroups
    notices: tuple[Notice, ...]


def group_atoms(table: AtomTable, grouping: Grouping = Grouping.RESIDUE) -> GroupingResult:
    """Return the groups of a table by the rules named."""
    return {Grouping.RESIDUE: group_by_residue, Grouping.COPIES: group_by_copy}[grouping](table)


def group_by_residue(table: AtomTable) -> GroupingResult:
    """Return one group for each altloc part of a residue, in sets that sum to 1.

    A residue is a chain, a number and an insertion code. Its atoms fall apart by altloc. A part is
    one group; only a part with blank altloc falls apart further, by distinct occupancies.
    Hydrogens follow the atom that they are bound to. Two or more altloc parts of a residue are a
    complete set. Refined are groups with occupancy other than 1 and all members of sets.
    """
    written = table.occupancy
    table, notices = clamp_occupancies(table)
    units = np.rint(table.occupancy / RESOLUTION).astype(np.int64)
    residue = number_residues(table)
    altloc = table.altloc.view(np.uint8)
    part = number_in_order(residue * 256 + altloc)
    n_parts = int(part.max()) + 1 if len(part) else 0
    deciding = _deciding_atoms(table.hydrogen, part, n_parts)
    low, high = _extremes(units, part, n_parts, deciding)
    uneven = high - low > _SAME_UNITS
    first = _first(part, n_parts)
    blank = altloc[first] == 0
    group, rule = _split_blank_parts(table, units, part, deciding, uneven & blank)
    rule[: len(blank)][~blank] = Why.ALTLOC
    notices += _notice_uneven(table, part, deciding, first[uneven & ~blank])
    used = _means(table.occupancy, group, deciding, len(rule))
    file_occupancy = used
    if written is not table.occupancy:
        file_occupancy = _means(written, group, deciding, len(rule))
    set_index = _complete_sets(residue[first], blank, len(rule))
    notices += _notice_followers(table, group, used, ~deciding)
    notices += _notice_shared(table, units, group, deciding, used, uneven, blank)
    order = number_in_order(group)  # groups are numbered as they appear in the file
    old = np.empty(len(rule), dtype=np.int64)
    old[order] = group
    return normalise_sets(
        OccupancyGroups(
            table,
            order,
            file_occupancy[old],
            used[old],
            _refined(used, set_index)[old],
            rule[old],
            number_sets(set_index[old]),
        ),
        notices,
    )


def group_by_copy(table: AtomTable) -> GroupingResult:
    """Return one group for each MODEL of the file; their weights sum to 1."""
    written = table.occupancy
    table, notices = clamp_occupancies(table)
    copy = number_in_order(table.model.astype(np.int64))
    n_copies = int(copy.max()) + 1
    everything = np.ones(len(table), dtype=bool)
    mean = _means(table.occupancy, copy, everything, n_copies)
    uneven = np.abs(table.occupancy - mean[copy]) > SAME_OCCUPANCY / 2 + RESOLUTION / 2
    if uneven.any():
        labels = table.labels(uneven)
        notices.append(
            Notice(
                "uneven_copy",
                f"{len(labels)} atoms take the weight of their copy "
                f"instead of their own occupancy: {listed(list(labels))}",
                labels,
            )
        )
    set_index = np.full(n_copies, 0 if n_copies > 1 else -1)
    rule = np.full(n_copies, int(Why.COPY))
    return normalise_sets(
        OccupancyGroups(
            table,
            copy,
            _means(written, copy, everything, n_copies),
            mean,
            _refined(mean, set_index),
            rule,
            set_index,
        ),
        notices,
    )


def clamp_occupancies(table: AtomTable) -> tuple[AtomTable, list[Notice]]:
    """Return the table with occupancies in [0, 1] and a notice for what was changed."""
    notices = []
    for outside, code, bound in (
        (table.occupancy > 1, "occupancy_above_1", "1.00"),
        (table.occupancy < 0, "occupancy_below_0", "0.00"),
    ):
        if outside.any():
            labels = table.labels(outside)
            texts = [
                f"{label} ({value:.2f})"
                for label, value in zip(labels, table.occupancy[outside], strict=True)
            ]
            notices.append(
                Notice(
                    code,
                    f"occupancy set to {bound} for {len(labels)} atoms: {listed(texts, 30)}",
                    labels,
                )
            )
    if notices:
        table = table.with_occupancy(np.clip(table.occupancy, 0.0, 1.0))
    return table, notices


# ---------------------------------------------------------------------- numbering


def number_in_order(key: IntArray) -> IntArray:
    """Number equal keys alike, from 0 in the order of first appearance.

    >>> number_in_order(np.array([7, 7, 3, 7, 9])).tolist()
    [0, 0, 1, 0, 2]
    """
    if len(key) == 0:
        return np.empty(0, dtype=np.int64)
    change = np.empty(len(key), dtype=bool)
    change[0] = True
    np.not_equal(key[1:], key[:-1], out=change[1:])
    run = np.cumsum(change) - 1  # keys come in runs: only their heads need sorting
    _, first, inverse = np.unique(key[change], return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return np.asarray(rank[inverse][run])


def number_residues(table: AtomTable) -> IntArray:
    """Return the number of each atom's residue: model, chain, number and insertion code."""
    number = number_in_order(table.chain.view(np.int64))
    columns: list[np.ndarray] = [table.resseq, table.icode.view(np.int8), table.model]
    for column in columns:
        lowest, highest = int(column.min(initial=0)), int(column.max(initial=0))
        if highest > lowest:
            number = number * (highest - lowest + 1) + (column.astype(np.int64) - lowest)
    return number_in_order(number)


def number_sets(set_index: IntArray) -> IntArray:
    """Renumber the sets from 0 in the order of their groups, keeping -1 for none."""
    inside = set_index >= 0
    renumbered = np.full(len(set_index), -1)
    renumbered[inside] = number_in_order(set_index[inside])
    return renumbered


# ---------------------------------------------------------------------- parts


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


def _means(values: FloatArray, group: IntArray, counted: BoolArray, n_groups: int) -> FloatArray:
    """Return the mean over the counted atoms of each group, rounded off binary noise."""
    total = np.bincount(group[counted], values[counted], minlength=n_groups)
    return np.round(total / np.bincount(group[counted], minlength=n_groups), 10)


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


def cluster_values(units: IntArray) -> IntArray:
    """Number values so that those of one number differ by at most `SAME_OCCUPANCY`.

    >>> cluster_values(np.array([5000, 5100, 5101, 10000])).tolist()
    [0, 0, 1, 2]
    """
    cluster = np.empty(len(units), dtype=np.int64)
    number, lowest = -1, 0
    for place in np.argsort(units, kind="stable"):
        if number < 0 or units[place] - lowest > _SAME_UNITS:
            number, lowest = number + 1, int(units[place])
        cluster[place] = number
    return cluster


def _complete_sets(residue_of_part: IntArray, blank: BoolArray, n_groups: int) -> IntArray:
    """Return the set of each group: the residue where it has two or more altloc parts."""
    altlocs = np.bincount(
        residue_of_part[~blank], minlength=int(residue_of_part.max(initial=0)) + 1
    )
    member = ~blank & (altlocs[residue_of_part] >= 2)
    set_index = np.full(n_groups, -1)
    set_index[: len(blank)][member] = residue_of_part[member]
    return set_index


def _refined(occupancy: FloatArray, set_index: IntArray) -> BoolArray:
    """Return which groups are refinable: members of sets and what is not fully occupied."""
    return np.asarray((set_index >= 0) | (np.abs(occupancy - 1) > FULL_TOLERANCE + 1e-9))


def normalise_sets(groups: OccupancyGroups, notices: list[Notice]) -> GroupingResult:
    """Scale the occupancies of complete sets to sum to 1, ratios kept, and say where."""
    member = groups.set_index >= 0
    if not member.any():
        return GroupingResult(groups, tuple(notices))
    set_index = groups.set_index[member]
    file = groups.occupancy[member]
    total = np.bincount(set_index, file)
    count = np.bincount(set_index)
    empty = total == 0
    share = np.where(
        empty[set_index], 1.0 / count[set_index], file / np.where(empty, 1.0, total)[set_index]
    )
    exact = np.abs(total - 1) < 1e-9
    occupancy = groups.occupancy.copy()
    occupancy[member] = np.where(exact[set_index], file, share)
    scaled = replace(groups, occupancy=occupancy)
    off = np.flatnonzero(~exact)
    if len(off):
        texts = [f"{scaled.sets[i].name} ({total[i]:.2f})" for i in off]
        atoms = np.flatnonzero(
            ~exact[scaled.set_index[scaled.index]] & (scaled.set_index[scaled.index] >= 0)
        )
        notices = [
            *notices,
            Notice(
                "set_sum",
                f"occupancies of {len(off)} sets scaled to sum to 1, ratios kept: "
                f"{listed(texts, 30)}",
                groups.table.labels(atoms),
            ),
        ]
    return GroupingResult(scaled, tuple(notices))


# ---------------------------------------------------------------------- notices


def _notice_uneven(
    table: AtomTable, part: IntArray, deciding: BoolArray, first_atoms: IntArray
) -> list[Notice]:
    """Name the altloc parts whose atoms differ in occupancy: they share their mean."""
    notices = []
    for first in first_atoms.tolist():
        atoms = np.flatnonzero((part == part[first]) & deciding)
        values = table.occupancy[atoms]
        labels = table.labels(atoms)
        notices.append(
            Notice(
                "uneven_part",
                f"{table.residue_label(first)}:{table.altloc[first].decode()}: "
                f"occupancies from {values.min():.2f} to {values.max():.2f} in one conformer; its "
                f"atoms share their mean {values.mean():.3f}",
                labels,
            )
        )
    return notices


def _notice_followers(
    table: AtomTable, group: IntArray, value: FloatArray, follower: BoolArray
) -> list[Notice]:
    """Name hydrogens that take another occupancy than the file gives them."""
    off = follower & (np.abs(table.occupancy - value[group]) > SAME_OCCUPANCY + RESOLUTION / 2)
    if not off.any():
        return []
    labels = table.labels(off)
    return [
        Notice(
            "hydrogen_occupancy",
            f"{len(labels)} hydrogens take the occupancy of the atom "
            f"that they are bound to: {listed(list(labels))}",
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
            f"{len(labels)} atoms take the mean of their group, which is "
            f"within 0.01 of their own occupancy: {listed(list(labels))}",
            labels,
        )
    ]
