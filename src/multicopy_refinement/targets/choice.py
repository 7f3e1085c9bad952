"""Which target a data set is refined against."""

from __future__ import annotations

import torch

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.errors import InputError
from multicopy_refinement.io.columns import Quantity
from multicopy_refinement.modes import TargetKind
from multicopy_refinement.reflections.data import ReflectionData
from multicopy_refinement.targets.base import Target
from multicopy_refinement.targets.least_squares import LeastSquares, amplitude_variance
from multicopy_refinement.targets.ml_amplitude import MLAmplitude
from multicopy_refinement.targets.ml_intensity import MLIntensity
from multicopy_refinement.targets.sigma_a import ErrorModel


def preferred(asked: TargetKind | None) -> Quantity:
    """Return what is taken where a file has both: amplitudes for a target that is of these."""
    amplitudes = asked in (TargetKind.ML, TargetKind.LS)
    return Quantity.AMPLITUDE if amplitudes else Quantity.INTENSITY


def target_kind(asked: TargetKind | None, data: ReflectionData) -> TargetKind:
    """Return the target that was asked for, or else the likelihood of what was measured.

    Raises
    ------
    InputError
        A likelihood of intensities for amplitudes.
    """
    if asked is None:
        return TargetKind.ML if data.intensities is None else TargetKind.MLI
    if asked is TargetKind.MLI and data.intensities is None:
        labels = ",".join(data.labels.observations)
        raise InputError(
            f"the target mli is for intensities, and {labels} are amplitudes: "
            "name intensities with --labels, or take --target ml"
        )
    return asked


def likelihood(data: ReflectionData, errors: ErrorModel) -> Target:
    """Return the likelihood of intensities where the data are for it, or that of amplitudes."""
    if data.effective is not None:
        return MLIntensity(data, errors)
    return MLAmplitude(torch.as_tensor(data.f_obs), torch.as_tensor(data.centric), errors)


def least_squares(data: ReflectionData, size: FloatArray) -> Target:
    """Return least squares on amplitudes, with the model error at |F_model|."""
    return LeastSquares(torch.as_tensor(data.f_obs), amplitude_variance(data, size))
