"""Amplitudes of intensities by their posterior under Wilson's prior."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import roots_legendre

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.parallel import in_threads
from multicopy_refinement.reflections.observations import Observations

#: Width b of the kernel of the local mean in steps of the indices (that of reciprocalspaceship),
#: and where it ends in units of it.
_BANDWIDTH, _REACH = 2.0, 5.0
#: Reflections of a shell, whose mean stands in where a local one cannot be had.
_PER_SHELL = 150
#: An intensity that errs by more than this times the shell's mean says nothing of the local mean.
_UNINFORMATIVE = 4.0
#: The local mean is at least this part of the shell's.
_LOWEST = 0.02
#: Points of the integration, and how many sigma (or e-folds of the prior) are integrated over.
_POINTS, _SIGMAS, _FOLDS = 96, 9.0, 40.0
#: Reflections that are integrated at once.
_AT_ONCE = 1000


def french_wilson(
    rows: Observations, cell: Cell, group: SpaceGroup
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return amplitudes of intensities, their sigmas, and the means S of the prior.

    (French & Wilson 1978, Acta Cryst. A34, 517.)

    The mean and standard deviation of F under p(I | J) p(J | S): the error is Gaussian, and
    Wilson's prior of the true intensity J = F^2 has the mean S of its neighbours in reciprocal
    space. All sigmas must be positive and all values finite; then all results are.
    """
    epsilon, centric = group.epsilon(rows.hkl), group.centric(rows.hkl)
    prior = epsilon * _mean_intensity(rows, rows.value / epsilon, rows.sigma / epsilon, cell)
    return *posterior_amplitudes(rows.value, rows.sigma, prior, centric), prior


def posterior_amplitudes(
    intensity: FloatArray, sigma: FloatArray, prior: FloatArray, centric: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation of F for intensities with a prior mean, ``[n]`` each.

    p(F) ~ F^m exp(-F^2/w) exp(-(F^2 - I)^2 / 2 sigma^2), with m = 1 and w = S for acentric
    reflections, m = 0 and w = 2 S for centric ones. The exponent is a parabola in J = F^2 around
    I - sigma^2/w; the integral over F, smooth everywhere, is taken where it matters only.
    """
    mean, sd = np.empty((2, len(intensity)))

    def work(first: int, last: int) -> None:
        for start in range(first, last, _AT_ONCE):
            rows = slice(start, min(start + _AT_ONCE, last))
            mean[rows], sd[rows] = _integrated(
                intensity[rows], sigma[rows], prior[rows], centric[rows]
            )

    in_threads(work, len(intensity))
    return mean, sd


def _integrated(
    intensity: FloatArray, sigma: FloatArray, prior: FloatArray, centric: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """Return what `posterior_amplitudes` does, of so many that their integrands fit a cache."""
    width = np.where(centric, 2.0, 1.0) * prior
    centre = intensity - sigma**2 / width
    high = centre + _SIGMAS * sigma
    # from the side of negative centres, only a tail exp(-J |centre|/sigma^2) is left
    decay = sigma**2 / np.where(centre < 0, -centre, sigma)
    high = np.where(centre > 0, high, np.minimum(_SIGMAS * sigma, _FOLDS * decay))
    low = np.sqrt(np.maximum(centre - _SIGMAS * sigma, 0.0))
    high = np.sqrt(high)
    x, weight = roots_legendre(_POINTS)
    half = (high - low)[:, None] / 2
    f = (high + low)[:, None] / 2 + half * x
    # of the parabola without its constant: large parts that cancel are never subtracted
    exponent = -0.5 * (f**2 / sigma[:, None]) * (f**2 - 2 * centre[:, None]) / sigma[:, None]
    exponent += np.where(centric[:, None], 0.0, np.log(f))
    p = weight * np.exp(exponent - exponent.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    mean = (p * f).sum(axis=1)
    return mean, np.sqrt((p * (f - mean[:, None]) ** 2).sum(axis=1))


def _mean_intensity(
    rows: Observations, value: FloatArray, sigma: FloatArray, cell: Cell
) -> FloatArray:
    """Return the mean of the neighbours of each reflection, always positive, ``[n]``."""
    shell = _shell_means(value, sigma, cell.inverse_d_squared(rows.hkl))
    known = np.where(sigma > _UNINFORMATIVE * shell, shell, value)
    return np.asarray(np.maximum(_neighbours_mean(known, rows.hkl), _LOWEST * shell))


def _neighbours_mean(value: FloatArray, hkl: IntArray) -> FloatArray:
    """Return sum_j K_ij I_j / sum_j K_ij with K = exp(-|h_i - h_j|^2 / 2 b^2), ``[n]``."""
    place = tuple((hkl - hkl.min(axis=0)).T)
    shape = tuple(int(p.max()) + 1 for p in place)
    sums = []
    for each in (value, np.ones(len(value))):
        grid = np.zeros(shape)
        np.add.at(grid, place, each)
        smooth = gaussian_filter(grid, _BANDWIDTH, mode="constant", truncate=_REACH)
        sums.append(smooth[place])
    return np.asarray(sums[0] / sums[1])


def _shell_means(value: FloatArray, sigma: FloatArray, s_squared: FloatArray) -> FloatArray:
    """Return the mean intensity of each reflection's shell, at least its standard error, ``[n]``.

    Values are weighted by 1/(sigma^2 + variance of a usual reflection), so that one that hardly
    was measured does not make the mean.
    """
    means = np.empty(len(value))
    order = np.argsort(s_squared, kind="stable")
    for part in np.array_split(order, max(1, len(order) // _PER_SHELL)):
        usual = np.median(sigma[part]) ** 2 + np.median(value[part]) ** 2
        weight = 1 / (sigma[part] ** 2 + usual)
        mean = (weight * value[part]).sum() / weight.sum()
        means[part] = max(mean, 1 / np.sqrt(weight.sum()))
    return means
