"""The likelihood of an intensity given a model with errors."""

from __future__ import annotations

import torch
from torch import Tensor

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.reflections.data import ReflectionData
from multicopy_refinement.targets.base import Derivatives
from multicopy_refinement.targets.information import intensity_information
from multicopy_refinement.targets.ml_amplitude import MLAmplitude
from multicopy_refinement.targets.sigma_a import ErrorModel


class MLIntensity:
    """log p(I_obs; F_model) = log of the integral of p(I_obs | F) p(F; F_model) over F.

    p(I_obs | F) is Gaussian around F^2; as a function of F it is taken as that of an effective
    amplitude (`multicopy_refinement.reflections.effective`), so that the integral is the Rice
    distribution of `MLAmplitude` with Sigma = eps beta + noise (Read & McCoy 2016, Acta Cryst.
    D72, 375). Constants that depend on the measurement alone are those of the effective amplitude.
    """

    def __init__(self, data: ReflectionData, errors: ErrorModel) -> None:
        if data.intensities is None or data.effective is None:
            raise ValueError(
                "a likelihood of intensities needs them; take data.with_effective(True)"
            )
        self._centric = data.centric
        self._rice = MLAmplitude(
            torch.as_tensor(data.effective.f), torch.as_tensor(data.centric), errors
        )
        self._alpha, self._model_error = errors.alpha, data.epsilon * errors.beta
        self._sigma = data.intensities.sigma

    def log_likelihood(self, f_model: Tensor) -> Tensor:
        """Return log p of each reflection for |F_model|, ``[n]``."""
        return self._rice.log_likelihood(f_model)

    def values(self, f_model: FloatArray) -> FloatArray:
        """Return log p of each reflection on arrays, ``[n]``."""
        return self._rice.values(f_model)

    def derivatives(self, f_model: FloatArray) -> Derivatives:
        """Return log p, its slope, and the expected information of the intensity."""
        information = intensity_information(
            f_model, self._alpha, self._model_error, self._sigma, self._centric
        )
        return Derivatives(*self._rice.value_and_slope(f_model), information)
