"""Numbering: equal keys alike, and residues."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import IntArray
from multicopy_refinement.atoms.table import AtomTable


def number_in_order(key: IntArray) -> IntArray:
    """Number equal keys alike, from 0 in the order of first appearance.

    >>> number_in_order(np.array([7, 7, 3, 7, 9])).tolist()
    [0, 0, 1, 0, 2]
    """
    if len(key) == 0:
        return np.empty(0, dtype=np.int64)
    change = np.empty(len(key), dtype=bool)
    change[0] = True
    np.not_equal(key[1:], key[:-1], out=change[1:])
    run = np.cumsum(change) - 1  # keys come in runs: only their heads need sorting
    _, first, inverse = np.unique(key[change], return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return np.asarray(rank[inverse][run])


def number_residues(table: AtomTable) -> IntArray:
    """Return the number of each atom's residue: model, chain, number and insertion code."""
    number = number_in_order(table.chain.view(np.int64))
    columns: list[np.ndarray] = [table.resseq, table.icode.view(np.int8), table.model]
    for column in columns:
        lowest, highest = int(column.min(initial=0)), int(column.max(initial=0))
        if highest > lowest:
            number = number * (highest - lowest + 1) + (column.astype(np.int64) - lowest)
    return number_in_order(number)
