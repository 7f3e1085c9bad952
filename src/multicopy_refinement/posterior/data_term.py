"""The likelihood of one data set as a term of the posterior."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from multicopy_refinement._typing import BoolArray, ComplexArray
from multicopy_refinement.posterior.blocks import Kind, Point
from multicopy_refinement.posterior.forward import Forward
from multicopy_refinement.posterior.terms import Normal
from multicopy_refinement.targets import Target


@dataclass(frozen=True, eq=False)
class DataTerm:
    """sum log p(F_obs; |F_model|) over the work set.

    Attributes
    ----------
    forward
        F_model as a function of the unknowns.
    target
        log p of each reflection.
    work
        Bool ``[n]``.
    variance_factor
        Of the covariance; the reduced chi-square for least squares.
    """

    forward: Forward
    target: Target
    work: BoolArray
    variance_factor: float = 1.0

    @property
    def touches(self) -> frozenset[Kind]:
        """What F_model depends on."""
        return self.forward.kinds

    def value(self, at: Point) -> float:
        """Return the log-likelihood of the work set."""
        return self.value_of(self.forward.f_model(at))

    def value_of(self, f_model: ComplexArray) -> float:
        """Return the log-likelihood of the work set for an F_model."""
        return float(self.target.values(np.abs(f_model))[self.work].sum())

    def normal(self, at: Point, *, precise: bool = True) -> Normal:
        """Return L, g = J' dlog p/dF and H = J' W J with W the expected information on |F|.

        d|F| = k Re(conj(u) dF), u = F_model/|F_model|. With ``precise`` false H comes from single
        precision, which is twice as fast; the gradient never does: where it vanishes is where a
        search ends, on every processor.
        """
        f = self.forward.f_model(at)
        size = np.abs(f)
        derivatives = self.target.derivatives(size)
        jacobians = self.forward.jacobians(at)
        kinds = tuple(kind for kind in at.space.kinds if kind in jacobians)
        n = sum(at[kind].size for kind in kinds)
        information = np.zeros((n, n))
        dtype = np.float64 if precise else np.float32
        along = self.forward.overall(at) / np.maximum(size, 1e-300) * f
        slope = along * (derivatives.slope * self.work)
        gradient = np.concatenate([jacobians[kind].adjoint(slope) for kind in kinds])
        for rows in self.forward.blocks():
            # free reflections count with weight 0: leaving them out would copy every column
            here, weight = along[rows], derivatives.information[rows] * self.work[rows]
            jacobian = np.concatenate([jacobians[k].columns(rows, here, dtype) for k in kinds])
            jacobian *= np.sqrt(weight).astype(dtype)
            information += jacobian @ jacobian.T
        value = float(derivatives.value[self.work].sum())
        return Normal(value, gradient, information).within(at.space, kinds)

    def reduced_chi_square(self, at: Point, n_parameters: int) -> float:
        """Return sum slope^2/information over the degrees of freedom of the work set."""
        found = self.target.derivatives(np.abs(self.forward.f_model(at)))
        squares = (found.slope**2 / found.information)[self.work].sum()
        return float(squares / max(int(self.work.sum()) - n_parameters, 1))

    # ------------------------------------------------------------------ torch

    @cached_property
    def _work(self) -> Tensor:
        return torch.as_tensor(self.work)

    def log_density(self, values: Mapping[Kind, Tensor]) -> Tensor:
        """Return the log-likelihood of the work set, a scalar, differentiable."""
        f_model = self.forward.f_model_of(values)
        return self.target.log_likelihood(f_model.abs())[self._work].sum()
