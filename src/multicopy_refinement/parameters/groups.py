"""Index tables of occupancy parameters: which atom has which, and which are tied by a sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multicopy_refinement.errors import ConformationError, OccupancyError
from multicopy_refinement.occupancy.sums import SumConstraints

#: A list of groups, each a list of atom indices, or the collapsed index of each atom.
SharingGroups = Sequence[Sequence[int]] | Tensor | NDArray[np.integer]
#: A list of sets; a set is a list of conformations; a conformation is a list of atom indices.
AltlocGroups = Sequence[Sequence[Sequence[int]]]


@dataclass(frozen=True, eq=False)
class SetMembers:
    """The members of all sets, as collapsed indices.

    Attributes
    ----------
    group
        Collapsed index of each member, long ``[n_members]``.
    set_index
        Set of each member, long ``[n_members]``, contiguous from 0.
    n_sets
        Number of sets.
    sums
        What the members sum to; 1 when left out.
    """

    group: Tensor
    set_index: Tensor
    n_sets: int
    sums: SumConstraints | None = None


def members_from_sums(sums: SumConstraints) -> SetMembers:
    """Return the members of sets that are given by groups."""
    group = np.flatnonzero(sums.set_index >= 0)
    return SetMembers(
        torch.as_tensor(group), torch.as_tensor(sums.set_index[group]), len(sums), sums
    )


def expansion_from_groups(groups: SharingGroups | None, n_atoms: int) -> Tensor:
    """Return the collapsed index of each atom, long ``[n_atoms]``, contiguous from 0.

    In the list form the groups come first, in the order given, then the atoms of no group.

    >>> expansion_from_groups([[0, 1, 2], [3, 4, 5], [6, 7]], 10).tolist()
    [0, 0, 0, 1, 1, 1, 2, 2, 3, 4]
    """
    if groups is None:
        return torch.arange(n_atoms)
    if isinstance(groups, np.ndarray):
        groups = torch.as_tensor(groups)
    if isinstance(groups, Tensor):
        return _checked_index(groups, n_atoms)
    return _index_from_lists(groups, n_atoms)


def _checked_index(index: Tensor, n_atoms: int) -> Tensor:
    if index.ndim != 1 or len(index) != n_atoms or index.is_floating_point():
        raise OccupancyError(
            f"sharing_groups: an index tensor must hold {n_atoms} integers, "
            f"one for each atom; this one has shape {tuple(index.shape)} "
            f"and type {index.dtype}"
        )
    index = index.long()
    if n_atoms == 0:
        return index
    if int(index.min()) < 0:
        atom = int(torch.argmin(index))
        raise OccupancyError(f"sharing_groups: index {int(index[atom])} of atom {atom} is negative")
    seen = torch.bincount(index)
    if bool((seen == 0).any()):
        raise OccupancyError(
            f"sharing_groups: index {int(torch.argmin(seen))} is used by no atom; "
            f"indices must run from 0 to {len(seen) - 1} without gaps"
        )
    return index


def _index_from_lists(groups: Sequence[Sequence[int]], n_atoms: int) -> Tensor:
    index = torch.full((n_atoms,), -1, dtype=torch.long)
    for number, group in enumerate(groups):
        if len(group) == 0:
            raise OccupancyError(f"sharing_groups: group {number} has no atoms")
        for atom in group:
            check_atom(int(atom), n_atoms, f"sharing_groups: group {number}")
            if index[atom] >= 0:
                raise OccupancyError(
                    f"sharing_groups: atom {atom} is in groups "
                    f"{int(index[atom])} and {number}; it may be in one only"
                )
            index[atom] = number
    alone = index < 0
    index[alone] = len(groups) + torch.arange(int(alone.sum()))
    return index


def members_from_lists(sets: AltlocGroups, expansion: Tensor) -> SetMembers:
    """Return the members of sets given as lists of conformations of atom indices."""
    group: list[int] = []
    set_index: list[int] = []
    owner: dict[int, tuple[int, int]] = {}
    for number, conformations in enumerate(sets):
        if len(conformations) < 2:
            raise OccupancyError(
                f"altloc_groups: set {number} has {len(conformations)} "
                "conformation; it needs two or more"
            )
        for place, atoms in enumerate(conformations):
            where = f"altloc_groups: set {number}, conformation {place}"
            collapsed = _common_index(atoms, expansion, where)
            if collapsed in owner:
                other = owner[collapsed]
                raise OccupancyError(
                    f"{where}: atom {atoms[0]} (collapsed index {collapsed}) is "
                    f"in conformation {other[1]} of set {other[0]} already"
                )
            owner[collapsed] = (number, place)
            group.append(collapsed)
            set_index.append(number)
    return SetMembers(
        torch.tensor(group, dtype=torch.long), torch.tensor(set_index, dtype=torch.long), len(sets)
    )


def _common_index(atoms: Sequence[int], expansion: Tensor, where: str) -> int:
    if len(atoms) == 0:
        raise OccupancyError(f"{where}: no atoms")
    for atom in atoms:
        check_atom(int(atom), len(expansion), where)
    collapsed = {int(expansion[atom]) for atom in atoms}
    if len(collapsed) > 1:
        raise ConformationError(
            f"{where}: its atoms {list(atoms)} must share one collapsed index, "
            f"but have {sorted(collapsed)}"
        )
    return collapsed.pop()


def check_atom(atom: int, n_atoms: int, where: str) -> None:
    """Refuse an atom index that is out of range."""
    if not 0 <= atom < n_atoms:
        raise OccupancyError(f"{where}: atom index {atom} is out of range 0..{n_atoms - 1}")
