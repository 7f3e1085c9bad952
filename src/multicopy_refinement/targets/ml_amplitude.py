"""The likelihood of an amplitude given a model with errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import i0e, i1e
from torch import Tensor

from multicopy_refinement._typing import BoolArray, FloatArray
from multicopy_refinement.targets.base import Derivatives
from multicopy_refinement.targets.information import expected_information
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
        variance = errors.variance
        self._constant = np.where(
            centric.numpy(), 0.5 * np.log(2 / (np.pi * variance)) - np.log(2.0),
            np.log(2.0) + self._log_f.numpy() - np.log(variance),
        )  # fmt: skip

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
        parts = _parts(self, f_model)
        ratio = np.where(parts.centric, np.tanh(parts.x), i1e(2 * parts.x) / parts.bessel)
        alpha, variance = self.alpha.numpy(), self.variance.numpy()
        slope = 2 * parts.size * alpha / variance * (parts.f_obs * ratio - parts.scaled)
        information = expected_information(f_model, alpha, variance, parts.centric)
        return Derivatives(self._value(parts), slope, information)

    def values(self, f_model: FloatArray) -> FloatArray:
        """Return log p of each reflection on arrays, ``[n]``."""
        return self._value(_parts(self, f_model))

    def _value(self, parts: _Parts) -> FloatArray:
        squares = (parts.f_obs - parts.scaled) ** 2 / self.variance.numpy()
        centric = np.log1p(np.exp(-2 * parts.x[parts.centric]))
        value = self._constant - parts.size * squares + np.log(parts.bessel)
        value[parts.centric] += centric - np.log(parts.bessel[parts.centric])
        return np.asarray(value)


@dataclass(frozen=True, eq=False)
class _Parts:
    """What value and slope have in common."""

    f_obs: FloatArray
    centric: BoolArray
    size: FloatArray
    scaled: FloatArray
    x: FloatArray
    bessel: FloatArray


def _parts(target: MLAmplitude, f_model: FloatArray) -> _Parts:
    f_obs, centric = target.f_obs.numpy(), target.centric.numpy()
    scaled = target.alpha.numpy() * f_model
    x = f_obs * scaled / target.variance.numpy()
    return _Parts(f_obs, centric, np.where(centric, 0.5, 1.0), scaled, x, i0e(2 * x))
