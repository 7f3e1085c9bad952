"""Sigmas for data that came without."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import FloatArray

#: Sigma of a strong amplitude as a part of it.
PART = 0.03
#: Weak amplitudes err like one that is this part of the root mean square of their shell.
_WEAK = 0.5
_PER_SHELL = 150


def made_sigmas(value: FloatArray, s_squared: FloatArray, *, intensities: bool) -> FloatArray:
    """Return a sigma for each value, nan where there is none.

    sigma(F) = 3% of sqrt(F^2 + <F^2>/4), as measurements have it: strong reflections err by a part
    of themselves, weak ones by what is around them. How large errors are in all is left to the
    likelihood, which learns it from the test set.
    """
    sigma = np.full(len(value), np.nan)
    known = np.flatnonzero(np.isfinite(value))
    order = known[np.argsort(s_squared[known], kind="stable")]
    squares = np.maximum(value, 0.0) if intensities else value**2
    overall = float(squares[known].mean()) if len(known) else 0.0
    for part in np.array_split(order, max(1, len(order) // _PER_SHELL)):
        mean = float(squares[part].mean()) if len(part) else 0.0
        mean = mean if mean > 0 else overall
        error = PART * np.sqrt(squares[part] + _WEAK**2 * mean)
        # dI = 2 F dF; an intensity of 0 errs like that of a weak amplitude
        sigma[part] = 2 * np.sqrt(squares[part] + _WEAK**2 * mean) * error if intensities else error
    return sigma
