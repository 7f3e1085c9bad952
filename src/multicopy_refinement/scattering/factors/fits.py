"""Form factors of X-rays by fewer Gaussians, as ``scripts/fit_form_factors.py`` has fitted them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from multicopy_refinement._typing import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Fits:
    """What the script wrote, resolutions from coarse to fine."""

    rows: dict[bytes, int]
    resolutions: FloatArray
    terms: IntArray
    a: FloatArray
    b: FloatArray
    error: FloatArray

    def fewest(
        self, symbol: bytes, d_min: float, tolerance: float
    ) -> tuple[FloatArray, FloatArray] | None:
        """Return heights and widths of the fewest Gaussians to a resolution, or None.

        ``tolerance`` is the largest relative error of f.
        """
        row = self.rows.get(b"H" if symbol == b"D" else symbol)
        fine_enough = np.flatnonzero(self.resolutions <= d_min)
        if row is None or len(fine_enough) == 0:
            return None
        found = np.flatnonzero(self.error[row, fine_enough[0]] <= tolerance)
        if len(found) == 0:
            return None
        n = int(self.terms[found[0]])
        place = row, fine_enough[0], found[0]
        return self.a[place][:n], self.b[place][:n]


@lru_cache
def fits() -> Fits:
    """Return the fits of all elements."""
    with np.load(Path(__file__).with_name("fits.npz")) as file:
        rows = {symbol.encode(): i for i, symbol in enumerate(file["symbols"].tolist())}
        return Fits(rows, *(file[k] for k in ("resolutions", "terms", "a", "b", "error")))
