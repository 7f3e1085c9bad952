"""Miller indices: lists to a resolution, and mapping to the asymmetric unit."""

from __future__ import annotations

import gemmi
import numpy as np

from multicopy_refinement._typing import IntArray
from multicopy_refinement.crystal.cell import Cell
from multicopy_refinement.crystal.symmetry import SpaceGroup

#: More than twice any index.
_PACK = 8192


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


def orbit_keys(hkl: IntArray, group: SpaceGroup) -> IntArray:
    """Return one number for each orbit of reflections by symmetry and Friedel's law, ``[n]``."""
    hkl = np.asarray(hkl, dtype=np.int64)
    found = np.full(len(hkl), np.iinfo(np.int64).min)
    for rotation in group.rotations:
        h, k, m = (hkl @ rotation).T
        packed = (h * _PACK + k) * _PACK + m  # odd in hkl: the mate by Friedel has -packed
        np.maximum(found, np.abs(packed), out=found)
    return found


def places_of(hkl: IntArray, among: IntArray, group: SpaceGroup) -> IntArray:
    """Return where equivalents of reflections are ``among`` unique ones, -1 where nowhere."""
    keys = orbit_keys(among, group)
    order = np.argsort(keys)
    wanted = orbit_keys(hkl, group)
    place = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)]
    return np.where(keys[place] == wanted, place, -1)
