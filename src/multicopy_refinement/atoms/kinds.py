"""Which residues are waters, common ions and ligands."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import BoolArray
from multicopy_refinement.atoms.connections import WATERS, part_of_polymer
from multicopy_refinement.atoms.numbering import number_residues
from multicopy_refinement.atoms.table import AtomTable

#: Inorganic ions of several atoms, by their names in the Chemical Component Dictionary: sulfate,
#: hydrogen sulfate, phosphates, nitrate, nitrite, carbonate, bicarbonate, perchlorate, azide,
#: cyanide, thiocyanate, ammonium. Ions of one atom are told by that.
IONS = (
    b"SO4", b"SO3", b"PO4", b"PI", b"2HP", b"NO3", b"NO2", b"CO3", b"BCT", b"LCP", b"AZI", b"CYN",
    b"SCN", b"NH4",
)  # fmt: skip


def water_atoms(table: AtomTable) -> BoolArray:
    """Return the atoms of waters, ``[n_atoms]``."""
    return np.asarray(np.isin(table.resname, WATERS))


def ligand_atoms(table: AtomTable) -> BoolArray:
    """Return the atoms of residues that are no polymer, water or common ion, ``[n_atoms]``.

    What is a link of a polymer is told by `part_of_polymer`. An ion is one of `IONS`, or a residue
    of a single atom other than hydrogen in each conformer. Residues without an atom of a known
    element are no ligands.
    """
    candidate = ~water_atoms(table) & ~np.isin(table.resname, IONS)
    residue = number_residues(table)
    numbers = np.unique(residue[candidate])
    numbers = numbers[~part_of_polymer(table, residue, numbers)]
    found = [n for n in numbers.tolist() if _is_molecule(table, residue == n)]
    return candidate & np.isin(residue, found)


def _is_molecule(table: AtomTable, atoms: BoolArray) -> bool:
    """Return whether a residue has two atoms or more, of known elements."""
    heavy = atoms & ~table.hydrogen & (table.element != b"X")
    return len(np.unique(table.name[heavy])) > 1
