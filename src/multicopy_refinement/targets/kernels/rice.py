"""log p of amplitudes and its slopes; Bessel functions by interpolation between exact values."""

from __future__ import annotations

import numpy as np
from numba import njit

_FAST = {"contract", "nsz"}


@njit(nogil=True, cache=True, fastmath=_FAST)
def rice_slope(
    f: float, a: float, v: float, centric: bool, table: np.ndarray
) -> tuple[float, float, float]:
    """Return log p, and its derivatives in a and V, of one reflection.

    ``table`` has, at equal steps of u = x/(1 + x) from 0 to 1, ln(I0(x) exp(-x)) + ln(1 + x)/2,
    I1(x)/I0(x), and their slopes times the step: between two of them both are cubic in u. What is
    not a number, or has an infinite x, has no numbers.
    """
    if centric:
        n = 0.5
        x = a * f / v
        fall = np.exp(-2.0 * x)
        peak = np.log1p(fall)
        ratio = (1.0 - fall) / (1.0 + fall)
    else:
        n = 1.0
        x = 2.0 * a * f / v
        steps = table.shape[0] - 1
        place = x / (1.0 + x) * steps
        if not place >= 0.0:  # not a number: no place of the table
            return np.nan, np.nan, np.nan
        k = min(int(place), steps - 1)
        t = place - k
        s = 1.0 - t
        of_here, of_there = s * s * (1.0 + 2.0 * t), t * t * (3.0 - 2.0 * t)
        up, down = t * s * s, -t * t * s
        peak = of_here * table[k, 0] + of_there * table[k + 1, 0]
        peak += up * table[k, 2] + down * table[k + 1, 2] - 0.5 * np.log1p(x)
        ratio = of_here * table[k, 1] + of_there * table[k + 1, 1]
        ratio += up * table[k, 3] + down * table[k + 1, 3]
    value = peak - n * (np.log(v) + (f - a) * (f - a) / v)
    return value, 2.0 * n * (ratio * f - a) / v, (n * ((f * f + a * a) / v - 1.0) - ratio * x) / v


@njit(nogil=True, cache=True, fastmath=_FAST)
def rice_slopes_into(
    first: int, last: int, value: np.ndarray, d_a: np.ndarray, d_v: np.ndarray, f_obs: np.ndarray,
    scaled: np.ndarray, variance: np.ndarray, centric: np.ndarray, table: np.ndarray,
) -> None:  # fmt: skip
    """Put log p, and its derivatives in a and V, of reflections into arrays."""
    for i in range(first, last):
        value[i], d_a[i], d_v[i] = rice_slope(f_obs[i], scaled[i], variance[i], centric[i], table)


@njit(nogil=True, cache=True, fastmath=_FAST)
def rice_collected(
    size: np.ndarray, f_obs: np.ndarray, alpha: np.ndarray, model_error: np.ndarray,
    noise: np.ndarray, centric: np.ndarray, left: np.ndarray, part: np.ndarray,
    slope: np.ndarray, table: np.ndarray,
) -> float:  # fmt: skip
    """Return sum log p, and add its derivatives in log alpha and log beta at knots to ``slope``.

    ``slope`` is ``[2, n_knots + 1]``; a reflection lies between the knots ``left`` and ``left`` +
    1, at ``part`` of the way.
    """
    total = 0.0
    for i in range(size.shape[0]):
        a = alpha[i] * size[i]
        value, d_a, d_v = rice_slope(f_obs[i], a, model_error[i] + noise[i], centric[i], table)
        total += value
        k, t = left[i], part[i]
        slope[0, k] += (1.0 - t) * d_a * a
        slope[0, k + 1] += t * d_a * a
        slope[1, k] += (1.0 - t) * d_v * model_error[i]
        slope[1, k + 1] += t * d_v * model_error[i]
    return total
