"""What the solvent of a crystal is to those who use it, and the groups that it depends on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from multicopy_refinement._typing import BoolArray, ComplexArray, FloatArray, IntArray
from multicopy_refinement.scaling.mask import MaskGrid


@dataclass(frozen=True, eq=False)
class PartialGroups:
    """Groups that may leave a part of their place to the solvent.

    Attributes
    ----------
    members
        Atoms of each group.
    family
        A number for groups that exclude each other (the members of a set), ``[n_groups]``.
    parent
        Group in which a group is nested, or -1, ``[n_groups]``.
    whole
        Whether a group is of a set whose members are never all away, ``[n_groups]``.
    frequent
        Whether it is in the molecule that is most frequent, ``[n_groups]``.
    occupancy
        About what it is, ``[n_groups]``.
    """

    members: tuple[IntArray, ...]
    family: IntArray
    parent: IntArray
    whole: BoolArray
    frequent: BoolArray
    occupancy: FloatArray

    def __len__(self) -> int:
        return len(self.members)

    def alike(self, other: PartialGroups) -> bool:
        """Return whether they are the same groups, whatever their occupancies."""
        return (
            len(self) == len(other)
            and all(map(np.array_equal, self.members, other.members))
            and np.array_equal(self.family, other.family)
            and np.array_equal(self.parent, other.parent)
        )


@dataclass(frozen=True, eq=False)
class Displaced:
    """What groups displace: F_mask(q) = F_mask(q0) - sum_g (q_g - q0_g) M_g.

    Attributes
    ----------
    low
        Reflections to which it matters, in ascending order, ``[n_low]``.
    columns
        M, complex64 ``[n_groups, n_low]``, for a density of 1; to be used as long as this is.
    in_doubt
        Gives by how much M with a narrower probe differs from M with that of the grid, and that
        from M with a wider one, at some places of ``low``: of a hole that a bottleneck leads to,
        all of it; complex64 ``[2 n_groups, n_places]``. None where that is not known.
    """

    low: IntArray
    columns: np.ndarray
    in_doubt: Callable[[IntArray], np.ndarray] | None = None


class Solvent(Protocol):
    """The solvent of a crystal as a function of the occupancies of its partial groups."""

    @property
    def base(self) -> FloatArray:
        """The mask of all atoms, ``[nu, nv, nw]``."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Points of the grid along the axes."""
        ...

    @property
    def fraction(self) -> float:
        """Part of the cell that is solvent where all groups are there."""
        ...

    @property
    def has_ways(self) -> bool:
        """Whether occupancies say in which part of the molecules solvent gets somewhere."""
        ...

    def for_other_data(self) -> Solvent:
        """Return the solvent of the same crystal for other reflections."""
        ...

    def all_there(self, grid: MaskGrid) -> FloatArray:
        """Return `base` on a grid that differs in how far solvent grows back alone."""
        ...

    def regrown(self, grid: MaskGrid) -> Solvent:
        """Return the solvent on such a grid."""
        ...

    def density(self, occupancy: FloatArray, beside: BoolArray | None = None) -> FloatArray:
        """Return how much solvent each point of the grid holds.

        Where there is solvent if these atoms alone are there, nothing else is, ``[n_atoms]``.
        """
        ...

    def prepare_blend(self) -> None:
        """Make what `blended` needs, whatever grid it will be asked for on."""
        ...

    def blended(self, occupancy: FloatArray) -> FloatArray | None:
        """Return what the density grows by with `MaskGrid.blend`; None where it has one probe."""
        ...

    def f_mask(self, occupancy: FloatArray, hkl: IntArray) -> ComplexArray:
        """Return F of the solvent for a density of 1, complex ``[n]``."""
        ...

    def displaced(
        self, occupancy: FloatArray, chosen: IntArray, hkl: IntArray, s_squared_max: float
    ) -> Displaced:
        """Return M of chosen groups around present occupancies of all groups, ``[n_groups]``.

        It is needed up to ``s_squared_max`` in 1/A^2.
        """
        ...
