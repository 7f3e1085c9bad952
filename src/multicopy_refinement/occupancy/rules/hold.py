"""Rules that say which groups are held and which are refined."""

from __future__ import annotations

from typing import ClassVar

from multicopy_refinement.occupancy.rules.models import Occupancy, Rule, Selections
from multicopy_refinement.occupancy.rules.workbench import Workbench


class FixRule(Rule):
    """The groups are held, at a value if one is given."""

    KEY: ClassVar[str] = "fix"
    fix: Selections
    value: Occupancy | None = None

    def apply(self, bench: Workbench) -> None:
        """Hold the groups."""
        for group in bench.whole_groups(self.fix):
            bench.fix(group, f"fixed by {bench.where}", self.value)


class RefineRule(Rule):
    """The groups are refined."""

    KEY: ClassVar[str] = "refine"
    refine: Selections

    def apply(self, bench: Workbench) -> None:
        """Refine the groups."""
        for group in bench.whole_groups(self.refine):
            bench.refuse_if_fixed(group)
            bench.release(group)
