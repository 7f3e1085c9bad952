"""Whether one fraction fits all regions of a state: chi-square, and regions that disagree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from multicopy_refinement._typing import BoolArray, FloatArray
from multicopy_refinement.refinement.discoveries import discoveries
from multicopy_refinement.series.joint import Joint

#: A region whose fraction has a larger su in any data set is not judged: its coordinates and B are
#: so uncertain that fractions do not follow them linearly.
_KNOWN = 0.15
#: Eigenvalues of a covariance below this part of the largest are noise of the arithmetic.
_RANK = 1e-10


@dataclass(frozen=True, eq=False)
class RegionTest:
    """Fractions of regions, and how they fit a common one.

    Attributes
    ----------
    names
        Of the regions that the data determine.
    fraction, su
        ``[n_sets, n_regions]``.
    common
        The best common fraction of each data set over its regions, ``[n_sets]``.
    chi_square, freedom, p
        Of one fraction for all regions in each data set, ``[n_sets]``.
    total
        The same over all data sets: chi-square, degrees of freedom, p.
    deviation, deviation_su
        Of each region from the common fraction, its mean over data sets, ``[n_regions]``.
    region_chi_square, region_p
        Of its deviations in all data sets, ``[n_regions]``.
    disagrees
        Regions whose p passes at a false discovery rate of 5%, ``[n_regions]``.
    """

    names: tuple[str, ...]
    fraction: FloatArray
    su: FloatArray
    common: FloatArray
    chi_square: FloatArray
    freedom: int
    p: FloatArray
    total: tuple[float, int, float]
    deviation: FloatArray
    deviation_su: FloatArray
    region_chi_square: FloatArray
    region_p: FloatArray
    disagrees: BoolArray


def region_test(
    names: tuple[str, ...], joint: Joint, n_sets: int, fixed: int | None
) -> RegionTest | None:
    """Return the test of one fraction for all regions; None with fewer than two of them.

    The common fractions are the generalised least-squares ones, f = (X'C^-1 X)^-1 X'C^-1 x, and
    chi-square is (x - Xf)'C^-1(x - Xf).

    Parameters
    ----------
    names
        Of all regions.
    joint
        Their fractions in all data sets, one data set after the other.
    n_sets
        How many there are.
    fixed
        The data set that is no test: a reference.
    """
    n = len(names)
    sets = np.array([d for d in range(n_sets) if d != fixed])
    su = joint.su.reshape(n_sets, n)
    seen = np.flatnonzero((su[sets] < _KNOWN).all(axis=0))
    if len(seen) < 2 or len(sets) == 0:
        return None
    rows = (sets[:, None] * n + seen).ravel()
    x, c = joint.value[rows], joint.covariance[np.ix_(rows, rows)]
    width = len(seen)
    weight = _inverse(c)
    design = np.kron(np.eye(len(sets)), np.ones((width, 1)))
    common: FloatArray = np.asarray(
        np.linalg.solve(design.T @ weight @ design, design.T @ weight @ x), dtype=np.float64
    )
    off = x - design @ common
    total, freedom = float(off @ weight @ off), len(sets) * (width - 1)
    each: FloatArray = np.array(
        [_one(x, c, slice(d * width, (d + 1) * width)) for d in range(len(sets))]
    )
    hat = design @ np.linalg.solve(design.T @ weight @ design, design.T @ weight)
    left = np.eye(len(x)) - hat
    spread = left @ c @ left.T
    mean, mean_su, squares = (np.zeros(width, dtype=np.float64) for _ in range(3))
    for r in range(width):
        own = np.arange(r, len(x), width)
        inner = _inverse(spread[np.ix_(own, own)])
        known = max(float(inner.sum()), 1e-300)
        mean[r] = float((inner @ off[own]).sum()) / known
        mean_su[r] = known**-0.5
        squares[r] = float(off[own] @ inner @ off[own])
    p = chi2.sf(squares, len(sets))
    return RegionTest(
        tuple(names[r] for r in seen), x.reshape(len(sets), width), su[np.ix_(sets, seen)], common,
        each, width - 1, chi2.sf(each, width - 1), (total, freedom, float(chi2.sf(total, freedom))),
        mean, mean_su, squares, p, discoveries(p),
    )  # fmt: skip


def _one(x: FloatArray, c: FloatArray, part: slice) -> float:
    """Return chi-square of one fraction in one data set."""
    weight = _inverse(c[part, part])
    ones = weight.sum(axis=1)
    off = x[part] - float(ones @ x[part]) / float(ones.sum())
    return float(off @ weight @ off)


def _inverse(matrix: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.pinv(matrix, rcond=_RANK, hermitian=True))
