"""Observed amplitudes as a frozen table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.notices import Notice
from multicopy_refinement.reflections.bijvoet import BijvoetDifferences
from multicopy_refinement.reflections.effective import Effective, Intensities


@dataclass(frozen=True)
class DataLabels:
    """Where the data came from: columns, and the value that marks the free set (or None).

    ``no_flag`` stands for a reflection without a flag: -1, or less where flags go as low; ``mates``
    are the columns that tell Friedel mates apart, if any.
    """

    observations: tuple[str, ...]
    amplitudes: bool
    free_label: str | None
    free_value: int | None
    choice: str
    no_flag: int = -1
    mates: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ReflectionData:
    """Unique observed reflections in the reciprocal asymmetric unit.

    Attributes
    ----------
    hkl
        Miller indices, int ``[n, 3]``.
    f_obs, sigma
        Amplitudes and their standard uncertainties on the scale of the file, ``[n]``.
    free
        Bool ``[n]``, the test set.
    flags
        Free flags as in the file, ``[n]``, ``labels.no_flag`` where there is none.
    cell, spacegroup
        Of the data.
    labels
        `DataLabels`.
    unobserved_hkl, unobserved_flags
        Reflections that the file lists without an amplitude, and their flags, to about the
        resolution of those with one.
    notices
        What was dropped, merged or chosen.
    outliers
        Bool ``[n]``: reflections of neither set, None where there are none.
    intensities
        What ``f_obs`` and ``sigma`` were made from by French and Wilson; None of amplitudes.
    effective
        What stands for the intensities in a likelihood of them; None where the likelihood is that
        of ``f_obs``.
    wavelength
        In A, where the file names one.
    filled
        Bool ``[n]``: reflections that were not observed, and are there as the twin mates of others;
        None where there are none.
    bijvoet
        F(+) - F(-), where they were asked for; None otherwise.
    """

    hkl: IntArray
    f_obs: FloatArray
    sigma: FloatArray
    free: BoolArray
    flags: IntArray
    cell: Cell
    spacegroup: SpaceGroup
    labels: DataLabels
    unobserved_hkl: IntArray
    unobserved_flags: IntArray
    notices: tuple[Notice, ...] = ()
    outliers: BoolArray | None = None
    intensities: Intensities | None = None
    effective: Effective | None = None
    wavelength: float | None = None
    filled: BoolArray | None = None
    bijvoet: BijvoetDifferences | None = None

    def __len__(self) -> int:
        return len(self.f_obs)

    @property
    def work(self) -> BoolArray:
        """Bool ``[n]``, all but the test set and outliers."""
        return ~(self.free | self.left_out)

    @property
    def left_out(self) -> BoolArray:
        """Bool ``[n]``, reflections of neither set."""
        out = np.zeros(len(self), dtype=bool) if self.outliers is None else self.outliers
        return out if self.filled is None else out | self.filled

    @property
    def observed(self) -> BoolArray:
        """Bool ``[n]``, all but what is there as the twin mate of others."""
        return np.ones(len(self), dtype=bool) if self.filled is None else ~self.filled

    @property
    def n_outliers(self) -> int:
        """Number of observed reflections of neither set."""
        return int((self.left_out & self.observed).sum())

    @property
    def rice_f(self) -> FloatArray:
        """Amplitudes in the Rice likelihood, ``[n]``."""
        return self.f_obs if self.effective is None else self.effective.f

    @property
    def rice_noise(self) -> FloatArray:
        """What measurement adds to the variance of that likelihood beside eps beta, ``[n]``.

        2 sigma^2 (acentric) or sigma^2 (centric) of an amplitude.
        """
        if self.effective is not None:
            return self.effective.noise
        return np.asarray(np.where(self.centric, 1.0, 2.0) * self.sigma**2)

    def with_effective(self, wanted: bool) -> ReflectionData:
        """Return the data for a likelihood of intensities, or for one of amplitudes."""
        made = self.intensities.effective(self.centric) if wanted and self.intensities else None
        return replace(self, effective=made)

    def leaving_out(self, outliers: BoolArray) -> ReflectionData:
        """Return the data with these reflections in neither set; their flags stay."""
        return replace(self, free=self.free & ~outliers, outliers=outliers)

    @cached_property
    def s_squared(self) -> FloatArray:
        """1/d^2 in 1/A^2, ``[n]``."""
        return self.cell.inverse_d_squared(self.hkl)

    @cached_property
    def epsilon(self) -> FloatArray:
        """Multiplicity factors, ``[n]``."""
        return self.spacegroup.epsilon(self.hkl)

    @cached_property
    def centric(self) -> BoolArray:
        """Which reflections are centric, ``[n]``."""
        return self.spacegroup.centric(self.hkl)

    @property
    def d_min(self) -> float:
        """High-resolution limit in A."""
        return float(1 / np.sqrt(self.s_squared[self.observed].max()))

    @property
    def d_max(self) -> float:
        """Low-resolution limit in A."""
        return float(1 / np.sqrt(self.s_squared[self.observed].min()))

    @property
    def listed_hkl(self) -> IntArray:
        """Observed reflections, then those without an amplitude, ``[n + n_unobserved, 3]``."""
        return np.concatenate([self.hkl, self.unobserved_hkl])

    @property
    def listed_d_min(self) -> float:
        """High-resolution limit in A of all that is listed, with an amplitude or without."""
        return float(1 / np.sqrt(self.cell.inverse_d_squared(self.listed_hkl).max()))

    def on_crystal(self, cell: Cell, spacegroup: SpaceGroup) -> ReflectionData:
        """Return the data with another cell and space group (those of the model)."""
        return replace(self, cell=cell, spacegroup=spacegroup)

    def select(self, rows: BoolArray | IntArray) -> ReflectionData:
        """Return the reflections of a mask, or those at some places in their order."""
        return replace(
            self, hkl=self.hkl[rows], f_obs=self.f_obs[rows], sigma=self.sigma[rows],
            free=self.free[rows], flags=self.flags[rows],
            outliers=None if self.outliers is None else self.outliers[rows],
            intensities=None if self.intensities is None else self.intensities.select(rows),
            effective=None if self.effective is None else self.effective.select(rows),
            filled=None if self.filled is None else self.filled[rows],
            bijvoet=None if self.bijvoet is None else self.bijvoet.select(rows),
        )  # fmt: skip
