"""Gaussian priors on occupancies and on B shifts, in the units of the likelihood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.occupancy.groups import Restraint
from multicopy_refinement.posterior.blocks import Kind, Point
from multicopy_refinement.posterior.terms import Normal, spread


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
    variance_factor: float = 1.0

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

    @property
    def touches(self) -> frozenset[Kind]:
        """Occupancies."""
        return frozenset({Kind.OCCUPANCY})

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

    def value(self, at: Point) -> float:
        """Return log p."""
        return float(-0.5 * (self.deviations(at[Kind.OCCUPANCY]) ** 2).sum())

    def gradient(self, at: Point) -> FloatArray:
        """Return its derivatives in the unknowns of the point."""
        return spread(self._slope(at[Kind.OCCUPANCY]), at.space, (Kind.OCCUPANCY,))

    def _slope(self, occupancy: FloatArray) -> FloatArray:
        return np.asarray(-(self.deviations(occupancy) / self.sigmas) @ self.rows)

    def normal(self, at: Point, *, precise: bool = True) -> Normal:
        """Return log p, its gradient, and minus its second derivatives."""
        del precise
        scaled = self.rows / self.sigmas[:, None]
        found = Normal(self.value(at), self._slope(at[Kind.OCCUPANCY]), scaled.T @ scaled)
        return found.within(at.space, (Kind.OCCUPANCY,))

    def log_density(self, values: Mapping[Kind, Tensor]) -> Tensor:
        """Return log p as a scalar that is differentiable in the groups' occupancies."""
        occupancy = values[Kind.OCCUPANCY]
        rows, targets, sigmas = (
            torch.as_tensor(a, dtype=occupancy.dtype, device=occupancy.device)
            for a in (self.rows, self.targets, self.sigmas)
        )
        deviations: Tensor = (rows @ occupancy - targets) / sigmas
        return -0.5 * (deviations**2).sum()


@dataclass(frozen=True, eq=False)
class BShiftPrior:
    """log p(b) = -1/2 sum_g (b_g/sigma_g)^2, without its constant.

    Attributes
    ----------
    sigmas
        A^2, ``[n_groups]``.
    """

    sigmas: FloatArray
    variance_factor: float = 1.0

    @property
    def touches(self) -> frozenset[Kind]:
        """B shifts."""
        return frozenset({Kind.B_GROUP})

    def value(self, at: Point) -> float:
        """Return log p."""
        return float(-0.5 * ((at[Kind.B_GROUP] / self.sigmas) ** 2).sum())

    def gradient(self, at: Point) -> FloatArray:
        """Return its derivatives in the unknowns of the point."""
        return spread(self._slope(at[Kind.B_GROUP]), at.space, (Kind.B_GROUP,))

    def _slope(self, shifts: FloatArray) -> FloatArray:
        return np.asarray(-shifts / self.sigmas**2)

    def normal(self, at: Point, *, precise: bool = True) -> Normal:
        """Return log p, its gradient, and minus its second derivatives."""
        del precise
        found = Normal(self.value(at), self._slope(at[Kind.B_GROUP]), np.diag(self.sigmas**-2))
        return found.within(at.space, (Kind.B_GROUP,))

    def log_density(self, values: Mapping[Kind, Tensor]) -> Tensor:
        """Return log p as a scalar that is differentiable in the shifts."""
        shifts = values[Kind.B_GROUP]
        sigmas = torch.as_tensor(self.sigmas, dtype=shifts.dtype, device=shifts.device)
        return -0.5 * ((shifts / sigmas) ** 2).sum()
