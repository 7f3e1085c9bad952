"""How improbable an amplitude or an intensity is, given a model with errors."""

from __future__ import annotations

import numpy as np
from scipy.special import chndtr, gammaincc, i0e, ndtr, roots_legendre

from multicopy_refinement._typing import BoolArray, FloatArray

#: Points of the integral over F, and how many standard deviations it reaches.
_POINTS, _REACH = 200, 8.0


def amplitude_tail(r: FloatArray, v: FloatArray, centric: BoolArray) -> FloatArray:
    """Return the probability of an amplitude as large or larger, or as small or smaller, ``[n]``.

    The smaller of both (Read 1999, Acta Cryst. D55, 1759): with r = Fo/sqrt(Sigma) and v =
    alpha F/sqrt(Sigma), 2 r^2 follows a non-central chi-square of two degrees of freedom and
    centrality 2 v^2 (acentric); r is a folded Gaussian around v (centric).
    """
    tail = np.empty(len(r))
    high, low = (r - v)[centric], (r + v)[centric]
    upper = ndtr(-high) + ndtr(-low)
    tail[centric] = np.minimum(upper, np.maximum(ndtr(high) - ndtr(-low), 0.0))
    tail[~centric] = _rice_tail(r[~centric], v[~centric])
    return tail


def intensity_tail(
    intensity: FloatArray, sigma: FloatArray, scaled: FloatArray, variance: FloatArray,
    centric: BoolArray,
) -> FloatArray:  # fmt: skip
    """Return the probability of an intensity as large or larger, or as small or smaller, ``[n]``.

    The smaller of both: the integral over F of its distribution around ``scaled``, of a model error
    eps beta (``variance``), times the Gaussian tail of (I - F^2)/sigma.
    """
    x, weight = roots_legendre(_POINTS)
    reach = _REACH * np.sqrt(np.where(centric, 1.0, 0.5) * variance)
    low, high = np.maximum(scaled - reach, 0.0), scaled + reach
    f = (low + (high - low) / 2)[:, None] + (high - low)[:, None] / 2 * x
    difference = (f - scaled[:, None]) ** 2 / variance[:, None]
    twice = 2 * f * scaled[:, None] / variance[:, None]
    density = np.where(
        centric[:, None], np.exp(-difference / 2) * (1 + np.exp(-twice)),
        f * np.exp(-difference) * i0e(twice),
    )  # fmt: skip
    density *= weight
    density /= density.sum(axis=1, keepdims=True)
    above = (intensity[:, None] - f**2) / sigma[:, None]
    return np.asarray(
        np.minimum((density * ndtr(-above)).sum(axis=1), (density * ndtr(above)).sum(axis=1))
    )


def _rice_tail(r: FloatArray, v: FloatArray) -> FloatArray:
    """Return the smaller tail of 2 r exp(-r^2 - v^2) I0(2 r v) at r, ``[n]``."""
    gaussian = ndtr(-np.abs(r - np.sqrt(v**2 + 0.25)) * np.sqrt(2.0))
    # the sum for the non-central chi-square is for centralities that a double can hold
    exact = v < 30.0
    lower = np.where(exact, chndtr(2 * r**2, 2.0, 2 * np.minimum(v, 30.0) ** 2), np.nan)
    upper = np.where(v > 1e-3, 1 - lower, gammaincc(1.0, r**2))
    tail = np.where(r > v, upper, lower)
    # 1 - cdf has no digits below 1e-12; far out the Gaussian of the same centre will do
    return np.asarray(np.where(exact & (tail > 1e-12), tail, gaussian))
