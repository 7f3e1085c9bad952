"""Groups and sets while rules change them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.atoms.numbering import number_in_order
from multicopy_refinement.occupancy.groups import OccupancyGroups, Restraint, Why
from multicopy_refinement.occupancy.sums import SumConstraints


@dataclass
class DraftSet:
    """A set that may still change; members and parent are numbers of draft groups."""

    members: list[int]
    total: float = 1.0
    complete: bool = True
    parent: int | None = None
    label: str | None = None
    detail: str | None = None


@dataclass
class DraftGroup:
    """A group that may still change."""

    occupancy: float
    refined: bool
    rule: Why
    set_number: int | None = None
    label: str | None = None
    detail: str | None = None


@dataclass
class DraftRestraint:
    """A restraint on draft groups."""

    groups: list[int]
    weights: list[float]
    target: float
    sigma: float
    name: str


@dataclass
class Draft:
    """Groups by number; numbers stay when others come and go.

    Attributes
    ----------
    start
        The groups that the draft began with.
    index
        Group of each atom, ``[n_atoms]``; `settled` follows joined groups.
    groups, sets
        By number.
    joined
        Which group each group has become part of: itself where it is its own.
    """

    start: OccupancyGroups
    index: IntArray
    groups: list[DraftGroup]
    sets: list[DraftSet]
    joined: list[int]
    restraints: list[DraftRestraint] = field(default_factory=list)

    @classmethod
    def of(cls, groups: OccupancyGroups) -> Draft:
        """Return the draft of finished groups."""
        numbers = groups.set_index.tolist()
        drafts = [
            DraftGroup(
                occupancy, refined, Why(rule), number if number >= 0 else None,
                groups.labels.get(g), groups.details.get(g),
            )
            for g, (occupancy, refined, rule, number) in enumerate(
                zip(
                    groups.occupancy.tolist(), groups.refined.tolist(), groups.rule.tolist(),
                    numbers, strict=True,
                )
            )
        ]  # fmt: skip
        sums = groups.sums
        sets = [
            DraftSet(
                members.tolist(), float(sums.totals[i]), bool(sums.complete[i]),
                int(sums.parent[i]) if sums.parent[i] >= 0 else None,
                groups.set_labels.get(i), groups.set_details.get(i),
            )
            for i, members in enumerate(sums.members)
        ]  # fmt: skip
        restraints = [
            DraftRestraint(list(r.groups), list(r.weights), r.target, r.sigma, r.name)
            for r in groups.restraints
        ]
        joined = list(range(len(drafts)))
        return cls(groups, groups.index.copy(), drafts, sets, joined, restraints)

    # ------------------------------------------------------------------ looking

    def settled(self) -> IntArray:
        """Return the group of each atom, joined groups followed, ``[n_atoms]``."""
        return np.asarray(np.array([self.find(g) for g in range(len(self.groups))])[self.index])

    def find(self, group: int) -> int:
        """Return what a group has become part of."""
        while self.joined[group] != group:
            self.joined[group] = self.joined[self.joined[group]]
            group = self.joined[group]
        return group

    def touched(self, atoms: BoolArray) -> list[int]:
        """Return the groups of atoms, in the order of the file."""
        return list(dict.fromkeys(self.settled()[atoms].tolist()))

    def atoms(self, group: int) -> IntArray:
        """Return the atoms of a group."""
        return np.flatnonzero(self.settled() == self.find(group))

    # ------------------------------------------------------------------ changing

    def join(self, groups: Sequence[int], rule: Why, detail: str | None = None) -> int:
        """Make several groups one, at their mean by heavy atoms; sets are the caller's business."""
        first, *others = dict.fromkeys(self.find(g) for g in groups)
        kept = self.groups[first]
        if others:
            everyone = [first, *others]
            weight = self._weights()[everyone]
            kept.occupancy = self._mean([self.groups[g].occupancy for g in everyone], weight)
            for other in others:
                self.joined[other] = first
        kept.rule, kept.detail = rule, detail
        return first

    def carve(self, atoms: BoolArray, rule: Why, *, label: str | None = None) -> int:
        """Make some atoms a group of their own, outside of any set.

        A group that is taken as a whole becomes part of it, and leaves its set.
        """
        self.index = self.settled()
        before = np.bincount(self.index, minlength=len(self.groups))
        table = self.start.table
        heavy = atoms & ~table.hydrogen
        deciding = heavy if heavy.any() else atoms
        values = np.array([g.occupancy for g in self.groups])[self.index]
        used = round(float(values[deciding].mean()), 10)
        self.groups.append(DraftGroup(used, True, rule, None, label))
        self.joined.append(len(self.groups) - 1)
        new = len(self.groups) - 1
        self.index[atoms] = new
        left = np.bincount(self.index, minlength=len(self.groups))
        for old in np.flatnonzero((before > 0) & (left[:new] == 0)).tolist():
            self.leave_set(old)
            self.joined[old] = new  # names, restraints and nested sets follow the atoms
        return new

    def add_set(self, one: DraftSet) -> int:
        """Tie groups by a sum."""
        self.sets.append(one)
        for member in one.members:
            self.groups[member].set_number = len(self.sets) - 1
        return len(self.sets) - 1

    def leave_set(self, group: int) -> None:
        """Take a group out of its set."""
        number = self.groups[group].set_number
        if number is not None:
            self.sets[number].members.remove(group)
            self.groups[group].set_number = None

    def _weights(self) -> FloatArray:
        """Return the heavy atoms of each group, all atoms where it has none; joined ones apart."""
        hydrogen, n = self.start.table.hydrogen, len(self.groups)
        heavy = np.bincount(self.index[~hydrogen], minlength=n)
        return np.where(heavy > 0, heavy, np.bincount(self.index, minlength=n)).astype(float)

    @staticmethod
    def _mean(values: list[float], weight: FloatArray) -> float:
        if len(set(values)) == 1:
            return values[0]
        return round(float(np.average(values, weights=weight)), 10)

    # ------------------------------------------------------------------ finishing

    def finished(self) -> OccupancyGroups:
        """Return the groups, numbered as they appear in the file; empty groups and sets go."""
        settled = self.settled()
        order = number_in_order(settled)
        old = np.empty(int(order.max(initial=-1)) + 1, dtype=np.int64)
        old[order] = settled
        place = {g: i for i, g in enumerate(old.tolist())}
        kept = [self.groups[g] for g in old.tolist()]
        set_index = np.full(len(kept), -1)
        sets: list[DraftSet] = []
        for one in self.sets:
            members = sorted({place[self.find(m)] for m in one.members if self.find(m) in place})
            if members:
                set_index[members] = len(sets)
                sets.append(one)
        parents = [-1 if s.parent is None else place[self.find(s.parent)] for s in sets]
        sums = SumConstraints(
            set_index, np.array([s.total for s in sets], dtype=np.float64),
            np.array([s.complete for s in sets], dtype=bool), np.array(parents, dtype=np.int64),
        )  # fmt: skip
        # sets are numbered by their first members: labels follow
        numbering = {
            int(set_index[m[0]]): i for i, m in enumerate(sums.renumbered(_all(kept)).members)
        }
        return OccupancyGroups(
            self.start.table, order,
            np.array([g.occupancy for g in kept]),
            np.array([g.refined for g in kept], dtype=bool),
            np.array([int(g.rule) for g in kept], dtype=np.int64),
            sums.renumbered(_all(kept)),
            self._finished_restraints(place),
            {i: g.label for i, g in enumerate(kept) if g.label},
            {numbering[i]: s.label for i, s in enumerate(sets) if s.label},
            {i: g.detail for i, g in enumerate(kept) if g.detail},
            {numbering[i]: s.detail for i, s in enumerate(sets) if s.detail},
        )  # fmt: skip

    def _finished_restraints(self, place: dict[int, int]) -> tuple[Restraint, ...]:
        return tuple(
            Restraint(
                tuple(place[self.find(g)] for g in r.groups), tuple(r.weights), r.target, r.sigma,
                r.name,
            )
            for r in self.restraints
        )  # fmt: skip


def _all(groups: list[DraftGroup]) -> IntArray:
    return np.arange(len(groups))
