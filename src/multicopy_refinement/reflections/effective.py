"""Intensities, and the amplitudes that stand for them in a likelihood."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import erf, i0e, i1e

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.reflections.french_wilson import posterior_amplitudes

#: Ratios mu^2/V of the table, and where it ends and the asymptotic form begins.
_SMALLEST, _LARGEST, _STEPS = 1e-4, 1e3, 4000
#: D^2 is at least this times S/(S + sigma): less than what an intensity of 0 has.
_LEAST = 0.5


@dataclass(frozen=True, eq=False)
class Effective:
    """Amplitudes with complex Gaussian errors that say of F what the intensities say.

    Attributes
    ----------
    f
        F_e = E_eff sqrt(S)/D, ``[n]``.
    noise
        The variance that measurement adds, S (1 - D^2)/D^2, ``[n]``.
    """

    f: FloatArray
    noise: FloatArray

    def select(self, keep: BoolArray | IntArray) -> Effective:
        """Return those of a mask, or of places."""
        return Effective(self.f[keep], self.noise[keep])


@dataclass(frozen=True, eq=False)
class Intensities:
    """Unique intensities.

    Attributes
    ----------
    value, sigma
        On the scale of the file, ``[n]``.
    prior
        Their mean by Wilson's statistics, eps times that of their neighbours, ``[n]``.
    """

    value: FloatArray
    sigma: FloatArray
    prior: FloatArray

    def select(self, keep: BoolArray | IntArray) -> Intensities:
        """Return those of a mask, or of places."""
        return Intensities(self.value[keep], self.sigma[keep], self.prior[keep])

    def effective(self, centric: BoolArray) -> Effective:
        """Return the effective amplitudes."""
        return effective_amplitudes(self.value, self.sigma, self.prior, centric)


def effective_amplitudes(
    intensity: FloatArray, sigma: FloatArray, prior: FloatArray, centric: BoolArray
) -> Effective:
    """Return amplitudes whose errors are complex Gaussians, in place of intensities.

    (Read & McCoy 2016, Acta Cryst. D72, 375.) Under Wilson's prior, of mean S, the posterior of F
    given I is replaced by the Rice distribution (acentric) or the folded Gaussian (centric) around
    mu = D E_eff sqrt(S) of variance V = S (1 - D^2) that has its mean and its mean square::

        <F>^2/<F^2> = m(k)^2/(1 + k),   k = mu^2/V,   V = <F^2>/(1 + k),   D^2 = 1 - V/S

    with m(k) the mean for V = 1. Divided by the prior, that is the likelihood of F for an
    amplitude mu/D^2 whose error has the variance V/D^2. With a model that expects the truth at
    alpha F with the variance eps beta, the integral over F is the Rice distribution of that
    amplitude around alpha F with Sigma = eps beta + V/D^2.

    Parameters
    ----------
    intensity, sigma, prior
        I, its sigma and S, ``[n]``.
    centric
        Which reflections are.
    """
    mean, deviation = posterior_amplitudes(intensity, sigma, prior, centric)
    square = mean**2 + deviation**2
    spread = deviation**2 / square
    ratio = np.where(centric, _ratio(spread, centric=True), _ratio(spread, centric=False))
    # an intensity far above S with a sigma above that is likelier under a wider prior than S
    least = _LEAST * prior / (prior + sigma)
    variance = np.minimum(square / (1 + ratio), prior * (1 - least))
    d_squared = 1 - variance / prior
    mu = np.sqrt(np.maximum(square - variance, 0.0))
    return Effective(mu / d_squared, variance / d_squared)


def _ratio(spread: FloatArray, *, centric: bool) -> FloatArray:
    """Return k of 1 - <F>^2/<F^2>, ``[n]``."""
    tabulated, k = _table(centric)
    near = np.interp(spread, tabulated, k)
    # 1 - m^2/(1 + k) is 1/(1 + k) of a Gaussian, and (1/2 - 1/8k)/(1 + k) of a Rice distribution
    far = 1 / spread - 1 if centric else 0.5 / spread - 1.25
    return np.asarray(np.where(spread < tabulated[0], far, near))


@cache
def _table(centric: bool) -> tuple[FloatArray, FloatArray]:
    """Return 1 - m(k)^2/(1 + k), ascending, and k."""
    k = np.concatenate([np.geomspace(_LARGEST, _SMALLEST, _STEPS), [0.0]])
    if centric:
        mean = np.sqrt(2 / np.pi) * np.exp(-k / 2) + np.sqrt(k) * erf(np.sqrt(k / 2))
    else:
        mean = np.sqrt(np.pi) / 2 * ((1 + k) * i0e(k / 2) + k * i1e(k / 2))
    return 1 - mean**2 / (1 + k), k
