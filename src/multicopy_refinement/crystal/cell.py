"""Unit cell: its matrices, and resolution of Miller indices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import gemmi
import numpy as np

from multicopy_refinement._typing import FloatArray, IntArray


@dataclass(frozen=True)
class Cell:
    """A unit cell, lengths in A and angles in degrees.

    >>> Cell(10, 20, 30, 90, 90, 90).volume
    6000.0
    """

    a: float
    b: float
    c: float
    alpha: float
    beta: float
    gamma: float

    @property
    def parameters(self) -> tuple[float, float, float, float, float, float]:
        """a, b, c (A), alpha, beta, gamma (degrees)."""
        return (self.a, self.b, self.c, self.alpha, self.beta, self.gamma)

    @cached_property
    def gemmi(self) -> gemmi.UnitCell:
        """The cell as a gemmi object, for the layers that talk to gemmi."""
        return gemmi.UnitCell(*self.parameters)

    @cached_property
    def orthogonalization(self) -> FloatArray:
        """``[3, 3]``: Cartesian (A) = matrix @ fractional, PDB convention."""
        return np.array(self.gemmi.orth.mat.tolist(), dtype=np.float64)

    @cached_property
    def fractionalization(self) -> FloatArray:
        """``[3, 3]``: fractional = matrix @ Cartesian (A)."""
        return np.array(self.gemmi.frac.mat.tolist(), dtype=np.float64)

    @property
    def volume(self) -> float:
        """Volume in A^3."""
        return float(self.gemmi.volume)

    @cached_property
    def reciprocal_lengths(self) -> FloatArray:
        """a*, b*, c* in 1/A."""
        return np.asarray(np.linalg.norm(self.fractionalization, axis=1))

    def inverse_d_squared(self, hkl: IntArray) -> FloatArray:
        """Return s^2 = 1/d^2 (1/A^2) of Miller indices ``[n, 3]``."""
        # einsum, not a matrix product: BLAS has threads that wait busily for their next work
        indices = np.asarray(hkl, dtype=np.float64)
        scattering_vector = np.einsum("ij,jk->ik", indices, self.fractionalization)
        return np.asarray(np.einsum("ij,ij->i", scattering_vector, scattering_vector))

    def largest_difference(self, other: Cell) -> float:
        """Return the largest relative difference of a length, or of an angle taken by 90 deg."""
        mine, theirs = np.array(self.parameters), np.array(other.parameters)
        scale = np.concatenate([mine[:3], [90.0, 90.0, 90.0]])
        return float(np.max(np.abs(mine - theirs) / scale))
