"""The solvent of a crystal with a state in a part of its molecules: the mean of two masks."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import (
    BoolArray,
    ComplexArray,
    FloatArray,
    IntArray,
)
from multicopy_refinement.occupancy.groups import OccupancyGroups
from multicopy_refinement.occupancy.values import not_full
from multicopy_refinement.scaling.displaced import DisplacedSolvent, displaced_solvent
from multicopy_refinement.scaling.mask import MaskGrid, density_structure_factors
from multicopy_refinement.scaling.room import solvent_mask
from multicopy_refinement.scaling.solvent import Displaced
from multicopy_refinement.series.holes import Holes
from multicopy_refinement.series.state import SeriesState

#: By how much a probe is less wide, and wider, that goes where it is in doubt whether solvent
#: does, in A. What gets there is refined: the mask is that of one probe.
DOUBT = 0.1
_PROBE = (0.0,)


class MasksOfCells:
    """Solvent of one model, made once for all cells whose grids have as many points.

    It stays when atoms move: 0.05 A changes fractions by 0.002, but log-likelihoods by hundreds in
    some crystals, which would hide what a step of the atoms gains.

    Atoms have the same fractional coordinates in all cells of a series: where these differ by 1%,
    spheres of 3 A do by 0.03 A.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[object, ...], FloatArray] = {}
        #: How far solvent grows back in A: the first data set says it for all.
        self.shrink: float | None = None
        #: Beside the state, where it is in doubt whether solvent gets into them.
        self.holes = Holes()

    def density(
        self, groups: OccupancyGroups, partial: IntArray, there: BoolArray, occupancy: FloatArray,
        xyz: FloatArray, grid: MaskGrid,
    ) -> FloatArray:  # fmt: skip
        """Return how much solvent there is at each point at some occupancies of all groups."""
        key = (
            grid.shape, grid.shrink, grid.wider, partial.tobytes(), there.tobytes(),
            occupancy.tobytes(),
        )  # fmt: skip
        if key not in self._made:
            self._made[key] = (
                displaced_solvent(
                    groups, partial, there, xyz, grid, occupancy, probes=_PROBE
                ).density(occupancy[partial])
                if len(partial) else solvent_mask(grid, groups.table, there, xyz)
            )  # fmt: skip
        return self._made[key]


@dataclass(eq=False)
class SolventOfStates:
    """F_mask(f) = (1 - f) F_mask(0) + f F_mask(1), of molecules without the state and with it.

    All that follows the fraction is there, or away, in the same molecules: a pocket that several of
    its residues leave is that of one molecule, with all of it. Groups that are partial at an end,
    too, displace there what `DisplacedSolvent` says, whose place in an experiment it takes.

    Attributes
    ----------
    each
        The solvent as if groups were there or not independently: which group displaces what.
    without, with_
        How much solvent each point of the grid holds at f = 0 and at 1, ``[nu, nv, nw]``.
    offset, slope
        Of the occupancies of partial groups, ``[n_partial]``.
    regrown
        Makes it anew on a grid that differs in how far solvent grows back.
    probes
        Gives `without` and `with_` with a narrower probe, the present one, and a wider one.
    masks
        Of the model, and its holes with what fills them.
    """

    each: DisplacedSolvent
    without: FloatArray
    with_: FloatArray
    offset: FloatArray
    slope: FloatArray
    regrown: Callable[[MaskGrid], SolventOfStates]
    probes: Callable[[], list[tuple[FloatArray, FloatArray]]]
    masks: MasksOfCells

    @classmethod
    def of(
        cls, state: SeriesState, masks: MasksOfCells, groups: OccupancyGroups, partial: IntArray,
        present: BoolArray, xyz: FloatArray, grid: MaskGrid, occupancy: FloatArray,
        last: SolventOfStates | None = None,
    ) -> SolventOfStates:  # fmt: skip
        """Return it for a model; arguments after the masks are those of `displaced_solvent`."""
        follows, xyz = state.slope != 0, xyz.copy()  # those of a model of doubles move with it

        def ends(grid: MaskGrid) -> tuple[FloatArray, FloatArray]:
            found = []
            for fraction in (0.0, 1.0):
                q = state.occupancy(fraction)
                left = partial[~follows[partial] | ((q > 0) & not_full(q))[partial]]
                there = np.where(follows[groups.index], (q > 0)[groups.index], present)
                found.append(masks.density(groups, left, there, q, xyz, grid))
            return found[0], found[1]

        def again(grid: MaskGrid) -> SolventOfStates:
            return cls.of(state, masks, groups, partial, present, xyz, grid, occupancy)

        def probes() -> list[tuple[FloatArray, FloatArray]]:
            return [ends(grid.with_probe(grid.wider + d)) for d in (-DOUBT, 0.0, DOUBT)]

        each = displaced_solvent(
            groups, partial, present, xyz, grid, occupancy, None if last is None else last.each,
            _PROBE,
        )  # fmt: skip
        offset, slope = state.offset[partial], state.slope[partial]
        return cls(each, *ends(grid), offset, slope, again, probes, masks)

    @property
    def base(self) -> FloatArray:
        """The mask of all atoms."""
        return self.each.base

    @property
    def shape(self) -> tuple[int, ...]:
        """Points of the grid along the axes."""
        return self.each.shape

    @property
    def fraction(self) -> float:
        """Part of the cell that is solvent where all groups are there."""
        return self.each.fraction

    @property
    def has_ways(self) -> bool:
        """Whether occupancies say in which part of the molecules solvent gets somewhere.

        They do not: each state has the mask of a molecule.
        """
        return False

    def all_there(self, grid: MaskGrid) -> FloatArray:
        """Return `base` on a grid that differs in how far solvent grows back alone."""
        return self.each.all_there(grid)

    def for_other_data(self) -> SolventOfStates:
        """Return the solvent of the same crystal for other reflections; grids are shared."""
        other = copy(self)
        other.each = self.each.for_other_data()
        return other

    def density(self, occupancy: FloatArray, beside: BoolArray | None = None) -> FloatArray:
        """Return how much solvent each point of the grid holds.

        Where there is solvent if these atoms alone are there, nothing else is, ``[n_atoms]``.
        """
        found = self.without + self._fraction(occupancy) * (self.with_ - self.without)
        return found if beside is None else np.maximum(found, self.each.mask_of(beside))

    def prepare_blend(self) -> None:
        """Do nothing: there is one probe."""

    def blended(self, occupancy: FloatArray) -> None:
        """Return None: what a narrower probe lets in is refined (`Holes`)."""

    def f_mask(self, occupancy: FloatArray, hkl: IntArray) -> ComplexArray:
        """Return F of the solvent for a density of 1, complex ``[n]``."""
        without, with_ = self.masks.holes.f_filled(hkl, self.each.cell.volume)
        made = self._transform(self.density(occupancy), hkl)
        return np.asarray(made + without + self._fraction(occupancy) * (with_ - without))

    def displaced(
        self, occupancy: FloatArray, chosen: IntArray, hkl: IntArray, s_squared_max: float
    ) -> Displaced:
        """Return M of chosen groups, all that follow among them.

        sum_g slope_g M_g = F_mask(0) - F_mask(1), the sum over those that follow the fraction.
        What that differs by from the sum for independent groups is shared among them alike.
        """
        found = self.each.displaced(occupancy, chosen, hkl, s_squared_max)
        columns, slope = found.columns.copy(), self.slope[chosen]
        follows = np.flatnonzero(slope)
        filled, also = self.masks.holes.f_filled(hkl[found.low], self.each.cell.volume)
        both = self._transform(self.without - self.with_, hkl[found.low]) + filled - also
        rest = both - slope[follows] @ columns[follows]
        columns[follows] += (rest / (slope[follows, None] * len(follows))).astype(np.complex64)
        return Displaced(found.low, columns)

    def holes(self, xyz: FloatArray, regions: IntArray) -> Holes:
        """Return the holes in doubt (`Holes.of`)."""
        return Holes.of(self.probes(), xyz, regions, self.each.grid)

    def _fraction(self, occupancy: FloatArray) -> float:
        along = self.slope @ (occupancy - self.offset)
        return float(along) / max(float(self.slope @ self.slope), 1e-300)

    def _transform(self, density: FloatArray, hkl: IntArray) -> ComplexArray:
        return density_structure_factors(density, self.each.cell, self.each.group, hkl)
