"""Rules that are priors on occupancies."""

from __future__ import annotations

from typing import ClassVar

from multicopy_refinement.occupancy.rules.models import Number, Rule, Selections, Sigma
from multicopy_refinement.occupancy.rules.workbench import Workbench


class RestrainRule(Rule):
    """Each group is drawn towards a target: -log p = ((q - target)/sigma)^2 / 2."""

    KEY: ClassVar[str] = "restrain"
    restrain: Selections
    target: Number
    sigma: Sigma

    def apply(self, bench: Workbench) -> None:
        """Restrain each group."""
        for group in bench.whole_groups(self.restrain):
            bench.restrain([group], [1.0], self.target, self.sigma)


class SimilarRule(Rule):
    """Two groups are drawn towards each other: -log p = ((q_1 - q_2)/sigma)^2 / 2."""

    KEY: ClassVar[str] = "similar"
    similar: Selections
    sigma: Sigma

    def apply(self, bench: Workbench) -> None:
        """Restrain the difference of the groups."""
        groups = bench.whole_groups(self.similar)
        if len(groups) != 2:
            raise bench.fault(f"needs two groups, not {len(groups)}: {bench.names(groups)}")
        bench.restrain(groups, [1.0, -1.0], 0.0, self.sigma)
