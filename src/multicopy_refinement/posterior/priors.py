"""Gaussian priors on combinations of occupancies, in the units of the likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.occupancy.groups import Restraint


@dataclass(frozen=True, eq=False)
class OccupancyPrior:
    """log p(q) = -1/2 sum_i ((w_i'q - t_i)/sigma_i)^2, without its constant.

    Attributes
    ----------
    rows
        w, ``[n_restraints, n_groups]``.
    targets, sigmas
        t and sigma, ``[n_restraints]``.
    """

    rows: FloatArray
    targets: FloatArray
    sigmas: FloatArray

    @classmethod
    def of(cls, restraints: Sequence[Restraint], n_groups: int) -> OccupancyPrior:
        """Return the prior of some restraints."""
        rows = np.zeros((len(restraints), n_groups))
        for row, restraint in zip(rows, restraints, strict=True):
            np.add.at(row, list(restraint.groups), restraint.weights)
        return cls(
            rows,
            np.array([r.target for r in restraints], dtype=np.float64),
            np.array([r.sigma for r in restraints], dtype=np.float64),
        )

    def __len__(self) -> int:
        return len(self.targets)

    def restricted(self, kept: IntArray, occupancy: FloatArray) -> OccupancyPrior:
        """Return the prior of some groups when all others are held at their ``occupancy``."""
        held = np.ones(self.rows.shape[1], dtype=bool)
        held[kept] = False
        targets = self.targets - self.rows[:, held] @ occupancy[held]
        rows = self.rows[:, kept]
        moving = rows.any(axis=1)
        return OccupancyPrior(rows[moving], targets[moving], self.sigmas[moving])

    def deviations(self, occupancy: FloatArray) -> FloatArray:
        """Return (w'q - t)/sigma of each restraint."""
        return (self.rows @ occupancy - self.targets) / self.sigmas

    def value(self, occupancy: FloatArray) -> float:
        """Return log p."""
        return float(-0.5 * (self.deviations(occupancy) ** 2).sum())

    def gradient(self, occupancy: FloatArray) -> FloatArray:
        """Return d log p/dq, ``[n_groups]``."""
        return -(self.deviations(occupancy) / self.sigmas) @ self.rows

    @property
    def information(self) -> FloatArray:
        """Minus the second derivatives of log p, ``[n_groups, n_groups]``."""
        scaled = self.rows / self.sigmas[:, None]
        return scaled.T @ scaled

    def log_prior(self, occupancy: Tensor) -> Tensor:
        """Return log p as a scalar that is differentiable in the groups' occupancies."""
        rows, targets, sigmas = (
            torch.as_tensor(a, dtype=occupancy.dtype, device=occupancy.device)
            for a in (self.rows, self.targets, self.sigmas)
        )
        deviations: Tensor = (rows @ occupancy - targets) / sigmas
        return -0.5 * (deviations**2).sum()
