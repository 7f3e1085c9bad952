"""The rules by which users change the automatic groups, as records that are checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from multicopy_refinement.errors import RuleError


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


#: A CID expression or the name of a group, or places of atoms in the file, counted from 0.
Selection = str | tuple[int, ...]
#: One selection stands for a list of one.
Selections = Annotated[tuple[Selection, ...], BeforeValidator(_as_list), Field(min_length=1)]
Number = Annotated[float, Field(allow_inf_nan=False, strict=True)]
Occupancy = Annotated[Number, Field(ge=0, le=1)]
Sigma = Annotated[Number, Field(gt=0)]


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ResidueShareRule(_Rule):
    """The groups of whole residues, given as (number, chain), are one, letter by letter."""

    residues: tuple[tuple[int, str], ...] = Field(min_length=1)
    share: bool = True
    name: str | None = None


class ShareRule(_Rule):
    """All groups that the selections touch are one, letter by letter."""

    share: Selections
    name: str | None = None


class SeparateRule(_Rule):
    """The atoms leave their groups; each residue's letters are groups of their own again."""

    separate: Selections


class FixRule(_Rule):
    """The groups are held, at a value if one is given."""

    fix: Selections
    value: Occupancy | None = None


class RefineRule(_Rule):
    """The groups are refined."""

    refine: Selections


class SumRule(_Rule):
    """The groups sum to a number or to another group; with sigma this is a restraint.

    ``equal = 1`` when neither ``equal`` nor ``at_most`` is given.
    """

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


class RestrainRule(_Rule):
    """Each group is drawn towards a target: -log p = ((q - target)/sigma)^2 / 2."""

    restrain: Selections
    target: Number
    sigma: Sigma


class SimilarRule(_Rule):
    """Two groups are drawn towards each other: -log p = ((q_1 - q_2)/sigma)^2 / 2."""

    similar: Selections
    sigma: Sigma


class GroupRule(_Rule):
    """The selected atoms, exactly, are one refined group outside any set."""

    group: str | None = None
    atoms: Selections
    value: Occupancy | None = None


Rule = (
    ResidueShareRule
    | ShareRule
    | SeparateRule
    | FixRule
    | RefineRule
    | SumRule
    | RestrainRule
    | SimilarRule
    | GroupRule
)

_BY_KEY: dict[str, type[_Rule]] = {
    "residues": ResidueShareRule, "share": ShareRule, "separate": SeparateRule, "fix": FixRule,
    "refine": RefineRule, "sum": SumRule, "restrain": RestrainRule, "similar": SimilarRule,
    "group": GroupRule,
}  # fmt: skip


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


def parse_rule(content: Mapping[str, Any], where: str) -> PlacedRule:
    """Return one rule.

    Raises
    ------
    RuleError
        What is wrong with it, and where it stands.
    """
    keys = [key for key in _BY_KEY if key in content]
    if keys[:2] == ["residues", "share"]:
        keys = ["residues"]
    if len(keys) != 1 or (keys == ["share"] and isinstance(content["share"], bool)):
        names = ", ".join(repr(k) for k in _BY_KEY)
        raise RuleError(
            f"{where}: a rule has one of {names} ('residues' goes with 'share'); "
            f"this one has {sorted(content)}"
        )
    try:
        rule = _BY_KEY[keys[0]].model_validate(dict(content))
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join(str(part) for part in first["loc"][:1])
        message = first["msg"].replace("Value error, ", "")
        if first["type"] == "extra_forbidden":
            known = ", ".join(_BY_KEY[keys[0]].model_fields)
            message = f"not known in this kind of rule, which has {known}"
        raise RuleError(f"{where}: {place + ': ' if place else ''}{message}") from None
    return PlacedRule(rule, where)  # type: ignore[arg-type]


def parse_rules(rules: Sequence[Mapping[str, Any]]) -> RuleSet:
    """Return the rules of a list, as Python code gives them."""
    return RuleSet(tuple(parse_rule(r, f"sharing_rules[{i}]") for i, r in enumerate(rules)))
