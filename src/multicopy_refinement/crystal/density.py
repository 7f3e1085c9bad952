"""Densities from structure factors."""

from __future__ import annotations

import gemmi
import numpy as np

from multicopy_refinement._typing import ComplexArray, FloatArray, IntArray
from multicopy_refinement.crystal.cell import Cell
from multicopy_refinement.crystal.symmetry import SpaceGroup


def density_from(
    f: ComplexArray, hkl: IntArray, cell: Cell, group: SpaceGroup, shape: tuple[int, ...]
) -> FloatArray:
    """Return rho(x) = (1/V) sum F exp(-2 pi i hx) over the whole sphere, on a grid of the cell.

    Parameters
    ----------
    f, hkl
        Structure factors of unique reflections, ``[n]`` and ``[n, 3]``; symmetry makes the others.
    cell, group
        Of the crystal.
    shape
        Of the grid, legal for the space group.
    """
    asu = gemmi.ComplexAsuData(
        cell.gemmi, group.gemmi, np.ascontiguousarray(hkl, dtype=np.int32),
        f.astype(np.complex64),
    )  # fmt: skip
    return np.asarray(asu.transform_f_phi_to_map(exact_size=shape).array, dtype=np.float64)
