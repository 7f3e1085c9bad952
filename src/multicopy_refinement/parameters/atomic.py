"""What torch code asks of a model's atoms, whatever class the model is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.occupancy.groups import OccupancyGroups


class PlacedAtoms(Protocol):
    """Atoms with coordinates and displacements; `multicopy_refinement.Model` has them."""

    table: AtomTable
    occupancy_groups: OccupancyGroups

    @property
    def xyz(self) -> Callable[[], Tensor]:
        """Cartesian coordinates in A, ``[n, 3]``."""
        ...

    @property
    def b_iso(self) -> Callable[[], Tensor]:
        """Isotropic B in A^2, ``[n]``."""
        ...

    @property
    def u_aniso(self) -> Callable[[], Tensor]:
        """Anisotropic U in A^2, ``[n, 6]``."""
        ...
