"""Conformers whose atoms differ in occupancy: the rule that keeps them apart."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.occupancy.values import RESOLUTION, cluster_values

#: Values that sum to less are a part of the molecules only.
_WHOLE = 0.95


def rule_apart(table: AtomTable, residue: IntArray, occupancy: FloatArray, atoms: IntArray) -> str:
    """Return the keys of a rule that takes atoms of a conformer out of its group.

    What stays is what sums to 1 with its mates, or the most atoms.

    Parameters
    ----------
    residue
        Number of each atom's residue, ``[n_atoms]``.
    occupancy
        Of each atom, ``[n_atoms]``.
    atoms
        Of the conformer, hydrogens among them.
    """
    heavy = atoms[~table.hydrogen[atoms]]
    heavy = heavy if len(heavy) else atoms
    cluster = cluster_values(np.rint(occupancy[heavy] / RESOLUTION).astype(np.int64))
    apart = np.linalg.norm(table.xyz[atoms][:, None] - table.xyz[heavy], axis=2)
    cluster = cluster[np.argmin(apart, axis=1)]  # hydrogens go with what they are bound to
    everyone = np.flatnonzero((residue == residue[atoms[0]]) & (table.altloc != b""))
    parts = []
    for value in range(int(cluster.max()) + 1):
        mine = atoms[cluster == value]
        mates = everyone[np.isin(table.name[everyone], table.name[mine])]
        letters = np.unique(table.altloc[mates])
        total = sum(float(occupancy[mates[table.altloc[mates] == x]].mean()) for x in letters)
        parts.append((total >= _WHOLE, len(mine), _selection(table, mine, letters)))
    parts.remove(max(parts))
    texts = [f'"{selection}"' for _, _, selection in parts]
    text = f"separate = {texts[0] if len(texts) == 1 else '[' + ', '.join(texts) + ']'}"
    sums = [f"; then sum = \"{selection}\" with at_most = 1" for whole, _, selection in parts
            if not whole]  # fmt: skip
    return text + "".join(sums)


def _selection(table: AtomTable, atoms: IntArray, letters: np.ndarray) -> str:
    """Return the CID of atoms of one residue in several conformers."""
    first = int(atoms[0])
    model = str(table.model[first]) if table.several_models else ""
    names = b",".join(dict.fromkeys(table.name[atoms].tolist())).decode()
    number = f"{table.resseq[first]}.{table.icode[first].decode()}"
    altlocs = b",".join(letters.tolist()).decode()
    return f"/{model}/{table.chain[first].decode()}/{number}/{names}:{altlocs}"
