"""X-ray form factors of International Tables C (1992), table 6.1.1.4, as gemmi has them."""

from __future__ import annotations

from dataclasses import dataclass

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
    element
        Row of each atom in ``a`` and ``b``, ``[n_atoms]``.
    a
        Electrons, ``[n_elements, 5]``; the last is the constant c.
    b
        A^2, ``[n_elements, 5]``; the last is 0.
    """

    element: IntArray
    a: FloatArray
    b: FloatArray

    def at(self, s_squared: FloatArray) -> FloatArray:
        """Return f of each element at 1/d^2 (1/A^2), ``[n_elements, n]``."""
        exponent = -self.b[:, :, None] * s_squared / 4
        return np.asarray((self.a[:, :, None] * np.exp(exponent)).sum(axis=1))


def form_factors(elements: NDArray[np.bytes_]) -> FormFactors:
    """Return the form factors of neutral atoms by chemical symbol, ``S2 [n_atoms]``.

    >>> round(float(form_factors(np.array([b"C"])).a.sum()), 2)
    6.0
    """
    symbols, row = np.unique(elements, return_inverse=True)
    a, b = np.zeros((len(symbols), 5)), np.zeros((len(symbols), 5))
    for i, symbol in enumerate(symbols.tolist()):
        found = gemmi.Element(symbol.decode()).it92
        if found is None:
            raise InputError(f"no form factor for element {symbol.decode()!r}")
        coefficients = np.array(found.get_coefs())
        a[i, :4], b[i, :4], a[i, 4] = coefficients[:4], coefficients[4:8], coefficients[8]
    return FormFactors(row.astype(np.int64), a, b)
