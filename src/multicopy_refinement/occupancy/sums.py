"""Sums that occupancies obey: equal to a total, at most a total, or a parent group's occupancy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class SumConstraints:
    """Sets of groups: sum = total, sum <= total, or sum = total + q_parent (nested states).

    A group is a member of one set at most; a parent may be a member of another set.

    Attributes
    ----------
    set_index
        Set of each group or -1, ``[n_groups]``, contiguous from 0.
    totals
        What the members of each set sum to, or to at most, beside the parent, ``[n_sets]``.
    complete
        True for an equality, False for an upper bound, ``[n_sets]``.
    parent
        Group whose occupancy is added to the total, or -1, ``[n_sets]``.
    """

    set_index: IntArray
    totals: FloatArray
    complete: BoolArray
    parent: IntArray

    @classmethod
    def complete_sets(cls, set_index: IntArray) -> SumConstraints:
        """Return sets that all sum to 1."""
        n_sets = int(set_index.max(initial=-1)) + 1
        return cls(set_index, np.ones(n_sets), np.ones(n_sets, dtype=bool), np.full(n_sets, -1))

    def __len__(self) -> int:
        return len(self.totals)

    @cached_property
    def members(self) -> tuple[IntArray, ...]:
        """Groups of each set, in ascending order."""
        inside = np.flatnonzero(self.set_index >= 0)
        order = inside[np.argsort(self.set_index[inside], kind="stable")]
        edges = np.searchsorted(self.set_index[order], np.arange(len(self) + 1))
        return tuple(order[edges[i] : edges[i + 1]] for i in range(len(self)))

    @cached_property
    def rows(self) -> FloatArray:
        """One row a set: 1 for members, -1 for the parent, ``[n_sets, n_groups]``."""
        rows = np.zeros((len(self), len(self.set_index)))
        member = np.flatnonzero(self.set_index >= 0)
        rows[self.set_index[member], member] = 1.0
        nested = np.flatnonzero(self.parent >= 0)
        rows[nested, self.parent[nested]] -= 1.0
        return rows

    @cached_property
    def equalities(self) -> tuple[FloatArray, FloatArray]:
        """A and b of A q = b."""
        return self.rows[self.complete], self.totals[self.complete]

    @cached_property
    def limits(self) -> tuple[FloatArray, FloatArray]:
        """A and b of A q <= b."""
        return self.rows[~self.complete], self.totals[~self.complete]

    @cached_property
    def level(self) -> IntArray:
        """How deep each set is nested, ``[n_sets]``: 0 without a parent."""

        def depth(number: int, seen: tuple[int, ...] = ()) -> int:
            if number in seen:
                raise ValueError(f"set {number} is nested in itself")
            parent = int(self.parent[number])
            if parent < 0:
                return 0
            above = int(self.set_index[parent])
            return 1 + (depth(above, (*seen, number)) if above >= 0 else 0)

        return np.array([depth(number) for number in range(len(self))], dtype=np.int64)

    @cached_property
    def outermost_first(self) -> IntArray:
        """Sets in an order in which a parent's own set comes before its members'."""
        return np.argsort(self.level, kind="stable")

    def wanted(self, number: int, occupancy: FloatArray) -> float:
        """Return what the members of a set sum to, or to at most."""
        parent = int(self.parent[number])
        return float(self.totals[number] + (occupancy[parent] if parent >= 0 else 0.0))

    def excess(self, occupancy: FloatArray) -> FloatArray:
        """Return by how much the sum of each set is off, 0 below an upper bound, ``[n_sets]``."""
        member = self.set_index >= 0
        total = np.bincount(self.set_index[member], occupancy[member], minlength=len(self))
        parent = np.where(self.parent >= 0, occupancy[np.maximum(self.parent, 0)], 0.0)
        off = total - self.totals - (parent if len(occupancy) else 0.0)
        return np.where(self.complete, off, np.maximum(off, 0.0))

    def restored(
        self, occupancy: FloatArray, held: BoolArray | None = None, *, tolerance: float = 0.0
    ) -> FloatArray:
        """Return occupancies that obey the sums to rounding, ratios of members kept.

        Groups that are ``held`` keep theirs.
        Sets that are off by no more than ``tolerance`` stay as they are.
        """
        exact = occupancy.copy()
        for number in self._off_by_level(exact, tolerance):
            members = self.members[number]
            if len(members) == 0:
                continue
            wanted = max(self.wanted(number, exact), 0.0)
            off = float(exact[members].sum()) - wanted
            if abs(off) <= tolerance or (off < 0 and not self.complete[number]):
                continue
            if held is not None:
                wanted = max(wanted - float(exact[members[held[members]]].sum()), 0.0)
                members = members[~held[members]]
                if len(members) == 0:
                    continue
            total = exact[members].sum()
            exact[members] = (
                exact[members] * (wanted / total) if total > 0 else (wanted / len(members))
            )
        return exact

    def _off_by_level(self, occupancy: FloatArray, tolerance: float) -> Iterator[int]:
        """Yield sets that may be off, the outermost first, as the occupancies become right."""
        of_group = np.where(self.set_index < 0, len(self), self.set_index)
        parent = np.maximum(self.parent, 0)
        for level in range(int(self.level.max(initial=-1)) + 1 if len(occupancy) else 0):
            total = np.bincount(of_group, occupancy, minlength=len(self) + 1)[:-1]
            above = np.where(self.parent >= 0, occupancy[parent], 0.0)
            off = total - np.maximum(self.totals + above, 0.0)
            some = (np.abs(off) >= 0.5 * tolerance) & (self.complete | (off > -1e-9))
            yield from np.flatnonzero(some & (self.level == level)).tolist()

    def restricted(self, kept: IntArray, occupancy: FloatArray) -> SumConstraints:
        """Return the sums of some groups when all others are held at their ``occupancy``."""
        place = np.full(len(self.set_index), -1)
        place[kept] = np.arange(len(kept))
        totals, parent = self.totals.copy(), self.parent.copy()
        for number, members in enumerate(self.members):
            totals[number] -= occupancy[members[place[members] < 0]].sum()
        gone = (parent >= 0) & (place[np.maximum(parent, 0)] < 0 if len(place) else False)
        totals[gone] += occupancy[parent[gone]]
        parent = np.where((parent >= 0) & ~gone, place[np.maximum(parent, 0)], -1)
        index = self.set_index[kept]
        alive = np.isin(np.arange(len(self)), index) | (parent >= 0)
        place_of_set = np.append(np.cumsum(alive) - 1, -1)  # at -1 stands what is in no set
        return SumConstraints(
            place_of_set[index], totals[alive], self.complete[alive],
            parent[alive],
        )  # fmt: skip

    def holding(self, group: int, occupancy: float) -> SumConstraints:
        """Return the sums of the other groups when one is held at an occupancy."""
        values = np.zeros(len(self.set_index))
        values[group] = occupancy
        return self.restricted(np.delete(np.arange(len(values)), group), values)

    def renumbered(self, order: IntArray) -> SumConstraints:
        """Return the sums of groups in another order: group i of it is group ``order[i]`` here.

        Sets are numbered from 0 in the order of their first members.
        """
        place = np.full(len(self.set_index), -1)
        place[order] = np.arange(len(order))
        index = self.set_index[order]
        inside = index >= 0
        _, first = np.unique(index[inside], return_index=True)
        old = index[inside][np.sort(first)]
        new = np.full(len(self) + 1, -1)
        new[old] = np.arange(len(old))
        parent = self.parent[old]
        return SumConstraints(
            new[index], self.totals[old], self.complete[old],
            np.where(parent >= 0, place[np.maximum(parent, 0)], -1),
        )  # fmt: skip

    def with_held_parents(self, refined: BoolArray, occupancy: FloatArray) -> SumConstraints:
        """Return the same sets, with the occupancies of parents that are held in the totals."""
        held = (
            (self.parent >= 0) & ~refined[np.maximum(self.parent, 0)]
            if len(self)
            else (np.zeros(0, dtype=bool))
        )
        if not held.any():
            return self
        totals = self.totals.copy()
        totals[held] += occupancy[self.parent[held]]
        return replace(self, totals=totals, parent=np.where(held, -1, self.parent))
