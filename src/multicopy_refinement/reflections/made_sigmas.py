"""Sigmas for data that came without."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import FloatArray

#: Sigma of an amplitude as a part of the root mean square amplitude of its shell.
PART = 0.02
_PER_SHELL = 150


def made_sigmas(value: FloatArray, s_squared: FloatArray, *, intensities: bool) -> FloatArray:
    """Return a sigma for each value, nan where there is none: 2% of F as its shell has it.

    They are meant to be small beside the error of the model: what the likelihood learns of that
    from the test set then holds the errors of the data, too.
    """
    sigma = np.full(len(value), np.nan)
    known = np.flatnonzero(np.isfinite(value))
    order = known[np.argsort(s_squared[known], kind="stable")]
    power = np.abs(value) if intensities else value**2
    overall = float(power[known].mean()) if len(known) else 0.0
    for part in np.array_split(order, max(1, len(order) // _PER_SHELL)):
        mean = power[part].mean() if len(part) else 0.0
        mean = mean if mean > 0 else overall
        sigma[part] = 2 * PART * mean if intensities else PART * np.sqrt(mean)  # dI = 2 F dF
    return sigma
