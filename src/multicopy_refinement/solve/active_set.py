"""A quadratic program by guessing which bounds hold: a few linear solves where few of them do."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from multicopy_refinement._typing import BoolArray, FloatArray

#: Guesses before it is given up.
_MOST_GUESSES = 12
#: By how much a bound may be passed, relative to the largest step, and a multiplier be negative,
#: relative to the gradient.
_SLACK = 1e-9


def active_set_step(
    information: FloatArray, gradient: FloatArray, sums: FloatArray, low: FloatArray,
    high: FloatArray,
) -> FloatArray | None:  # fmt: skip
    """Return the d that maximises g'd - d'Hd/2 with A d = 0 and low <= d <= high, or None.

    The primal-dual active set method (Hintermuller, Ito & Kunisch 2002, SIAM J. Optim. 13, 865)
    from the unconstrained solution: unknowns that pass a bound are put there, those whose
    multiplier has the wrong sign are set free, until nothing changes; then the conditions of
    Karush, Kuhn and Tucker hold exactly. None where it does not come to that.
    """
    n = len(gradient)
    at_low, at_high = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    for _ in range(_MOST_GUESSES):
        solved = _solved(information, gradient, sums, at_low, at_high, low, high)
        if solved is None:
            return None
        step, pull = solved
        scale = _SLACK * max(float(np.abs(step).max(initial=0.0)), 1e-12)
        force = _SLACK * max(float(np.abs(gradient).max(initial=0.0)), 1e-300)
        below = (~at_low & (step < low - scale)) | (at_low & (pull < force))
        above = (~at_high & (step > high + scale)) | (at_high & (pull > -force))
        if np.array_equal(below, at_low) and np.array_equal(above, at_high):
            return np.clip(step, low, high)
        at_low, at_high = below & ~above, above
    return None


def _solved(
    information: FloatArray, gradient: FloatArray, sums: FloatArray, at_low: BoolArray,
    at_high: BoolArray, low: FloatArray, high: FloatArray,
) -> tuple[FloatArray, FloatArray] | None:  # fmt: skip
    """Return the step with some unknowns at bounds, and g - H d - A'y: what pulls at each."""
    step = np.where(at_low, low, np.where(at_high, high, 0.0))
    free = ~(at_low | at_high)
    if not np.isfinite(step).all():
        return None
    right = (gradient - information @ step)[free]
    rows, wanted = sums[:, free], -(sums @ step)
    some = np.abs(rows).max(axis=1, initial=0.0) > 0
    if np.abs(wanted[~some]).max(initial=0.0) > 1e-12:
        return None  # a sum all of whose members are at bounds that do not fit
    rows, wanted = rows[some], wanted[some]
    try:
        factor = scipy.linalg.cho_factor(information[np.ix_(free, free)], check_finite=False)
    except np.linalg.LinAlgError:
        return None
    plain = scipy.linalg.cho_solve(factor, right, check_finite=False)
    duals = np.zeros(len(sums))
    if len(rows):
        across = scipy.linalg.cho_solve(factor, rows.T, check_finite=False)
        try:
            y = scipy.linalg.solve(rows @ across, rows @ plain - wanted, assume_a="pos")
        except np.linalg.LinAlgError:
            return None
        plain = plain - across @ y
        duals[some] = y
    step[free] = plain
    return step, gradient - information @ step - sums.T @ duals
