"""What the PDB format cannot hold of a model."""

from __future__ import annotations

import numpy as np

from multicopy_refinement.atoms.table import AtomTable

#: Widths of the columns of names; longer names of residues are shortened as the wwPDB does.
_CHAIN, _ATOM, RESIDUE_NAME = 2, 4, 3
#: Numbers that four, and five, columns hold, hybrid-36 among them.
_RESIDUES, _ATOMS, _MODELS = (-999, 1_223_055), 43_770_015, 9999
#: Coordinates in A that eight columns hold.
_PLACES = (-999.9995, 9999.9995)
#: The largest B in A^2 that six columns hold.
LARGEST_B = 999.99


def pdb_fault(table: AtomTable) -> str | None:
    """Return why a model cannot be written as PDB, or None where it can."""
    chains = np.char.str_len(table.chain) > _CHAIN
    if chains.any():
        name = table.chain[int(np.flatnonzero(chains)[0])].decode()
        return f"chain names have at most two characters there, and {name!r} has {len(name)}"
    names = np.char.str_len(table.name) > _ATOM
    if names.any():
        label = table.label(int(np.flatnonzero(names)[0]))
        return f"atom names have at most four characters there, and {label} has more"
    outside = (table.resseq < _RESIDUES[0]) | (table.resseq > _RESIDUES[1])
    if outside.any():
        label = table.residue_label(int(np.flatnonzero(outside)[0]))
        return f"the number of {label} is outside of {_RESIDUES[0]} to {_RESIDUES[1]}"
    if len(table) > _ATOMS:
        return f"it holds {_ATOMS} atoms, and the model has {len(table)}"
    if int(table.model.max(initial=0)) > _MODELS:
        return f"numbers of MODELs go to {_MODELS} there"
    far = ((table.xyz < _PLACES[0]) | (table.xyz > _PLACES[1])).any(axis=1)
    if far.any():
        label = table.label(int(np.flatnonzero(far)[0]))
        return f"coordinates of {label} do not fit into eight columns"
    return None
