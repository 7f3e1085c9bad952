"""The ``copies`` rule: each MODEL of the file has one weight, and the weights sum to 1."""

from __future__ import annotations

import numpy as np

from multicopy_refinement.atoms.numbering import number_in_order
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.errors import RuleError
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
    RuleError
        A file with one MODEL, whose weight cannot stand for the different occupancies of atoms.
    """
    occupancy, notices = clamped_occupancies(table)
    copy = number_in_order(table.model.astype(np.int64))
    n_copies = int(copy.max()) + 1
    everything = np.ones(len(table), dtype=bool)
    mean = group_means(occupancy, copy, everything, n_copies)
    uneven = np.abs(occupancy - mean[copy]) > SAME_OCCUPANCY / 2 + RESOLUTION / 2
    if uneven.any():
        labels = table.labels(uneven)
        if n_copies == 1:
            raise RuleError(
                "grouping: copies gives each MODEL of a file one weight; here there is one MODEL, "
                "and its atoms have different occupancies; take residue, connected or states"
            )
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
