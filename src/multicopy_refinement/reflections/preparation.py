"""From columns of a file to unique observed amplitudes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.crystal.hkl import packed, to_asymmetric_unit
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.reflections.observations import Observations, checked, names_of
from multicopy_refinement.words import counted

#: Equivalents with less scatter than this are told of; with less than the second they are copies.
CLOSER_THAN_ERRORS, COPIES = 0.5, 1e-6
#: Degrees of freedom from which on the scatter of equivalents is believed.
ENOUGH_TO_TELL = 30


def mean_of_pair(
    plus: FloatArray, sigma_plus: FloatArray, minus: FloatArray, sigma_minus: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the mean of Friedel mates, (x+ + x-)/2, or the one of them that is there."""
    has_plus = np.isfinite(plus) & np.isfinite(sigma_plus)
    has_minus = np.isfinite(minus) & np.isfinite(sigma_minus)
    mean = np.where(has_plus, plus, minus)
    sigma = np.where(has_plus, sigma_plus, sigma_minus)
    both = has_plus & has_minus
    mean[both] = 0.5 * (plus[both] + minus[both])
    sigma[both] = 0.5 * np.hypot(sigma_plus[both], sigma_minus[both])
    return mean, sigma


def rows_to_use(
    hkl: IntArray, cell: Cell, group: SpaceGroup, *, d_min: float | None
) -> tuple[BoolArray, list[Notice]]:
    """Return which rows are reflections of the group, within the resolution asked for."""
    origin, absent = ~np.any(hkl != 0, axis=1), group.absent(hkl)
    notices = []
    for mask, what in (
        (origin, "the reflection (0 0 0)"),
        (absent & ~origin, "systematically absent reflections"),
    ):
        if mask.any():
            names = names_of(hkl[mask])
            text = f"{what} dropped ({int(mask.sum())}): {listed(names)}"
            notices.append(Notice("reflections_dropped", text, tuple(names)))
    keep = ~(origin | absent)
    if d_min is not None:
        keep &= cell.inverse_d_squared(hkl) <= (1 / d_min**2) * (1 + 1e-9)
    return keep, notices


def unique_observations(
    rows: Observations, cell: Cell, group: SpaceGroup, *, d_min: float | None
) -> tuple[Observations, list[Notice]]:
    """Return one row for each unique reflection, within the resolution asked for."""
    keep, notices = rows_to_use(rows.hkl, cell, group, d_min=d_min)
    rows = rows.select(keep)
    rows = Observations(to_asymmetric_unit(rows.hkl, group), rows.value, rows.sigma, rows.flags)
    merged, scatter, factor = merge_duplicates(rows)
    if len(merged.hkl) < len(rows.hkl):
        count = len(rows.hkl) - len(merged.hkl)
        text = (
            f"{counted(count, 'row', 'repeat')} others (equivalents by symmetry, or Friedel "
            f"mates); weighted means are used (sum |x - mean| / sum |mean| = {factor:.3f})"
        )
        if scatter < CLOSER_THAN_ERRORS:
            text += (
                f"; they agree better than their sigmas say (chi-square {scatter:.2f} a degree of "
                "freedom), so that these are not divided in full"
            )
        notices.append(Notice("reflections_merged", text))
        conflicts = _conflicting(rows.flags, rows.hkl)
        if conflicts:
            notices.append(
                Notice(
                    "free_flags_differ",
                    f"{counted(conflicts, 'reflection', 'have')} equivalents "
                    "with other free flags; the first in the file is used",
                )
            )
    return merged, notices


def drop_unusable(rows: Observations, what: str) -> tuple[Observations, Observations, list[Notice]]:
    """Return observed rows, rows without an observation, and what was dropped."""
    rows, notices = checked(rows, what)
    return rows.select(~rows.missing), rows.select(rows.missing), notices


def merge_duplicates(rows: Observations) -> tuple[Observations, float, float]:
    """Return weighted means of rows with the same indices, in the order of first appearance.

    And how they scatter: chi^2 a degree of freedom, 1 at most, and sum |x - mean| / sum |mean|.
    Errors that scatter says nothing of are common to equivalents (all of them where rows are
    copies): those a mean does not lessen, sigma^2 = (chi^2 + (1 - chi^2) n) / sum 1/sigma_i^2.
    """
    key = packed(rows.hkl)
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    if len(first) == len(key):
        return rows, 1.0, 0.0
    usable = np.isfinite(rows.value) & np.isfinite(rows.sigma) & (rows.sigma > 0)
    weight = np.where(usable, 1.0 / np.where(usable, rows.sigma, 1.0) ** 2, 0.0)
    total = np.bincount(inverse, weight)
    mean = np.bincount(inverse, weight * np.where(usable, rows.value, 0.0))
    known = total > 0
    safe = np.where(known, total, 1.0)
    count = np.bincount(inverse, usable)
    away = np.where(usable, rows.value - (mean / safe)[inverse], 0.0)
    scatter = _scatter(float((weight * away**2).sum()), float(np.maximum(count - 1, 0).sum()))
    several = (count > 1)[inverse] & usable
    size = float(np.abs((mean / safe)[inverse][several]).sum())
    factor = float(np.abs(away[several]).sum()) / size if size > 0 else 0.0
    variance = (scatter + (1 - scatter) * count) / safe
    merged = Observations(
        rows.hkl[first],
        np.where(known, mean / safe, np.nan),
        np.where(known, np.sqrt(variance), np.nan),
        _first_known(rows.flags, inverse),
    )
    single = np.bincount(inverse) == 1  # rows without a mate stay as they are
    merged = replace(
        merged,
        value=np.where(single, rows.value[first], merged.value),
        sigma=np.where(single, rows.sigma[first], merged.sigma),
    )
    order = np.argsort(first)
    return (
        Observations(
            merged.hkl[order], merged.value[order], merged.sigma[order], merged.flags[order]
        ),
        scatter,
        factor,
    )


def _scatter(square: float, freedom: float) -> float:
    """Return chi^2 a degree of freedom, 1 at most and where there are too few to tell."""
    if freedom == 0:
        return 1.0
    chi = square / freedom
    if freedom < ENOUGH_TO_TELL and chi > COPIES:
        return 1.0
    return min(chi, 1.0)


def _first_known(flags: FloatArray, number: IntArray) -> FloatArray:
    """Return the first flag that is not nan of the rows of each number."""
    merged = np.full(int(number.max()) + 1, np.nan)
    known = np.flatnonzero(np.isfinite(flags))[::-1]
    merged[number[known]] = flags[known]  # the last assignment, of the first row, stays
    return merged


def _conflicting(flags: FloatArray, hkl: IntArray) -> int:
    """Return the number of unique reflections whose rows have different flags."""
    known = np.isfinite(flags)
    pairs = np.unique(np.column_stack([hkl[known], flags[known].astype(np.int64)]), axis=0)
    return len(pairs) - len(np.unique(pairs[:, :3], axis=0))
