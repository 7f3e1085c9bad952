"""Occupancies as the only unknowns: what a solver sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from multicopy_refinement._typing import ComplexArray, FloatArray, IntArray
from multicopy_refinement.experiment import Experiment
from multicopy_refinement.scattering.basis import GroupBasis
from multicopy_refinement.targets import Target


@dataclass(frozen=True, eq=False)
class OccupancyProblem:
    """Maximise sum log p(|F_model(q)|) over the work set.

    F_model(q) = A + sum_g q_g K_g with the scale k exp(-h'Bh/4) in both A (held atoms and
    solvent) and K. Occupancies of a set sum to 1; all lie in [0, 1].

    Attributes
    ----------
    held
        A, complex ``[n]``.
    matrix
        K as real numbers, real parts above imaginary parts, float64 ``[2 n, n_groups]``.
    target
        Log-likelihood of each reflection.
    work
        Bool ``[n]``.
    set_index
        Set of each group or -1, ``[n_groups]``, contiguous from 0.
    """

    held: Tensor
    matrix: Tensor
    target: Target
    work: Tensor
    set_index: IntArray

    def f_model(self, occupancy: Tensor) -> Tensor:
        """Return F_model, complex ``[n]``, differentiable."""
        real, imaginary = (self.matrix @ occupancy).reshape(2, -1)
        return self.held + torch.complex(real, imaginary)

    def log_likelihood(self, occupancy: Tensor) -> Tensor:
        """Return the log-likelihood of the work set, a scalar, differentiable."""
        f = self.f_model(occupancy)
        # the modulus of a complex number has no gradient at 0; no reflection is exactly there
        return self.target.log_likelihood(f.abs())[self.work].sum()


def occupancy_problem(
    experiment: Experiment, basis: GroupBasis, set_index: IntArray
) -> OccupancyProblem:
    """Return the problem of the present scale and error model."""
    overall, solvent = experiment.held_parts()
    held: ComplexArray = overall * (basis.fixed + solvent)
    return OccupancyProblem(
        torch.as_tensor(held), torch.as_tensor(_scaled(basis, overall)), experiment.target,
        torch.as_tensor(experiment.data.work), set_index,
    )  # fmt: skip


def _scaled(basis: GroupBasis, overall: FloatArray) -> FloatArray:
    parts = [part * overall for part in (basis.matrix.real, basis.matrix.imag)]
    return np.ascontiguousarray(np.concatenate(parts, axis=1).T)
