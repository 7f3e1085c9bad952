"""Bulk solvent to which one probe gets, as a function of the occupancies of groups."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray, UInt8Array
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.places import in_runs
from multicopy_refinement.scaling.edge import Edge, Held, Independent
from multicopy_refinement.scaling.kernels.pockets import WAY_OUT
from multicopy_refinement.scaling.mask import MaskGrid
from multicopy_refinement.scaling.pockets import SEVERAL, Pockets
from multicopy_refinement.scaling.points import sorted_unique
from multicopy_refinement.scaling.room import Room
from multicopy_refinement.scaling.solvent import PartialGroups

#: Solvent that gets to a point in fewer of the molecules than this does not.
_SELDOM = 1e-3


class ProbedSolvent:
    """The solvent to which one probe gets as a function of the occupancies of groups.

    As in the mask that all atoms make (Jiang & Brunger 1994, J. Mol. Biol. 243, 100) spheres are
    taken larger by a probe, and solvent then grows back from where the probe fits. A point that
    only members of one set can keep from it holds solvent to 1 - sum q_g over the members that do
    so alone, since they exclude each other: the mean of the masks of the set's states. Where groups
    that know nothing of each other meet, they cover a point where the probe would fit with
    1 - prod(1 - c_s), as if they were there or not independently, and solvent grows back from the
    least coverage within reach. With all groups at 1 this is the mask of all atoms, with a group at
    0 that without it; in between it is continuous, and linear but for what several groups share.
    Solvent that has no way out is none; where that depends on other groups, it is there in a part
    of the molecules (`Pockets`), taken as it is at the occupancies that the solvent is made for.
    What a group displaces is what it covers, not what is behind it: whether a way is there hangs on
    0.1 A, and occupancies would be moved to open one where the data want solvent.

    Parameters
    ----------
    table, xyz
        All atoms; those of ``held`` 0 displace nothing.
    held
        Whether an atom is there, for atoms outside of the groups, ``[n_atoms]``.
    groups
        Groups whose occupancy is or may become partial.
    grid
        Of the crystal, with the radius of the probe.
    """

    def __init__(
        self, table: AtomTable, xyz: FloatArray, held: BoolArray, groups: PartialGroups,
        grid: MaskGrid,
    ) -> None:  # fmt: skip
        self.grid, self.groups = grid, groups
        self._of = table, xyz.copy(), held  # that of a model of doubles moves with it
        partial = np.zeros(len(table), dtype=bool)
        for members in groups.members:
            partial[members] = True
        self._room = room = Room(grid, table, xyz)
        room.take(held & ~partial)
        may_be = room.open() != 0
        room.take(partial | held)
        self._open = room.open()
        self._cover(~table.hydrogen, np.flatnonzero(may_be & (self._open == 0)))
        self._judge()
        self._has_grown = False

    def _cover(self, heavy: BoolArray, points: IntArray) -> None:
        """Note which points each group covers, where nothing else keeps solvent out.

        ``points`` are those to which solvent gets where all groups are away, but not where all are
        there.
        """
        room, groups = self._room, self.groups
        status = np.where(self._open, np.int32(WAY_OUT), np.int32(-1))
        status[points] = np.arange(len(points))
        spheres = [members[heavy[members]] for members in groups.members]
        covered = [
            status[own].astype(np.int64)
            for own in room.points.cover_each(np.minimum(status, 0), spheres)
        ]
        for g, parent in enumerate(groups.parent.tolist()):
            if parent >= 0:  # it is there only with its parent, which covers the point already
                covered[g] = np.setdiff1d(covered[g], covered[parent], assume_unique=True)
        self._pockets = Pockets(
            room.points.shape, status, points, covered, groups.family, groups.whole, groups.parent,
            groups.frequent, groups.occupancy, room.island,
        )  # fmt: skip
        self._covers = points, covered

    def _judge(self) -> None:
        """Note which points may hold solvent, and who decides it."""
        groups = self.groups
        points, covered = self._covers
        opened, away, chance = self._pockets.opened()
        self._opened = [replace(one, points=points[one.points]) for one in opened]
        self._away = [
            None if one is None else replace(one, points=points[one.points]) for one in away
        ]
        may = chance > _SELDOM
        self.union, self._chance = points[may], chance[may]
        n = len(self.union)
        place = np.full(len(points), -1)
        place[may] = np.arange(n)
        self._place = np.full(len(self._open), -1, dtype=np.int32)
        self._place[self.union] = np.arange(n)
        self._family = self._pockets.family[may]
        by_group = [place[one][place[one] >= 0] for one in covered]
        self.pair_group = np.repeat(np.arange(len(covered)), [len(c) for c in by_group])
        self.pair_point = np.concatenate([np.zeros(0, dtype=np.int64), *by_group])
        self._covered = np.bincount(self.pair_point, minlength=n) > 0
        key = groups.family[self.pair_group] * max(n, 1) + self.pair_point
        self._factors = sorted_unique(key)
        self._pair_factor = np.searchsorted(self._factors, key)
        self._factor_point = self._factors % max(n, 1)

    def grown(self) -> ProbedSolvent:
        """Return it when solvent has grown back from where the probe fits, as all else needs.

        Apart, since the radius may be another one before anything else is asked for.
        """
        if not self._has_grown:
            self._grow()
            self._has_grown = True
        return self

    def _grow(self) -> None:
        """Let solvent grow back from where the probe fits, and note who decides how far."""
        self._last: tuple[FloatArray, _Coverage] | None = None
        self._all_there = self._room.solvent(self._open)
        self.base = self.grid.coarse(self._all_there)
        edge = Edge(self._all_there, self._place, self._room.points, self._room.steps)
        # what no group covers and no family shuts alone holds solvent, as does what it reaches
        apart = edge.reached(self.union[(self._family == SEVERAL) & ~self._covered])
        between = edge.of(~apart)
        family, first = between.families(self._family)
        any_ = np.diff(first) > 0
        self._independent = Independent(
            between.of(any_), family, np.append(first[:-1][any_], first[-1]), self._opened,
            self._away, self.groups.family,
        )  # fmt: skip
        apart[~apart] = ~any_
        self._edge = edge.of(apart)
        # Which point of the union decides each other one: the one with most solvent, judged with
        # all groups half there, so that it is the same for all occupancies: what it decides is
        # smooth in them, where the least of several has a kink where two are equal.
        half = np.full(len(self.groups), 0.5)
        self._nearest = self._edge.nearest(self._left_of(half)[0])

    def changed(self, groups: PartialGroups, grid: MaskGrid) -> ProbedSolvent:
        """Return the solvent with another most frequent molecule of the same groups.

        And on a grid that may differ in how far solvent grows back. What covers what is taken over.
        """
        other = copy(self)
        other.groups, other.grid, other._room = groups, grid, self._room.on(grid)
        if groups is not self.groups:
            other._pockets = self._pockets.of_molecules(
                groups.whole, groups.frequent, groups.occupancy
            )
            other._judge()
        other._has_grown = False
        return other

    def is_of(self, xyz: FloatArray, held: BoolArray, groups: PartialGroups) -> bool:
        """Return whether it is that of these places, atoms and groups, whatever molecule."""
        _, own_xyz, own_held = self._of
        return (
            np.array_equal(own_xyz, xyz)
            and np.array_equal(own_held, held)
            and self.groups.alike(groups)
        )

    def all_there(self, grid: MaskGrid) -> FloatArray:
        """Return `base` of another radius, ``[nu, nv, nw]``."""
        return grid.coarse(self._room.on(grid).solvent(self._open))

    # ------------------------------------------------------------------ solvent

    @property
    def has_ways(self) -> bool:
        """Whether occupancies say in which part of the molecules solvent gets somewhere."""
        reached = [one.chance for one in (*self._opened, *self._away) if one is not None]
        return any((chance < 1).any() for chance in (self._chance, *reached))

    def density(self, occupancy: FloatArray, beside: BoolArray | None = None) -> FloatArray:
        """Return how much solvent each point of the grid holds.

        Where there is solvent if these atoms alone are there, nothing else is, ``[n_atoms]``.
        """
        coverage = self._coverage(occupancy)
        points = np.append(self._independent.points, self._edge.points)
        left = np.append(coverage.held.left, coverage.left)
        if beside is None:
            solvent = self.base.copy()
        else:
            also = self._beside(beside)
            solvent, left = self.grid.coarse(self._all_there | also), left * (also[points] == 0)
        self.grid.add(solvent, points, left)
        return solvent

    def mask_of(self, atoms: BoolArray) -> FloatArray:
        """Return how much solvent there is at each point when these atoms alone are there."""
        return self.grid.coarse(self._beside(atoms))

    def _beside(self, atoms: BoolArray) -> UInt8Array:
        table, xyz, _ = self._of
        return Room(self.grid, table, xyz).solvent_beside(atoms)

    def region(self, group: int, occupancy: FloatArray) -> tuple[IntArray, FloatArray]:
        """Return the points that a group keeps free of solvent, and by how much for q = 1."""
        points, values, first = self._coverage(occupancy).regions
        own = slice(first[group], first[group + 1])
        return points[own], values[own]

    def _coverage(self, occupancy: FloatArray) -> _Coverage:
        if self._last is None or not np.array_equal(self._last[0], occupancy):
            self._last = occupancy.copy(), self._covered_at(occupancy)
        return self._last[1]

    def _covered_at(self, occupancy: FloatArray) -> _Coverage:
        left, product, zeros, factor = self._left_of(occupancy)
        own = factor[self._pair_factor]
        of = self.pair_point
        # d(left)/d(q_g): the product of all factors but the group's own
        others = np.where(zeros[of] == 0, product[of] / np.maximum(own, 1e-300), 0.0)
        others = np.where((zeros[of] == 1) & (own <= 0), product[of], others)
        n_own = np.bincount(self.pair_group, minlength=len(self.groups))
        return _Coverage(
            self._independent, self._independent.at(occupancy), left[self._nearest],
            self._edge.points, self._nearest, n_own, of, others, len(self.union),
        )  # fmt: skip

    def _left_of(
        self, occupancy: FloatArray
    ) -> tuple[FloatArray, FloatArray, IntArray, FloatArray]:
        """Return what is left to solvent at each point of the union, and how it came about."""
        total = np.bincount(
            self._pair_factor, occupancy[self.pair_group], minlength=len(self._factors)
        )
        factor = np.maximum(1 - total, 0.0)
        factor[factor < 1e-9] = 0.0
        n = len(self.union)
        zeros = np.bincount(self._factor_point[factor == 0], minlength=n)
        logs = np.where(factor > 0, np.log(np.maximum(factor, 1e-300)), 0.0)
        product = np.exp(np.bincount(self._factor_point, logs, minlength=n))
        product *= self._chance
        left = np.where(zeros == 0, product, 0.0)
        return left, product, zeros, factor


@dataclass(frozen=True, eq=False)
class _Coverage:
    """Solvent that partial groups leave at some occupancies.

    Attributes
    ----------
    independent, held
        Points that families decide independently, and what these hold.
    left
        Part of solvent at each other point of the edge, ``[n_points]``.
    points, nearest
        Those points, and the point of the union that decides each.
    n_own, deciding, others
        How many points of the union each group covers, these, group by group, and what is left of
        each but for the group.
    n_union
        Number of points of the union.
    """

    independent: Independent
    held: Held
    left: FloatArray
    points: IntArray
    nearest: IntArray
    n_own: IntArray
    deciding: IntArray
    others: FloatArray
    n_union: int

    @cached_property
    def regions(self) -> tuple[IntArray, FloatArray, IntArray]:
        """Points that groups keep free of solvent, by how much for q = 1, where each begins.

        Those that families decide independently first, then the others.
        """
        order = np.argsort(self.nearest, kind="stable")
        start = np.searchsorted(self.nearest[order], np.arange(self.n_union + 1))
        count = start[self.deciding + 1] - start[self.deciding]
        ends = np.concatenate([[0], np.cumsum(count)])
        edges = np.concatenate([[0], np.cumsum(self.n_own)])
        n_follow = np.diff(ends[edges])
        alone, values, n_alone = self.independent.regions(self.held)
        first = np.concatenate([[0], np.cumsum(n_alone + n_follow)])
        found, by = np.empty(first[-1], dtype=np.int64), np.empty(first[-1])
        place = in_runs(first[:-1], n_alone)
        found[place], by[place] = alone, values
        place = in_runs(first[:-1] + n_alone, n_follow)
        found[place] = self.points[order[in_runs(start[self.deciding], count)]]
        by[place] = np.repeat(self.others, count)
        return found, by, first
