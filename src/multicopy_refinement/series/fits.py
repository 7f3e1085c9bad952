"""Curves fitted to fractions with their covariance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import OptimizeResult, least_squares
from scipy.stats import chi2

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.errors import InputError
from multicopy_refinement.series.curves import CURVES, Curve, Function

#: Data refuse a curve to which they would be so improbable.
_REFUSED = 1e-3
#: Evaluations from each start, and from the best end of these.
_FIRST, _MOST = 12, 400


@dataclass(frozen=True, eq=False)
class Fit:
    """A curve that was fitted.

    Attributes
    ----------
    name, formula
        Of the curve.
    parameters, units
        Names and units.
    value, su
        Of the parameters, ``[n]``; su are those that the covariance of the fractions gives, not
        scaled by how well the curve fits, and nan where the data do not determine a parameter.
    covariance
        ``[n, n]``.
    chi_square, freedom, p
        How well it fits: r'C^-1 r, its degrees of freedom, the probability of more.
    aicc
        2 m + chi-square, with the correction for few points of Hurvich & Tsai (1989, Biometrika
        76, 297): the curve with the smallest is the best supported. inf where points are too few.
    residual
        Fraction less curve over its su, of each point.
    derived
        Name, unit, value and su of what follows from the parameters.
    function
        f(x) with the parameters found.
    """

    name: str
    formula: str
    parameters: tuple[str, ...]
    units: tuple[str, ...]
    value: FloatArray
    su: FloatArray
    covariance: FloatArray
    chi_square: float
    freedom: int
    p: float
    aicc: float
    residual: FloatArray
    derived: tuple[tuple[str, str, float, float], ...]
    function: Callable[[FloatArray], FloatArray]


def fit(
    function: Function, x: FloatArray, fraction: FloatArray, covariance: FloatArray,
    starts: Sequence[Sequence[float]], *, parameters: Sequence[str] = (),
    bounds: tuple[Sequence[float], Sequence[float]] | None = None, name: str = "",
    formula: str = "", units: Sequence[str] = (),
) -> Fit:  # fmt: skip
    """Fit a function of one's own, f(x, parameters), to fractions with a covariance.

    Generalised least squares: r'C^-1 r is least, r = f - f(x, p); the covariance of the parameters
    is (J'C^-1 J)^-1.

    Parameters
    ----------
    function
        Of x ``[n]`` and parameters ``[m]``, returns ``[n]``.
    x, fraction, covariance
        Of the data sets: ``[n]``, ``[n]``, ``[n, n]``. Those of a reference, whose fraction is
        known, are left out.
    starts
        Parameters to begin with, of which the best end is taken.
    parameters, units
        Their names and units.
    bounds
        Lower and upper.

    Raises
    ------
    InputError
        Fewer points than parameters, or no start that leads anywhere.

    Examples
    --------
    >>> x = np.array([0.0, 1.0, 2.0, 3.0])
    >>> found = fit(lambda x, p: p[0] * x, x, 0.1 * x, 0.01**2 * np.eye(4), [[1.0]])
    >>> round(float(found.value[0]), 3), round(float(found.su[0]), 4)
    (0.1, 0.0027)
    """
    known = np.diag(covariance) > 0
    x, y, c = x[known], fraction[known], covariance[np.ix_(known, known)]
    m = len(starts[0]) if len(starts) else 0
    if len(x) < max(m, 1) or m == 0:
        raise InputError(f"{name or 'a curve'}: {len(x)} points for {m} parameters")
    whiten = np.linalg.inv(np.linalg.cholesky(_conditioned(c)))
    limits = bounds or ([-np.inf] * m, [np.inf] * m)

    def residuals(p: FloatArray) -> FloatArray:
        return np.asarray(whiten @ (y - function(x, p)))

    def search(start: FloatArray, most: int) -> OptimizeResult | None:
        try:
            with np.errstate(all="ignore"):
                return least_squares(residuals, start, bounds=limits, x_scale="jac", max_nfev=most)
        except ValueError:  # a start at which the function is not finite
            return None

    inside = [np.clip(np.asarray(one, dtype=np.float64), *limits) for one in starts]
    ends = [end for one in inside if (end := search(one, _FIRST)) is not None]
    best = search(min(ends, key=lambda end: end.cost).x, _MOST) if ends else None
    if best is None:
        raise InputError(f"{name or 'a curve'}: the function is not finite at any start")
    p = np.asarray(best.x)
    jacobian = _slopes(function, x, p, limits)
    spread = np.linalg.pinv(
        (whiten @ jacobian).T @ (whiten @ jacobian), rcond=1e-13, hermitian=True
    )
    loose = _loose(whiten @ jacobian) | (best.active_mask != 0)
    su = np.where(loose, np.nan, np.sqrt(np.maximum(np.diag(spread), 0.0)))
    square, freedom = float(2 * best.cost), len(x) - m
    left = len(x) - m - 1
    aicc = square + 2 * m + (2 * m * (m + 1) / left if left > 0 else np.inf)
    residual = np.full(len(known), np.nan)
    residual[known] = (y - function(x, p)) / np.sqrt(np.diag(c))
    return Fit(
        name, formula, tuple(parameters) or tuple(f"p{i}" for i in range(m)),
        tuple(units) or ("",) * m, p, su, np.asarray(spread, dtype=np.float64), square, freedom,
        float(chi2.sf(square, freedom)) if freedom > 0 else float("nan"), float(aicc), residual, (),
        lambda at: np.asarray(function(np.asarray(at, dtype=np.float64), p)),
    )  # fmt: skip


def fit_curves(
    variable: str, x: FloatArray, fraction: FloatArray, covariance: FloatArray
) -> list[Fit]:
    """Fit all curves of a variable that have fewer parameters than there are points."""
    known = (np.diag(covariance) > 0) & np.isfinite(x)
    if not known.any():
        return []
    order = np.flatnonzero(known)[np.argsort(x[known], kind="stable")]
    found = []
    for curve in CURVES.values():
        if variable in curve.variables and len(np.unique(x[order])) >= len(curve.parameters):
            square = np.ix_(order, order)
            made = fit_curve(curve, variable, x[order], fraction[order], covariance[square])
            residual = np.full(len(x), np.nan)
            residual[order] = made.residual
            found.append(replace(made, residual=residual))
    return found


def fit_curve(
    curve: Curve | str, variable: str, x: FloatArray, fraction: FloatArray, covariance: FloatArray
) -> Fit:
    """Fit one of `CURVES` to fractions in the order of x."""
    curve = CURVES[curve] if isinstance(curve, str) else curve
    units = tuple(unit.format(x=variable) for unit in curve.units)
    starts = curve.starts(x, fraction)
    made = fit(
        curve.function, x, fraction, covariance, starts, parameters=curve.parameters, units=units,
        bounds=(curve.lower, curve.upper), name=curve.name,
        formula=curve.formula,
    )  # fmt: skip
    derived = []
    for name, unit, what in curve.derived:
        with np.errstate(all="ignore"):
            value = what(made.value)
            step = 1e-5 * np.maximum(np.abs(made.value), 1e-9)
            slope = np.array([
                (what(made.value + s) - what(made.value - s)) / (2 * d)
                for d, s in zip(step, np.diag(step), strict=True)
            ])  # fmt: skip
            su = float(np.sqrt(max(float(slope @ made.covariance @ slope), 0.0)))
        uses = np.abs(slope) > 0
        derived.append((name, unit.format(x=variable), value,
                        float("nan") if np.isnan(made.su[uses]).any() else su))  # fmt: skip
    return replace(made, derived=tuple(derived))


def _conditioned(c: FloatArray) -> FloatArray:
    """Return a covariance that has a Cholesky factor, whatever rounding made of it."""
    return np.asarray(c + 1e-9 * np.diag(np.diag(c)))


def _slopes(
    function: Function,
    x: FloatArray,
    p: FloatArray,
    limits: tuple[Sequence[float], Sequence[float]],
) -> FloatArray:
    """Return df/dp by central differences, one-sided at bounds, ``[n, m]``."""
    columns = []
    for i in range(len(p)):
        step = 1e-6 * max(abs(p[i]), 1e-6)
        low, high = p.copy(), p.copy()
        low[i], high[i] = max(p[i] - step, limits[0][i]), min(p[i] + step, limits[1][i])
        columns.append((function(x, high) - function(x, low)) / max(high[i] - low[i], 1e-300))
    return np.stack(columns, axis=1)


def _loose(slopes: FloatArray) -> np.ndarray:
    """Return the parameters with a part in a combination that the points do not determine."""
    size = np.maximum(np.linalg.norm(slopes, axis=0), 1e-300)
    _, s, vt = np.linalg.svd(slopes / size, full_matrices=True)
    s = np.concatenate([s, np.zeros(len(size) - len(s))])
    free = vt[s < 1e-6 * s[0]] if s[0] > 0 else np.eye(len(size))
    return np.asarray((np.abs(free) > 1e-3).any(axis=0) | (np.linalg.norm(slopes, axis=0) < 1e-8))


def best_supported(fits: Sequence[Fit]) -> Fit | None:
    """Return the curve with the smallest AICc; None where data refuse it, or none can be judged."""
    judged = [one for one in fits if np.isfinite(one.aicc)]
    best = min(judged, key=lambda one: one.aicc, default=None)
    return None if best is None or best.p < _REFUSED else best
