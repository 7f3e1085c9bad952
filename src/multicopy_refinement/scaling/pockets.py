"""Whether solvent gets to where groups leave room for it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, Int32Array, IntArray
from multicopy_refinement.places import in_runs
from multicopy_refinement.scaling.kernels.pockets import (
    WAY_OUT,
    cells_of,
    gets_there,
    may_get_there,
)

#: In the place of a family where several meet, and where none is; larger than any, and less.
SEVERAL, NONE = 2**30, -1


class Pockets:
    """Points that groups alone keep the probe from, in molecules of different states.

    Such a point holds solvent where what covers it is away and a way leads out, or to as much room
    as is no island. That is judged in the molecule that is most frequent, but for the groups in
    question. Points that the same groups cover, and that hang together, share their fate: they
    are a cell, and ways lead from cell to cell.

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
    """

    def __init__(
        self, shape: IntArray, status: Int32Array, points: IntArray, covered: Sequence[IntArray],
        family: IntArray, whole: BoolArray, parent: IntArray, frequent: BoolArray,
        occupancy: FloatArray, most: int,
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
        self._cells = np.split(cell, np.searchsorted(of, np.arange(1, len(covered))))
        self._of_group, self._whole = family, whole
        self._frequent, self._occupancy = frequent, occupancy
        self._where = (touched, first_touched, size, self._first, self._groups)
        self._parent, self._most, self._tag = parent, most, 0
        self._members = by_number(family, int(max(family, default=-1)))
        self._family = self._family_of_cells(family)
        # a way out of the most frequent molecule is one of those that differ from it by little
        self._known = np.zeros(len(one), dtype=bool)
        there = frequent & ((parent < 0) | frequent[parent])
        uncovered = np.ones(len(one), dtype=bool)
        uncovered[cell[there[of]]] = False
        free = np.flatnonzero(uncovered)
        found = self._reached(free, frequent)
        self._known[free] = found

    def _family_of_cells(self, family: IntArray) -> IntArray:
        """Return the family that alone covers each cell, or touches it where nothing covers it."""
        count = np.diff(self._first)
        of_cells = np.full(len(count), NONE, dtype=np.int64)
        of_pairs = family[self._groups]
        cell = np.repeat(np.arange(len(count)), count)
        _one_or_several(of_cells, cell, of_pairs)
        touched, first, *_ = self._where
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

    def _in_cells(self, cells: IntArray) -> IntArray:
        """Return the points of some cells."""
        return np.asarray(self._points[in_runs(self._begin[cells], np.diff(self._begin)[cells])])

    def _may_hold_solvent(self) -> BoolArray:
        """Return which cells may hold solvent: it gets there where what covers them is away."""
        some = np.flatnonzero(~self._alone)
        order = some[np.argsort(self._number[some], kind="stable")]
        begin = np.flatnonzero(np.diff(self._number[order], prepend=np.uint64(0)))
        members, first_member = self._members
        may: BoolArray = may_get_there(
            order, np.append(begin, len(order)), *self._where, self._frequent, self._parent,
            self._most, self._known, self._of_group, self._whole, self._occupancy, first_member,
            members,
        )  # fmt: skip
        may[self._alone] = self._known[self._alone]
        return may

    def opened(self) -> tuple[list[IntArray], BoolArray]:
        """Return to which points of its family solvent gets where each group is there.

        And which points may hold solvent: it gets there where what covers them is away, or what
        lies around them where nothing covers them.
        """
        may, there = self._may_hold_solvent(), self._frequent.copy()
        members, first_member = self._members
        last, alone = len(first_member) - 2, self._alone
        asked = (may | alone) & (self._family <= last)
        order, begin = by_number(np.where(asked, self._family, NONE), last)
        covers, found = np.zeros(len(may), dtype=bool), []
        may &= ~alone | (self._family > last)
        for g, number in enumerate(self._of_group.tolist()):
            own = order[begin[number] : begin[number + 1]]
            mates = members[first_member[number] : first_member[number + 1]]
            if g == mates[0]:  # with all of them away
                there[mates] = False
                single = own[alone[own]]
                away = self._reached(single, there) | self._whole[g]
                may[single[away]] = True
            covers[self._cells[g]] = True
            free = own[~covers[own]]
            covers[self._cells[g]] = False
            there[mates], there[g] = False, True
            found.append(self._in_cells(free[self._reached(free, there)]))
            there[mates] = self._frequent[mates]
        return found, self._of_points(may)

    def _reached(self, cells: IntArray, there: BoolArray) -> BoolArray:
        """Return to which cells solvent gets in one state of the molecule."""
        if len(cells) == 0:
            return np.zeros(0, dtype=bool)
        self._tag += 1
        found = gets_there(
            cells, self._tag, *self._where, there, self._parent, self._most, self._known,
            *self._memory,
        )  # fmt: skip
        return np.asarray(found)

    @cached_property
    def _memory(self) -> tuple[IntArray, BoolArray, IntArray]:
        n = len(self._begin) - 1
        return np.zeros(n, np.int64), np.zeros(n, bool), np.empty(n, np.int64)


def by_number(numbers: IntArray, last: int) -> tuple[IntArray, IntArray]:
    """Return places in the order of their numbers, and where each of 0 to ``last`` begins."""
    order = np.argsort(numbers, kind="stable")
    return order, np.searchsorted(numbers[order], np.arange(last + 2))


def _one_or_several(numbers: IntArray, place: IntArray, found: IntArray) -> None:
    """Put what is found at places there, `SEVERAL` where it is not one and the same, in place."""
    numbers[place] = found
    numbers[place[numbers[place] != found]] = SEVERAL
