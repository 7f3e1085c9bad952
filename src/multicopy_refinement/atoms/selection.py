"""Selections of atoms: CID expressions of gemmi, and names of residues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from weakref import WeakKeyDictionary

import gemmi
import numpy as np

from multicopy_refinement._typing import BoolArray, IntArray
from multicopy_refinement.atoms.numbering import number_residues
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.errors import RuleError

_STRUCTURES: WeakKeyDictionary[AtomTable, gemmi.Structure] = WeakKeyDictionary()

#: Before names of residues in a selection: ``resname GOL EDO``.
_RESNAME = "resname"
#: How much two names have in common, of 1, to be proposed for each other; so many are.
_ALIKE, _PROPOSALS = 0.5, 3


@dataclass(frozen=True, eq=False)
class ResidueNames:
    """Residues by the names that tables print.

    Attributes
    ----------
    table
        The atoms.
    residue
        Number of the residue of each atom, ``[n_atoms]``.
    numbers
        Residues by name, for example ``A/10/ARG``; those of one name are together.
    """

    table: AtomTable
    residue: IntArray
    numbers: dict[str, list[int]]

    @classmethod
    def of(cls, table: AtomTable) -> ResidueNames:
        """Name the residues of a table; one with several residue names has them all."""
        residue = number_residues(table)
        numbers: dict[str, list[int]] = {}
        _, first = np.unique(np.rec.fromarrays([residue, table.resname]), return_index=True)
        for atom in sorted(first.tolist()):
            numbers.setdefault(table.residue_label(atom), []).append(int(residue[atom]))
        return cls(table, residue, numbers)

    def atoms(self, name: str) -> BoolArray:
        """Return the atoms of ``A/10/ARG``, ``A/10/ARG:B`` or ``resname ARG``, none if unknown."""
        word, *resnames = name.split()
        if word == _RESNAME:
            return np.asarray(np.isin(self.table.resname, [n.encode() for n in resnames]))
        if name in self.numbers:
            return np.asarray(np.isin(self.residue, self.numbers[name]))
        label, _, letter = name.rpartition(":")
        if label not in self.numbers:
            return np.zeros(len(self.table), dtype=bool)
        mine = np.isin(self.residue, self.numbers[label])
        return np.asarray(mine & (self.table.altloc == letter.encode()) & (letter != ""))

    def like(self, text: str, others: Sequence[str]) -> list[str]:
        """Return the names most like a text, of residues, of residues' kinds and of others."""
        kinds = {n.decode(): f"{_RESNAME} {n.decode()}" for n in np.unique(self.table.resname)}
        names = {name.lower(): name for name in (*others, *self.numbers, *kinds.values())}
        names.update((short.lower(), long) for short, long in kinds.items())
        near = get_close_matches(text.strip().lower(), names, 2 * _PROPOSALS, _ALIKE)
        return list(dict.fromkeys(names[key] for key in near))[:_PROPOSALS]


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
