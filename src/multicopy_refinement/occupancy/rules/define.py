"""Rules that name the atoms of a group."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from multicopy_refinement.notices import listed
from multicopy_refinement.occupancy.groups import Why
from multicopy_refinement.occupancy.rules.models import Occupancy, Rule, Selections
from multicopy_refinement.occupancy.rules.workbench import Workbench


class GroupRule(Rule):
    """The selected atoms, exactly, are one refined group outside any set."""

    KEY: ClassVar[str] = "group"
    group: str | None = None
    atoms: Selections
    value: Occupancy | None = None

    def apply(self, bench: Workbench) -> None:
        """Make the group."""
        carved = bench.claims.carved
        atoms = np.logical_or.reduce([bench.atoms(s) for s in self.atoms])
        taken = [g for g in bench.draft.touched(atoms) if g in carved]
        if taken:
            both = atoms & np.isin(bench.draft.index, taken)
            raise bench.fault(
                f"{listed(list(bench.table.labels(both)))}: in the group of "
                f"{carved[taken[0]]} already"
            )
        mine = np.flatnonzero(atoms)
        before = bench.draft.occupancies(mine)
        made = bench.carve(atoms, Why.DEFINED, self.group)
        carved[made] = bench.where
        if self.value is not None:
            bench.draft.groups[made].occupancy = self.value
        if self.group:
            bench.label(made, self.group)
        if self.value is None:
            bench.notice_changed(mine, before)
