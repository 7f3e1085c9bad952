"""Sharing rules: groups become one, letter by letter."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from multicopy_refinement._typing import BoolArray
from multicopy_refinement.occupancy.groups import Why
from multicopy_refinement.occupancy.rules.models import Rule, Selections
from multicopy_refinement.occupancy.rules.workbench import Workbench


class ResidueShareRule(Rule):
    """The groups of whole residues, given as (number, chain), are one, letter by letter."""

    KEY: ClassVar[str] = "residues"
    residues: tuple[tuple[int, str], ...] = Field(min_length=1)
    share: bool = True
    name: str | None = None

    def apply(self, bench: Workbench) -> None:
        """Join the groups of the residues."""
        if self.share:
            atoms = bench.residues(self.residues)
            _share(bench, atoms, self.name, several=len(self.residues) > 1)


class ShareRule(Rule):
    """All groups that the selections touch are one, letter by letter."""

    KEY: ClassVar[str] = "share"
    share: Selections
    name: str | None = None

    def apply(self, bench: Workbench) -> None:
        """Join the groups that the selections touch."""
        atoms = np.logical_or.reduce([bench.atoms(s) for s in self.share])
        _share(bench, atoms, self.name, several=len(self.share) > 1)


def _share(bench: Workbench, atoms: BoolArray, name: str | None, *, several: bool) -> None:
    """Join the groups of atoms letter by letter; one selection alone may just be named."""
    draft, claims = bench.draft, bench.claims
    chosen = [
        g for g in draft.touched(atoms)
        if draft.groups[g].rule is not Why.HYDROGEN_PAIR  # they follow their parents
    ]  # fmt: skip
    letters: dict[bytes, list[int]] = {}
    for group in chosen:
        first = draft.atoms(group)[0]
        letters.setdefault(bytes(bench.table.altloc[first]), []).append(group)
        if len(chosen) > 1:
            bench.refuse_if_fixed(group)
    if (name is None or several) and all(len(groups) == 1 for groups in letters.values()):
        raise bench.fault(f"{bench.names(chosen)}: no two of them have the same altloc to share")
    touched = np.sort(np.concatenate([draft.atoms(group) for group in chosen]))
    before = draft.occupancies(touched)
    _share_sets(bench, letters)
    for letter, groups in letters.items():
        released = any(g in claims.released for g in groups)
        first = draft.join(groups, Why.SHARED, bench.where)
        one = draft.groups[first]
        if one.set_number is None:
            one.refined = released or bench.is_partial(one.occupancy)
        if name is not None:
            label = name if len(letters) == 1 or not letter else f"{name}:{letter.decode()}"
            bench.label(first, label)
    bench.notice_changed(touched, before)


def _share_sets(bench: Workbench, letters: dict[bytes, list[int]]) -> None:
    """Make one set of those that the groups to be joined are in."""
    draft = bench.draft
    home = {g: letter for letter, groups in letters.items() for g in groups}
    numbers = [draft.groups[g].set_number for g in home]
    _refuse_kin(bench, home)
    sets = list(dict.fromkeys(n for n in numbers if n is not None))
    if not sets:
        return
    kinds = {}
    for number in sets:
        one = draft.sets[number]
        members = [home.get(m, m) for m in one.members]
        if len(set(members)) < len(members):
            raise bench.fault(f"{bench.names(one.members)}: members of one set cannot share")
        parent = None if one.parent is None else draft.find(one.parent)
        kinds[number] = (
            frozenset(members),
            one.total,
            one.complete,
            home.get(parent, parent) if parent is not None else None,
        )
    first = sets[0]
    for group, in_set in zip(home, numbers, strict=True):
        if in_set is not None and kinds[in_set] != kinds[first]:
            other = next(m for m in draft.sets[first].members if m != group)
            raise bench.fault(
                f"{bench.name(group)} and {bench.name(other)} cannot share: "
                "their sets have different members"
            )
    for number in sets[1:]:
        bench.dissolve(draft.sets[number])
    kept = draft.sets[first]
    for groups in letters.values():  # the first of each letter stays a member
        mine = [g for g in groups if g in kept.members]
        for g in mine:
            draft.leave_set(g)
        if mine:
            kept.members.append(groups[0])
            draft.groups[groups[0]].set_number = first
            draft.groups[groups[0]].refined = True
    kept.members.sort()


def _refuse_kin(bench: Workbench, home: dict[int, bytes]) -> None:
    """Refuse to join a group with one that is nested in it."""
    for one in bench.draft.sets:
        if one.parent is None or bench.draft.find(one.parent) not in home:
            continue
        parent = bench.draft.find(one.parent)
        for member in one.members:
            if home.get(member) == home[parent]:
                raise bench.fault(
                    f"{bench.name(member)} is nested in {bench.name(parent)}: they cannot share"
                )
