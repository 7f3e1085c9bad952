"""Map coefficients: 2mFo-DFc and mFo-DFc."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from multicopy_refinement._typing import ComplexArray, FloatArray, IntArray
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.posterior.observable import AMPLITUDE
from multicopy_refinement.refinement.anomalous import AnomalousResults
from multicopy_refinement.results.real_space import EXTINCTION_LABEL, TWIN_LABEL


@dataclass(frozen=True, eq=False)
class MapCoefficients:
    """Coefficients at all reflections that the data file lists, observed ones first.

    Attributes
    ----------
    hkl
        ``[n, 3]``.
    weighted
        2mFo-DFc (acentric), mFo (centric), DFc where nothing was observed and for outliers;
        complex ``[n]``. Of intensities, mFo is what they and the model make expected of F.
    difference
        mFo-DFc, 0 where nothing was observed and for outliers; complex ``[n]``.
    model
        F_model; complex ``[n]``.
    atoms
        F_calc of the atoms alone on the scale of the data; complex ``[n]``.
    merit
        Figure of merit m, nan where nothing was observed and for outliers; ``[n]``.
    measured
        Where what is measured is not |F_model|, that of a twin or with extinction: the label of its
        column, and what F_obs is compared with, nan where nothing was observed, ``[n]``.
    anomalous, anomalous_difference
        m (F(+) - F(-)) and m (F(+) - F(-) - D) with the phase of F_model less 90 degrees, whose
        maps have the density of f'' and what of it the model lacks; 0 where there is no pair.
        Complex ``[n]``, None where differences were no data.
    """

    hkl: IntArray
    weighted: ComplexArray
    difference: ComplexArray
    model: ComplexArray
    atoms: ComplexArray
    merit: FloatArray
    measured: tuple[str, FloatArray] | None = None
    anomalous: ComplexArray | None = None
    anomalous_difference: ComplexArray | None = None


def with_differences(maps: MapCoefficients, found: AnomalousResults | None) -> MapCoefficients:
    """Return maps with those of Bijvoet differences (Kraut 1968, J. Mol. Biol. 35, 511), if any."""
    if found is None:
        return maps
    n, missing = len(found.observed), len(maps.hkl) - len(found.observed)
    turned = -1j * maps.model[:n] / np.maximum(np.abs(maps.model[:n]), 1e-300)
    signal, rest = (
        np.concatenate([turned * part, np.zeros(missing)])
        for part in (found.observed, found.observed - found.calculated)
    )
    return replace(maps, anomalous=signal, anomalous_difference=rest)


def map_coefficients(experiment: Experiment, listed_f_calc: ComplexArray) -> MapCoefficients:
    """Return sigmaA-weighted coefficients (Read 1986, Acta Cryst. A42, 140).

    Of a twin Fo is that of the first domain, and with extinction that without: F_obs |F_model|/A
    with A what is measured of F_model
    (Murshudov et al. 2011, Acta Cryst. D67, 355).

    For intensities m and Fo are those of the effective amplitude, and mFo - DFc is what of their
    difference is likely to be in F: the part eps beta/Sigma, the rest being errors of measurement.
    Then mFo is the mean of F, in phase with the model, under both; without information it is DFc.

    ``listed_f_calc`` is F_calc at the reflections of ``data.listed_hkl``.
    """
    data, errors = experiment.data, experiment.errors
    observed_part, missing_part = np.split(listed_f_calc, [len(data)])
    with torch.no_grad():
        f_model = experiment(torch.as_tensor(observed_part)).numpy()
    merit, difference = difference_coefficients(experiment, f_model)
    expected = errors.alpha * f_model
    missing = data.unobserved_hkl
    f_missing = _f_model_at(experiment, missing, missing_part)
    filled = errors.alpha_at(data.cell.inverse_d_squared(missing)) * f_missing
    return MapCoefficients(
        data.listed_hkl,
        np.concatenate([expected + np.where(data.centric, 1, 2) * difference, filled]),
        np.concatenate([difference, np.zeros(len(missing))]),
        np.concatenate([f_model, f_missing]),
        experiment.scale.overall(data.listed_hkl) * listed_f_calc,
        np.concatenate([np.where(data.left_out, np.nan, merit), np.full(len(missing), np.nan)]),
        _measured(experiment, f_model, len(missing)),
    )  # fmt: skip


def _measured(
    experiment: Experiment, f_model: ComplexArray, n_missing: int
) -> tuple[str, FloatArray] | None:
    """Return what F_obs is compared with, where that is not |F_model|, and its label."""
    if experiment.observable is AMPLITUDE:
        return None
    size = np.where(experiment.data.observed, experiment.observable.size(f_model), np.nan)
    label = EXTINCTION_LABEL if experiment.twin is None else TWIN_LABEL
    return label, np.concatenate([size, np.full(n_missing, np.nan)])


def difference_coefficients(
    experiment: Experiment, f_model: ComplexArray
) -> tuple[FloatArray, ComplexArray]:
    """Return m and mFo-DFc of an F_model at the observed reflections, 0 for outliers."""
    data, errors = experiment.data, experiment.errors
    size = np.maximum(np.abs(f_model), 1e-12)
    f_obs = data.rice_f
    if experiment.observable is not AMPLITUDE:
        f_obs = f_obs * size / np.maximum(experiment.observable.size(f_model), 1e-12)
    merit = errors.figure_of_merit(f_obs, size, data.centric)
    difference = merit * f_obs * f_model / size - errors.alpha * f_model
    if data.effective is not None:
        difference *= data.epsilon * errors.beta / errors.variance
    difference[data.left_out] = 0.0
    return merit, difference


def _f_model_at(experiment: Experiment, hkl: IntArray, f_calc: ComplexArray) -> ComplexArray:
    """Return F_model at reflections other than those of the data."""
    if len(hkl) == 0:
        return np.empty(0, dtype=np.complex128)
    model, scale = experiment.model, experiment.scale
    solvent = scale.solvent(model.cell.inverse_d_squared(hkl)) * experiment.f_mask_at(hkl)
    return np.asarray(scale.overall(hkl) * (f_calc + solvent))
