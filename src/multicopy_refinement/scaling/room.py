"""Where the solvent of a crystal is, by spheres around the atoms that are there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray, UInt8Array
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.scaling.kernels.points import without_islands
from multicopy_refinement.scaling.mask import ISLAND, MaskGrid
from multicopy_refinement.scaling.points import GridPoints

#: Radii by which solvent grows back that the data are asked about, in A.
SHRINKS = (0.3, 0.5, 0.7, 0.9)
#: Parts of a narrower and of a wider probe that they are asked about: one probe alone, or both
#: beside it, or in its place.
BLENDS = (0.0, 0.25, 0.5)
#: Steps of the search from where these lead to, in A. Another radius than the present one has to
#: lower chi-square by so much.
_STEP, _TELLING = 0.06, 2.0
#: Another blend has to lower it by more: it is two masks instead of one.
_TELLING_BLEND = 8.0


class Room:
    """The room that atoms leave to the probe, and the solvent that grows back from it.

    As the mask of gemmi (`mask.mask_by_gemmi`, which it is tested by), but one set of atoms may
    follow another at the cost of those that are new.

    Parameters
    ----------
    grid
        The grid.
    table, xyz
        All atoms; hydrogens take no room.
    """

    def __init__(self, grid: MaskGrid, table: AtomTable, xyz: FloatArray) -> None:
        self.grid = grid
        self.points = GridPoints(table, xyz, grid.cell, grid.group, grid.fine, grid.wider)
        self._heavy = ~table.hydrogen
        self.taken = np.zeros(int(np.prod(grid.fine)), dtype=np.uint8)
        self._there = np.zeros(len(table), dtype=bool)

    def take(self, atoms: BoolArray) -> None:
        """Put these atoms there beside those that are, ``[n_atoms]``."""
        new = atoms & ~self._there & self._heavy
        self._there |= atoms
        self.points.fill(self.taken, np.flatnonzero(new))

    def open(self) -> UInt8Array:
        """Return where the probe fits and is not on an island, 0 or 1 at each point, flat."""
        found = 1 - self.taken
        without_islands(found, self.points.shape, self.island)
        return np.asarray(found)

    @property
    def island(self) -> int:
        """Fewer points than this that hang together with nothing else hold no solvent."""
        return int(np.ceil(ISLAND / self.grid.voxel))

    @property
    def steps(self) -> IntArray:
        """Steps of the finer grid by which solvent grows back, ``[n, 3]``."""
        return self.points.offsets(self.grid.growth)

    def solvent(self, open_: UInt8Array) -> UInt8Array:
        """Return where solvent is, within reach of where the probe fits but for islands, flat."""
        return self.points.grown(open_, self.steps)

    def solvent_beside(self, atoms: BoolArray) -> UInt8Array:
        """Return where solvent is when these atoms are there, too, flat."""
        self.take(atoms)
        return self.solvent(self.open())

    def on(self, grid: MaskGrid) -> Room:
        """Return the same room on a grid that differs in how far solvent grows back alone."""
        other = copy(self)
        other.grid = grid
        return other


def solvent_mask(
    grid: MaskGrid, table: AtomTable, present: BoolArray, xyz: FloatArray
) -> FloatArray:
    """Return how much solvent there is at each point beside present atoms, ``[nu, nv, nw]``."""
    return grid.coarse(Room(grid, table, xyz).solvent_beside(present))


def solvent_radius(misfits: Sequence[float]) -> float:
    """Return how far solvent grows back, in A, by the misfits with `SHRINKS`.

    It is where the cubic through them is lowest, between the first and the last. The mask's edge is
    where the data see solvent begin, which depends on how well ordered water is beside a molecule,
    and is not the same in all crystals: in eight real ones it is 0.4 to 0.6 A. (Phenix searches for
    the radii of its mask, too: Afonine et al., 2013, Acta Cryst. D69, 625.)
    """
    values = np.array(misfits)
    cubic = np.polynomial.Polynomial.fit(SHRINKS, values - values.min(), len(SHRINKS) - 1)
    tried = np.linspace(SHRINKS[0], SHRINKS[-1], 601)
    return float(tried[np.argmin(cubic(tried))])


def best_grid(grid: MaskGrid, misfit: Callable[[MaskGrid], float], *, anywhere: bool) -> MaskGrid:
    """Return the grid with the radius that fits best, the present one where nothing tells more.

    Parameters
    ----------
    grid
        The present one.
    misfit
        Chi-square with the mask of a grid. Radii that come to the same steps are tried once.
    anywhere
        The search begins at the `solvent_radius` of misfits; at the present radius where not.
    """
    found: dict[int, tuple[float, MaskGrid]] = {}

    def of(shrink: float) -> float:
        one = grid.with_shrink(shrink)
        reach = one.points_reached
        if reach not in found:
            found[reach] = misfit(one), one
        return found[reach][0]

    present = of(grid.shrink)
    near = solvent_radius([of(r) for r in SHRINKS]) if anywhere else grid.shrink
    for step in (-_STEP, _STEP):  # a mask on a grid changes in steps, and misfits with it
        shrink = near
        while SHRINKS[0] <= shrink + step <= SHRINKS[-1] and of(shrink + step) <= of(shrink):
            shrink += step
    least, best = min(found.values(), key=lambda one: one[0])
    return best if least < present - _TELLING else grid


def best_blend(present: float, misfit: Callable[[float], float]) -> float:
    """Return which of `BLENDS` fits best, the present one where none tells more.

    Parameters
    ----------
    present
        The present one.
    misfit
        Chi-square with a blend.
    """
    found = {blend: misfit(blend) for blend in BLENDS}
    best = min(found, key=lambda blend: found[blend])
    return best if found[best] < found[present] - _TELLING_BLEND else present
