"""Which of many tests pass, when a part of those that pass may be wrong."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray

#: False discovery rate at which groups pass for supported.
DISCOVERY_RATE = 0.05


def discoveries(p: FloatArray, rate: float = DISCOVERY_RATE) -> BoolArray:
    """Return which of several tests pass at a false discovery rate; nan never does.

    The largest k with p_(k) <= k rate/m and all below it (Benjamini & Hochberg 1995, J. R. Stat.
    Soc. B57, 289).
    """
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    passes = p[order] <= rate * np.arange(1, len(order) + 1) / max(len(order), 1)
    found = np.zeros(len(p), dtype=bool)
    if passes.any():
        found[order[: int(np.flatnonzero(passes)[-1]) + 1]] = True
    return found
