"""User rules that change the automatic groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from multicopy_refinement._typing import BoolArray, IntArray
from multicopy_refinement.atoms.grouping import (
    FULL_TOLERANCE,
    SAME_OCCUPANCY,
    GroupingResult,
    normalise_sets,
    number_in_order,
    number_sets,
)
from multicopy_refinement.atoms.groups import OccupancyGroups, Why
from multicopy_refinement.errors import OccupancyError
from multicopy_refinement.notices import Notice, listed

#: ``{"residues": [(number, chain), ...], "share": True}``
SharingRule = Mapping[str, Any]


def apply_sharing_rules(result: GroupingResult, rules: Sequence[SharingRule]) -> GroupingResult:
    """Join the groups of the residues of each rule, letter by letter.

    Raises
    ------
    ValueError
        A rule that is malformed, selects nothing, or joins sets with different members.
    """
    groups, notices = result.groups, list(result.notices)
    for number, rule in enumerate(rules):
        where = f"sharing_rules[{number}]"
        unknown = set(rule) - {"residues", "share"}
        if unknown or "residues" not in rule:
            raise OccupancyError(f"{where}: needs 'residues' and 'share', not {sorted(rule)}")
        if rule.get("share", True):
            joined = _share(groups, _selected(groups, rule["residues"], where), where)
            notices += _notice_changed(groups, joined, where)
            groups = joined
    return normalise_sets(groups, notices)


def _notice_changed(before: OccupancyGroups, after: OccupancyGroups, where: str) -> list[Notice]:
    """Name the atoms that take another occupancy because they share it now."""
    change = after.occupancy[after.index] - before.occupancy[before.index]
    changed = np.abs(change) > SAME_OCCUPANCY / 2
    if not changed.any():
        return []
    labels = after.table.labels(changed)
    return [
        Notice(
            "shared_by_rule",
            f"{where}: {len(labels)} atoms take the mean of the groups "
            f"that the rule joins: {listed(list(labels))}",
            labels,
        )
    ]


def _selected(
    groups: OccupancyGroups, residues: Sequence[tuple[int, str]], where: str
) -> BoolArray:
    """Return the atoms of residues given as (number, chain)."""
    table = groups.table
    selected = np.zeros(len(table), dtype=bool)
    for number, chain in residues:
        found = (table.resseq == number) & (table.chain == str(chain).encode())
        if not found.any():
            raise OccupancyError(f"{where}: no residue {number} in chain {chain!r}")
        selected |= found
    return selected


def _share(groups: OccupancyGroups, atoms: BoolArray, where: str) -> OccupancyGroups:
    target = np.arange(len(groups))
    altloc = groups.table.altloc[groups.first_atom]
    chosen = np.unique(groups.index[atoms])
    for letter in np.unique(altloc[chosen]):
        same = chosen[altloc[chosen] == letter]
        target[same] = same[0]
    _check_sets(groups, target, where)
    order = number_in_order(target[groups.index])
    kept = np.empty(int(order.max()) + 1, dtype=np.int64)
    kept[order] = target[groups.index]
    joined = np.isin(kept, target[chosen])
    means = _joined_means(groups, order)
    set_index = number_sets(groups.set_index[kept])
    refined = (set_index >= 0) | (np.abs(means[0] - 1) > FULL_TOLERANCE + 1e-9)
    return replace(
        groups,
        index=order,
        file_occupancy=np.where(joined, means[1], groups.file_occupancy[kept]),
        occupancy=np.where(joined, means[0], groups.occupancy[kept]),
        refined=np.where(joined, refined, groups.refined[kept]),
        rule=np.where(joined, int(Why.SHARED), groups.rule[kept]),
        set_index=set_index,
    )


def _joined_means(groups: OccupancyGroups, order: IntArray) -> tuple[np.ndarray, np.ndarray]:
    count = np.bincount(order)
    used = np.bincount(order, groups.occupancy[groups.index]) / count
    file = np.bincount(order, groups.file_occupancy[groups.index]) / count
    return np.round(used, 10), np.round(file, 10)


def _check_sets(groups: OccupancyGroups, target: IntArray, where: str) -> None:
    """Refuse to join a member of a set with a group of another kind of set."""
    members = {
        i: tuple(sorted({int(target[g]) for g in s.groups})) for i, s in enumerate(groups.sets)
    }
    for group, to in enumerate(target.tolist()):
        mine, other = (members.get(int(groups.set_index[g])) for g in (group, to))
        if mine != other:
            names = f"{groups.name(group)} and {groups.name(to)}"
            raise OccupancyError(
                f"{where}: {names} cannot share: their sets have different members"
            )
