"""Miller indices: lists to a resolution, and mapping to the asymmetric unit."""

from __future__ import annotations

import gemmi
import numpy as np

from multicopy_refinement._typing import BoolArray, IntArray
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
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup = group.gemmi
    mtz.set_data(np.asarray(hkl, dtype=np.float32).reshape(-1, 3))  # exact for integers
    mtz.ensure_asu()
    return np.asarray(mtz.array, dtype=np.int64)


def to_signed_unit(hkl: IntArray, group: SpaceGroup) -> tuple[IntArray, BoolArray]:
    """Return equivalents in the reciprocal asymmetric unit, and which are so by rotations alone.

    The others are those of the Friedel mate: what was measured of them is F(-) there.
    """
    mapped, plus = to_asymmetric_unit(hkl, group), np.zeros(len(hkl), dtype=bool)
    for rotation in group.rotations:
        plus |= (hkl @ rotation == mapped).all(axis=1)
    return mapped, plus


def packed(hkl: IntArray) -> IntArray:
    """Return one number for each reflection, ``[n]``; its mate by Friedel's law has minus it."""
    h, k, m = np.asarray(hkl, dtype=np.int64).T
    return np.asarray((h * _PACK + k) * _PACK + m)


def orbit_keys(hkl: IntArray, group: SpaceGroup) -> IntArray:
    """Return one number for each orbit of reflections by symmetry and Friedel's law, ``[n]``."""
    hkl = np.asarray(hkl, dtype=np.int64)
    found = np.full(len(hkl), np.iinfo(np.int64).min)
    for rotation in group.rotations:
        np.maximum(found, np.abs(packed(hkl @ rotation)), out=found)
    return found


def places_of(hkl: IntArray, among: IntArray, group: SpaceGroup) -> IntArray:
    """Return where equivalents of reflections are ``among`` unique ones, -1 where nowhere."""
    keys = orbit_keys(among, group)
    order = np.argsort(keys)
    wanted = orbit_keys(hkl, group)
    place = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)]
    return np.where(keys[place] == wanted, place, -1)
