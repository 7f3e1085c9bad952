"""The kinds of rules, and how a rule is read from what a user wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from multicopy_refinement.errors import RuleError
from multicopy_refinement.occupancy.rules.define import GroupRule
from multicopy_refinement.occupancy.rules.hold import FixRule, RefineRule
from multicopy_refinement.occupancy.rules.models import PlacedRule, Rule, RuleSet
from multicopy_refinement.occupancy.rules.restrain import RestrainRule, SimilarRule
from multicopy_refinement.occupancy.rules.separate import SeparateRule
from multicopy_refinement.occupancy.rules.share import ResidueShareRule, ShareRule
from multicopy_refinement.occupancy.rules.total import SumRule

#: A new kind of rule is a class in a file of its own, and its name here.
KINDS: tuple[type[Rule], ...] = (
    ResidueShareRule, ShareRule, SeparateRule, FixRule, RefineRule, SumRule, RestrainRule,
    SimilarRule, GroupRule,
)  # fmt: skip

_BY_KEY = {kind.KEY: kind for kind in KINDS}


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
        return PlacedRule(_BY_KEY[keys[0]].model_validate(dict(content)), where)
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join(str(part) for part in first["loc"][:1])
        message = first["msg"].replace("Value error, ", "")
        if first["type"] == "extra_forbidden":
            known = ", ".join(_BY_KEY[keys[0]].model_fields)
            message = f"not known in this kind of rule, which has {known}"
        raise RuleError(f"{where}: {place + ': ' if place else ''}{message}") from None


def parse_rules(rules: Sequence[Mapping[str, Any]]) -> RuleSet:
    """Return the rules of a list, as Python code gives them."""
    return RuleSet(tuple(parse_rule(r, f"sharing_rules[{i}]") for i, r in enumerate(rules)))
