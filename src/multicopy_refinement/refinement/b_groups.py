"""B shifts of occupancy groups: their limits, and what they make of the model's atoms."""

from __future__ import annotations

import numpy as np
import torch

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.model import Model
from multicopy_refinement.posterior.occupancies import BShifts
from multicopy_refinement.scattering.atoms import symmetric_matrices
from multicopy_refinement.units import EIGHT_PI_SQUARED

#: No atom's B factor (or 8 pi^2 times a principal U) falls below this, in A^2.
B_FLOOR = 0.5


def equivalent_b(model: Model) -> FloatArray:
    """Return B of isotropic atoms and 8 pi^2 times the smallest principal U of others, ``[n]``."""
    table = model.table
    b = np.array(table.b_iso)
    if table.anisotropic.any():
        u = symmetric_matrices(torch.as_tensor(table.u_aniso[table.anisotropic])).numpy()
        b[table.anisotropic] = EIGHT_PI_SQUARED * np.linalg.eigvalsh(u)[:, 0]
    return b


def b_shift_limits(model: Model, refined: IntArray, prior: float) -> BShifts:
    """Return floors, and priors of sigma ``prior`` times the mean B."""
    b = equivalent_b(model)
    members = [model.occupancy_groups.members[g] for g in refined.tolist()]
    lowest = np.array([min(B_FLOOR - b[atoms].min(), 0.0) for atoms in members])
    mean = np.array([max(float(b[atoms].mean()), 1.0) for atoms in members])
    return BShifts(lowest, prior * mean)


def assign_b(model: Model, refined: IntArray, b_shift: FloatArray) -> None:
    """Give the model's atoms the B factors of the file plus the shift of their group."""
    shift = np.zeros(len(model.occupancy_groups))
    shift[refined] = b_shift
    per_atom = shift[model.occupancy_groups.index]
    table = model.table
    b_iso = np.where(table.b_iso > 0, table.b_iso, model.b_iso().detach().cpu().numpy()) + per_atom
    u_aniso = np.array(table.u_aniso)
    u_aniso[table.anisotropic, :3] += per_atom[table.anisotropic, None] / EIGHT_PI_SQUARED
    model.b_iso.set_values(torch.as_tensor(np.maximum(b_iso, 0.01)))
    model.u_aniso.set_values(torch.as_tensor(u_aniso))
