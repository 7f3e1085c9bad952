"""The molecule that is most frequent in a crystal."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray
from multicopy_refinement.occupancy.groups import OccupancyGroups

#: What is alone is there in most molecules from this occupancy on.
_HALF = 0.5


def most_frequent(groups: OccupancyGroups, occupancy: FloatArray) -> BoolArray:
    """Return which groups the molecule has that is most frequent, ``[n_groups]``.

    Of a set that is complete the member with most; of others what is there in half of them.
    """
    there = occupancy >= _HALF
    for members, complete in zip(groups.sums.members, groups.sums.complete, strict=True):
        if complete:
            there[members] = np.arange(len(members)) == np.argmax(occupancy[members])
    return there
