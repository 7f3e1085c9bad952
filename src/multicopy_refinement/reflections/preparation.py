"""From columns of a file to unique observed amplitudes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.crystal.hkl import to_asymmetric_unit
from multicopy_refinement.notices import Notice, listed


@dataclass(frozen=True, eq=False)
class Observations:
    """One value with its uncertainty for each row; nan where nothing was observed."""

    hkl: IntArray
    value: FloatArray
    sigma: FloatArray
    flags: FloatArray

    def select(self, keep: BoolArray) -> Observations:
        """Return the rows of a mask."""
        return Observations(self.hkl[keep], self.value[keep], self.sigma[keep], self.flags[keep])


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


def unique_observations(
    rows: Observations, cell: Cell, group: SpaceGroup, *, d_min: float | None
) -> tuple[Observations, list[Notice]]:
    """Return one row for each unique reflection, within the resolution asked for."""
    notices: list[Notice] = []
    rows = _drop(rows, ~np.any(rows.hkl != 0, axis=1), "the reflection (0 0 0)", notices)
    rows = _drop(rows, group.absent(rows.hkl), "systematically absent reflections", notices)
    if d_min is not None:
        within = cell.inverse_d_squared(rows.hkl) <= (1 / d_min**2) * (1 + 1e-9)
        rows = rows.select(within)
    rows = Observations(to_asymmetric_unit(rows.hkl, group), rows.value, rows.sigma, rows.flags)
    merged = _merge_duplicates(rows)
    if len(merged.hkl) < len(rows.hkl):
        count = len(rows.hkl) - len(merged.hkl)
        notices.append(
            Notice(
                "reflections_merged",
                f"{count} rows are equivalents of others "
                "(symmetry or Friedel mates); their weighted means are used",
            )
        )
        conflicts = _conflicting(rows.flags, rows.hkl)
        if conflicts:
            notices.append(
                Notice(
                    "free_flags_differ",
                    f"{conflicts} reflections have equivalents "
                    "with other free flags; the first in the file is used",
                )
            )
    return merged, notices


def drop_unusable(rows: Observations, what: str) -> tuple[Observations, Observations, list[Notice]]:
    """Return observed rows, rows without an observation, and what was dropped."""
    notices: list[Notice] = []
    missing = ~np.isfinite(rows.value) | ~np.isfinite(rows.sigma)
    nothing = (rows.value == 0) & (rows.sigma == 0)  # how some programs write "not observed"
    no_sigma = ~missing & ~nothing & (rows.sigma <= 0)
    negative = ~missing & ~no_sigma & (rows.value < 0) & (what == "amplitude")
    for mask, text, code in (
        (
            nothing,
            "reflections with value and sigma of 0 are taken as not observed",
            "reflections_zero",
        ),
        (no_sigma, "reflections have no positive sigma and are not used", "sigma_not_positive"),
        (negative, "reflections have a negative amplitude and are not used", "amplitude_negative"),
    ):
        if mask.any():
            names = _names(rows.hkl[mask])
            notices.append(Notice(code, f"{int(mask.sum())} {text}: {listed(names)}", tuple(names)))
    bad = missing | nothing | no_sigma | negative
    return rows.select(~bad), rows.select(bad), notices


def french_wilson(
    rows: Observations, cell: Cell, group: SpaceGroup
) -> tuple[FloatArray, FloatArray]:
    """Return amplitudes and sigmas of intensities (French & Wilson 1978, Acta Cryst. A34, 517).

    The Bayesian estimate is that of reciprocalspaceship, with an anisotropic prior mean.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries below reciprocalspaceship, not of the data
        import reciprocalspaceship as rs

        frame = rs.DataSet(
            {"H": rows.hkl[:, 0], "K": rows.hkl[:, 1], "L": rows.hkl[:, 2],
             "I": rows.value, "SIGI": rows.sigma},
            cell=cell.gemmi, spacegroup=group.gemmi,
        )  # fmt: skip
        frame = frame.astype({"H": "H", "K": "H", "L": "H", "I": "J", "SIGI": "Q"})
        frame = frame.set_index(["H", "K", "L"])
        scaled = rs.algorithms.scale_merged_intensities(
            frame, "I", "SIGI", mean_intensity_method="anisotropic"
        )
    return (scaled["FW-F"].to_numpy(dtype=np.float64), scaled["FW-SIGF"].to_numpy(dtype=np.float64))


def _drop(rows: Observations, mask: BoolArray, what: str, notices: list[Notice]) -> Observations:
    if not mask.any():
        return rows
    names = _names(rows.hkl[mask])
    notices.append(
        Notice(
            "reflections_dropped",
            f"{what} dropped ({int(mask.sum())}): {listed(names)}",
            tuple(names),
        )
    )
    return rows.select(~mask)


def _merge_duplicates(rows: Observations) -> Observations:
    """Return weighted means of rows with the same indices, in the order of first appearance."""
    key = ((rows.hkl[:, 0] + 4096) * 8192 + rows.hkl[:, 1] + 4096) * 8192 + rows.hkl[:, 2] + 4096
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    if len(first) == len(key):
        return rows
    usable = np.isfinite(rows.value) & np.isfinite(rows.sigma) & (rows.sigma > 0)
    weight = np.where(usable, 1.0 / np.where(usable, rows.sigma, 1.0) ** 2, 0.0)
    total = np.bincount(inverse, weight)
    mean = np.bincount(inverse, weight * np.where(usable, rows.value, 0.0))
    known = total > 0
    safe = np.where(known, total, 1.0)
    merged = Observations(
        rows.hkl[first],
        np.where(known, mean / safe, np.nan),
        np.where(known, 1 / np.sqrt(safe), np.nan),
        _first_known(rows.flags, inverse),
    )
    single = np.bincount(inverse) == 1  # rows without a mate stay as they are
    merged = replace(
        merged,
        value=np.where(single, rows.value[first], merged.value),
        sigma=np.where(single, rows.sigma[first], merged.sigma),
    )
    order = np.argsort(first)
    return Observations(
        merged.hkl[order], merged.value[order], merged.sigma[order], merged.flags[order]
    )


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


def _names(hkl: IntArray) -> list[str]:
    return [f"({h} {k} {m})" for h, k, m in hkl.tolist()]
