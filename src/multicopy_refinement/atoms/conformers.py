"""Conformers of a residue beside each other: which atoms pair up, and how far apart they are."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import IntArray
from multicopy_refinement.atoms.table import AtomTable

_Key = tuple[int, bytes, int, bytes, bytes]


def paired_atoms(table: AtomTable, one: IntArray, other: IntArray) -> IntArray:
    """Return the atoms of two conformers that are the same but for altloc, ``[n, 2]``."""

    def keyed(atoms: IntArray) -> dict[_Key, int]:
        return {
            (int(table.model[a]), table.chain[a], int(table.resseq[a]), table.icode[a],
             table.name[a]): a
            for a in atoms.tolist()
        }  # fmt: skip

    mine, theirs = keyed(one), keyed(other)
    pairs = [(mine[key], theirs[key]) for key in mine if key in theirs]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def largest_distance(table: AtomTable, one: IntArray, other: IntArray) -> float | None:
    """Return how far paired atoms of two conformers are apart at most in A, None without any."""
    pairs = paired_atoms(table, one, other)
    if len(pairs) == 0:
        return None
    apart = table.xyz[pairs[:, 0]] - table.xyz[pairs[:, 1]]
    return float(np.linalg.norm(apart, axis=1).max())
