"""Least squares on amplitudes, written as a Gaussian likelihood."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.reflections.data import ReflectionData
from multicopy_refinement.targets.base import Derivatives
from multicopy_refinement.targets.shells import make_shells
from multicopy_refinement.targets.sigma_a import PER_SHELL, SMALLEST_FREE_SET


class LeastSquares:
    """log p = -(F_obs - F)^2/(2 v) - log(2 pi v)/2 with v = sigma^2 + model error of the shell."""

    def __init__(self, f_obs: Tensor, variance: FloatArray) -> None:
        self.f_obs = f_obs
        self.variance = torch.as_tensor(variance).to(f_obs)

    def with_variance_times(self, factor: float) -> LeastSquares:
        """Return the same with another variance of all, as by chi-square."""
        return LeastSquares(self.f_obs, factor * self.variance.numpy())

    def log_likelihood(self, f_model: Tensor) -> Tensor:
        """Return log p of each reflection for |F_model|, ``[n]``."""
        difference = (self.f_obs - f_model) ** 2 / self.variance
        return -0.5 * (difference + torch.log(2 * math.pi * self.variance))

    def derivatives(self, f_model: FloatArray) -> Derivatives:
        """Return log p, its slope (F_obs - F)/v and the information 1/v."""
        variance = self.variance.numpy()
        slope = (self.f_obs.numpy() - f_model) / variance
        return Derivatives(self.values(f_model), slope, 1 / variance)

    def values(self, f_model: FloatArray) -> FloatArray:
        """Return log p of each reflection on arrays, ``[n]``."""
        variance = self.variance.numpy()
        squares = (self.f_obs.numpy() - f_model) ** 2 / variance
        return np.asarray(-0.5 * (squares + np.log(2 * math.pi * variance)))


def amplitude_variance(data: ReflectionData, f_model: FloatArray) -> FloatArray:
    """Return sigma^2 plus the mean square model error of each shell of the test set, ``[n]``."""
    enough = int(data.free.sum()) >= SMALLEST_FREE_SET
    estimating = data.free if enough else data.work
    shells = make_shells(data.s_squared, estimating, per_shell=PER_SHELL)
    number, n_shells = shells.number[estimating], len(shells.centre)
    excess = ((data.f_obs - f_model) ** 2 - data.sigma**2)[estimating]
    mean = np.bincount(number, excess, minlength=n_shells) / np.maximum(shells.count, 1)
    power = np.bincount(number, data.f_obs[estimating] ** 2, minlength=n_shells)
    smallest = 1e-6 * power / np.maximum(shells.count, 1) + 1e-12
    smooth = shells.interpolate(shells.smooth(np.maximum(mean, smallest)), data.s_squared)
    return np.asarray(data.sigma**2 + smooth)
