"""Whether solvent gets to where groups leave room for it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, Int32Array, IntArray
from multicopy_refinement.places import in_runs
from multicopy_refinement.scaling.kernels.pockets import WAY_OUT, cells_of
from multicopy_refinement.scaling.kernels.ways_out import (
    UNKNOWN,
    chances,
    chances_where_away,
    chances_where_there,
)

#: In the place of a family where several meet, and where none is; larger than any, and less.
SEVERAL, NONE = 2**30, -1
#: What is so in fewer molecules than this is judged in the most frequent one.
RARE = 0.05
_NOTHING = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Reached:
    """Points to which solvent gets, and in which part of the molecules that have a state.

    Attributes
    ----------
    points, chance
        The points, and the part of each, ``[n]``.
    """

    points: IntArray
    chance: FloatArray


class Pockets:
    """Points that groups alone keep the probe from, in molecules of different states.

    Such a point holds solvent where what covers it is away and a way leads out, or to as much room
    as is no island. Whether one does depends on other groups: it is so in a part of the molecules,
    in which groups are there or not independently but for those of a set. Points that the same
    groups cover, and that hang together, share their fate: they are a cell, and ways lead from cell
    to cell.

    Parameters
    ----------
    shape
        Points along the axes of the grid.
    status
        int32 of each point of it, flat: a number for each of ``points``,
        `kernels.pockets.WAY_OUT` where there is a way out in any case, or -1 where none is.
    points
        Those points.
    covered
        Which of them each group covers, as places among them, in ascending order.
    family, whole, parent, frequent, occupancy
        As in `PartialGroups`.
    most
        Fewer points than this that hang together with nothing else are an island.
    rare
        What is so in a smaller part of the molecules is judged in the most frequent one.
    """

    def __init__(
        self, shape: IntArray, status: Int32Array, points: IntArray, covered: Sequence[IntArray],
        family: IntArray, whole: BoolArray, parent: IntArray, frequent: BoolArray,
        occupancy: FloatArray, most: int, rare: float = RARE,
    ) -> None:  # fmt: skip
        n = len(points)
        of = np.repeat(np.arange(len(covered)), [len(c) for c in covered])
        point = np.concatenate([np.zeros(0, dtype=np.int64), *covered])
        # the groups that cover a point as one number: another set has the same one in 2^64
        number = np.random.default_rng(1).integers(1, 2**63, len(covered), dtype=np.uint64)
        sums = np.zeros(n, dtype=np.uint64)
        for g, own in enumerate(covered):
            sums[own] += number[g]
        shape = np.asarray(shape)
        self._points, begin, touched, first_touched = cells_of(shape, status, points, sums)
        self._begin = begin
        size = np.diff(begin)
        one = self._points[begin[:-1]]  # of each cell
        place = np.full(n, -1)
        place[one] = np.arange(len(one))
        some = place[point] >= 0
        cell, of = place[point[some]], of[some]
        order = np.argsort(cell, kind="stable")
        self._groups = of[order]
        self._first = np.searchsorted(cell[order], np.arange(len(one) + 1))
        self._alone = np.diff(self._first) == 0
        self._number = sums[one]
        self._own_cells = cell, np.searchsorted(of, np.arange(len(covered) + 1))
        self._of_group, self._parent = family, parent
        self._touched = touched, first_touched
        self._members = by_number(family, int(max(family, default=-1)))
        self._family = self._family_of_cells(family)
        self._rare = max(rare, 1e-12)
        self._known = np.zeros(len(one), dtype=bool)
        self._of_cell = touched, first_touched, size, self._first, self._groups, parent
        self._most = most
        self._note(whole, frequent, occupancy)
        # a way out with all groups there is one in every molecule
        everyone, free = np.arange(len(covered)), np.flatnonzero(self._alone)
        self._known[free] = self._chances(free, everyone, _NOTHING) == 1

    def of_molecules(self, whole: BoolArray, frequent: BoolArray, occupancy: FloatArray) -> Pockets:
        """Return the pockets of the same groups in molecules that are distributed otherwise."""
        other = copy(self)
        other._note(whole, frequent, occupancy)
        return other

    def _note(self, whole: BoolArray, frequent: BoolArray, occupancy: FloatArray) -> None:
        """Note how molecules are distributed, and make room for what is found about them."""
        n, n_groups = len(self._family), len(occupancy)
        self._whole = whole
        self._tag = np.zeros(1, dtype=np.int64)
        members, first_member = self._members
        self._sets = whole, occupancy, first_member, members, np.ones(n_groups)
        self._states = np.full(n_groups, UNKNOWN, dtype=np.int8), np.zeros(n_groups, dtype=bool)
        self._room = tuple(np.zeros(n, dtype=np.int64) for _ in range(4))
        self._memory = *(np.zeros(n, dtype=np.int64) for _ in range(2)), np.zeros(n)
        self._graph = (*self._of_cell, frequent, self._known, self._most)

    def _family_of_cells(self, family: IntArray) -> IntArray:
        """Return the family that alone covers each cell, or touches it where nothing covers it."""
        count = np.diff(self._first)
        of_cells = np.full(len(count), NONE, dtype=np.int64)
        of_pairs = family[self._groups]
        cell = np.repeat(np.arange(len(count)), count)
        _one_or_several(of_cells, cell, of_pairs)
        touched, first = self._touched
        beside = np.repeat(np.arange(len(count)), np.diff(first))
        some = self._alone[beside] & (touched != WAY_OUT)
        _one_or_several(of_cells, beside[some], of_cells[touched[some]])  # which groups cover
        return of_cells

    @property
    def family(self) -> IntArray:
        """The one that alone covers each point, or touches it where nothing covers it; `SEVERAL`.

        `NONE` where there is none.
        """
        return self._of_points(self._family)

    def _of_points(self, of_cells: np.ndarray) -> np.ndarray:
        """Return for each point what its cell has."""
        found = np.empty(len(self._points), dtype=of_cells.dtype)
        found[self._points] = np.repeat(of_cells, np.diff(self._begin))
        return found

    def _where_away(self) -> FloatArray:
        """Return how often solvent gets to each cell in molecules in which nothing covers it.

        Those of a family that may be away as a whole are not asked: `opened` does.
        """
        asked = np.ones(len(self._family), dtype=bool)
        one = np.flatnonzero((self._family >= 0) & (self._family != SEVERAL))
        members, first = self._members
        asked[one] = self._whole[members[first[self._family[one]]]]
        some = np.flatnonzero(asked)
        order = some[np.argsort(self._number[some], kind="stable")]
        begin = np.flatnonzero(np.diff(self._number[order], prepend=~self._number[order[:1]]))
        found = chances_where_away(order, np.append(begin, len(order)), self._rare, *self._asked)
        return np.asarray(found)

    def opened(self) -> tuple[list[Reached], list[Reached | None], FloatArray]:
        """Return to which points of its family solvent gets where each group is there, how often.

        And to which it gets where all groups of a family are away, for each family; None where that
        is to all of them. And how often it gets to each point where what covers it is away.
        """
        chance = self._where_away()
        members, first_member = self._members
        last = len(first_member) - 2
        order, begin = by_number(np.where(self._family <= last, self._family, NONE), last)
        cells, there, first = chances_where_there(
            chance, order, begin, *self._own_cells, self._rare, *self._asked
        )
        away: list[Reached | None] = [None] * (last + 1)
        for number in range(last + 1):
            own = order[begin[number] : begin[number + 1]]
            if not self._whole[members[first_member[number]]] and (chance[own] < 1).any():
                (away[number],) = self._of_cells(own, chance[own], np.array([0, len(own)]))
        return self._of_cells(cells, there, first), away, self._of_points(chance)

    @property
    def _asked(self) -> tuple[Any, ...]:
        return (
            self._tag, self._graph, self._of_group, self._sets, *self._states, self._room,
            self._memory,
        )  # fmt: skip

    def _chances(self, cells: IntArray, there: IntArray, away: IntArray) -> FloatArray:
        """Return how often solvent gets to cells in molecules with and without some groups."""
        if len(cells) == 0:
            return np.zeros(0)
        return np.asarray(chances(cells, there, away, self._rare, *self._asked))

    def _of_cells(self, cells: IntArray, chance: FloatArray, first: IntArray) -> list[Reached]:
        """Return the points of cells to which solvent may get; ``first`` is where lists begin."""
        size = np.where(chance > 0, np.diff(self._begin)[cells], 0)
        points = np.asarray(self._points[in_runs(self._begin[cells], size)])
        edges = np.concatenate([[0], np.cumsum(size)])[first].tolist()
        often = np.repeat(chance, size)
        return [Reached(points[a:b], often[a:b]) for a, b in pairwise(edges)]


def by_number(numbers: IntArray, last: int) -> tuple[IntArray, IntArray]:
    """Return places in the order of their numbers, and where each of 0 to ``last`` begins."""
    order = np.argsort(numbers, kind="stable")
    return order, np.searchsorted(numbers[order], np.arange(last + 2))


def _one_or_several(numbers: IntArray, place: IntArray, found: IntArray) -> None:
    """Put what is found at places there, `SEVERAL` where it is not one and the same, in place."""
    numbers[place] = found
    numbers[place[numbers[place] != found]] = SEVERAL
