"""Space-group operations as arrays, and what they make of Miller indices and tensors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gemmi
import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.crystal.cell import Cell

#: The six elements of a symmetric matrix, in the order of the PDB format.
VOIGT = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


@dataclass(frozen=True)
class SpaceGroup:
    """A space group by its Hermann-Mauguin name, as gemmi knows it.

    >>> SpaceGroup("P 21 21 21").rotations.shape
    (4, 3, 3)
    """

    name: str

    def __reduce__(self) -> tuple[type[SpaceGroup], tuple[str]]:
        return SpaceGroup, (self.name,)  # what gemmi made cannot be pickled

    @cached_property
    def gemmi(self) -> gemmi.SpaceGroup:
        """The space group as a gemmi object."""
        found = gemmi.find_spacegroup_by_name(self.name)
        if found is None:
            raise ValueError(f"unknown space group {self.name!r}")
        return found

    @cached_property
    def operations(self) -> Any:
        """The operations as a ``gemmi.GroupOps``."""
        return self.gemmi.operations()

    @cached_property
    def rotations(self) -> IntArray:
        """Rotations R of x' = R x + t without centring, int ``[n, 3, 3]``."""
        return np.array([op.rot for op in self.operations.sym_ops], dtype=np.int64) // gemmi.Op.DEN

    @cached_property
    def translations(self) -> FloatArray:
        """Translations t of x' = R x + t without centring, ``[n, 3]``."""
        return np.array([op.tran for op in self.operations.sym_ops], dtype=float) / gemmi.Op.DEN

    @cached_property
    def centrings(self) -> FloatArray:
        """Centring translations, ``[n_centrings, 3]``, (0, 0, 0) among them."""
        return np.array(self.operations.cen_ops, dtype=np.float64) / gemmi.Op.DEN

    @property
    def order(self) -> int:
        """Number of all operations, centring included."""
        return len(self.rotations) * len(self.centrings)

    def images(self, fractional: FloatArray) -> FloatArray:
        """Return x R' + t + c of places x ``[n, 3]`` for all operations, the identity first.

        >>> SpaceGroup("P 1 2 1").images(np.array([[0.1, 0.2, 0.3]])).tolist()
        [[[0.1, 0.2, 0.3]], [[-0.1, 0.2, -0.3]]]

        Returns
        -------
        ndarray
            ``[order, n, 3]``.
        """
        return np.array([
            fractional @ rotation.T + translation + centring
            for rotation, translation in zip(self.rotations, self.translations, strict=True)
            for centring in self.centrings
        ])  # fmt: skip

    def centring_factor(self, hkl: IntArray) -> FloatArray:
        """Return sum over centrings of exp(2 pi i h.c): their number, or 0 for absences."""
        phase = 2 * np.pi * np.asarray(hkl) @ self.centrings.T
        return np.asarray(np.rint(np.cos(phase).sum(axis=1)), dtype=np.float64)

    def epsilon(self, hkl: IntArray) -> FloatArray:
        """Return the multiplicity factor epsilon of each reflection, centring left out."""
        factors = self.operations.epsilon_factor_without_centering_array(_int32(hkl))
        return np.asarray(factors, dtype=np.float64)

    def centric(self, hkl: IntArray) -> BoolArray:
        """Return which reflections have restricted phases."""
        return np.asarray(self.operations.centric_flag_array(_int32(hkl)), dtype=bool)

    def absent(self, hkl: IntArray) -> BoolArray:
        """Return which reflections are systematically absent."""
        return np.asarray(self.operations.systematic_absences(_int32(hkl)), dtype=bool)

    @cached_property
    def adp_basis(self) -> FloatArray:
        """Orthonormal basis ``[m, 6]`` of the symmetric tensors B that the point group keeps.

        B is in the basis of the Miller indices (exponent h'Bh), elements 11 22 33 12 13 23;
        invariance is R B R' = B for every rotation, since h'Bh must be the same for h and R'h.
        """
        average = np.zeros((6, 6))
        for column, (i, j) in enumerate(VOIGT):
            tensor = np.zeros((3, 3))
            tensor[i, j] = tensor[j, i] = 1.0
            mean = np.mean([r @ tensor @ r.T for r in self.rotations], axis=0)
            average[:, column] = [mean[k, m] for k, m in VOIGT]
        vectors, values, _ = np.linalg.svd(average)
        return np.ascontiguousarray(vectors[:, values > 0.5].T)


def _int32(hkl: IntArray) -> np.ndarray:
    return np.ascontiguousarray(hkl, dtype=np.int32)


def other_indexing(cell: Cell, group: SpaceGroup) -> list[tuple[str, IntArray]]:
    """Return the ways in which a lattice may be indexed beside the present one.

    Each as text (``k,h,-l``) and as a matrix: hkl @ matrix are the other indices.
    """
    laws = gemmi.find_twin_laws(cell.gemmi, group.gemmi, 3.0, False)
    return [
        (one.as_hkl().triplet(), np.array(one.rot, dtype=np.int64) // gemmi.Op.DEN) for one in laws
    ]
