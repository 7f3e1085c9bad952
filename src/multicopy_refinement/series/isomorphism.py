"""Whether the data sets of a series are of one crystal form: cells and amplitudes compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.crystal import SpaceGroup
from multicopy_refinement.crystal.hkl import to_asymmetric_unit
from multicopy_refinement.crystal.symmetry import other_indexing
from multicopy_refinement.errors import InputError
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.reflections import ReflectionData
from multicopy_refinement.series.crystal import positions

#: Amplitudes are compared to this resolution, in A, in shells of about so many reflections.
_D_MIN, _SHELL, _FEWEST = 3.0, 150, 100
#: Crystals whose normalised amplitudes correlate less than the first are told apart; data that
#: correlate with no others as well as the second are of another crystal.
ALIKE, OTHER = 0.80, 0.35
#: Where another way of indexing makes them correlate by so much, it is named.
_REINDEXED = 0.6


@dataclass(frozen=True, eq=False)
class Isomorphism:
    """How alike data sets are.

    Attributes
    ----------
    correlation
        Of normalised amplitudes to 3 A, ``[n_sets, n_sets]``.
    cells
        Largest relative difference of cells, ``[n_sets, n_sets]``.
    form
        A number for the data sets of one crystal form, ``[n_sets]``.
    notices
        Of forms.
    """

    correlation: FloatArray
    cells: FloatArray
    form: IntArray
    notices: tuple[Notice, ...]

    @property
    def kin(self) -> FloatArray:
        """1 for pairs of one form, 0 for others, ``[n_sets, n_sets]``."""
        return np.asarray(self.form[:, None] == self.form, dtype=np.float64)


def isomorphism(
    names: Sequence[str], sets: Sequence[ReflectionData], group: SpaceGroup
) -> Isomorphism:
    """Compare data sets; those that are of no one's form are refused.

    Raises
    ------
    InputError
        A data set whose amplitudes have next to nothing in common with any other's; it says where
        another way of indexing helps.
    """
    n = len(sets)
    correlation, cells = np.eye(n), np.zeros((n, n))
    for i in range(n):
        for j in range(i):
            correlation[i, j] = correlation[j, i] = amplitude_correlation(sets[i], sets[j])
            cells[i, j] = cells[j, i] = sets[i].cell.largest_difference(sets[j].cell)
    few = np.flatnonzero((np.isnan(correlation).sum(axis=1) == n - 1) & (n > 1))
    if len(few):
        raise InputError(
            f"data set {names[few[0]]}: it and the others share too few reflections to be "
            f"compared; {_FEWEST} are needed"
        )
    correlation = np.nan_to_num(correlation)
    away = correlation - 2 * np.eye(n)
    unlike = away.max(axis=1) < OTHER if n > 1 else np.zeros(n, dtype=bool)
    for i in np.flatnonzero(unlike).tolist():
        raise InputError(_refusal(i, names, sets, group, away))
    form = _forms(correlation)
    notices = []
    if form.max() > 0:
        parts = "; ".join(
            listed([names[i] for i in np.flatnonzero(form == f).tolist()])
            for f in range(int(form.max()) + 1)
        )
        between = correlation[form[:, None] != form]
        notices.append(Notice(
            "not_isomorphous",
            f"the data sets are of {int(form.max()) + 1} crystal forms ({parts}), whose normalised "
            f"amplitudes correlate by {between.max():.2f} at most: fractions of different forms "
            "share no errors, and what the model lacks in one is no measure for another",
        ))  # fmt: skip
    return Isomorphism(correlation, cells, form, tuple(notices))


def amplitude_correlation(
    one: ReflectionData, other: ReflectionData, hkl: IntArray | None = None
) -> float:
    """Return the correlation of the normalised amplitudes that two data sets share to 3 A.

    ``hkl`` are other Miller indices for the second. Amplitudes are normalised in shells of
    resolution, F/<F^2>^1/2, where both have them; nan where they share too few.
    """
    order = np.lexsort(one.hkl.T[::-1])
    mine = one.hkl[order]
    place = positions(other.hkl if hkl is None else hkl, mine)
    rows = np.flatnonzero(place >= 0)
    first, second = order[place[rows]], rows
    limit = max(_D_MIN, 1.5 * one.d_min)
    inside = one.s_squared[first] <= limit**-2
    if int(inside.sum()) < _FEWEST:
        inside = np.ones(len(first), dtype=bool)
    first, second = first[inside], second[inside]
    if len(first) < _FEWEST:
        return float("nan")
    by_s = np.argsort(one.s_squared[first], kind="stable")
    first, second = first[by_s], second[by_s]
    shell = np.arange(len(first)) * max(len(first) // _SHELL, 1) // len(first)
    e = [
        _normalised(d.f_obs[rows], d.epsilon[rows], shell)
        for d, rows in ((one, first), (other, second))
    ]
    return float(np.asarray(np.corrcoef(e[0], e[1]))[0, 1])


def _normalised(f: FloatArray, epsilon: FloatArray, shell: IntArray) -> FloatArray:
    intensity = f**2 / epsilon
    mean = np.bincount(shell, intensity) / np.bincount(shell)
    return np.asarray(np.sqrt(intensity / np.maximum(mean[shell], 1e-300)))


def _forms(correlation: FloatArray) -> IntArray:
    """Return a number for each chain of data sets that are alike, the largest chain first."""
    n = len(correlation)
    form = np.arange(n)
    for i in range(n):
        for j in np.flatnonzero(correlation[i] >= ALIKE).tolist():
            form[form == form[j]] = form[i]
    labels, count = np.unique(form, return_counts=True)
    rank = {label: r for r, label in enumerate(labels[np.argsort(-count, kind="stable")].tolist())}
    return np.array([rank[f] for f in form.tolist()], dtype=np.int64)


def _refusal(
    i: int, names: Sequence[str], sets: Sequence[ReflectionData], group: SpaceGroup,
    away: FloatArray,
) -> str:  # fmt: skip
    """Return why a data set is refused, and what may help."""
    best = float(away[i].max())
    others = [j for j in range(len(sets)) if j != i]
    text = (
        f"data set {names[i]}: its amplitudes correlate with those of no other data set "
        f"(by {best:.2f} at most)"
    )
    for triplet, operation in other_indexing(sets[i].cell, group):
        hkl = to_asymmetric_unit(sets[i].hkl @ operation, group)
        for j in others:
            if amplitude_correlation(sets[j], sets[i], hkl) > max(_REINDEXED, best + 0.2):
                return f"{text}; indexed as {triplet} they do with {names[j]}: reindex it"
    return f"{text}: it is of another crystal; leave it out"
