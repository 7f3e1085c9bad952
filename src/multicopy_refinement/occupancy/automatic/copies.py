"""The ``copies`` rule: each MODEL of the file has one weight, and the weights sum to 1."""

from __future__ import annotations

import numpy as np

from multicopy_refinement.atoms.numbering import number_in_order
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.errors import OccupancyError
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.occupancy.groups import OccupancyGroups, Why, group_means
from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.occupancy.values import (
    RESOLUTION,
    SAME_OCCUPANCY,
    GroupingResult,
    clamped_occupancies,
)
from multicopy_refinement.words import counted


def group_by_copy(table: AtomTable) -> GroupingResult:
    """Return one group for each MODEL of the file; their weights sum to 1.

    Raises
    ------
    OccupancyError
        For one MODEL whose atoms have different occupancies: with one weight they would lose them,
        and nothing would be refined.
    """
    occupancy, notices = clamped_occupancies(table)
    copy = number_in_order(table.model.astype(np.int64))
    n_copies = int(copy.max()) + 1
    everything = np.ones(len(table), dtype=bool)
    mean = group_means(occupancy, copy, everything, n_copies)
    uneven = np.abs(occupancy - mean[copy]) > SAME_OCCUPANCY / 2 + RESOLUTION / 2
    if n_copies == 1 and uneven.any():
        raise OccupancyError(
            "grouping copies: the file has one MODEL, whose atoms have different occupancies; "
            "take --grouping residue, or a file of several MODELs"
        )
    if uneven.any():
        labels = table.labels(uneven)
        notices.append(
            Notice(
                "uneven_copy",
                f"{counted(len(labels), 'atom', 'take')} the weight of the copy "
                f"instead of the own occupancy: {listed(list(labels))}",
                labels,
            )
        )
    set_index = np.full(n_copies, 0 if n_copies > 1 else -1)
    rule = np.full(n_copies, int(Why.COPY))
    groups = OccupancyGroups(
        table, copy, mean, np.full(n_copies, n_copies > 1), rule,
        SumConstraints.complete_sets(set_index),
    )  # fmt: skip
    return GroupingResult(groups, tuple(notices))
