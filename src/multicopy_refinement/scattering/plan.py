"""How fine a grid, how much blur and how far atoms reach, for an accuracy that is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from multicopy_refinement.crystal.grid import grid_size
from multicopy_refinement.scattering.atoms import EIGHT_PI_SQUARED, ScatteringAtoms

#: Relative error of F, sqrt(sum |F - F_direct|^2 / sum |F_direct|^2), that is asked for by default.
ACCURACY = 1e-4
#: Below this the grid is float64.
_SINGLE = 1e-5
#: Grid spacing is d_min / (2 rate). What aliases at a rate of 1.5 is about 1e-5 of F: down to
#: _FINE that is fine, below it the rate and the blur grow.
_RATE, _FINE = 1.5, 5e-5


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
        Each Gaussian of an atom ends where it has fallen to exp(-level) of its height.
    single
        Whether the grid is float32; otherwise float64.
    """

    size: tuple[int, int, int]
    blur: float
    level: float
    single: bool

    @property
    def dtype(self) -> torch.dtype:
        """Type of the grid."""
        return torch.float32 if self.single else torch.float64


def plan_splat(atoms: ScatteringAtoms, d_min: float, *, accuracy: float = ACCURACY) -> SplatPlan:
    """Return the plan for a resolution in A and a relative error of F.

    The blur max(0, 8 pi^2 spacing^2 / 1.1 - B_min) is that of REFMAC, as gemmi documents it;
    errors below 5e-5 take up to twice the first term.
    """
    if not 1e-9 <= accuracy <= 0.1:
        raise ValueError(f"accuracy {accuracy} is not between 1e-9 and 0.1")
    finer = max(0.0, math.log10(_FINE / accuracy))
    spacing = d_min / (2 * (_RATE + 0.3 * finer))
    sharpest = (1 + 0.2 * finer) * EIGHT_PI_SQUARED * spacing**2 / 1.1
    blur = float(max(0.0, sharpest - atoms.smallest_b()))
    level = 1.0 - math.log(accuracy)  # errors of gradients by B are ten times those of F
    return SplatPlan(
        grid_size(atoms.cell, atoms.spacegroup, spacing), blur, level, accuracy >= _SINGLE
    )


def widest_gaussian(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the column of the largest b with a height, of each row of form factors."""
    return np.asarray(np.where(a != 0.0, b, -1.0).argmax(axis=1))
