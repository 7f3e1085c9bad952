"""The inverse of an information: steps within bounds from it, and secants that mend it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from scipy import sparse

from multicopy_refinement._typing import BoolArray, FloatArray
from multicopy_refinement.parallel import in_threads
from multicopy_refinement.posterior.products import mirror
from multicopy_refinement.solve.cholesky import factorise, invert

#: Guesses of which bounds hold before it is given up.
_MOST_GUESSES = 25
#: By how much a bound may be passed, relative to the largest step, and a multiplier be negative,
#: relative to the gradient.
_SLACK = 1e-9
#: By how much a limit may be passed, and a sum be off all of whose members are at bounds.
_FITS = 1e-9
#: Rows that are changed at once.
_PANEL = 256


@dataclass(frozen=True, eq=False)
class Bounded:
    """A step within bounds.

    Attributes
    ----------
    step
        d, ``[n]``.
    known
        H d, ``[n]``.
    """

    step: FloatArray
    known: FloatArray


def inverse_of(matrix: FloatArray) -> FloatArray | None:
    """Return the inverse of a positive matrix, in its memory; None where it is not positive."""
    matrix = np.ascontiguousarray(matrix)
    if not (factorise(matrix) and invert(matrix)):
        return None
    mirror(matrix)
    return matrix


def bounded_step(
    inverse: FloatArray, gradient: FloatArray, sums: FloatArray, low: FloatArray,
    high: FloatArray, limits: tuple[FloatArray, FloatArray] | None = None,
) -> Bounded | None:  # fmt: skip
    """Return the d that maximises g'd - d'Hd/2 with A d = 0, C d <= room and low <= d <= high.

    From H^-1, by guessing which bounds and limits hold, as `active_set_step` does: with R the rows
    that hold and b their values,

        d = H^-1 (g - R'y),   (R H^-1 R') y = R H^-1 g - b,

    so that a guess costs a solution for what holds, not a factor of all that is free. None where
    the guesses do not come to an end.
    """
    n = len(gradient)
    ties = sparse.csr_matrix(sums)
    caps = sparse.csr_matrix(limits[0] if limits is not None else np.zeros((0, n)))
    room = np.maximum(limits[1], 0.0) if limits is not None else np.zeros(0)
    plain = inverse @ gradient
    unit = np.sqrt(np.maximum(np.diag(inverse), 1e-300))  # an su: unknowns have units of their own
    force = _SLACK * max(float(np.abs(gradient * unit).max(initial=0.0)), 1e-300) / unit
    at_low, at_high = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    at_cap = np.zeros(len(room), dtype=bool)
    member = ties != 0
    for _ in range(_MOST_GUESSES):
        stays = at_low | at_high
        held = np.flatnonzero(stays)
        value = np.where(at_low, low, high)[held]
        if not np.isfinite(value).all():
            return None
        full = np.asarray(member @ (~stays).astype(float)) == 0  # sums none of whose members moves
        if np.abs(ties[full][:, held] @ value).max(initial=0.0) > _FITS:
            return None
        rows = sparse.vstack([ties[~full], caps[at_cap], _units(held, n)], format="csr")
        n_sums, n_caps = int((~full).sum()), int(at_cap.sum())
        wanted = np.concatenate([np.zeros(n_sums), room[at_cap], value])
        y = _multipliers(inverse, rows, np.asarray(rows @ plain) - wanted)
        if y is None:
            return None
        pulled = gradient - rows.T @ y
        step = inverse @ pulled if rows.shape[0] else plain
        step[held] = value
        slack = _SLACK * max(float(np.abs(step / unit).max(initial=0.0)), 1e-12) * unit
        pull = np.zeros(n)
        pull[held] = y[n_sums + n_caps :]
        _share(pull, ties[full], at_low)
        below = (~at_low & (step < low - slack)) | (at_low & (pull < force))
        above = (~at_high & (step > high + slack)) | (at_high & (pull > -force))
        on_cap = np.zeros(len(room))
        on_cap[at_cap] = y[n_sums : n_sums + n_caps]
        over = (~at_cap & (caps @ step > room + _FITS)) | (at_cap & (on_cap > 0))
        if _same(below, at_low) and _same(above, at_high) and _same(over, at_cap):
            return Bounded(np.clip(step, low, high), pulled)
        at_low, at_high, at_cap = below & ~above, above, over
    return None


def _share(pull: FloatArray, ties: sparse.csr_matrix, at_low: BoolArray) -> None:
    """Give to sums all of whose members are at bounds a multiplier that lets these stay, if any.

    With a the row and p what pulls at its members, p - a y is to be negative at lower bounds and
    positive at upper ones.
    """
    for row in range(ties.shape[0]):
        some = slice(ties.indptr[row], ties.indptr[row + 1])
        members, a = ties.indices[some], ties.data[some]
        wanted = pull[members] / a
        from_below = at_low[members] == (a > 0)
        least, most = (
            wanted[from_below].max(initial=-np.inf),
            wanted[~from_below].min(initial=np.inf),
        )
        ends = [end for end in (least, most) if np.isfinite(end)]
        pull[members] -= a * (sum(ends) / len(ends))


def _same(one: BoolArray, other: BoolArray) -> bool:
    return bool(np.array_equal(one, other))


def _units(held: np.ndarray, n: int) -> sparse.csr_matrix:
    ones = np.ones(len(held))
    return sparse.csr_matrix((ones, (np.arange(len(held)), held)), shape=(len(held), n))


def _multipliers(
    inverse: FloatArray, rows: sparse.csr_matrix, right: FloatArray
) -> FloatArray | None:
    """Return y of (R H^-1 R') y = right, or None where the rows depend on one another."""
    if rows.shape[0] == 0:
        return right
    across = np.asarray(rows @ inverse) @ rows.T
    scale = 1 / np.sqrt(np.maximum(np.diag(across), 1e-300))
    try:
        factor = scipy.linalg.cho_factor(across * scale * scale[:, None], check_finite=False)
    except np.linalg.LinAlgError:
        return None
    if np.abs(np.diag(factor[0])).min() < 1e-6:
        return None  # a sum all of whose members are at bounds
    return np.asarray(scale * scipy.linalg.cho_solve(factor, scale * right, check_finite=False))


def mend(inverse: FloatArray, step: FloatArray, fall: FloatArray) -> None:
    """Make C the inverse of what `with_secant` makes of its own, in its memory.

    C + (1 + r y'C y) r s s' - r (s (C y)' + (C y) s'), r = 1/s'y, s the step, y the fall of the
    gradient along it, which is damped already.
    """
    rate = 1 / float(step @ fall)
    turned = inverse @ fall
    both = (1 + rate * float(fall @ turned)) * rate * step - rate * turned
    left = np.column_stack([-step, rate * turned])
    subtract_product(inverse, left, np.stack([both, step]))


def subtract_product(matrix: FloatArray, left: FloatArray, right: FloatArray) -> None:
    """Subtract L R from a matrix, in its memory."""

    def work(first: int, last: int) -> None:
        for start in range(first, last, _PANEL):
            stop = min(start + _PANEL, last)
            matrix[start:stop] -= left[start:stop] @ right

    in_threads(work, len(matrix))
