"""Fit form factors by fewer Gaussians, for resolutions where that is enough.

    python scripts/fit_form_factors.py

writes fits.npz of the package's scattering/factors: for every element of International Tables C
6.1.1.4, every resolution of `RESOLUTIONS` and two to four Gaussians, coefficients and the largest
relative error of f between s = 0 and the resolution. Widths are found by least squares, heights are
linear in between (variable projection: Golub & Pereyra, 1973, SIAM J. Numer. Anal. 10, 413).
"""

from pathlib import Path

import gemmi
import numpy as np
from scipy.optimize import least_squares

from multicopy_refinement.scattering.factors import form_factors

OUT = (
    Path(__file__).parents[1]
    / "src"
    / "multicopy_refinement"
    / "scattering"
    / "factors"
    / "fits.npz"
)
RESOLUTIONS = [4.0, 3.5, 3.0, 2.75, 2.5, 2.25, 2.0, 1.85, 1.7, 1.6, 1.5, 1.4, 1.3, 1.2, 1.1, 1.0,
               0.9, 0.8, 0.7, 0.6]  # fmt: skip
TERMS = (2, 3, 4)


def fit(
    a: np.ndarray, b: np.ndarray, d_min: float, terms: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return heights, widths and the largest relative error."""
    x = 0.25 / d_min**2 * 0.5 * (1 - np.cos(np.pi * np.arange(61) / 60))
    f = a @ np.exp(-b[:, None] * x)
    limits = np.log(0.02), np.log(1.2 * b.max())

    def heights(log_b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        widths = np.exp(np.clip(log_b, *limits))
        columns = (np.exp(-widths[:, None] * x) / f).T
        found = np.linalg.lstsq(columns, np.ones_like(x), rcond=1e-12)[0]
        return found, columns @ found - 1

    best = np.inf, np.zeros(terms), np.zeros(terms)
    for low in (0.3, 3.0):
        start = np.linspace(np.log(low), np.log(0.9 * b.max()), terms)
        log_b = least_squares(lambda v: heights(v)[1], start, method="lm").x
        found, residual = heights(log_b)
        # large heights of opposite signs would lose figures, and leave the range of the fit badly
        tame = abs(found).sum() < 3 * abs(f[0])
        if tame and abs(residual).max() < best[0]:
            best = abs(residual).max(), found, np.exp(np.clip(log_b, *limits))
    return best[1], best[2], best[0]


def main() -> None:
    symbols = [s for z in range(1, 119) if gemmi.Element(z).it92 and (s := gemmi.Element(z).name)]
    shape = (len(symbols), len(RESOLUTIONS), len(TERMS))
    a, b, error = np.zeros((*shape, 4)), np.zeros((*shape, 4)), np.full(shape, np.inf)
    for i, symbol in enumerate(symbols):
        table = form_factors(np.array([symbol.upper().encode()], dtype="S2"))
        for j, d_min in enumerate(RESOLUTIONS):
            for k, terms in enumerate(TERMS):
                found, widths, error[i, j, k] = fit(table.a[0], table.b[0], d_min, terms)
                a[i, j, k, :terms], b[i, j, k, :terms] = found, widths
        print(symbol, " ".join(f"{e:.0e}" for e in error[i, :, 1]))
    np.savez_compressed(
        OUT, symbols=[s.upper() for s in symbols], resolutions=RESOLUTIONS, terms=TERMS,
        a=a, b=b, error=error,
    )  # fmt: skip


if __name__ == "__main__":
    main()
