"""Rules by which users change the automatic groups: one class a kind, applied in their order."""

from multicopy_refinement.occupancy.rules.application import apply_rules
from multicopy_refinement.occupancy.rules.asked import asked_rules
from multicopy_refinement.occupancy.rules.define import GroupRule
from multicopy_refinement.occupancy.rules.hold import FixRule, RefineRule
from multicopy_refinement.occupancy.rules.models import PlacedRule, Rule, RuleSet
from multicopy_refinement.occupancy.rules.registry import KINDS, parse_rule, parse_rules
from multicopy_refinement.occupancy.rules.restrain import RestrainRule, SimilarRule
from multicopy_refinement.occupancy.rules.separate import SeparateRule
from multicopy_refinement.occupancy.rules.share import ResidueShareRule, ShareRule
from multicopy_refinement.occupancy.rules.total import SumRule

__all__ = [
    "KINDS", "FixRule", "GroupRule", "PlacedRule", "RefineRule", "ResidueShareRule", "RestrainRule",
    "Rule", "RuleSet", "SeparateRule", "ShareRule", "SimilarRule", "SumRule", "apply_rules",
    "asked_rules", "parse_rule", "parse_rules",
]  # fmt: skip
