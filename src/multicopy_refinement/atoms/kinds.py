"""Which residues are waters, common ions and ligands."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import BoolArray
from multicopy_refinement.atoms.connections import WATERS, is_polymer, part_of_polymer
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


def ligand_atoms(table: AtomTable, among: BoolArray | None = None) -> BoolArray:
    """Return the atoms of residues that are no polymer, water or common ion, ``[n_atoms]``.

    What is a link of a polymer is told by `part_of_polymer`. An ion is one of `IONS`, or a residue
    of a single atom other than hydrogen in each conformer. Residues without an atom of a known
    element are no ligands.

    Parameters
    ----------
    among
        Atoms whose residues are asked for; all when left out.
    """
    asked = np.flatnonzero(np.ones(len(table), dtype=bool) if among is None else among)
    named = is_polymer(table.resname[asked]) & ~table.hetatm[asked]
    asked = asked[~named & ~np.isin(table.resname[asked], (*WATERS, *IONS))]
    found = np.zeros(len(table), dtype=bool)
    if len(asked) == 0:
        return found
    residue = number_residues(table)
    heavy = asked[~table.hydrogen[asked] & (table.element[asked] != b"X")]
    sites = np.unique(np.rec.fromarrays([residue[heavy], table.name[heavy]]))
    numbers, n_atoms = np.unique(sites["f0"], return_counts=True)
    numbers = numbers[n_atoms > 1]
    ligands = numbers[~part_of_polymer(table, residue, numbers)]
    found[asked] = np.isin(residue[asked], ligands)
    return found
