"""H and D that share a site: the pair sums to what its parent atom has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import IntArray
from multicopy_refinement.atoms.table import AtomTable

#: H and D of one site are no farther apart than this, in A.
SAME_SITE = 0.5
#: A hydrogen is no farther from the atom that it is bound to, in A.
BOUND = 1.5


@dataclass(frozen=True, eq=False)
class HydrogenPairs:
    """Exchanged sites.

    Attributes
    ----------
    hydrogen, deuterium, parent
        Atoms of each pair, and the atom that they are bound to, ``[n_pairs]``.
    """

    hydrogen: IntArray
    deuterium: IntArray
    parent: IntArray

    def __len__(self) -> int:
        return len(self.parent)


def find_hydrogen_pairs(table: AtomTable, residue: IntArray) -> HydrogenPairs:
    """Return the H and D atoms of one residue that stand at one site.

    Their names differ in the first letter only (HG1 and DG1), they are within 0.5 A, and the
    nearest heavy atom belongs to both: it has no altloc, or the one that both have. Letters A and
    B of H and D beside a parent with A and B are conformers, and no pair.
    """
    deuterium = np.flatnonzero(table.element == b"D")
    found: list[tuple[int, int, int]] = []
    if len(deuterium):
        hydrogen = np.flatnonzero(table.element == b"H")
        by_name: dict[tuple[int, bytes], list[int]] = {}
        for atom in hydrogen.tolist():
            by_name.setdefault((int(residue[atom]), table.name[atom]), []).append(atom)
        order = np.argsort(residue, kind="stable")
        start = np.searchsorted(residue[order], np.arange(int(residue.max()) + 2))
        for atom in deuterium.tolist():
            number = int(residue[atom])
            name = table.name[atom]
            if b"D" not in name:
                continue
            other = name[: name.index(b"D")] + b"H" + name[name.index(b"D") + 1 :]
            near = [
                h for h in by_name.get((number, other), [])
                if np.linalg.norm(table.xyz[h] - table.xyz[atom]) < SAME_SITE
            ]  # fmt: skip
            mates = order[start[number] : start[number + 1]]
            for h in near:
                parent = _parent(table, mates, h, atom)
                if parent >= 0:
                    by_name[number, other].remove(h)
                    found.append((h, atom, parent))
                    break
    pairs = np.array(found, dtype=np.int64).reshape(-1, 3)
    return HydrogenPairs(pairs[:, 0], pairs[:, 1], pairs[:, 2])


def exchangeable_alone(table: AtomTable, residue: IntArray) -> IntArray:
    """Return H or D on nitrogen, oxygen or sulfur that have no partner at their site.

    Their exchange could be refined, were both there.
    """
    pairs = find_hydrogen_pairs(table, residue)
    lone = np.setdiff1d(
        np.flatnonzero(table.hydrogen), np.concatenate([pairs.hydrogen, pairs.deuterium])
    )
    heavy = np.flatnonzero(~table.hydrogen & (table.element != b"X"))
    if len(lone) == 0 or len(heavy) == 0:
        return lone[:0]
    from scipy.spatial import cKDTree  # it is slow to load

    distance, nearest = cKDTree(table.xyz[heavy]).query(table.xyz[lone])
    parent = heavy[nearest]
    own = (distance < BOUND) & (residue[parent] == residue[lone])
    return np.asarray(lone[own & np.isin(table.element[parent], (b"N", b"O", b"S"))])


def _parent(table: AtomTable, mates: IntArray, hydrogen: int, deuterium: int) -> int:
    """Return the heavy atom that a pair is bound to, or -1."""
    heavy = mates[~table.hydrogen[mates]]
    distance = np.linalg.norm(table.xyz[heavy] - table.xyz[deuterium], axis=1)
    near = heavy[(distance < BOUND)]
    if len(near) == 0:
        return -1
    nearest = int(near[np.argmin(distance[distance < BOUND])])
    letters = {table.altloc[hydrogen], table.altloc[deuterium]}
    name = table.name[nearest]
    same = near[table.name[near] == name]  # the conformers of the parent
    for atom in map(int, same):
        if table.altloc[atom] == b"" or letters == {table.altloc[atom]}:
            return atom
    return -1
