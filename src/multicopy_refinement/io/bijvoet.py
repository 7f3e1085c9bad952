"""Reading of F(+) and F(-) apart, as differences beside the observations of the mean."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.crystal.hkl import packed, to_signed_unit
from multicopy_refinement.errors import ReflectionFileError
from multicopy_refinement.io.columns import ObservedColumns, Quantity
from multicopy_refinement.io.reflection_table import ReflectionTable
from multicopy_refinement.reflections.bijvoet import BijvoetDifferences
from multicopy_refinement.reflections.data import ReflectionData
from multicopy_refinement.reflections.observations import Observations, checked
from multicopy_refinement.reflections.preparation import merge_duplicates, rows_to_use
from multicopy_refinement.reflections.symmetry import AGREE_AMPLITUDES, AGREE_INTENSITIES

#: Pairs above so many sigma tell whether mates and mean are of one data set, as many at least.
_STRONG, _ENOUGH = 3.0, 20


def bijvoet_differences(
    table: ReflectionTable, columns: ObservedColumns | None, data: ReflectionData
) -> BijvoetDifferences:
    """Return F(+) - F(-) of the reflections of some data, on the scale of their F_obs.

    F(+) is that of hkl as the file lists it; where an equivalent by Friedel's law stands in the
    asymmetric unit, the two change places. Of intensities the difference is
    (I(+) - I(-))/(2 F_obs), that of F to second order, and as good where I is below 0.

    Parameters
    ----------
    table
        Of the file.
    columns
        Of mates, of differences, or of observations that are listed at hkl and -h-k-l; None of
        none.
    data
        What was made of the file.

    Raises
    ------
    ReflectionFileError
        No mates apart; none of acentric reflections; mates of another data set than the mean.
    """
    if data.centric.all():
        raise ReflectionFileError(
            f"anomalous: in {data.spacegroup.name} F(+) and F(-) are equal; leave --anomalous out"
        )
    if columns is None:
        raise ReflectionFileError(
            "anomalous: no F(+) and F(-), I(+) and I(-), or F(+) - F(-) (DANO) with their sigmas; "
            "take the file from before Friedel mates were merged, or leave --anomalous out"
        )
    if columns.quantity is Quantity.DIFFERENCE:
        value, sigma = _of_differences(table, columns, data)
    else:
        value, sigma = _of_mates(table, columns, data)
    there = np.isfinite(value) & (sigma > 0) & ~data.centric
    if not there.any():
        raise ReflectionFileError(
            f"anomalous: no acentric reflection has both mates ({','.join(columns.labels)}); take "
            "the file from before Friedel mates were merged, or leave --anomalous out"
        )
    value, sigma = (np.where(there, part, np.nan) for part in (value, sigma))
    return BijvoetDifferences(value, sigma, columns.labels)


def _of_differences(
    table: ReflectionTable, columns: ObservedColumns, data: ReflectionData
) -> tuple[FloatArray, FloatArray]:
    value, sigma = (table.values[label] for label in columns.labels)
    plus, minus = _apart(Observations(table.hkl, value, sigma, np.full(len(value), np.nan)), data)
    # a row whose equivalent is that of the mate has the difference with the other sign
    signed = np.where(np.isfinite(plus.value), plus.value, -minus.value)
    return signed, np.where(np.isfinite(plus.value), plus.sigma, minus.sigma)


def _of_mates(
    table: ReflectionTable, columns: ObservedColumns, data: ReflectionData
) -> tuple[FloatArray, FloatArray]:
    flags = np.full(len(table.hkl), np.nan)
    values = [table.values[label] for label in columns.values]
    sigmas = [table.values[label] for label in columns.labels[1::2]]
    parts = [
        checked(Observations(sign * table.hkl, value, sigma, flags), columns.quantity)[0]
        for sign, value, sigma in zip((1, -1), values, sigmas, strict=False)
    ]
    names = ("hkl", "value", "sigma", "flags")
    rows = Observations(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))
    plus, minus = _apart(rows, data)
    intensities = columns.quantity is Quantity.INTENSITY
    mean = 0.5 * (plus.value + minus.value)
    factor: float | FloatArray = _same_data(mean, columns, data)
    if intensities:
        factor = factor / (2 * np.where(data.f_obs > 0, data.f_obs, np.nan))
    difference, error = plus.value - minus.value, np.hypot(plus.sigma, minus.sigma)
    return np.asarray(difference * factor), np.asarray(error * factor)


def _apart(rows: Observations, data: ReflectionData) -> tuple[Observations, Observations]:
    """Return what was measured at the reflections of the data, and at their mates."""
    keep, _ = rows_to_use(rows.hkl, data.cell, data.spacegroup, d_min=None)
    rows = rows.select(keep & ~rows.missing)
    unit, plus = to_signed_unit(rows.hkl, data.spacegroup)
    signed = np.where(plus[:, None], unit, -unit)
    merged = merge_duplicates(Observations(signed, rows.value, rows.sigma, rows.flags))[0]
    return _looked_up(merged, data.hkl), _looked_up(merged, -data.hkl)


def _looked_up(rows: Observations, hkl: IntArray) -> Observations:
    """Return the rows of some reflections, nan where there is none."""
    blank = np.full(len(hkl), np.nan)
    if len(rows.hkl) == 0:
        return Observations(hkl, blank, blank, blank)
    keys, wanted = packed(rows.hkl), packed(hkl)
    order = np.argsort(keys)
    place = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)]
    found = keys[place] == wanted
    value, sigma = (np.where(found, part[place], np.nan) for part in (rows.value, rows.sigma))
    return Observations(hkl, value, sigma, blank)


def _same_data(mean: FloatArray, columns: ObservedColumns, data: ReflectionData) -> float:
    """Return what brings mates to the scale of the data; refuse those of another data set."""
    intensities = columns.quantity is Quantity.INTENSITY
    own = data.f_obs
    if intensities:
        own = data.f_obs**2 if data.intensities is None else data.intensities.value
    strong = np.isfinite(mean) & (data.f_obs > _STRONG * data.sigma) & ~data.centric
    if int(strong.sum()) < _ENOUGH:
        return 1.0
    factor = float((own * mean)[strong].sum() / max(float((mean**2)[strong].sum()), 1e-300))
    away = np.abs(own - factor * mean)[strong].sum() / np.abs(own)[strong].sum()
    if away > (AGREE_INTENSITIES if intensities else AGREE_AMPLITUDES):
        raise ReflectionFileError(
            f"anomalous: {','.join(columns.labels)} are not the mates of "
            f"{','.join(data.labels.observations)} (R = {away:.2f} of their mean): name the mates "
            "with --labels F(+),SIGF(+),F(-),SIGF(-), whose mean is then used"
        )
    return factor
