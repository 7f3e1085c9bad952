"""Where the data would have coordinates and displacements that are held."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.places import in_runs
from multicopy_refinement.posterior.bijvoet import BijvoetTerm
from multicopy_refinement.posterior.blocks import Point
from multicopy_refinement.posterior.posterior import Posterior
from multicopy_refinement.refinement.surroundings import Restrained
from multicopy_refinement.reflections import ReflectionData
from multicopy_refinement.scattering.atom_slopes import (
    ISOTROPIC,
    TENSOR,
    atom_slopes,
    unknowns_of_atoms,
)
from multicopy_refinement.scattering.compiled import SplatJacobian
from multicopy_refinement.scattering.plan import plan_splat
from multicopy_refinement.solve.local import Surroundings
from multicopy_refinement.units import EIGHT_PI_SQUARED

#: Elements of slopes that are made at once.
_ELEMENTS = 20_000_000


def pull_on_atoms(
    posterior: Posterior, at: Point, data: ReflectionData, around: Surroundings
) -> FloatArray:
    """Return dlog p/d(coordinates and displacements) of all atoms, data and restraints together.

    Of the unknowns that `unknowns_of_atoms` has, per A and per A^2.
    """
    tensor, atoms = around.tensor, around.atoms
    term, differences = posterior.data, posterior.differences
    c = term.gradient_coefficients(at)
    found = np.zeros(int(unknowns_of_atoms(tensor)[-1]))
    if differences is not None:
        turning, own = differences.gradient_coefficients(at)
        c = c + turning
        found += _of_signal(differences, own, around)
    jacobian = SplatJacobian(atoms, data.hkl, plan_splat(atoms, data.listed_d_min))
    _, by_xyz, by_u = jacobian.adjoint(c)
    first = unknowns_of_atoms(tensor)[:-1]
    found[first[:, None] + np.arange(3)] += by_xyz
    found[first[~tensor] + ISOTROPIC - 1] += by_u[~tensor, :3].sum(axis=1) / EIGHT_PI_SQUARED
    found[first[tensor, None] + np.arange(3, TENSOR)] += by_u[tensor]
    if isinstance(around.stiffness, Restrained):
        found += around.stiffness.gradient
    return found


def _of_signal(term: BijvoetTerm, c: np.ndarray, around: Surroundings) -> FloatArray:
    """Return what changes of F'' by its atoms' places and displacements add."""
    offset, second = unknowns_of_atoms(around.tensor), term.signal.atoms
    found = np.zeros(int(offset[-1]))
    some = np.flatnonzero(second.factors.a[:, 0][second.element.numpy()])
    size = max(1, _ELEMENTS // (TENSOR * max(len(around.hkl), 1)))
    for start in range(0, len(some), size):
        chosen = some[start : start + size]
        slopes = atom_slopes(second.select_rows(chosen), around.hkl, c, around.tensor[chosen])
        rows = in_runs(offset[chosen], offset[chosen + 1] - offset[chosen])
        found[rows] += slopes.sum(axis=1, dtype=np.float64)
    return found
