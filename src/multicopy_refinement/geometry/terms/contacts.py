"""Contacts: r = (d - d0)/sigma where atoms come nearer than d0, 0 elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from scipy.spatial import cKDTree

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.geometry.contact_rules import ContactRules
from multicopy_refinement.geometry.images import Images
from multicopy_refinement.geometry.terms.base import Columns, Linear, State, rows_of
from multicopy_refinement.geometry.terms.distances import distances

#: Sigma of all contacts, in A.
SIGMA = 0.2
#: The list of neighbours serves until an atom has moved by this, in A.
SLACK = 0.5


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Pairs that may come into contact while no atom moves farther than `SLACK`.

    Attributes
    ----------
    xyz
        Where the atoms were, ``[n, 3]``.
    atoms, image
        The pairs ``[m, 2]``, and the operation of the second atom.
    limit, weight
        How near they may come in A, and the square root of the share of the asymmetric unit.
    """

    xyz: FloatArray
    atoms: IntArray
    image: IntArray
    limit: FloatArray
    weight: FloatArray

    def serves(self, xyz: FloatArray) -> bool:
        """Return whether no atom has moved too far."""
        moved = xyz - self.xyz
        return bool(np.einsum("ij,ij->i", moved, moved).max(initial=0.0) <= SLACK**2)


@dataclass(frozen=True, eq=False)
class Contacts:
    """One-sided repulsion, mates included; what it says does not depend on the list it keeps.

    A contact of an atom with its own mate is half in this asymmetric unit, any other is counted
    once, from its lower atom.
    """

    rules: ContactRules
    images: Images
    name: ClassVar[str] = "contacts"
    shown: ClassVar[tuple[float, str]] = (1.0, "A")
    _kept: list[Neighbours] = field(default_factory=list, repr=False)

    def neighbours(self, xyz: FloatArray) -> Neighbours:
        """Return the pairs to look at, sought anew where atoms have moved by 0.5 A."""
        if not self._kept or not self._kept[0].serves(xyz):
            self._kept[:] = [self._sought(xyz)]
        return self._kept[0]

    def _sought(self, xyz: FloatArray) -> Neighbours:
        rules = self.rules
        farthest = 2 * float(np.maximum(rules.radius, np.nan_to_num(rules.types.ionic)).max())
        model = rules.table.model
        pairs, image, distance = pairs_near(xyz, model, self.images, farthest + 2 * SLACK)
        limit = rules.limits(pairs, image)
        near = (limit > 0) & (distance < limit + 2 * SLACK)
        pairs, image = pairs[near], image[near]
        weight = np.where(pairs[:, 0] == pairs[:, 1], np.sqrt(0.5), 1.0)
        return Neighbours(xyz.copy(), pairs, image, limit[near], weight)

    def touching(self, xyz: FloatArray) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
        """Return atoms, image, distance and limit of the pairs that are too near."""
        near = self.neighbours(xyz)
        distance, _ = distances(xyz[near.atoms], near.image, self.images)
        hit = distance < near.limit
        return near.atoms[hit], near.image[hit], distance[hit], near.limit[hit]

    def residuals(self, at: State) -> FloatArray:
        """Return the residuals of pairs that are too near, in units of sigma."""
        return self.linear(at).residuals

    def linear(self, at: State) -> Linear:
        """Return residuals and derivatives of pairs that are too near."""
        near = self.neighbours(at.xyz)
        distance, _ = distances(at.xyz[near.atoms], near.image, self.images)
        hit = distance < near.limit
        atoms, image, scale = near.atoms[hit], near.image[hit], near.weight[hit] / SIGMA
        length, slopes = distances(at.xyz[atoms], image, self.images)
        columns = Columns(len(at.xyz))
        where = columns.xyz(atoms).reshape(len(atoms), 6)
        values = (slopes * scale[:, None, None]).reshape(len(atoms), 6)
        rows = rows_of(where, values, columns.size)
        return Linear((length - near.limit[hit]) * scale, rows)


def pairs_near(
    xyz: FloatArray, model: np.ndarray, images: Images, reach: float
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return pairs of atoms ``[m, 2]`` within a reach in A, the image of the second, distances.

    Only atoms of one MODEL are paired: its number is a fourth coordinate of the trees.

    Each pair once: the lower row first, or an atom with its own mate (from either side).
    """
    low, high = xyz.min(axis=0) - reach, xyz.max(axis=0) + reach
    apart = 1e3 * reach * model.astype(np.float64)
    tree = cKDTree(np.column_stack([xyz, apart]))
    own = tree.query_pairs(reach, output_type="ndarray").astype(np.int64)
    between = np.linalg.norm(xyz[own[:, 0]] - xyz[own[:, 1]], axis=1)
    found = [(np.sort(own, axis=1), np.zeros(len(own), dtype=np.int64), between)]
    for number in range(1, len(images)):
        places = xyz @ images.rotation[number].T + images.shift[number]
        rows = np.flatnonzero(((places >= low) & (places <= high)).all(axis=1))
        if len(rows) == 0:
            continue
        other = cKDTree(np.column_stack([places, apart])[rows])
        close = tree.sparse_distance_matrix(other, reach, output_type="ndarray")
        pairs = np.stack([close["i"], rows[close["j"]]], axis=1).astype(np.int64)
        once = pairs[:, 0] <= pairs[:, 1]
        image = np.full(int(once.sum()), number, dtype=np.int64)
        found.append((pairs[once], image, close["v"][once]))
    pairs, image, distance = (np.concatenate(part) for part in zip(*found, strict=True))
    return pairs, image, distance
