"""Miller indices: lists to a resolution, and mapping to the asymmetric unit."""

from __future__ import annotations

import gemmi
import numpy as np

from multicopy_refinement._typing import IntArray
from multicopy_refinement.crystal.cell import Cell
from multicopy_refinement.crystal.symmetry import SpaceGroup


def unique_reflections(cell: Cell, group: SpaceGroup, d_min: float) -> IntArray:
    """Return all unique non-absent reflections to d_min (A), int ``[n, 3]``, without (000)."""
    array = gemmi.make_miller_array(cell.gemmi, group.gemmi, d_min * (1 - 1e-9), 0.0, True)
    hkl: IntArray = np.asarray(array, dtype=np.int64)
    return hkl[np.any(hkl != 0, axis=1)]


def to_asymmetric_unit(hkl: IntArray, group: SpaceGroup) -> IntArray:
    """Return the equivalent of each reflection in the reciprocal asymmetric unit."""
    asu = gemmi.ReciprocalAsu(group.gemmi)
    inside = np.fromiter((asu.is_in(h) for h in np.asarray(hkl).tolist()), bool, len(hkl))
    mapped = np.array(hkl, dtype=np.int64)
    for row in np.flatnonzero(~inside):
        mapped[row] = asu.to_asu(mapped[row].tolist(), group.operations)[0]
    return mapped
