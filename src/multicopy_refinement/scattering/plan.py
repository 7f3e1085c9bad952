"""How fine a grid, how much blur and how far atoms reach, for an accuracy that is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.crystal.grid import grid_size
from multicopy_refinement.scattering.atoms import ScatteringAtoms
from multicopy_refinement.units import EIGHT_PI_SQUARED

#: Relative error of F, sqrt(sum |F - F_direct|^2 / sum |F_direct|^2), that is asked for by default.
ACCURACY = 1e-4
#: Below this the grid is float64.
_SINGLE = 1e-5
#: Grid spacing is d_min / (2 rate). What aliases at a rate of 1.5 is about 1e-5 of F: down to
#: _FINE that is fine, below it the rate and the blur grow.
_RATE, _FINE = 1.5, 5e-5
#: Points scatter as much at the limit of the grid as at s = 0, and alias more: what is asked of
#: them is so many powers of ten finer.
_OF_POINTS = 1.0


@dataclass(frozen=True)
class SplatPlan:
    """Grid, blur and reach for a model at a resolution.

    Attributes
    ----------
    size
        Grid points along a, b, c.
    blur
        B in A^2 added to every atom and divided out of F: without it sharp atoms alias.
    level
        Gaussians end where they have fallen to about exp(-level) of the height of the atom's main
        one, see `levels_of_gaussians`.
    single
        Whether the grid is float32; otherwise float64.
    d_min, tolerance
        Form factors may err by ``tolerance`` of f down to ``d_min`` in A: then they take fewer
        Gaussians. At 0 they have their five terms.
    """

    size: tuple[int, int, int]
    blur: float
    level: float
    single: bool
    d_min: float = 0.0
    tolerance: float = 0.0


def plan_splat(atoms: ScatteringAtoms, d_min: float, *, accuracy: float = ACCURACY) -> SplatPlan:
    """Return the plan for a resolution in A and a relative error of F.

    The blur max(0, 8 pi^2 spacing^2 / 1.1 - B_min) is that of REFMAC, as gemmi documents it;
    errors below 5e-5 take up to twice the first term. Neutrons take a grid finer by a fifth.
    """
    if not 1e-9 <= accuracy <= 0.1:
        raise ValueError(f"accuracy {accuracy} is not between 1e-9 and 0.1")
    finer = max(0.0, math.log10(_FINE / accuracy) + _OF_POINTS * atoms.factors.of_points)
    spacing = d_min / (2 * (_RATE + 0.3 * finer))
    sharpest = (1 + 0.2 * finer) * EIGHT_PI_SQUARED * spacing**2 / 1.1
    blur = float(max(0.0, sharpest - atoms.smallest_b()))
    level = 1.5 - math.log(accuracy)  # errors of gradients by B are ten times those of F
    return SplatPlan(
        grid_size(atoms.cell, atoms.spacegroup, spacing), blur, level, accuracy >= _SINGLE,
        d_min, 0.5 * accuracy,
    )  # fmt: skip


def levels_of_gaussians(a: FloatArray, level: float) -> FloatArray:
    """Return the exponent at which each Gaussian of atoms ends, ``[n, m]``.

    Gaussians end at like densities for the atom they belong to: one that holds little of it, as
    the widest often does, ends earlier. The level is that of 0.4 of what the atom scatters, of
    either sign; where its Gaussians all but cancel, of 0.04 of the largest.
    """
    whole = np.abs(a.sum(axis=1, keepdims=True))
    whole = np.maximum(whole, 0.1 * np.abs(a).max(axis=1, keepdims=True, initial=0.0))
    share = np.abs(a) / np.maximum(0.4 * whole, 1e-6)
    return np.asarray(np.maximum(level + np.log(np.maximum(share, 1e-12)), 1.0))
