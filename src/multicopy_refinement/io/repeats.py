"""Atoms that stand in a file twice, and numbers that stand for several residues."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from multicopy_refinement._typing import IntArray
from multicopy_refinement.atoms.numbering import number_addresses, number_residues
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.errors import ModelFileError
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.words import counted

#: Atoms nearer than this are at one place, in A.
_ONE_PLACE = 0.1
#: Copies that are nearer than this overlap: conformers without their letters, perhaps.
_OVERLAP = 2.0
#: Atoms after END are a copy of those before it where this part of them has the same names, and
#: they are this near to each other, in A.
_COPY, _COPY_REACH = 0.9, 3.0


def check_repeats(path: str | Path, table: AtomTable) -> list[Notice]:
    """Return notices of numbers that stand for several residues.

    Raises
    ------
    ModelFileError
        A residue that stands there twice, at one place.
    """
    address, residue = number_addresses(table), number_residues(table)
    if residue is address:
        return []
    first = np.full(int(residue.max(initial=-1)) + 1, len(residue))
    np.minimum.at(first, residue, np.arange(len(residue)))
    shared = np.flatnonzero(np.bincount(address[first]) > 1)
    doubled: list[str] = []
    overlapping: list[int] = []
    apart: list[int] = []
    for number in shared.tolist():
        atoms = np.flatnonzero(address == number)
        same, near = _copies(table, atoms, residue)
        doubled += same
        heads = [int(first[r]) for r in dict.fromkeys(residue[atoms].tolist())]
        (overlapping if near else apart).extend(heads)
    if doubled:
        raise ModelFileError(
            f"{path}: atoms stand there twice at one place, under one name and altloc: "
            f"{listed(doubled)}; take one copy out, or give the copies altlocs"
        )
    notices = []
    if overlapping:
        names = list(dict.fromkeys(table.residue_label(atom) for atom in overlapping))
        notices.append(
            Notice(
                "duplicate_atoms",
                f"{counted(len(names), 'residue', 'have')} atoms twice under one name and "
                f"altloc; each copy is taken as a residue of its own: {listed(names)}; "
                "conformers need altlocs to be tied by a sum",
                table.labels(overlapping),
            )
        )
    if apart:
        names = list(dict.fromkeys(table.residue_label(atom) for atom in apart))
        notices.append(
            Notice(
                "number_used_twice",
                f"one chain and number stands for several residues, which are kept apart: "
                f"{listed(names)}",
                table.labels(apart),
            )
        )
    return notices


def refuse_copies_after_end(path: str | Path, table: AtomTable, before: int) -> None:
    """Refuse copies of a molecule that a record END parts: they are MODELs, or all one model.

    Raises
    ------
    ModelFileError
        Atoms after END that are those before it, in other chains or not, and near them.
    """
    if not 0 < before < len(table) or table.several_models:
        return
    columns = (table.resseq, table.icode, table.resname, table.name, table.altloc)
    keys = list(zip(*(column.tolist() for column in columns), strict=True))
    place = {key: atom for atom, key in enumerate(keys[:before])}
    pairs = [(place[key], before + i) for i, key in enumerate(keys[before:]) if key in place]
    if len(pairs) < _COPY * min(before, len(table) - before):
        return
    one, other = np.array(pairs).T
    if float(np.median(np.linalg.norm(table.xyz[one] - table.xyz[other], axis=1))) > _COPY_REACH:
        return
    raise ModelFileError(
        f"{path}: {len(table) - before} atom lines after END are a copy of those before it; put "
        "MODEL and ENDMDL around each copy, or take END out where they are one model"
    )


def _copies(table: AtomTable, atoms: IntArray, residue: IntArray) -> tuple[list[str], bool]:
    """Return residues that stand there twice at one place, and whether any copies overlap."""
    mates: dict[tuple[bytes, bytes, bytes], list[int]] = {}
    for atom in atoms.tolist():
        key = (table.resname[atom], table.name[atom], table.altloc[atom])
        mates.setdefault(key, []).append(atom)
    distance: dict[int, list[float]] = {}  # of the atoms of a copy to their namesakes before
    near = False
    for found in mates.values():
        for place, atom in enumerate(found[1:], start=1):
            apart = np.linalg.norm(table.xyz[found[:place]] - table.xyz[atom], axis=1)
            distance.setdefault(int(residue[atom]), []).append(float(apart.min()))
            alike = atoms[
                (table.resname[atoms] == table.resname[atom]) & (residue[atoms] != residue[atom])
            ]
            apart = np.linalg.norm(table.xyz[alike] - table.xyz[atom], axis=1)
            near |= bool(apart.min() < _OVERLAP)
    doubled = [
        table.residue_label(int(atoms[residue[atoms] == copy][0]))
        for copy, apart in distance.items()
        if max(apart) < _ONE_PLACE and len(apart) == int((residue[atoms] == copy).sum())
    ]
    return doubled, near
