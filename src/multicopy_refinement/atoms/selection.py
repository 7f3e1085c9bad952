"""Selections of atoms: CID expressions of gemmi, and names of groups."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import gemmi
import numpy as np

from multicopy_refinement._typing import BoolArray
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.errors import RuleError

_STRUCTURES: WeakKeyDictionary[AtomTable, gemmi.Structure] = WeakKeyDictionary()


def select_cid(table: AtomTable, cid: str) -> BoolArray:
    """Return the atoms of a CID expression, for example ``//A/10-20/CA[C]:A``, ``[n_atoms]``.

    The syntax is that of gemmi.Selection: /model/chain/residues/atoms[elements]:altlocs.

    Raises
    ------
    RuleError
        What is no such expression.
    """
    try:
        selection = gemmi.Selection(cid)
    except (RuntimeError, ValueError) as fault:
        raise RuleError(
            f"{cid!r} is neither the name of a group nor a selection: {fault}"
        ) from None
    found = np.zeros(len(table), dtype=bool)
    picked = selection.copy_structure_selection(_structure(table))
    serials = [site.atom.serial for model in picked for site in model.all()]
    found[serials] = True
    return found


def _structure(table: AtomTable) -> gemmi.Structure:
    """Return the table as gemmi selects from it; serials are the atoms' places in the table."""
    if table not in _STRUCTURES:
        structure = gemmi.Structure()
        for number in np.unique(table.model).tolist():
            structure.add_model(gemmi.Model(number))
        models = {model.num: model for model in structure}
        chains: dict[tuple[int, bytes], gemmi.Chain] = {}
        residues: dict[tuple[int, bytes, int, bytes, bytes], gemmi.Residue] = {}
        columns = zip(
            table.model.tolist(), table.chain.tolist(), table.resseq.tolist(),
            table.icode.tolist(), table.resname.tolist(), strict=True,
        )  # fmt: skip
        for i, key in enumerate(columns):
            if key not in residues:
                residues[key] = gemmi.Residue()
                residues[key].name = key[4].decode()
                residues[key].seqid = gemmi.SeqId(key[2], key[3].decode() or " ")
            atom = gemmi.Atom()
            atom.name, atom.serial = table.name[i].decode(), i
            atom.element = gemmi.Element(table.element[i].decode())
            atom.altloc = table.altloc[i].decode() or "\0"
            atom.occ, atom.b_iso = float(table.occupancy[i]), float(table.b_iso[i])
            residues[key].add_atom(atom)
        for key, residue in residues.items():
            if key[:2] not in chains:
                chains[key[:2]] = gemmi.Chain(key[1].decode())
            chains[key[:2]].add_residue(residue)
        for (number, _), chain in chains.items():
            models[number].add_chain(chain)
        structure.setup_entities()
        _STRUCTURES[table] = structure
    return _STRUCTURES[table]
