"""Application of users' rules to the automatic groups, and whether what they ask for can be."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import BoolArray, IntArray
from multicopy_refinement.errors import RuleError
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.occupancy.rules.models import RuleSet
from multicopy_refinement.occupancy.rules.workbench import Workbench
from multicopy_refinement.occupancy.values import EXACT, GroupingResult


def apply_rules(result: GroupingResult, rules: RuleSet) -> GroupingResult:
    """Return the groups that rules make of the automatic ones.

    Raises
    ------
    RuleError
        A rule that selects nothing, contradicts another or makes a set impossible; the message
        names the rule's place and the atoms.
    """
    bench = _applied(result, rules)
    _mend_sets(bench)
    return _Settlement(bench).result()


def atoms_spoken_of(result: GroupingResult, rules: RuleSet) -> BoolArray:
    """Return the atoms that rules select, ``[n_atoms]``.

    Raises
    ------
    RuleError
        A rule that selects nothing or contradicts another.
    """
    return _applied(result, rules).spoken_of


def _applied(result: GroupingResult, rules: RuleSet) -> Workbench:
    bench = Workbench(result, automatic=rules.automatic)
    bench.notices += [Notice("rules", remark) for remark in rules.remarks]
    for placed in rules.rules:
        bench.where = placed.where
        placed.rule.apply(bench)
    return bench


def _mend_sets(bench: Workbench) -> None:
    """Open or dissolve automatic sets that have lost members, and name what is unsummed.

    The members that are left do not sum to 1 any more: what they lack is what has gone.
    """
    draft = bench.draft
    for number, start in bench.claims.automatic_sets.items():
        one = draft.sets[number]
        now = list(dict.fromkeys(draft.find(g) for g in start))
        homes = {draft.groups[g].set_number for g in now}
        if len(now) < 2 or (len(homes) == 1 and None not in homes):
            continue  # together still, in this set or in another
        whole = one.complete and one.parent is None
        if len(one.members) == 1 and whole:
            left = draft.groups[one.members[0]]
            bench.dissolve(one)
            left.refined = bench.is_partial(left.occupancy)
        elif len(one.members) > 1 and whole:
            one.complete = False
            _notice_open(bench, one.members, [g for g in now if g not in one.members])
        alone = [g for g in now if draft.groups[g].set_number is None]
        if any(draft.groups[g].refined for g in alone):
            verb = "is" if len(alone) == 1 else "are"
            bench.notices.append(
                Notice(
                    "set_dissolved",
                    f"by the rules {bench.names(alone)} {verb} no longer part of a sum",
                    bench.table.labels(np.concatenate([draft.atoms(g) for g in alone])),
                )
            )


def _notice_open(bench: Workbench, left: list[int], gone: list[int]) -> None:
    """Name the members of a set that others have left."""
    bench.notices.append(
        Notice(
            "set_opened",
            f"by the rules {bench.names(gone)} left the sum of {bench.names(left)}, which now sum "
            "to at most 1; a sum rule for them says otherwise",
            bench.table.labels(np.concatenate([bench.draft.atoms(g) for g in left])),
        )
    )


class _Settlement:
    """The finished groups: what fixed members leave no choice, and sums that cannot be."""

    def __init__(self, bench: Workbench) -> None:
        self.table, self.where, self.notices = bench.table, bench.where, bench.notices
        self.groups = bench.draft.finished()

    def result(self) -> GroupingResult:
        """Return the groups, or say which rule makes a set impossible."""
        self._hold_settled_members()
        self._check_sets()
        return GroupingResult(self.groups, tuple(filter(self._holds, self.notices)))

    def _holds(self, notice: Notice) -> bool:
        """Return whether a notice of atoms that share their mean is true after the rules."""
        if notice.code != "uneven_part":
            return True
        wanted = set(notice.atoms)
        labels = self.table.labels(np.arange(len(self.table)))
        atoms = [atom for atom, label in enumerate(labels) if label in wanted]
        return len(np.unique(self.groups.index[atoms])) == 1

    def _hold_settled_members(self) -> None:
        """Hold what fixed members leave no choice: the last of a set, or the parent of all."""
        groups, sums = self.groups, self.groups.sums
        for number in sums.outermost_first.tolist()[::-1]:
            members, parent = sums.members[number], int(sums.parent[number])
            free = members[groups.refined[members]]
            held = members[~groups.refined[members]]
            if len(held) == 0:
                continue
            total = float(groups.occupancy[held].sum())
            if parent >= 0 and groups.refined[parent]:
                if len(free) or not sums.complete[number]:
                    names = listed([groups.names[g] for g in held], 12)
                    raise RuleError(
                        f"{self._who_fixed(held)}: {names}: of the groups that sum to "
                        f"{groups.names[parent]} all or none can be fixed, or that group as well"
                    )
                value = total - float(sums.totals[number])
                self._hold(parent, value, "the groups that sum to it")
            elif len(free) == 1 and sums.complete[number]:
                value = sums.wanted(number, groups.occupancy) - total
                self._hold(int(free[0]), value, "the other members of its set")

    def _hold(self, group: int, value: float, who: str) -> None:
        groups = self.groups
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

    def _who_fixed(self, fixed: IntArray) -> str:
        """Return the places of the rules that fixed groups."""
        who = sorted({str(self.groups.details.get(int(g), "")) for g in fixed} - {""})
        return "; ".join(who) or self.where

    def _check_sets(self) -> None:
        groups, sums = self.groups, self.groups.sums
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
                who = self._who_fixed(members[~groups.refined[members]])
                kind = "sum to" if sums.complete[number] else "sum to at most"
                raise RuleError(
                    f"{who}: the set {names} must {kind} {most:.4g}, "
                    f"but its fixed members hold {held:.4g}"
                )
