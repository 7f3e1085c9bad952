"""Groups while rules are applied to them, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.occupancy.draft import DraftRestraint, DraftSet
from multicopy_refinement.occupancy.groups import Why
from multicopy_refinement.occupancy.rules.selection import RuleSelection
from multicopy_refinement.occupancy.values import (
    EXACT,
    RESOLUTION,
    SAME_OCCUPANCY,
    GroupingResult,
    not_full,
)
from multicopy_refinement.words import counted


@dataclass
class Claims:
    """Which rule has said what, by number of the draft's group or set.

    Attributes
    ----------
    fixed, released, carved
        Groups that a rule holds, refines, or made of atoms, with the place of that rule.
    set_rules
        Sets that a rule made, with its place.
    automatic_sets
        Sets that were there before, or follow from a separation, with the members they began with.
    """

    fixed: dict[int, str] = field(default_factory=dict)
    released: dict[int, str] = field(default_factory=dict)
    carved: dict[int, str] = field(default_factory=dict)
    set_rules: dict[int, str] = field(default_factory=dict)
    automatic_sets: dict[int, list[int]] = field(default_factory=dict)


class Workbench(RuleSelection):
    """What the kinds of rules do their work on.

    Attributes
    ----------
    notices
        What was noticed; rules add to it.
    claims
        What earlier rules have said.
    """

    def __init__(self, result: GroupingResult, *, automatic: bool = True) -> None:
        super().__init__(result.groups)
        self.notices = list(result.notices)
        self.claims = Claims(
            automatic_sets={i: list(one.members) for i, one in enumerate(self.draft.sets)}
        )
        if not automatic:
            for one in self.draft.sets:
                self.dissolve(one)
            for group in self.draft.groups:
                group.refined = False

    # ------------------------------------------------------------------ groups

    @staticmethod
    def is_partial(occupancy: float) -> bool:
        """Return whether an occupancy is other than 1."""
        return bool(not_full(np.array([occupancy]))[0])

    def refuse_if_fixed(self, group: int) -> None:
        """Raise where an earlier rule holds a group."""
        if group in self.claims.fixed:
            raise self.fault(
                f"{self.name(group)}: contradicts the rule of {self.claims.fixed[group]}"
            )

    def fix(self, group: int, detail: str, value: float | None = None) -> None:
        """Hold a group, at a value if one is given, where no earlier rule stands against it."""
        claims = self.claims
        other = claims.released.get(group) or claims.fixed.get(group)
        if other is not None:
            raise self.fault(f"{self.name(group)}: contradicts the rule of {other}")
        claims.fixed[group] = self.where
        one = self.draft.groups[group]
        one.refined, one.detail = False, detail
        if value is not None:
            one.occupancy = value

    def release(self, group: int) -> None:
        """Refine a group."""
        self.claims.released[group] = self.where
        one = self.draft.groups[group]
        one.refined = True
        one.detail = one.detail or f"refined by {self.where}"

    def label(self, group: int, name: str) -> None:
        """Give a group a name that no other has."""
        other = self.by_name.get(name)
        if other is not None and self.draft.find(other) != group and len(self.draft.atoms(other)):
            raise self.fault(f"there is a group {name!r} already")
        self.draft.groups[group].label = name
        self.add_name(group, name)

    def carve(self, atoms: BoolArray, rule: Why, label: str | None = None) -> int:
        """Make atoms a group of their own, where no earlier rule stands against it."""
        claims = self.claims
        for group in self.draft.touched(atoms):
            number = self.draft.groups[group].set_number
            self.refuse_if_fixed(group)
            if number is not None and number in claims.set_rules:
                raise self.fault(f"{self.name(group)}: in the set of {claims.set_rules[number]}")
            if not atoms[self.draft.members[group]].all():
                self._refuse_to_cut(group)
        return self.draft.carve(atoms, rule, label=label)

    def _refuse_to_cut(self, group: int) -> None:
        """Raise where others sum to a group, or where it is restrained."""
        draft = self.draft
        for one in draft.sets:
            if one.parent is not None and one.members and draft.find(one.parent) == group:
                raise self.fault(f"{self.name(group)}: other groups sum to it: it cannot be cut")
        if any(draft.find(g) == group for r in draft.restraints for g in r.groups):
            raise self.fault(f"{self.name(group)}: it is restrained, and cannot be cut")

    # ------------------------------------------------------------------ sums and restraints

    def dissolve(self, one: DraftSet) -> None:
        """Let all members leave a set."""
        for member in list(one.members):
            self.draft.leave_set(member)

    def open_held_sets(self, groups: list[int]) -> None:
        """Let automatic sets of held groups alone sum to less than they must, as it is written."""
        draft, claims = self.draft, self.claims
        for number in claims.automatic_sets:
            one = draft.sets[number]
            held = all(g in claims.fixed for g in one.members)
            if held and one.parent is None and set(one.members) & set(groups):
                total = sum(draft.groups[g].occupancy for g in one.members)
                one.complete &= total > one.total - EXACT

    def restrain(
        self, groups: list[int], weights: list[float], target: float, sigma: float
    ) -> None:
        """Add a Gaussian prior on a combination of groups, named in words."""
        terms = [
            f"{'' if abs(w) == 1 else f'{abs(w):g} '}{self.name(g)}"
            for g, w in zip(groups, weights, strict=True)
        ]
        text = "".join(f" {'-' if w < 0 else '+'} {t}" for t, w in zip(terms, weights, strict=True))
        name = f"{text.removeprefix(' + ').strip()} = {target:g} ({sigma:g})"
        self.draft.restraints.append(DraftRestraint(groups, weights, target, sigma, name))

    # ------------------------------------------------------------------ notices

    def notice_changed(self, atoms: IntArray, before: FloatArray) -> None:
        """Name those of some atoms that take another occupancy because they share it now."""
        now = self.draft.occupancies(atoms)
        changed = np.abs(now - before) > SAME_OCCUPANCY / 2 + RESOLUTION / 2
        if changed.any():
            labels = self.table.labels(atoms[changed])
            self.notices.append(
                Notice(
                    "shared_by_rule",
                    f"{self.where}: {counted(len(labels), 'atom', 'take')} the mean of the groups "
                    f"that the rule joins: {listed(list(labels))}",
                    labels,
                )
            )
