"""X-ray form factors of International Tables C (1992), table 6.1.1.4, as gemmi has them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.errors import InputError


@dataclass(frozen=True, eq=False)
class FormFactors:
    """f(s) = sum_i a_i exp(-b_i s^2/4) of the elements of a model, s in 1/A.

    Attributes
    ----------
    symbols
        Elements in capitals, ``S2 [n_elements]``.
    element
        Row of each atom in ``a`` and ``b``, ``[n_atoms]``.
    a
        Electrons, ``[n_elements, 5]``; the last is the constant c.
    b
        A^2, ``[n_elements, 5]``; the last is 0.
    """

    symbols: NDArray[np.bytes_]
    element: IntArray
    a: FloatArray
    b: FloatArray

    def at(self, s_squared: FloatArray) -> FloatArray:
        """Return f of each element at 1/d^2 (1/A^2), ``[n_elements, n]``."""
        exponent = -self.b[:, :, None] * s_squared / 4
        return np.asarray((self.a[:, :, None] * np.exp(exponent)).sum(axis=1))

    def fewer_gaussians(self, d_min: float, tolerance: float) -> tuple[FloatArray, FloatArray]:
        """Return heights and widths of the fewest Gaussians that give f, ``[n_elements, m]``.

        Elements that need fewer than others have zeros. Fits are those of
        ``scripts/fit_form_factors.py``; where none is good enough the five terms stay.

        Parameters
        ----------
        d_min
            A.
        tolerance
            Largest relative error of f.
        """
        fits = _fits()
        fine_enough = np.flatnonzero(fits.resolutions <= d_min)
        a, b = self.a.copy(), self.b.copy()
        most = 0
        for i, symbol in enumerate(self.symbols.tolist()):
            terms = self.a.shape[1]
            row = fits.rows.get(b"H" if symbol == b"D" else symbol)
            if row is not None and len(fine_enough):
                found = np.flatnonzero(fits.error[row, fine_enough[0]] <= tolerance)
                if len(found):
                    terms = int(fits.terms[found[0]])
                    a[i], b[i] = 0.0, 0.0
                    a[i, :4] = fits.a[row, fine_enough[0], found[0]]
                    b[i, :4] = fits.b[row, fine_enough[0], found[0]]
            most = max(most, terms)
        return a[:, :most], b[:, :most]


@dataclass(frozen=True, eq=False)
class _Fits:
    """What ``scripts/fit_form_factors.py`` wrote, resolutions from coarse to fine."""

    rows: dict[bytes, int]
    resolutions: FloatArray
    terms: IntArray
    a: FloatArray
    b: FloatArray
    error: FloatArray


@lru_cache
def _fits() -> _Fits:
    with np.load(Path(__file__).with_name("fits.npz")) as file:
        rows = {symbol.encode(): i for i, symbol in enumerate(file["symbols"].tolist())}
        return _Fits(rows, *(file[k] for k in ("resolutions", "terms", "a", "b", "error")))


def form_factors(elements: NDArray[np.bytes_]) -> FormFactors:
    """Return the form factors of neutral atoms by chemical symbol, ``S2 [n_atoms]``; 0 for X.

    >>> round(float(form_factors(np.array([b"C"])).a.sum()), 2)
    6.0
    """
    symbols, row = np.unique(elements, return_inverse=True)
    a, b = np.zeros((len(symbols), 5)), np.zeros((len(symbols), 5))
    for i, symbol in enumerate(symbols.tolist()):
        if symbol == b"X":  # nobody knows what it is: it does not scatter
            continue
        found = gemmi.Element(symbol.decode()).it92
        if found is None:
            raise InputError(f"no form factor for element {symbol.decode()!r}")
        coefficients = np.array(found.get_coefs())
        a[i, :4], b[i, :4], a[i, 4] = coefficients[:4], coefficients[4:8], coefficients[8]
    return FormFactors(symbols, row.astype(np.int64), a, b)
