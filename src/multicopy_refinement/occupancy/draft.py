"""Groups and sets while rules change them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.atoms.numbering import number_in_order
from multicopy_refinement.occupancy.groups import ModelState, OccupancyGroups, Restraint, Why
from multicopy_refinement.occupancy.sums import SumConstraints

_NOBODY = np.empty(0, dtype=np.int64)


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

    A change costs what it touches, so that thousands of rules take a time in proportion.

    Attributes
    ----------
    start
        The groups that the draft began with.
    index
        Group of each atom, ``[n_atoms]``.
    members
        Atoms of each group, by number, ascending; empty for those that are part of others.
    groups, sets
        By number.
    joined
        Which group each group has become part of: itself where it is its own.
    absorbed
        Pairs of a group and what it has become part of, in the order in which that happened.
    states
        Of the whole model, in numbers of groups; one that is no longer of one set goes.
    """

    start: OccupancyGroups
    index: IntArray
    members: list[IntArray]
    groups: list[DraftGroup]
    sets: list[DraftSet]
    joined: list[int]
    restraints: list[DraftRestraint] = field(default_factory=list)
    absorbed: list[tuple[int, int]] = field(default_factory=list)
    states: list[ModelState] = field(default_factory=list)

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
        index, members = groups.index.copy(), list(groups.members)
        states = list(groups.states)
        return cls(groups, index, members, drafts, sets, joined, restraints, states=states)

    # ------------------------------------------------------------------ looking

    def find(self, group: int) -> int:
        """Return what a group has become part of."""
        while self.joined[group] != group:
            self.joined[group] = self.joined[self.joined[group]]
            group = self.joined[group]
        return group

    def touched(self, atoms: BoolArray) -> list[int]:
        """Return the groups of atoms, in the order of the file."""
        return list(dict.fromkeys(self.index[atoms].tolist()))

    def atoms(self, group: int) -> IntArray:
        """Return the atoms of a group, ascending."""
        return self.members[self.find(group)]

    def occupancies(self, atoms: IntArray) -> FloatArray:
        """Return the occupancy that some atoms have as things stand."""
        return np.array([self.groups[g].occupancy for g in self.index[atoms].tolist()])

    # ------------------------------------------------------------------ changing

    def join(self, groups: Sequence[int], rule: Why, detail: str | None = None) -> int:
        """Make several groups one, at their mean by heavy atoms; sets are the caller's business."""
        first, *others = dict.fromkeys(self.find(g) for g in groups)
        kept = self.groups[first]
        if others:
            everyone = [first, *others]
            weight = np.array([self._weight(g) for g in everyone])
            kept.occupancy = self._mean([self.groups[g].occupancy for g in everyone], weight)
            for other in others:
                self.index[self.members[other]] = first
                self._absorb(other, first)
            gathered = np.concatenate([self.members[g] for g in everyone])
            self.members[first] = np.sort(gathered)
            for other in others:
                self.members[other] = _NOBODY
        kept.rule, kept.detail = rule, detail
        return first

    def carve(self, atoms: BoolArray, rule: Why, *, label: str | None = None) -> int:
        """Make some atoms a group of their own, outside of any set.

        A group that is taken as a whole becomes part of it, and leaves its set.
        """
        mine = np.flatnonzero(atoms)
        heavy = mine[~self.start.table.hydrogen[mine]]
        used = round(float(self.occupancies(heavy if len(heavy) else mine).mean()), 10)
        touched = dict.fromkeys(self.index[mine].tolist())
        new = len(self.groups)
        self.groups.append(DraftGroup(used, True, rule, None, label))
        self.joined.append(new)
        self.members.append(mine)
        self.index[mine] = new
        for old in touched:
            kept = self.members[old]
            self.members[old] = kept[self.index[kept] == old]
            if len(self.members[old]) == 0:
                self.leave_set(old)
                self._absorb(old, new)  # names, restraints and nested sets follow the atoms
        return new

    def _absorb(self, group: int, into: int) -> None:
        self.joined[group] = into
        self.absorbed.append((group, into))

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

    def _weight(self, group: int) -> float:
        """Return the number of heavy atoms of a group, of all atoms where it has none."""
        atoms = self.members[group]
        heavy = int(np.count_nonzero(~self.start.table.hydrogen[atoms]))
        return float(heavy or len(atoms))

    @staticmethod
    def _mean(values: list[float], weight: FloatArray) -> float:
        if len(set(values)) == 1:
            return values[0]
        return round(float(np.average(values, weights=weight)), 10)

    # ------------------------------------------------------------------ finishing

    def finished(self) -> OccupancyGroups:
        """Return the groups, numbered as they appear in the file; empty groups and sets go."""
        order = number_in_order(self.index)
        old = np.empty(int(order.max(initial=-1)) + 1, dtype=np.int64)
        old[order] = self.index
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
            self._finished_states(place),
        )  # fmt: skip

    def _finished_states(self, place: dict[int, int]) -> tuple[ModelState, ...]:
        found = []
        for one in self.states:
            groups = list(dict.fromkeys(self.find(g) for g in one.groups))
            sets = {self.groups[g].set_number for g in groups}
            if len(groups) == len(one.groups) and len(sets) == 1 and None not in sets:
                found.append(ModelState(one.name, tuple(place[g] for g in groups)))
        return tuple(found)

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
