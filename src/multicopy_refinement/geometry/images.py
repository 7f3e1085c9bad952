"""Symmetry mates as Cartesian operations, and which of them are near the model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.crystal import Cell, SpaceGroup

#: An atom that an operation moves by less than this, in A, is on a special position.
SPECIAL = 0.5


@dataclass(frozen=True, eq=False)
class Images:
    """Cartesian operations x' = R x + t; number 0 is the identity.

    Attributes
    ----------
    rotation
        ``[k, 3, 3]``.
    shift
        In A, ``[k, 3]``.
    """

    rotation: FloatArray
    shift: FloatArray

    def __len__(self) -> int:
        return len(self.shift)

    @classmethod
    def identity(cls) -> Images:
        """Return the identity alone: a model without a crystal."""
        return cls(np.eye(3)[None], np.zeros((1, 3)))

    @cached_property
    def inverse(self) -> Images:
        """The operations that undo these."""
        back = self.rotation.transpose(0, 2, 1)
        return Images(back, -np.einsum("kij,kj->ki", back, self.shift))

    def place(self, number: IntArray, points: FloatArray) -> FloatArray:
        """Return images of points ``[m, 3]``, each by its own operation ``[m]``."""
        return np.asarray(
            np.einsum("mij,mj->mi", self.rotation[number], points) + self.shift[number]
        )

    def joined(self, other: Images) -> Images:
        """Return these operations and those of another, whose numbers go up by ``len(self)``."""
        return Images(
            np.concatenate([self.rotation, other.rotation]),
            np.concatenate([self.shift, other.shift]),
        )

    def fixed(self, xyz: FloatArray) -> BoolArray:
        """Return which atoms are on special positions of each operation, ``[k, n]``."""
        found = np.zeros((len(self), len(xyz)), dtype=bool)
        for number in range(1, len(self)):
            moved = xyz @ self.rotation[number].T + self.shift[number] - xyz
            found[number] = np.einsum("ij,ij->i", moved, moved) < SPECIAL**2
        return found


def near_images(
    xyz: FloatArray, cell: Cell | None, spacegroup: SpaceGroup | None, reach: float
) -> Images:
    """Return the identity and the operations that bring mates within ``reach`` in A of the box.

    Centring included; the box is that of the atoms along the Cartesian axes.
    """
    if cell is None or spacegroup is None or len(xyz) == 0:
        return Images.identity()
    to_cartesian, to_fractional = cell.orthogonalization, cell.fractionalization
    fractional = xyz @ to_fractional.T
    low, high = xyz.min(axis=0) - reach, xyz.max(axis=0) + reach
    # the box's corners in fractions bound the lattice shifts that can matter
    corners = np.array(list(product(*zip(low, high, strict=True)))) @ to_fractional.T
    rotations, shifts = [np.eye(3)], [np.zeros(3)]
    for rotation, translation in zip(spacegroup.rotations, spacegroup.translations, strict=True):
        turned = fractional @ rotation.T
        for centring in spacegroup.centrings:
            moved = turned + translation + centring
            places = moved @ to_cartesian.T
            bottom, top = places.min(axis=0), places.max(axis=0)
            first = np.floor(corners.min(axis=0) - moved.max(axis=0)).astype(int)
            last = np.ceil(corners.max(axis=0) - moved.min(axis=0)).astype(int)
            for lattice in product(*(range(a, b + 1) for a, b in zip(first, last, strict=True))):
                step = translation + centring + np.array(lattice)
                if (rotation == np.eye(3)).all() and np.abs(step).max() < 1e-6:
                    continue
                by = to_cartesian @ np.array(lattice)
                if (top + by < low).any() or (bottom + by > high).any():
                    continue  # the boxes do not meet, and so do no atoms
                if ((places >= low - by) & (places <= high - by)).all(axis=1).any():
                    rotations.append(to_cartesian @ rotation @ to_fractional)
                    shifts.append(to_cartesian @ step)
    return Images(np.array(rotations), np.array(shifts))


def nearest_image(
    one: FloatArray, other: FloatArray, cell: Cell, spacegroup: SpaceGroup
) -> tuple[Images, float]:
    """Return the operation, not the identity, that brings ``other`` nearest to ``one`` [3].

    Also the distance then, in A.
    """
    reach = float(max(cell.parameters[:3]))
    both = near_images(np.stack([one, other]), cell, spacegroup, reach)
    places = both.rotation[1:] @ other + both.shift[1:]
    distance = np.linalg.norm(places - one, axis=1)
    best = int(np.argmin(distance))
    return Images(both.rotation[1 + best][None], both.shift[1 + best][None]), float(distance[best])
