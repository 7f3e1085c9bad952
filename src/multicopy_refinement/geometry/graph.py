"""How many bonds are between atoms, up to three."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from multicopy_refinement._typing import IntArray


@dataclass(frozen=True, eq=False)
class Separations:
    """Pairs of atoms that one, two or three bonds separate.

    Attributes
    ----------
    pairs
        Lower atom first, ``[m, 2]``.
    bonds
        1, 2 or 3: the shortest way, ``[m]``.
    """

    pairs: IntArray
    bonds: IntArray

    @classmethod
    def of(cls, bonded: IntArray, n: int) -> Separations:
        """Return them for bonds ``[m, 2]`` between n atoms.

        >>> chain = Separations.of(np.array([[0, 1], [1, 2], [2, 3]]), 4)
        >>> chain.pairs[chain.bonds == 2].tolist()
        [[0, 2], [1, 3]]
        """
        ends = np.concatenate([bonded, bonded[:, ::-1]])
        one = sparse.csr_matrix((np.ones(len(ends), dtype=np.int32), ends.T), shape=(n, n))
        reached, steps, seen = one, [], np.zeros(0, dtype=np.int64)
        for _ in range(3):
            found = sparse.triu(reached, 1).tocoo()
            keys = np.setdiff1d(np.unique(found.row.astype(np.int64) * n + found.col), seen)
            steps.append(keys)
            seen = np.union1d(seen, keys)
            reached = reached @ one
        keys = np.concatenate(steps)
        bonds = np.repeat([1, 2, 3], [len(step) for step in steps])
        return cls(np.stack([keys // max(n, 1), keys % max(n, 1)], axis=1), bonds)

    def at(self, bonds: int) -> IntArray:
        """Return the pairs that so many bonds separate, ``[m, 2]``."""
        return np.asarray(self.pairs[self.bonds == bonds])


def neighbours(bonded: IntArray, n: int) -> tuple[IntArray, IntArray]:
    """Return the atoms that each atom is bonded to, as (starts ``[n + 1]``, atoms)."""
    ends = np.concatenate([bonded, bonded[:, ::-1]])
    order = np.lexsort((ends[:, 1], ends[:, 0]))
    return np.searchsorted(ends[order, 0], np.arange(n + 1)), ends[order, 1]
