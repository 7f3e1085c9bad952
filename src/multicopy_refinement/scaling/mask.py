"""Structure factors of the bulk-solvent region."""

from __future__ import annotations

import gemmi
import numpy as np

from multicopy_refinement._typing import ComplexArray, FloatArray, IntArray
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.crystal.grid import grid_size

#: Spacing of the mask's grid as a fraction of the resolution, and its coarsest value in A.
MASK_SPACING = 1 / 4
COARSEST = 0.6


def solvent_structure_factors(
    table: AtomTable, occupancy: FloatArray, xyz: FloatArray, cell: Cell, group: SpaceGroup,
    hkl: IntArray,
) -> tuple[ComplexArray, float]:  # fmt: skip
    """Return F_mask (complex ``[n]``, for a density of 1 e/A^3) and the solvent fraction.

    The mask is that of gemmi with the radii of REFMAC; hydrogens and atoms of occupancy 0 do not
    displace solvent.
    """
    d_min = float(1 / np.sqrt(cell.inverse_d_squared(hkl).max()))
    grid = gemmi.FloatGrid(*grid_size(cell, group, min(COARSEST, MASK_SPACING * d_min * 2)))
    grid.spacegroup = group.gemmi
    grid.set_unit_cell(cell.gemmi)
    masker = gemmi.SolventMasker(gemmi.AtomicRadiiSet.Refmac)
    masker.ignore_hydrogen = True
    masker.ignore_zero_occupancy_atoms = True
    masker.put_mask_on_float_grid(grid, _gemmi_model(table, occupancy, xyz))
    fraction = float(np.mean(grid.array))
    transform = gemmi.transform_map_to_f_phi(grid, half_l=True)
    values = transform.get_value_by_hkl(np.ascontiguousarray(hkl, dtype=np.int32))
    return np.asarray(values, dtype=np.complex128), fraction


def _gemmi_model(table: AtomTable, occupancy: FloatArray, xyz: FloatArray) -> gemmi.Model:
    """Return all atoms in one residue: the mask needs elements, places and occupancies only."""
    model, chain, residue = gemmi.Model(1), gemmi.Chain("A"), gemmi.Residue()
    atom = gemmi.Atom()
    rows = zip(table.element.tolist(), occupancy.tolist(), xyz.tolist(), strict=True)
    for symbol, q, position in rows:
        atom.element = gemmi.Element(symbol.decode())
        atom.occ = q
        atom.pos = gemmi.Position(*position)
        residue.add_atom(atom)
    chain.add_residue(residue)
    model.add_chain(chain)
    return model
