"""Measurement errors of simulated amplitudes."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import FloatArray

#: Part of the mean amplitude of its shell that a reflection of amplitude 0 errs like.
FLOOR = 0.3
#: Sigma of noiseless data, as a part of what noise of 1 would give: zero is not an uncertainty.
NOISELESS = 1e-3


def amplitude_sigmas(amplitude: FloatArray, s_squared: FloatArray, noise: float) -> FloatArray:
    """Return sigma = noise sqrt(F^2 + (0.3 <F>)^2), <F> the mean of about 200 neighbours in s."""
    order = np.argsort(s_squared)
    width = max(1, min(200, len(order)))
    total = np.convolve(amplitude[order], np.ones(width), mode="same")
    count = np.convolve(np.ones(len(order)), np.ones(width), mode="same")
    mean = np.empty(len(order))
    mean[order] = total / count
    return np.asarray(max(noise, NOISELESS) * np.hypot(amplitude, FLOOR * mean))
