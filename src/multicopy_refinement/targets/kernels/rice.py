"""log p of amplitudes and its slopes; Bessel functions by interpolation between exact values."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, fastmath={"contract", "nsz"})
def rice_slopes_into(
    first: int, last: int, value: np.ndarray, d_a: np.ndarray, d_v: np.ndarray, f_obs: np.ndarray,
    scaled: np.ndarray, variance: np.ndarray, centric: np.ndarray, table: np.ndarray,
) -> None:  # fmt: skip
    """Put log p, and its derivatives in a and V, of reflections into arrays.

    ``table`` has, at equal steps of u = x/(1 + x) from 0 to 1, ln(I0(x) exp(-x)) + ln(1 + x)/2,
    I1(x)/I0(x), and their slopes times the step: between two of them both are cubic in u.
    """
    steps = table.shape[0] - 1
    for i in range(first, last):
        v = variance[i]
        f, a = f_obs[i], scaled[i]
        if centric[i]:
            n = 0.5
            x = a * f / v
            fall = np.exp(-2.0 * x)
            peak = np.log1p(fall)
            ratio = (1.0 - fall) / (1.0 + fall)
        else:
            n = 1.0
            x = 2.0 * a * f / v
            place = x / (1.0 + x) * steps
            k = min(int(place), steps - 1)
            t = place - k
            here, there = table[k], table[k + 1]
            s = 1.0 - t
            of_here, of_there = s * s * (1.0 + 2.0 * t), t * t * (3.0 - 2.0 * t)
            up, down = t * s * s, -t * t * s
            peak = of_here * here[0] + of_there * there[0] + up * here[2] + down * there[2]
            peak -= 0.5 * np.log1p(x)
            ratio = of_here * here[1] + of_there * there[1] + up * here[3] + down * there[3]
        value[i] = peak - n * (np.log(v) + (f - a) * (f - a) / v)
        d_a[i] = 2.0 * n * (ratio * f - a) / v
        d_v[i] = (n * ((f * f + a * a) / v - 1.0) - ratio * x) / v
