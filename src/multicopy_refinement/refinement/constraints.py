"""Sums that occupancies obey: equal to a total, at most a total, or equal to a parent group's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class SumConstraints:
    """Sets of groups: sum = total, sum <= total, or sum = q_parent (nested states).

    A group is a member of one set at most; a parent may be a member of another set.

    Attributes
    ----------
    set_index
        Set of each group or -1, ``[n_groups]``, contiguous from 0.
    totals
        What the members of each set sum to, or to at most, ``[n_sets]``; not used with a parent.
    complete
        True for an equality, False for an upper bound, ``[n_sets]``.
    parent
        Group whose occupancy takes the place of the total, or -1, ``[n_sets]``.
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

    @cached_property
    def rows(self) -> FloatArray:
        """One row a set: 1 for members, -1 for the parent, ``[n_sets, n_groups]``."""
        rows = np.zeros((len(self.totals), len(self.set_index)))
        member = np.flatnonzero(self.set_index >= 0)
        rows[self.set_index[member], member] = 1.0
        nested = np.flatnonzero(self.parent >= 0)
        rows[nested, self.parent[nested]] = -1.0
        return rows

    @property
    def _right(self) -> FloatArray:
        return np.where(self.parent >= 0, 0.0, self.totals)

    @cached_property
    def equalities(self) -> tuple[FloatArray, FloatArray]:
        """A and b of A q = b."""
        return self.rows[self.complete], self._right[self.complete]

    @cached_property
    def limits(self) -> tuple[FloatArray, FloatArray]:
        """A and b of A q <= b."""
        return self.rows[~self.complete], self._right[~self.complete]

    @cached_property
    def _outermost_first(self) -> list[int]:
        """Sets in an order in which a parent's own set comes before its members'."""

        def depth(number: int) -> int:
            parent = int(self.parent[number])
            above = int(self.set_index[parent]) if parent >= 0 else -1
            return 0 if parent < 0 else 1 + (depth(above) if above >= 0 else 0)

        return sorted(range(len(self.totals)), key=depth)

    def restored(self, occupancy: FloatArray) -> FloatArray:
        """Return occupancies that obey the sums to rounding, ratios of members kept."""
        exact = occupancy.copy()
        for number in self._outermost_first:
            members = np.flatnonzero(self.set_index == number)
            parent = int(self.parent[number])
            wanted = exact[parent] if parent >= 0 else self.totals[number]
            total = exact[members].sum()
            if total > wanted or (self.complete[number] and total > 0):
                exact[members] *= wanted / total
            elif self.complete[number]:
                exact[members] = wanted / len(members)
        return exact

    def holding(self, group: int, occupancy: float) -> SumConstraints:
        """Return the sums of the other groups when one is held at an occupancy."""
        others = np.delete(np.arange(len(self.set_index)), group)
        totals, parent = self.totals.copy(), self.parent.copy()
        totals[parent == group] = occupancy
        parent[parent == group] = -1
        own = int(self.set_index[group])
        if own >= 0 and parent[own] < 0:
            totals[own] -= occupancy
        elif own >= 0:
            raise ValueError("a member of a nested set cannot be held: hold its parent")
        left = self.set_index[others]
        kept = np.isin(np.arange(len(totals)), left)
        number = np.cumsum(kept) - 1
        parent = np.where(parent > group, parent - 1, parent)
        return SumConstraints(
            np.where(left >= 0, number[left], -1), totals[kept], self.complete[kept], parent[kept]
        )
