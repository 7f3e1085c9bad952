"""The likelihood of an amplitude given a model with errors."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.targets.base import Derivatives
from multicopy_refinement.targets.information import expected_information
from multicopy_refinement.targets.rice import rice_slopes
from multicopy_refinement.targets.sigma_a import ErrorModel


class MLAmplitude:
    """log p(F_obs; F_model) of Read (1986, Acta Cryst. A42, 140) with measurement errors.

    With Sigma = eps beta + 2 sigma^2 (acentric) or eps beta + sigma^2 (centric)
    (Murshudov et al. 1997, Acta Cryst. D53, 240)::

        acentric: p = (2 Fo/Sigma) exp(-(Fo^2 + alpha^2 F^2)/Sigma) I0(2 alpha Fo F/Sigma)
        centric:  p = sqrt(2/(pi Sigma)) exp(-(Fo^2 + alpha^2 F^2)/(2 Sigma)) cosh(alpha Fo F/Sigma)

    For F_obs = 0 the factor Fo, which does not depend on the model, is left out.
    """

    def __init__(self, f_obs: Tensor, centric: Tensor, errors: ErrorModel) -> None:
        self.f_obs = f_obs
        self.centric = centric
        self.alpha = torch.as_tensor(errors.alpha).to(f_obs)
        self.variance = torch.as_tensor(errors.variance).to(f_obs)
        self._log_f = torch.where(f_obs > 0, torch.log(f_obs.clamp_min(1e-300)), 0.0)
        # what `rice_slopes` leaves out
        self._constant = np.where(
            centric.numpy(), -0.5 * np.log(2 * np.pi), np.log(2.0) + self._log_f.double().numpy()
        )

    def log_likelihood(self, f_model: Tensor) -> Tensor:
        """Return log p of each reflection for |F_model|, ``[n]``."""
        scaled = self.alpha * f_model
        difference = (self.f_obs - scaled) ** 2 / self.variance
        x = self.f_obs * scaled / self.variance
        acentric = (
            math.log(2)
            + self._log_f
            - torch.log(self.variance)
            - difference
            + torch.log(torch.special.i0e(2 * x))
        )
        centric = (
            0.5 * torch.log(2 / (math.pi * self.variance))
            - 0.5 * difference
            + torch.log1p(torch.exp(-2 * x))
            - math.log(2)
        )
        return torch.where(self.centric, centric, acentric)

    def derivatives(self, f_model: FloatArray) -> Derivatives:
        """Return log p, its slope (2 alpha/Sigma)(Fo I1/I0 - alpha F) and the information.

        The slope of centric reflections is (alpha/Sigma)(Fo tanh X - alpha F).
        """
        alpha, variance = self.alpha.double().numpy(), self.variance.double().numpy()
        information = expected_information(f_model, alpha, variance, self.centric.numpy())
        return Derivatives(*self.value_and_slope(f_model), information)

    def values(self, f_model: FloatArray) -> FloatArray:
        """Return log p of each reflection on arrays, ``[n]``."""
        return self.value_and_slope(f_model)[0]

    def value_and_slope(self, f_model: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return log p of each reflection on arrays, and its slope, ``[n]``."""
        alpha = self.alpha.double().numpy()
        found = rice_slopes(
            self.f_obs.double().numpy(), alpha * f_model, self.variance.double().numpy(),
            self.centric.numpy(),
        )  # fmt: skip
        return found.value + self._constant, alpha * found.d_a
