"""What every rule is: a checked record that is applied to groups; and rules in their order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from multicopy_refinement.occupancy.rules.selection import Selection
from multicopy_refinement.occupancy.rules.workbench import Workbench


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


#: One selection stands for a list of one.
Selections = Annotated[tuple[Selection, ...], BeforeValidator(_as_list), Field(min_length=1)]
Number = Annotated[float, Field(allow_inf_nan=False, strict=True)]
Occupancy = Annotated[Number, Field(ge=0, le=1)]
Sigma = Annotated[Number, Field(gt=0)]


class Rule(BaseModel, ABC):
    """One kind of rule: its fields are what a user writes, `apply` is what it does.

    Attributes
    ----------
    KEY
        The field that tells this kind from the others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    KEY: ClassVar[str]

    @abstractmethod
    def apply(self, bench: Workbench) -> None:
        """Change the groups.

        Raises
        ------
        RuleError
            What stands against it, with the place of the rule.
        """


@dataclass(frozen=True)
class PlacedRule:
    """A rule and where it stands, for messages."""

    rule: Rule
    where: str


@dataclass(frozen=True)
class RuleSet:
    """Rules in the order in which they are applied.

    Attributes
    ----------
    rules
        What changes the groups.
    automatic
        Whether groups that no rule names are refined by the automatic rules; held otherwise.
    remarks
        What the source asked for and could not be taken over, one sentence each.
    """

    rules: tuple[PlacedRule, ...]
    automatic: bool = True
    remarks: tuple[str, ...] = ()

    def followed_by(self, later: RuleSet) -> RuleSet:
        """Return these rules with others after them."""
        return replace(self, rules=self.rules + later.rules, remarks=self.remarks + later.remarks)
