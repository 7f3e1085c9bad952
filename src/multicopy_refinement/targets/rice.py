"""log p of an amplitude as a function of the scaled model amplitude and the variance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import i0e, i1e

from multicopy_refinement._typing import BoolArray, FloatArray
from multicopy_refinement.parallel import in_threads

#: Below this the Bessel ratio r = I1(x)/I0(x) is x/2 to machine precision.
_SMALL = 1e-8
_BESSEL_STEPS = 4096


@dataclass(frozen=True, eq=False)
class RiceSlopes:
    """log p without constants, and its first derivatives in a and V, ``[n]``."""

    value: FloatArray
    d_a: FloatArray
    d_v: FloatArray


@dataclass(frozen=True, eq=False)
class RiceDerivatives(RiceSlopes):
    """The same with the second derivatives, ``[n]``."""

    d_aa: FloatArray
    d_vv: FloatArray
    d_av: FloatArray


def rice_slopes(
    f_obs: FloatArray, scaled: FloatArray, variance: FloatArray, centric: BoolArray
) -> RiceSlopes:
    """Return log p(F_obs; a, V) and its first derivatives, as `rice_derivatives` has them.

    To 1e-12 of them, and several times as fast: it is what the likelihood is made of.
    """
    from multicopy_refinement.targets.kernels.rice import rice_slopes_into

    value, d_a, d_v = (np.empty(len(f_obs)) for _ in range(3))
    table = bessel_table()
    in_threads(
        lambda first, last: rice_slopes_into(
            first, last, value, d_a, d_v, f_obs, scaled, variance, centric, table
        ),
        len(f_obs),
    )
    return RiceSlopes(value, d_a, d_v)


@lru_cache(maxsize=1)
def bessel_table() -> FloatArray:
    """Return ln(I0(x) exp(-x)) + ln(1 + x)/2, I1(x)/I0(x) and their slopes, ``[steps + 1, 4]``.

    At equal steps of u = x/(1 + x), up to u = 1, where ln(I0 exp(-x)) is -ln(2 pi x)/2 + 1/(8x)
    and the ratio 1 - 1/(2x).
    """
    u = np.arange(_BESSEL_STEPS) / _BESSEL_STEPS
    x = u / (1 - u)
    r = i1e(x) / i0e(x)
    r_over_x = np.where(x > _SMALL, r / np.maximum(x, _SMALL), 0.5)
    widening = (1 + x) ** 2 / _BESSEL_STEPS
    inner = np.stack(
        [
            np.log(i0e(x)) + 0.5 * np.log1p(x), r,
            (r - 1 + 0.5 / (1 + x)) * widening, (1 - r_over_x - r**2) * widening,
        ],
        axis=1,
    )  # fmt: skip
    end = [-0.5 * np.log(2 * np.pi), 1.0, -0.625 / _BESSEL_STEPS, 0.5 / _BESSEL_STEPS]
    return np.vstack([inner, end])


def rice_derivatives(
    f_obs: FloatArray, scaled: FloatArray, variance: FloatArray, centric: BoolArray
) -> RiceDerivatives:
    """Return log p(F_obs; a, V) with a = alpha |F_model| and V = Sigma, and its derivatives.

    With n = 1, r = I1(x)/I0(x), r' = 1 - r/x - r^2 (acentric) or n = 1/2, r = tanh x,
    r' = 1 - r^2 (centric), and x = 2 n a F_obs/V::

        log p = -n ln V - n (F_obs^2 + a^2)/V + ln I0(x) or ln cosh x

    Terms without a or V are left out.
    """
    parts = n, x, _, r = _parts(f_obs, scaled, variance, centric)
    over_x = np.where(x > _SMALL, r / np.maximum(x, _SMALL), 0.5)
    curve = np.where(centric, 1 - r**2, 1 - over_x - r**2)
    squares = (f_obs**2 + scaled**2) / variance
    return RiceDerivatives(
        *_first(f_obs, scaled, variance, centric, parts),
        d_aa=(-2 * n + curve * (2 * n * f_obs) ** 2 / variance) / variance,
        d_vv=(n - 2 * n * squares + curve * x**2 + 2 * r * x) / variance**2,
        d_av=2 * n * (scaled - (curve * x + r) * f_obs) / variance**2,
    )


_Parts = tuple[FloatArray, FloatArray, FloatArray, FloatArray]


def _parts(
    f_obs: FloatArray, scaled: FloatArray, variance: FloatArray, centric: BoolArray
) -> _Parts:
    """Return n, x, I0(x) exp(-x) and r."""
    n = np.where(centric, 0.5, 1.0)
    x = 2 * n * scaled * f_obs / variance
    bessel = i0e(x)
    r = i1e(x) / bessel
    r[centric] = np.tanh(x[centric])
    return n, x, bessel, r


def _first(
    f_obs: FloatArray, scaled: FloatArray, variance: FloatArray, centric: BoolArray, parts: _Parts
) -> tuple[FloatArray, FloatArray, FloatArray]:
    n, x, bessel, r = parts
    difference = (f_obs - scaled) ** 2 / variance
    peak = np.log(bessel)
    peak[centric] = np.log1p(np.exp(-2 * x[centric]))
    squares = (f_obs**2 + scaled**2) / variance
    return (
        -n * np.log(variance) - n * difference + peak,
        2 * n * (r * f_obs - scaled) / variance,
        (n * (squares - 1) - r * x) / variance,
    )
