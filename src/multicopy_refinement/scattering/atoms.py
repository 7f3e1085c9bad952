"""What the scattering engines need to know of a model's atoms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from multicopy_refinement._typing import IntArray
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.crystal.beam import Beam
from multicopy_refinement.parameters.atomic import PlacedAtoms
from multicopy_refinement.scattering.factors import FormFactors, form_factors
from multicopy_refinement.units import EIGHT_PI_SQUARED


class AtomicModel(PlacedAtoms, Protocol):
    """What scattering needs of a model; `multicopy_refinement.Model` is one."""

    anisotropic: Tensor

    @property
    def cell(self) -> Cell:
        """Unit cell."""
        ...

    @property
    def spacegroup(self) -> SpaceGroup:
        """Space group."""
        ...

    @property
    def beam(self) -> Beam:
        """What it is measured with."""
        ...

    @property
    def occupancy(self) -> Callable[[], Tensor]:
        """Occupancies, ``[n]``."""
        ...


@dataclass(frozen=True, eq=False)
class ScatteringAtoms:
    """Differentiable state of the atoms, with the crystal that they are in.

    Attributes
    ----------
    xyz
        Cartesian, A, ``[n, 3]``.
    occupancy
        ``[n]``.
    u
        Displacement tensors in A^2, ``[n, 6]`` in the order 11 22 33 12 13 23.
    b_iso
        A^2, ``[n]``; used where ``anisotropic`` is False.
    anisotropic
        Bool ``[n]``.
    element
        Row of each atom in ``factors``, ``[n]``.
    factors
        Form factors of the elements.
    """

    xyz: Tensor
    occupancy: Tensor
    u: Tensor
    b_iso: Tensor
    anisotropic: Tensor
    element: Tensor
    factors: FormFactors
    cell: Cell
    spacegroup: SpaceGroup

    def __len__(self) -> int:
        return len(self.occupancy)

    @property
    def a(self) -> Tensor:
        """Form-factor coefficients in the unit of F, ``[n, m]``."""
        return torch.as_tensor(self.factors.a).to(self.xyz)[self.element]

    @property
    def b(self) -> Tensor:
        """Form-factor coefficients in A^2, ``[n, m]``."""
        return torch.as_tensor(self.factors.b).to(self.xyz)[self.element]

    @property
    def differentiable(self) -> bool:
        """Whether anything asks for gradients."""
        return torch.is_grad_enabled() and any(
            t.requires_grad for t in (self.xyz, self.occupancy, self.u, self.b_iso)
        )

    def select(self, atoms: Tensor) -> ScatteringAtoms:
        """Return the atoms of an index or mask."""
        picked = {
            k: getattr(self, k)[atoms]
            for k in ("xyz", "occupancy", "u", "b_iso", "anisotropic", "element")
        }
        return replace(self, **picked)

    def select_rows(self, rows: IntArray) -> ScatteringAtoms:
        """Return the atoms of some rows."""
        return self.select(torch.as_tensor(rows))

    def double(self) -> ScatteringAtoms:
        """Return the atoms in double precision on the CPU, without gradients."""

        def double(tensor: Tensor) -> Tensor:
            return tensor.detach().double().cpu()

        return replace(
            self, xyz=double(self.xyz), occupancy=double(self.occupancy), u=double(self.u),
            b_iso=double(self.b_iso), anisotropic=self.anisotropic.cpu(),
            element=self.element.cpu(),
        )  # fmt: skip

    def single(self) -> ScatteringAtoms:
        """Return the atoms in single precision, where they are and with their gradients."""
        floats = {k: getattr(self, k).float() for k in ("xyz", "occupancy", "u", "b_iso")}
        return replace(self, **floats)

    @staticmethod
    def together(parts: Sequence[ScatteringAtoms]) -> ScatteringAtoms:
        """Return the atoms of several selections of one model, one after the other."""
        names = ("xyz", "occupancy", "u", "b_iso", "anisotropic", "element")
        joined: dict[str, Any] = {n: torch.cat([getattr(p, n) for p in parts]) for n in names}
        return replace(parts[0], **joined)

    def smallest_b(self) -> float:
        """Return the smallest B, or 8 pi^2 times the smallest principal U, in A^2."""
        lowest = [torch.inf]
        with torch.no_grad():
            if bool((~self.anisotropic).any()):
                lowest.append(float(self.b_iso[~self.anisotropic].min()))
            if bool(self.anisotropic.any()):
                principal = torch.linalg.eigvalsh(symmetric_matrices(self.u[self.anisotropic]))
                lowest.append(EIGHT_PI_SQUARED * float(principal.min()))
        return min(lowest)


#: Form factors of the models in use, by their tables, which do not change.
_FACTORS: WeakKeyDictionary[AtomTable, dict[Beam, tuple[FormFactors, Tensor]]] = WeakKeyDictionary()


def atoms_of(model: AtomicModel) -> ScatteringAtoms:
    """Return the present state of a model."""
    known, beam = _FACTORS.setdefault(model.table, {}), model.beam
    if beam not in known:
        found = form_factors(model.table.element, beam)
        known[beam] = found, torch.as_tensor(found.element)
    factors, element = known[beam]
    xyz = model.xyz()
    return ScatteringAtoms(
        xyz,
        model.occupancy(),
        model.u_aniso(),
        model.b_iso(),
        model.anisotropic,
        element.to(xyz.device),
        factors,
        model.cell,
        model.spacegroup,
    )


def symmetric_matrices(elements: Tensor) -> Tensor:
    """Return ``[n, 3, 3]`` matrices of elements 11 22 33 12 13 23, ``[n, 6]``."""
    order = torch.tensor([0, 3, 4, 3, 1, 5, 4, 5, 2], device=elements.device)
    return elements[:, order].reshape(-1, 3, 3)
