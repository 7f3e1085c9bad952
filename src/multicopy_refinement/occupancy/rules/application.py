"""Application of users' rules to the automatic groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from multicopy_refinement._typing import BoolArray, IntArray
from multicopy_refinement.atoms.numbering import RESOLUTION, SAME_OCCUPANCY, number_residues
from multicopy_refinement.errors import RuleError
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.occupancy.draft import DraftRestraint, DraftSet
from multicopy_refinement.occupancy.groups import OccupancyGroups, Why
from multicopy_refinement.occupancy.rules.models import (
    FixRule,
    GroupRule,
    PlacedRule,
    RefineRule,
    ResidueShareRule,
    RestrainRule,
    RuleSet,
    SeparateRule,
    ShareRule,
    SimilarRule,
    SumRule,
    parse_rules,
)
from multicopy_refinement.occupancy.rules.selection import RuleSelection
from multicopy_refinement.occupancy.values import EXACT, GroupingResult, not_full

#: Rules as mappings, as a checked set, or in a file.
Rules = Sequence[Mapping[str, Any]] | RuleSet | str | Path


def apply_rules(result: GroupingResult, rules: Rules) -> GroupingResult:
    """Return the groups that rules make of the automatic ones.

    Raises
    ------
    RuleError
        A rule that is malformed, selects nothing, contradicts another or makes a set impossible;
        the message names the rule's place and the atoms.
    """
    if isinstance(rules, str | Path):
        from multicopy_refinement.occupancy.exchange import read_rules

        rules = read_rules(rules, result.groups.table)
    elif not isinstance(rules, RuleSet):
        rules = parse_rules(rules)
    application = _Application(result, rules)
    for placed in rules.rules:
        application.take(placed)
    return application.result()


class _Application(RuleSelection):
    """Groups while rules are applied to them, one after the other."""

    def __init__(self, result: GroupingResult, rules: RuleSet) -> None:
        super().__init__(result.groups)
        self.notices = list(result.notices)
        self.automatic_sets = {i: list(one.members) for i, one in enumerate(self.draft.sets)}
        self.set_rules: dict[int, str] = {}
        self.fixed: dict[int, str] = {}
        self.released: dict[int, str] = {}
        self.carved: dict[int, str] = {}
        for remark in rules.remarks:
            self.notices.append(Notice("rules", remark))
        if not rules.automatic:
            for one in self.draft.sets:
                self._dissolve(one)
            for group in self.draft.groups:
                group.refined = False

    def take(self, placed: PlacedRule) -> None:
        """Apply one rule."""
        self.where = placed.where
        rule = placed.rule
        if isinstance(rule, ResidueShareRule):
            if rule.share:
                self._share([self.residues(rule)], rule.name)
        elif isinstance(rule, ShareRule):
            self._share([self.atoms(s) for s in rule.share], rule.name)
        elif isinstance(rule, SeparateRule):
            for selection in rule.separate:
                self._separate(self.atoms(selection))
        elif isinstance(rule, FixRule):
            self._fix(rule)
        elif isinstance(rule, RefineRule):
            self._refine(rule)
        elif isinstance(rule, SumRule):
            self._sum(rule)
        elif isinstance(rule, RestrainRule):
            for group in self.whole_groups(rule.restrain):
                self._restrain([group], [1.0], rule.target, rule.sigma)
        elif isinstance(rule, SimilarRule):
            self._similar(rule)
        else:
            self._define(rule)

    # ------------------------------------------------------------------ groups

    def _share(self, selections: list[BoolArray], name: str | None) -> None:
        atoms = np.logical_or.reduce(selections)
        chosen = [
            g for g in self.draft.touched(atoms)
            if self.draft.groups[g].rule is not Why.HYDROGEN_PAIR  # they follow their parents
        ]  # fmt: skip
        letters: dict[bytes, list[int]] = {}
        for group in chosen:
            first = self.draft.atoms(group)[0]
            letters.setdefault(bytes(self.table.altloc[first]), []).append(group)
            if group in self.fixed and len(chosen) > 1:
                raise self.fault(f"{self.name(group)}: contradicts the rule of {self.fixed[group]}")
        if name is None and all(len(groups) == 1 for groups in letters.values()):
            raise self.fault(f"{self.names(chosen)}: no two of them have the same altloc to share")
        before = self._values()
        self._share_sets(letters)
        for letter, groups in letters.items():
            released = any(g in self.released for g in groups)
            first = self.draft.join(groups, Why.SHARED, self.where)
            one = self.draft.groups[first]
            if one.set_number is None:
                one.refined = released or self._partial(one.occupancy)
            if name is not None:
                label = name if len(letters) == 1 or not letter else f"{name}:{letter.decode()}"
                self._label(first, label)
        self._notice_changed(before)

    def _share_sets(self, letters: dict[bytes, list[int]]) -> None:
        """Make one set of those that the groups to be joined are in."""
        home = {g: letter for letter, groups in letters.items() for g in groups}
        numbers = [self.draft.groups[g].set_number for g in home]
        self._check_kin(home)
        sets = list(dict.fromkeys(n for n in numbers if n is not None))
        if not sets:
            return
        kinds = {}
        for number in sets:
            one = self.draft.sets[number]
            members = [home.get(m, m) for m in one.members]
            if len(set(members)) < len(members):
                raise self.fault(f"{self.names(one.members)}: members of one set cannot share")
            parent = None if one.parent is None else self.draft.find(one.parent)
            kinds[number] = (
                frozenset(members),
                one.total,
                one.complete,
                home.get(parent, parent) if parent is not None else None,
            )
        first = sets[0]
        for group, in_set in zip(home, numbers, strict=True):
            if in_set is not None and kinds[in_set] != kinds[first]:
                other = next(m for m in self.draft.sets[first].members if m != group)
                raise self.fault(
                    f"{self.name(group)} and {self.name(other)} cannot share: "
                    "their sets have different members"
                )
        for number in sets[1:]:
            self._dissolve(self.draft.sets[number])
        kept = self.draft.sets[first]
        for groups in letters.values():  # the first of each letter stays a member
            mine = [g for g in groups if g in kept.members]
            for g in mine:
                self.draft.leave_set(g)
            if mine:
                kept.members.append(groups[0])
                self.draft.groups[groups[0]].set_number = first
                self.draft.groups[groups[0]].refined = True
        kept.members.sort()

    def _check_kin(self, home: dict[int, bytes]) -> None:
        """Refuse to join a group with one that is nested in it."""
        for one in self.draft.sets:
            if one.parent is None or self.draft.find(one.parent) not in home:
                continue
            parent = self.draft.find(one.parent)
            for member in one.members:
                if home.get(member) == home[parent]:
                    raise self.fault(
                        f"{self.name(member)} is nested in {self.name(parent)}: they cannot share"
                    )

    def _separate(self, atoms: BoolArray) -> None:
        residue = number_residues(self.table)
        pairs = np.array([g.rule is Why.HYDROGEN_PAIR for g in self.draft.groups])
        atoms = atoms & ~pairs[self.draft.settled()]  # they follow the atom that they are bound to
        if not atoms.any():
            raise self.fault("H and D of one site cannot be separated")
        for number in np.unique(residue[atoms]).tolist():
            here = atoms & (residue == number)
            for letter in np.unique(self.table.altloc[here]):
                if letter == b"":
                    self._separate_blank(here & (self.table.altloc == b""))
            self._separate_letters(here & (self.table.altloc != b""))

    def _separate_blank(self, atoms: BoolArray) -> None:
        """Take atoms without altloc out of their groups, apart as they were."""
        for group in self.draft.touched(atoms):
            mine = atoms & (self.draft.settled() == group)
            released = group in self.released
            made = self._carve(mine, Why.SEPARATED, None)
            one = self.draft.groups[made]
            one.detail = self.where
            one.refined = released or self._partial(one.occupancy)

    def _separate_letters(self, atoms: BoolArray) -> None:
        """Make a group of each altloc of one residue, and a set like theirs if there are more."""
        made: list[int] = []
        owners: dict[int, DraftSet] = {}
        for letter in np.unique(self.table.altloc[atoms]):
            part = atoms & (self.table.altloc == letter)
            for group in self.draft.touched(part):
                number = self.draft.groups[group].set_number
                if number is not None:
                    owners[number] = self.draft.sets[number]
            made.append(self._carve(part, Why.SEPARATED, None))
        like = next(iter(owners.values())) if len(owners) == 1 else DraftSet([])
        if len(made) > 1:
            apart = DraftSet(made, like.total, like.complete, like.parent, detail=self.where)
            self.automatic_sets[self.draft.add_set(apart)] = list(made)
        for group in made:
            one = self.draft.groups[group]
            one.detail = self.where
            one.refined = one.set_number is not None or self._partial(one.occupancy)

    @staticmethod
    def _partial(occupancy: float) -> bool:
        return bool(not_full(np.array([occupancy]))[0])

    def _define(self, rule: GroupRule) -> None:
        atoms = np.logical_or.reduce([self.atoms(s) for s in rule.atoms])
        taken = [g for g in self.draft.touched(atoms) if g in self.carved]
        if taken:
            both = atoms & np.isin(self.draft.settled(), taken)
            raise self.fault(
                f"{listed(list(self.table.labels(both)))}: in the group of "
                f"{self.carved[taken[0]]} already"
            )
        before = self._values()
        group = self._carve(atoms, Why.DEFINED, rule.group)
        self.carved[group] = self.where
        if rule.value is not None:
            self.draft.groups[group].occupancy = rule.value
        if rule.group:
            self._label(group, rule.group)
        if rule.value is None:
            self._notice_changed(before)

    def _label(self, group: int, name: str) -> None:
        other = self.by_name.get(name)
        if other is not None and self.draft.find(other) != group and len(self.draft.atoms(other)):
            raise self.fault(f"there is a group {name!r} already")
        self.draft.groups[group].label = name
        self.by_name[name] = group

    def _carve(self, atoms: BoolArray, rule: Why, label: str | None) -> int:
        settled = self.draft.settled()
        parents = {self.draft.find(o.parent) for o in self.draft.sets if o.parent is not None
                   and o.members}  # fmt: skip
        restrained = {self.draft.find(g) for r in self.draft.restraints for g in r.groups}
        for group in self.draft.touched(atoms):
            number = self.draft.groups[group].set_number
            whole = bool(atoms[settled == group].all())
            for held, why in (
                (group in self.fixed, f"contradicts the rule of {self.fixed.get(group)}"),
                (number in self.set_rules, f"in the set of {self.set_rules.get(number or 0)}"),
                (group in parents and not whole, "other groups sum to it: it cannot be cut"),
                (group in restrained and not whole, "it is restrained, and cannot be cut"),
            ):
                if held:
                    raise self.fault(f"{self.name(group)}: {why}")
        return self.draft.carve(atoms, rule, label=label)

    # ------------------------------------------------------------------ what is refined

    def _fix(self, rule: FixRule) -> None:
        for group in self.whole_groups(rule.fix):
            if group in self.released or group in self.fixed:
                other = self.released.get(group) or self.fixed[group]
                raise self.fault(f"{self.name(group)}: contradicts the rule of {other}")
            self.fixed[group] = self.where
            one = self.draft.groups[group]
            one.refined, one.detail = False, f"fixed by {self.where}"
            if rule.value is not None:
                one.occupancy = rule.value

    def _refine(self, rule: RefineRule) -> None:
        for group in self.whole_groups(rule.refine):
            if group in self.fixed:
                raise self.fault(f"{self.name(group)}: contradicts the rule of {self.fixed[group]}")
            self.released[group] = self.where
            one = self.draft.groups[group]
            one.refined = True
            one.detail = one.detail or f"refined by {self.where}"

    # ------------------------------------------------------------------ sums

    def _sum(self, rule: SumRule) -> None:
        groups = self.whole_groups(rule.sum)
        if rule.sigma is not None:
            weights = rule.weights or (1.0,) * len(groups)
            if len(weights) != len(groups):
                raise self.fault(
                    f"{len(weights)} weights for {len(groups)} groups: {self.names(groups)}"
                )
            target = 1.0 if rule.equal is None else float(rule.equal)
            self._restrain(groups, list(weights), target, rule.sigma)
            return
        complete = rule.at_most is None
        wanted = rule.equal if complete else rule.at_most
        parent, total = None, 1.0 if wanted is None else wanted
        if isinstance(total, str):
            owners = self.whole_groups([total])
            if len(owners) > 1 or owners[0] in groups:
                raise self.fault(
                    f"the sum must be that of one group that is no member, not of "
                    f"{self.names(owners)}"
                )
            parent, total = owners[0], 0.0
        for group in groups:
            number = self.draft.groups[group].set_number
            if number is not None and number not in self.automatic_sets:
                raise self.fault(
                    f"{self.name(group)}: in the set of {self.set_rules[number]} already"
                )
        for group in groups:
            self.draft.leave_set(group)
        one = DraftSet(groups, total, complete, parent, rule.name, f"by {self.where}")
        self.set_rules[self.draft.add_set(one)] = self.where
        for group in groups:
            self.draft.groups[group].refined = group not in self.fixed
        try:
            self.draft.finished().sums.level  # noqa: B018 (raises where sets are nested in a ring)
        except ValueError:
            raise self.fault(f"{self.names(groups)}: they sum to themselves in a ring") from None

    def _restrain(
        self, groups: list[int], weights: list[float], target: float, sigma: float
    ) -> None:
        terms = [
            f"{'' if abs(w) == 1 else f'{abs(w):g} '}{self.name(g)}"
            for g, w in zip(groups, weights, strict=True)
        ]
        text = "".join(f" {'-' if w < 0 else '+'} {t}" for t, w in zip(terms, weights, strict=True))
        name = f"{text.removeprefix(' + ').strip()} = {target:g} ({sigma:g})"
        self.draft.restraints.append(DraftRestraint(groups, weights, target, sigma, name))

    def _similar(self, rule: SimilarRule) -> None:
        groups = self.whole_groups(rule.similar)
        if len(groups) != 2:
            raise self.fault(f"needs two groups, not {len(groups)}: {self.names(groups)}")
        self._restrain(groups, [1.0, -1.0], 0.0, rule.sigma)

    def _dissolve(self, one: DraftSet) -> None:
        for member in list(one.members):
            self.draft.leave_set(member)

    def _mend_sets(self) -> None:
        """Dissolve automatic sets that have lost all members but one, and name what is unsummed."""
        for number, start in self.automatic_sets.items():
            one = self.draft.sets[number]
            if len(one.members) == 1 and one.complete and one.parent is None:
                left = self.draft.groups[one.members[0]]
                self._dissolve(one)
                left.refined = self._partial(left.occupancy)
            alone = list(dict.fromkeys(self.draft.find(g) for g in start))
            if one.members or any(self.draft.groups[g].set_number is not None for g in alone):
                continue
            if len(alone) > 1 and any(self.draft.groups[g].refined for g in alone):
                names = self.names(alone)
                atoms = np.concatenate([self.draft.atoms(g) for g in alone])
                self.notices.append(
                    Notice(
                        "set_dissolved",
                        f"by the rules {names} are no longer part of a sum",
                        self.table.labels(atoms),
                    )
                )

    # ------------------------------------------------------------------ the end

    def _values(self) -> np.ndarray:
        return np.array([g.occupancy for g in self.draft.groups])[self.draft.settled()]

    def _notice_changed(self, before: np.ndarray) -> None:
        """Name the atoms that take another occupancy because they share it now."""
        changed = np.abs(self._values() - before) > SAME_OCCUPANCY / 2 + RESOLUTION / 2
        if changed.any():
            labels = self.table.labels(changed)
            self.notices.append(
                Notice(
                    "shared_by_rule",
                    f"{self.where}: {len(labels)} atoms take the mean of the groups "
                    f"that the rule joins: {listed(list(labels))}",
                    labels,
                )
            )

    def result(self) -> GroupingResult:
        """Return the groups, or say which rule makes a set impossible."""
        self._mend_sets()
        groups = self._settled_members(self.draft.finished())
        self._check_sets(groups)
        return GroupingResult(groups, tuple(self.notices))

    def _settled_members(self, groups: OccupancyGroups) -> OccupancyGroups:
        """Hold what fixed members leave no choice: the last of a set, or the parent of all."""
        sums = groups.sums
        for number in sums.outermost_first.tolist()[::-1]:
            members, parent = sums.members[number], int(sums.parent[number])
            free = members[groups.refined[members]]
            held = members[~groups.refined[members]]
            if len(held) == 0:
                continue
            total = float(groups.occupancy[held].sum())
            if parent >= 0 and groups.refined[parent]:
                if len(free) or not sums.complete[number]:
                    raise self._impossible(
                        groups, held, f"of the groups that sum to {groups.names[parent]} all or "
                        "none can be fixed, or that group as well",
                    )  # fmt: skip
                self._hold(groups, parent, total - float(sums.totals[number]),
                           "the groups that sum to it")  # fmt: skip
            elif len(free) == 1 and sums.complete[number]:
                value = sums.wanted(number, groups.occupancy) - total
                self._hold(groups, int(free[0]), value, "the other members of its set")
        return groups

    def _hold(self, groups: OccupancyGroups, group: int, value: float, who: str) -> None:
        if not -EXACT <= value <= 1 + EXACT:
            return  # said by _check_sets
        groups.refined[group] = False
        groups.occupancy[group] = min(max(value, 0.0), 1.0)
        self.notices.append(
            Notice(
                "held_by_set",
                f"{groups.names[group]} is held at {value:.3f}: {who} are fixed",
                self.table.labels(groups.members[group]),
            )
        )

    def _impossible(self, groups: OccupancyGroups, fixed: IntArray, message: str) -> RuleError:
        names = listed([groups.names[g] for g in fixed], 12)
        return RuleError(f"{self._who_fixed(groups, fixed)}: {names}: {message}")

    def _who_fixed(self, groups: OccupancyGroups, fixed: IntArray) -> str:
        """Return the places of the rules that fixed groups."""
        who = sorted({str(groups.details.get(int(g), "")) for g in fixed} - {""})
        return "; ".join(who) or self.where

    def _check_sets(self, groups: OccupancyGroups) -> None:
        sums = groups.sums
        for number, members in enumerate(sums.members):
            free, parent = groups.refined[members].any(), int(sums.parent[number])
            held = float(groups.occupancy[members][~groups.refined[members]].sum())
            most = sums.wanted(number, groups.occupancy)
            if parent >= 0 and groups.refined[parent]:
                most = sums.totals[number] + 1.0
            bad = held > most + 1e-6 or (
                not free and sums.complete[number] and (parent < 0 or not groups.refined[parent])
                and held < most - 1e-6
            )  # fmt: skip
            if bad:
                names = listed([groups.names[g] for g in members], 12)
                who = self._who_fixed(groups, members[~groups.refined[members]])
                kind = "sum to" if sums.complete[number] else "sum to at most"
                raise RuleError(
                    f"{who}: the set {names} must {kind} {most:.4g}, "
                    f"but its fixed members hold {held:.4g}"
                )
