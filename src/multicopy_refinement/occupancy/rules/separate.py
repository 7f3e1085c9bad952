"""Separating rules: atoms leave their groups."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from multicopy_refinement._typing import BoolArray
from multicopy_refinement.atoms.numbering import number_residues
from multicopy_refinement.occupancy.draft import DraftSet
from multicopy_refinement.occupancy.groups import Why
from multicopy_refinement.occupancy.rules.models import Rule, Selections
from multicopy_refinement.occupancy.rules.workbench import Workbench


class SeparateRule(Rule):
    """The atoms leave their groups; each residue's letters are groups of their own again."""

    KEY: ClassVar[str] = "separate"
    separate: Selections

    def apply(self, bench: Workbench) -> None:
        """Take the atoms of each selection out of their groups."""
        for selection in self.separate:
            _separate(bench, bench.atoms(selection))


def _separate(bench: Workbench, atoms: BoolArray) -> None:
    table = bench.table
    residue = number_residues(table)
    atoms = atoms.copy()
    for group in bench.draft.touched(atoms):
        if bench.draft.groups[group].rule is Why.HYDROGEN_PAIR:
            atoms[bench.draft.atoms(group)] = False  # they follow the atom that they are bound to
    if not atoms.any():
        raise bench.fault("H and D of one site cannot be separated")
    for number in np.unique(residue[atoms]).tolist():
        here = atoms & (residue == number)
        for letter in np.unique(table.altloc[here]):
            if letter == b"":
                _separate_blank(bench, here & (table.altloc == b""))
        _separate_letters(bench, here & (table.altloc != b""))


def _separate_blank(bench: Workbench, atoms: BoolArray) -> None:
    """Take atoms without altloc out of their groups, apart as they were."""
    for group in bench.draft.touched(atoms):
        mine = atoms & (bench.draft.index == group)
        released = group in bench.claims.released
        one = bench.draft.groups[bench.carve(mine, Why.SEPARATED)]
        one.detail = bench.where
        one.refined = released or bench.is_partial(one.occupancy)


def _separate_letters(bench: Workbench, atoms: BoolArray) -> None:
    """Make a group of each altloc of one residue, and a set like theirs if there are more."""
    draft, altloc = bench.draft, bench.table.altloc
    made: list[int] = []
    owners: dict[int, DraftSet] = {}
    for letter in np.unique(altloc[atoms]):
        part = atoms & (altloc == letter)
        rest = [
            g for g in draft.touched(part)
            if draft.groups[g].rule is Why.ALTLOC and not part[draft.atoms(g)].all()
        ]  # fmt: skip
        for group in draft.touched(part):
            number = draft.groups[group].set_number
            if number is not None:
                owners[number] = draft.sets[number]
        made.append(bench.carve(part, Why.SEPARATED))
        for group in (made[-1], *rest) if rest else ():  # the mean was that of both
            _as_in_the_file(bench, group)
    like = next(iter(owners.values())) if len(owners) == 1 else DraftSet([])
    if len(made) > 1:
        apart = DraftSet(made, like.total, like.complete, like.parent, detail=bench.where)
        bench.claims.automatic_sets[draft.add_set(apart)] = list(made)
    for group in made:
        one = draft.groups[group]
        one.detail = bench.where
        one.refined = one.set_number is not None or bench.is_partial(one.occupancy)


def _as_in_the_file(bench: Workbench, group: int) -> None:
    """Let a group begin with the mean of what the file says of its atoms."""
    atoms = bench.draft.atoms(group)
    heavy = atoms[~bench.table.hydrogen[atoms]]
    values = np.clip(bench.table.occupancy[heavy if len(heavy) else atoms], 0.0, 1.0)
    bench.draft.groups[group].occupancy = round(float(values.mean()), 10)
