"""F'': what the imaginary parts of form factors scatter, as columns of groups."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from multicopy_refinement._typing import ComplexArray, FloatArray, IntArray
from multicopy_refinement.crystal.beam import LARGE_F_DOUBLE_PRIME
from multicopy_refinement.scattering.atoms import AtomicModel, ScatteringAtoms, atoms_of
from multicopy_refinement.scattering.basis import MEMORY_LIMIT
from multicopy_refinement.scattering.columns import GroupColumns, make_columns, weighted_sum
from multicopy_refinement.scattering.factors.tables import double_prime_factors
from multicopy_refinement.scattering.splat import splat_structure_factors


@dataclass(frozen=True, eq=False)
class AnomalousColumns:
    """F''(h) = F''_fixed(h) + sum_g q_g exp(-b_g s^2/4) G''_g(h), at some reflections.

    F'' is the sum over atoms of q f'' T exp(2 pi i h.x) with f'' constant in s: the transform of a
    real density, so that F''(-h) is its conjugate. With F_0 of the real parts and the solvent,
    whose f'' is left out, F(h) = F_0 + iF'' and |F(-h)| = |F_0 - iF''|.

    f'' of C, N and O is 0.001 to 0.003 of their f, and 0.03 to 0.2 of that of S and metals: what is
    in proportion to F_0 turns with it and makes no difference, so that metals show by what they
    have more. All atoms count therefore; those of groups whose f'' is below 0.05 e at the
    occupancies that they have when the columns are made.

    Attributes
    ----------
    groups
        Places of the groups that have a large f'' among the refined ones, ``[m]``.
    columns
        G'' of these at occupancy 1.
    fixed
        F'' of all other atoms, complex ``[n]``.
    s_squared
        1/d^2 in 1/A^2, ``[n]``.
    atoms
        All of the model, with f'' for their form factors.
    """

    groups: IntArray
    columns: GroupColumns
    fixed: ComplexArray
    s_squared: FloatArray
    atoms: ScatteringAtoms

    def f_second(self, occupancy: FloatArray, b_shift: FloatArray | None = None) -> ComplexArray:
        """Return F'' for occupancies (and B shifts in A^2) of all refined groups, complex ``[n]``.

        Without the overall scale.
        """
        shift = None if b_shift is None else b_shift[self.groups]
        return self.fixed + weighted_sum(
            self.columns, occupancy[self.groups], self.s_squared, shift
        )


def anomalous_columns(model: AtomicModel, hkl: IntArray, refined: IntArray) -> AnomalousColumns:
    """Return F'' of a model whose refined groups have occupancies of their own.

    Parameters
    ----------
    model
        Coordinates, displacements and held occupancies are taken as they are; f'' are those of its
        beam.
    hkl
        Miller indices, ``[n, 3]``.
    refined
        Groups whose occupancies are unknown.
    """
    with torch.no_grad():
        atoms = atoms_of(model).double()
    atoms = replace(atoms, factors=double_prime_factors(atoms.factors, model.beam))
    large = atoms.factors.a[:, 0][atoms.element.numpy()] >= LARGE_F_DOUBLE_PRIME
    place = np.full(len(model.occupancy_groups), -1)
    place[refined] = np.arange(len(refined))
    of_atom = place[model.occupancy_groups.index]
    groups = np.unique(of_atom[large & (of_atom >= 0)])
    own = np.flatnonzero(np.isin(of_atom, groups))
    number = np.searchsorted(groups, of_atom[own])
    columns = make_columns(atoms.select_rows(own), number, len(groups), hkl, MEMORY_LIMIT)
    rest = np.setdiff1d(np.arange(len(atoms)), own)
    fixed = np.zeros(len(hkl), dtype=np.complex128)
    if len(rest):
        fixed = splat_structure_factors(atoms.select_rows(rest), hkl).numpy()
    return AnomalousColumns(groups, columns, fixed, model.cell.inverse_d_squared(hkl), atoms)
