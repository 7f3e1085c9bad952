"""Rules that tie groups by a sum."""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from multicopy_refinement.occupancy.draft import DraftSet
from multicopy_refinement.occupancy.rules.models import Number, Rule, Selections, Sigma
from multicopy_refinement.occupancy.rules.workbench import Workbench
from multicopy_refinement.words import counted


class SumRule(Rule):
    """The groups sum to a number or to another group; with sigma this is a restraint.

    ``equal = 1`` when neither ``equal`` nor ``at_most`` is given.
    """

    KEY: ClassVar[str] = "sum"
    sum: Selections
    equal: Number | str | None = None
    at_most: Number | str | None = None
    name: str | None = None
    sigma: Sigma | None = None
    weights: tuple[Number, ...] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> SumRule:
        if self.equal is not None and self.at_most is not None:
            raise ValueError("give equal or at_most, not both")
        if self.weights is not None and self.sigma is None:
            raise ValueError("weights are for a sum with sigma")
        if self.sigma is not None and not isinstance(self.equal, float | int | None):
            raise ValueError("a sum with sigma needs a number in equal")
        if self.sigma is not None and self.at_most is not None:
            raise ValueError("a sum with sigma has equal, not at_most")
        for value in (self.equal, self.at_most):
            if self.sigma is None and isinstance(value, float) and not 0 < value <= 1:
                raise ValueError(
                    f"occupancies of a set sum to more than 0 and at most 1, not {value:g}"
                )
        return self

    def apply(self, bench: Workbench) -> None:
        """Make the groups a set, or restrain their sum."""
        groups = bench.whole_groups(self.sum)
        if self.sigma is not None:
            self._restrain(bench, groups, self.sigma)
            return
        parent, total = self._owner(bench, groups)
        draft, claims = bench.draft, bench.claims
        for group in groups:
            number = draft.groups[group].set_number
            if number is not None and number not in claims.automatic_sets:
                raise bench.fault(
                    f"{bench.name(group)}: in the set of {claims.set_rules[number]} already"
                )
        for group in groups:
            draft.leave_set(group)
        complete = self.at_most is None
        one = DraftSet(groups, total, complete, parent, self.name, f"by {bench.where}")
        claims.set_rules[draft.add_set(one)] = bench.where
        for group in groups:
            draft.groups[group].refined = group not in claims.fixed
        above: int | None = parent
        while above is not None:
            number = draft.groups[draft.find(above)].set_number
            if number is not None and draft.sets[number] is one:
                raise bench.fault(f"{bench.names(groups)}: they sum to themselves in a ring")
            above = None if number is None else draft.sets[number].parent

    def _restrain(self, bench: Workbench, groups: list[int], sigma: float) -> None:
        weights = self.weights or (1.0,) * len(groups)
        if len(weights) != len(groups):
            raise bench.fault(
                f"{counted(len(weights), 'weight')} for {counted(len(groups), 'group')}: "
                f"{bench.names(groups)}"
            )
        target = 1.0 if self.equal is None else float(self.equal)
        bench.restrain(groups, list(weights), target, sigma)

    def _owner(self, bench: Workbench, groups: list[int]) -> tuple[int | None, float]:
        """Return the group that the members sum to, or None, and the total beside it."""
        wanted = self.equal if self.at_most is None else self.at_most
        if not isinstance(wanted, str):
            return None, 1.0 if wanted is None else wanted
        owners = bench.whole_groups([wanted])
        if len(owners) > 1 or owners[0] in groups:
            raise bench.fault(
                f"the sum must be that of one group that is no member, not of {bench.names(owners)}"
            )
        return owners[0], 0.0
