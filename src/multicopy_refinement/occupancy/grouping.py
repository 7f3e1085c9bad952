"""How atoms are put into occupancy groups: the rules by name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from multicopy_refinement.atoms.numbering import RESOLUTION, SAME_OCCUPANCY, number_in_order
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.occupancy.automatic.networks import connect
from multicopy_refinement.occupancy.automatic.residues import residue_parts
from multicopy_refinement.occupancy.automatic.special import mind_close_waters
from multicopy_refinement.occupancy.groups import OccupancyGroups, Why
from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.occupancy.values import (
    GroupingResult,
    clamp_occupancies,
    group_means,
    normalise_sets,
)


class Grouping(StrEnum):
    """How atoms are put into occupancy groups."""

    RESIDUE = "residue"
    CONNECTED = "connected"
    COPIES = "copies"


@dataclass(frozen=True)
class GroupingOptions:
    """What the rules may be told.

    Attributes
    ----------
    grouping
        Which rules.
    contact_distance
        Of ``connected``: atoms of one letter that are this close belong together, A.
    link_close_waters
        Whether partial waters that are too close to be there at once become a set.
    """

    grouping: Grouping = Grouping.RESIDUE
    contact_distance: float = 4.0
    link_close_waters: bool = False


def group_atoms(
    table: AtomTable, options: GroupingOptions | Grouping = Grouping.RESIDUE
) -> GroupingResult:
    """Return the groups of a table by the rules named, sets scaled to their sums."""
    result = automatic_groups(table, options)
    return normalise_sets(result.groups, list(result.notices))


def automatic_groups(table: AtomTable, options: GroupingOptions | Grouping) -> GroupingResult:
    """Return the groups of `group_atoms` with the occupancies of the file, for rules to change."""
    if not isinstance(options, GroupingOptions):
        options = GroupingOptions(Grouping(options))
    if options.grouping is Grouping.COPIES:
        return group_by_copy(table)
    result = residue_parts(table)
    if options.grouping is Grouping.CONNECTED:
        result = connect(result, options.contact_distance)
    return mind_close_waters(result, link=options.link_close_waters)


def group_by_copy(table: AtomTable) -> GroupingResult:
    """Return one group for each MODEL of the file; their weights sum to 1."""
    written = table.occupancy
    table, notices = clamp_occupancies(table)
    copy = number_in_order(table.model.astype(np.int64))
    n_copies = int(copy.max()) + 1
    everything = np.ones(len(table), dtype=bool)
    mean = group_means(table.occupancy, copy, everything, n_copies)
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
    groups = OccupancyGroups(
        table, copy, group_means(written, copy, everything, n_copies), mean,
        np.full(n_copies, n_copies > 1), rule, SumConstraints.complete_sets(set_index),
    )  # fmt: skip
    return GroupingResult(groups, tuple(notices))
