"""The course of a refinement: its cycles, what moved in them, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.posterior.agreement import Statistics

if TYPE_CHECKING:
    from multicopy_refinement.geometry.statistics import Statistics as GeometryStatistics


@dataclass(frozen=True)
class Status:
    """How the refinement ended, in words."""

    converged: bool
    reason: str
    cycles: int


@dataclass(frozen=True)
class Moves:
    """How far a macrocycle went.

    Attributes
    ----------
    occupancy, unsettled
        Largest change, and the largest that exceeds a fifth of its su.
    xyz, b
        Rms shifts in A and A^2.
    gain
        Of the log posterior.
    shift
        Of all unknowns in units of their su, rms, of the largest step: d'g/n, H d = g.
    products
        With the information matrix.
    bond_z
        Rms Z of the bonds that move, nan without any.
    weight, spread
        Of the restraints, and of B of bonded atoms.
    """

    occupancy: float
    unsettled: float
    xyz: float
    b: float
    gain: float
    shift: float
    products: int
    bond_z: float
    weight: float
    spread: float


@dataclass(frozen=True)
class Cycle:
    """Where the refinement stood after a macrocycle, with the scale and errors of that moment.

    Attributes
    ----------
    largest_change
        Of an occupancy in the cycle; None for the start.
    moves
        How far coordinates and displacements went, where they are refined.
    """

    number: int
    largest_change: float | None
    statistics: Statistics
    moves: Moves | None = None


@dataclass(frozen=True, eq=False)
class Relaxation:
    """What coordinates and displacements did in a joint refinement.

    Attributes
    ----------
    before, after
        Deviations from the restraints.
    weight, spread
        Of the restraints at the end, and of B of bonded atoms (`b_spread.likely_spread`).
    shift, b_change
        Of each atom in A and A^2, ``[n_atoms]``.
    faint
        Atoms whose B went to the highest that it may be.
    shared
        Atoms whose U, the same in several conformers of the file, moved as one.
    leverage
        Part of the data that a fit of all atoms takes up
        (`multicopy_refinement.targets.leverage`), as su count it; 0 where some are held.
    """

    before: GeometryStatistics
    after: GeometryStatistics
    weight: float
    spread: float
    shift: FloatArray
    b_change: FloatArray
    faint: IntArray
    shared: IntArray
    leverage: float = 0.0
