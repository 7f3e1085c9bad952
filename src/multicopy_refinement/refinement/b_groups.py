"""B shifts of occupancy groups: their limits, and what they make of the model's atoms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.model import Model
from multicopy_refinement.posterior.occupancies import BShifts
from multicopy_refinement.scattering.atoms import symmetric_matrices
from multicopy_refinement.units import EIGHT_PI_SQUARED

#: No atom's B factor (or 8 pi^2 times a principal U) falls below this, in A^2.
B_FLOOR = 0.5


@dataclass(frozen=True, eq=False)
class Displacements:
    """B and U of all atoms at a moment, in double precision: what B shifts are counted from.

    Attributes
    ----------
    b_iso, u_aniso
        A^2, ``[n]`` and ``[n, 6]``.
    anisotropic
        Bool ``[n]``.
    """

    b_iso: FloatArray
    u_aniso: FloatArray
    anisotropic: np.ndarray

    @classmethod
    def of(cls, model: Model) -> Displacements:
        """Return those that a model has now."""
        with torch.no_grad():
            b_iso, u_aniso = (
                t().detach().double().cpu().numpy().copy() for t in (model.b_iso, model.u_aniso)
            )
        return cls(b_iso, u_aniso, model.table.anisotropic)

    @property
    def lowest_b(self) -> FloatArray:
        """B of isotropic atoms and 8 pi^2 times the smallest principal U of others, ``[n]``."""
        b = self.b_iso.copy()
        if self.anisotropic.any():
            u = symmetric_matrices(torch.as_tensor(self.u_aniso[self.anisotropic])).numpy()
            b[self.anisotropic] = EIGHT_PI_SQUARED * np.linalg.eigvalsh(u)[:, 0]
        return b

    def shifted(self, shift: FloatArray) -> Displacements:
        """Return them with a shift of B in A^2 for every atom: an isotropic one of U."""
        u_aniso = self.u_aniso.copy()
        u_aniso[self.anisotropic, :3] += shift[self.anisotropic, None] / EIGHT_PI_SQUARED
        return Displacements(self.b_iso + shift, u_aniso, self.anisotropic)


def b_shift_limits(model: Model, start: Displacements, refined: IntArray, prior: float) -> BShifts:
    """Return floors, and priors of sigma ``prior`` times the mean B."""
    b = start.lowest_b
    members = [model.occupancy_groups.members[g] for g in refined.tolist()]
    lowest = np.array([min(B_FLOOR - b[atoms].min(), 0.0) for atoms in members])
    mean = np.array([max(float(b[atoms].mean()), 1.0) for atoms in members])
    return BShifts(lowest, prior * mean)


def assign_b(model: Model, start: Displacements, refined: IntArray, b_shift: FloatArray) -> None:
    """Give the model's atoms the displacements of the start plus the shift of their group."""
    shift = np.zeros(len(model.occupancy_groups))
    shift[refined] = b_shift
    now = start.shifted(shift[model.occupancy_groups.index])
    model.b_iso.set_values(torch.as_tensor(np.maximum(now.b_iso, 0.01)))
    model.u_aniso.set_values(torch.as_tensor(now.u_aniso))
