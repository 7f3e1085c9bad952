"""Occupancies as read, which of them agree, and as they are used: in [0, 1], sets scaled."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.occupancy.groups import FULL_TOLERANCE, OccupancyGroups
from multicopy_refinement.words import counted

#: Occupancies that differ by no more than this (inclusive, as written) are one value.
SAME_OCCUPANCY = 0.01
#: Occupancies are compared as multiples of this, so that 0.60 and 0.61 differ by exactly 0.01.
RESOLUTION = 1e-4
SAME_UNITS = round(SAME_OCCUPANCY / RESOLUTION)
#: Altlocs of a residue that is no link of a polymer are a complete set from this sum on.
NEARLY_COMPLETE = 0.95
#: A sum that is off by no more than this is obeyed.
EXACT = 1e-9


@dataclass(frozen=True, eq=False)
class GroupingResult:
    """Groups and what was noticed while they were made."""

    groups: OccupancyGroups
    notices: tuple[Notice, ...]


def clamped_occupancies(table: AtomTable) -> tuple[FloatArray, list[Notice]]:
    """Return the file's occupancies in [0, 1], ``[n_atoms]``, and a notice for what was changed."""
    notices = []
    for outside, code, bound in (
        (table.occupancy > 1, "occupancy_above_1", "1.00"),
        (table.occupancy < 0, "occupancy_below_0", "0.00"),
    ):
        if outside.any():
            labels = table.labels(outside)
            texts = [
                f"{label} ({value:.2f})" if abs(value) < 1000 else f"{label} ({value:g})"
                for label, value in zip(labels, table.occupancy[outside], strict=True)
            ]
            notices.append(
                Notice(
                    code,
                    f"occupancy set to {bound} for {counted(len(labels), 'atom')}: "
                    f"{listed(texts, 30)}",
                    labels,
                )
            )
    return (np.clip(table.occupancy, 0.0, 1.0) if notices else table.occupancy), notices


def cluster_values(units: IntArray) -> IntArray:
    """Number values so that those of one number differ by at most `SAME_OCCUPANCY`.

    >>> cluster_values(np.array([5000, 5100, 5101, 10000])).tolist()
    [0, 0, 1, 2]
    """
    cluster = np.empty(len(units), dtype=np.int64)
    number, lowest = -1, 0
    for place in np.argsort(units, kind="stable"):
        if number < 0 or units[place] - lowest > SAME_UNITS:
            number, lowest = number + 1, int(units[place])
        cluster[place] = number
    return cluster


def not_full(occupancy: FloatArray) -> BoolArray:
    """Return which occupancies are other than 1."""
    return np.asarray(np.abs(occupancy - 1) > FULL_TOLERANCE + 1e-9)


def normalise_sets(groups: OccupancyGroups, notices: list[Notice]) -> GroupingResult:
    """Scale the refinable members of sets to their sum, ratios kept, and say where.

    A held group that others sum to is a number for them.
    """
    groups = replace(groups, sums=groups.sums.with_held_parents(groups.refined, groups.occupancy))
    off = np.flatnonzero(np.abs(groups.sums.excess(groups.occupancy)) > EXACT)
    if len(off) == 0:
        return GroupingResult(groups, tuple(notices))
    occupancy = groups.sums.restored(groups.occupancy, ~groups.refined, tolerance=EXACT)
    scaled = replace(groups, occupancy=occupancy)
    member = scaled.set_index >= 0
    total = np.bincount(scaled.set_index[member], groups.occupancy[member])
    changed = np.flatnonzero(occupancy != groups.occupancy)
    whole = [i for i in off if scaled.sums.complete[i] and scaled.sets[i].total == 1.0]
    for sets, wanted in ((whole, "to sum to 1"), (sorted({*off.tolist()} - {*whole}), "to fit")):
        if sets:
            texts = [f"{scaled.sets[i].name} ({total[i]:.2f})" for i in sets]
            mine = changed[np.isin(scaled.set_index[changed], sets)]
            notices = [
                *notices,
                Notice(
                    "set_sum",
                    f"occupancies of {counted(len(sets), 'set')} scaled {wanted}, ratios kept: "
                    f"{listed(texts, 30)}",
                    groups.table.labels(np.isin(scaled.index, mine)),
                ),
            ]
    return GroupingResult(scaled, tuple(notices))
