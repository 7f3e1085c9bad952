"""Expected information on the model's amplitude, tabulated once."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.special import i0e, i1e

from multicopy_refinement._typing import BoolArray, FloatArray

#: Largest nu of the table; beyond it the information is that of a Gaussian.
_LARGEST = 12.0
_STEPS = 600
_QUADRATURE = 400


def expected_information(
    f_model: FloatArray, alpha: FloatArray, variance: FloatArray, centric: BoolArray
) -> FloatArray:
    """Return E[(dlog p/dF)^2] of the amplitude likelihood, ``[n]``.

    For strong reflections 2 alpha^2/Sigma (acentric) or alpha^2/Sigma (centric); with
    nu = alpha F/sqrt(Sigma) it falls as nu^2 for weak ones. The fall is tabulated by quadrature.
    """
    table, steps = _table()
    nu = np.fmin(np.fmax(alpha * f_model / np.sqrt(variance), 0.0), _LARGEST)
    place = nu * ((_STEPS - 1) / _LARGEST)
    before = np.minimum(place.astype(np.intp), _STEPS - 2)
    place -= before  # the part of a step that is left
    before[centric] += _STEPS  # the centric table is behind the other
    return np.asarray(alpha**2 / variance * (table[before] + place * steps[before]))


def intensity_information(
    f_model: FloatArray, alpha: FloatArray, model_error: FloatArray, sigma: FloatArray,
    centric: BoolArray,
) -> FloatArray:  # fmt: skip
    """Return E[(dlog p/dF)^2] of the likelihood of an intensity I = F_true^2 + error, ``[n]``.

    The error of F by the model, eps beta, and that by the measurement, sigma/(2 alpha F), add up::

        1/W = 1/W(eps beta) + sigma^2/(4 alpha^4 F^2)

    Right where one of them is alone, and for strong reflections. Otherwise within 8% of the
    integral over I; of weak reflections, up to a fifth too low where both are alike.

    Parameters
    ----------
    f_model, alpha
        |F_model|, and the factor at which the truth is expected of it.
    model_error
        eps beta.
    sigma
        Of the intensity.
    centric
        Which reflections are.
    """
    own = expected_information(f_model, alpha, model_error, centric)
    measured = 4 * alpha**4 * f_model**2 / sigma**2
    return np.asarray(own * measured / np.maximum(own + measured, 1e-300))


@cache
def _table() -> tuple[FloatArray, FloatArray]:
    """Return the information times Sigma/alpha^2 at even steps of nu, and its growth to the next.

    That of acentric reflections, then that of centric ones, ``[2 steps]``.
    """
    nu = np.linspace(0.0, _LARGEST, _STEPS)
    node, weight = np.polynomial.legendre.leggauss(_QUADRATURE)
    low, high = np.maximum(nu - 8.0, 0.0), nu + 8.0
    r = 0.5 * (high - low)[:, None] * (node + 1) + low[:, None]
    w = 0.5 * (high - low)[:, None] * weight
    v = nu[:, None]
    density = 2 * r * np.exp(-((r - v) ** 2)) * i0e(2 * r * v)
    score = 2 * (r * i1e(2 * r * v) / i0e(2 * r * v) - v)
    acentric = (w * density * score**2).sum(axis=1)
    density = np.sqrt(2 / np.pi) * np.exp(-((r - v) ** 2) / 2) * (1 + np.exp(-2 * r * v)) / 2
    score = r * np.tanh(r * v) - v
    table = np.concatenate([acentric, (w * density * score**2).sum(axis=1)])
    return table, np.append(np.diff(table), 0.0)
