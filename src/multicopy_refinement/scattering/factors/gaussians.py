"""Form factors of a model's elements as sums of Gaussians, whatever the radiation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.scattering.factors.fits import fits

#: Steps in s^2 at which a form factor is looked at.
_STEPS = 20


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
        Electrons of X-rays, A of electrons, fm of neutrons, ``[n_elements, m]``; of either sign.
    b
        A^2, ``[n_elements, m]``; 0 of a constant.
    f_prime
        What of the constant is f', in electrons, ``[n_elements]``.
    fitted
        Whether there are fits by fewer Gaussians: those of X-rays.
    """

    symbols: NDArray[np.bytes_]
    element: IntArray
    a: FloatArray
    b: FloatArray
    f_prime: FloatArray
    fitted: bool = False

    @property
    def of_points(self) -> bool:
        """Whether f does not fall with s at all: that of neutrons."""
        return not self.b.any()

    def at(self, s_squared: FloatArray) -> FloatArray:
        """Return f of each element at 1/d^2 (1/A^2), ``[n_elements, n]``."""
        exponent = -self.b[:, :, None] * s_squared / 4
        return np.asarray((self.a[:, :, None] * np.exp(exponent)).sum(axis=1))

    def fewer_gaussians(self, d_min: float, tolerance: float) -> tuple[FloatArray, FloatArray]:
        """Return heights and widths of the fewest Gaussians that give f, ``[n_elements, m]``.

        Elements that need fewer than others have zeros. Fits are those of
        ``scripts/fit_form_factors.py``, with f' as one more constant; where none is good enough
        all terms stay, and so they do of electrons and neutrons.

        Parameters
        ----------
        d_min
            A.
        tolerance
            Largest relative error of f.
        """
        if not self.fitted:
            return self.a, self.b
        rows: list[tuple[FloatArray, FloatArray]] = []
        for i, symbol in enumerate(self.symbols.tolist()):
            shifted = self.f_prime[i] != 0
            limit = tolerance * self._left_by_f_prime(i, d_min) if shifted else tolerance
            found = fits().fewest(symbol, d_min, limit)
            if found is None:
                found = self.a[i], self.b[i]
            elif shifted:
                found = np.append(found[0], self.f_prime[i]), np.append(found[1], 0.0)
            rows.append(found)
        most = max((len(a) for a, _ in rows), default=0)
        padded = np.zeros((2, len(rows), most))
        for i, (a, b) in enumerate(rows):
            padded[0, i, : len(a)], padded[1, i, : len(b)] = a, b
        return padded[0], padded[1]

    def _left_by_f_prime(self, row: int, d_min: float) -> float:
        """Return what is left of f by f', relative and at its least: fits are of f without it."""
        s_squared = np.linspace(0.0, d_min**-2 if d_min > 0 else 4.0, _STEPS)
        f = self.a[row] @ np.exp(-self.b[row][:, None] * s_squared / 4)
        return float(min(1.0, np.abs(f / (f - self.f_prime[row])).min()))
