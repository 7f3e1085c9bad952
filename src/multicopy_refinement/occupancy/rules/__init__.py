"""Rules by which users change the automatic groups."""

from multicopy_refinement.occupancy.rules.application import Rules, apply_rules
from multicopy_refinement.occupancy.rules.models import RuleSet, parse_rules

__all__ = ["RuleSet", "Rules", "apply_rules", "parse_rules"]
