"""Structure factors of occupancy groups: with coordinates held, F_calc is linear in them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from multicopy_refinement._typing import ComplexArray, FloatArray, IntArray
from multicopy_refinement.errors import StaleBasisError
from multicopy_refinement.scattering.atoms import AtomicModel, ScatteringAtoms, atoms_of
from multicopy_refinement.scattering.columns import GroupColumns, make_columns, weighted_sum
from multicopy_refinement.scattering.splat import splat_structure_factors

#: Bytes that group structure factors may take; past it they are made block by block.
MEMORY_LIMIT = 2 * 2**30


@dataclass(frozen=True, eq=False)
class GroupBasis:
    """F_calc(h) = F_fixed(h) + sum_g q_g G_g(h).

    Attributes
    ----------
    groups
        Collapsed indices of the groups, ``[n_groups]``.
    hkl, s_squared
        ``[n, 3]``, and 1/d^2 in 1/A^2, ``[n]``.
    fixed
        F of all other atoms, complex ``[n]``.
    columns
        G, stored or streamed.
    first_atom
        An atom of each group, ``[n_groups]``.
    fingerprint
        Of what it was made from.
    """

    groups: IntArray
    hkl: IntArray
    s_squared: FloatArray
    fixed: ComplexArray
    columns: GroupColumns
    first_atom: IntArray
    fingerprint: str

    def f_calc(self, occupancy: FloatArray, b_shift: FloatArray | None = None) -> ComplexArray:
        """Return F_calc for occupancies (and B shifts in A^2) of the groups, ``[n_groups]``."""
        return self.fixed + weighted_sum(self.columns, occupancy, self.s_squared, b_shift)

    def structure_factors(self, occupancy: Tensor) -> Tensor:
        """Return F_calc for the occupancies of all atoms, ``[n_atoms]``, differentiable in them.

        ``basis.structure_factors(model.occupancy())`` is ``structure_factors(model, hkl)`` at the
        cost of one small product, as long as nothing but the basis' groups changes.
        """
        q = occupancy[torch.as_tensor(self.first_atom, device=occupancy.device)]
        fixed, matrix = self._tensors
        return fixed + q.to("cpu", torch.complex64) @ matrix

    @cached_property
    def _tensors(self) -> tuple[Tensor, Tensor]:
        real, imaginary = self.columns.members(np.arange(self.columns.n_groups))
        everything = torch.complex(torch.as_tensor(real), torch.as_tensor(imaginary))
        return torch.as_tensor(self.fixed), everything

    def check(self, model: AtomicModel) -> None:
        """Refuse a model that is no longer the one of the basis.

        Raises
        ------
        StaleBasisError
            Coordinates, displacements, scatterers or held occupancies have changed.
        """
        if fingerprint(model, self.groups, self.hkl) != self.fingerprint:
            raise StaleBasisError(
                "coordinates, displacements or held occupancies have changed "
                "since the basis was made: make a new one"
            )


def group_basis(
    model: AtomicModel, hkl: IntArray, groups: IntArray | None = None, *,
    memory_limit: int = MEMORY_LIMIT,
) -> GroupBasis:  # fmt: skip
    """Return the basis of groups (by default the refinable ones) of a model.

    Parameters
    ----------
    model
        Its coordinates, displacements and held occupancies are taken as they are.
    hkl
        Miller indices, ``[n, 3]``.
    groups
        Collapsed indices.
    memory_limit
        Bytes that G may take; past it, it is made block by block at each use.
    """
    table_groups = model.occupancy_groups
    if groups is None:
        groups = np.flatnonzero(table_groups.refined)
    place = np.full(len(table_groups), -1)
    place[groups] = np.arange(len(groups))
    group_of_atom = place[table_groups.index]
    with torch.no_grad():
        atoms = atoms_of(model).double()
        held = torch.as_tensor(group_of_atom < 0)
        fixed = _fixed_part(atoms, held, hkl)
        columns = make_columns(
            atoms.select(~held), group_of_atom[group_of_atom >= 0], len(groups), hkl, memory_limit
        )
    return GroupBasis(
        np.asarray(groups), hkl, model.cell.inverse_d_squared(hkl), fixed, columns,
        table_groups.first_atom[groups], fingerprint(model, groups, hkl),
    )  # fmt: skip


def fingerprint(model: AtomicModel, groups: IntArray, hkl: IntArray) -> str:
    """Return a digest of all that a basis depends on."""
    digest = hashlib.blake2b(digest_size=16)
    with torch.no_grad():
        moving = np.isin(model.occupancy_groups.index, groups)
        held = model.occupancy().detach().cpu().numpy()[~moving]
        parts = [t().detach().cpu().numpy() for t in (model.xyz, model.b_iso, model.u_aniso)]
    for part in [*parts, held, groups, hkl, model.occupancy_groups.index]:
        digest.update(np.ascontiguousarray(part).tobytes())
    digest.update(model.table.element.tobytes())
    digest.update(repr((model.cell.parameters, model.spacegroup.name, model.beam)).encode())
    return digest.hexdigest()


def _fixed_part(atoms: ScatteringAtoms, held: Tensor, hkl: IntArray) -> ComplexArray:
    if not bool(held.any()):
        return np.zeros(len(hkl), dtype=np.complex128)
    return np.asarray(splat_structure_factors(atoms.select(held), hkl).numpy())
