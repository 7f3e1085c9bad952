"""From atoms to occupancy groups: automatic rules, the user's, special positions, sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.modes import Grouping
from multicopy_refinement.occupancy.automatic.copies import group_by_copy
from multicopy_refinement.occupancy.automatic.networks import connect
from multicopy_refinement.occupancy.automatic.residues import residue_parts
from multicopy_refinement.occupancy.automatic.special import (
    limit_special_positions,
    mind_close_waters,
)
from multicopy_refinement.occupancy.automatic.states import group_by_state, offer_states
from multicopy_refinement.occupancy.exchange import read_rules
from multicopy_refinement.occupancy.rules import RuleSet, apply_rules, asked_rules, parse_rules
from multicopy_refinement.occupancy.rules.selection import Selection
from multicopy_refinement.occupancy.values import GroupingResult, normalise_sets

#: One selection or several.
Selections = str | Sequence[Selection]
#: Rules as mappings, as a checked set, or in a file.
Rules = Sequence[Mapping[str, Any]] | RuleSet | str | Path


@dataclass(frozen=True)
class GroupingOptions:
    """What the rules may be told.

    Attributes
    ----------
    grouping
        Which rules.
    contact_distance
        Of ``connected`` and ``states``: atoms of one letter that are this close belong together, A.
    link_close_waters
        Whether partial waters that are too close to be there at once become a set.
    refine, hold
        Selections of what is refined beside what is anyway, and of what is held at the file's
        value; held prevails.
    ligands, waters
        Whether all residues of these kinds are refined.
    """

    grouping: Grouping = Grouping.RESIDUE
    contact_distance: float = 4.0
    link_close_waters: bool = False
    refine: tuple[Selection, ...] = ()
    hold: tuple[Selection, ...] = ()
    ligands: bool = False
    waters: bool = False

    @classmethod
    def of(cls, options: GroupingOptions | Grouping) -> GroupingOptions:
        """Return options of which a grouping may be all that is said."""
        return options if isinstance(options, GroupingOptions) else cls(Grouping(options))

    def asking(
        self, refine: Selections = (), hold: Selections = (), *, ligands: bool = False,
        waters: bool = False,
    ) -> GroupingOptions:  # fmt: skip
        """Return options that refine and hold more; one text is one selection."""
        return replace(
            self, refine=self.refine + _listed(refine), hold=self.hold + _listed(hold),
            ligands=self.ligands or ligands, waters=self.waters or waters,
        )  # fmt: skip

    def asked(self, table: AtomTable) -> RuleSet:
        """Return what is to be refined and held as rules."""
        kinds = {"ligands": self.ligands, "waters": self.waters}
        return asked_rules(
            table, self.refine, self.hold, [k for k, wanted in kinds.items() if wanted]
        )


def _listed(selections: Selections) -> tuple[Selection, ...]:
    return (selections,) if isinstance(selections, str) else tuple(selections)


def group_atoms(
    table: AtomTable, options: GroupingOptions | Grouping = Grouping.RESIDUE, *,
    rules: Rules | None = None, crystal: tuple[Cell, SpaceGroup] | None = None,
) -> GroupingResult:  # fmt: skip
    """Return the groups of a table, their sets scaled to their sums.

    Parameters
    ----------
    table
        The atoms with the occupancies of the file.
    options
        The automatic rules.
    rules
        Those of the user, which change the automatic groups; what the options refine and hold
        comes after them.
    crystal
        Cell and space group, where they are known: single atoms on special positions are bounded.

    Raises
    ------
    RuleError
        A rule that is malformed, selects nothing, contradicts another or makes a set impossible;
        the message names the rule's place and the atoms.
    """
    options = GroupingOptions.of(options)
    result = automatic_groups(table, options)
    asked = options.asked(table)
    if rules is not None:
        asked = rule_set(rules, table).followed_by(asked)
    if rules is not None or asked.rules or asked.remarks:
        result = apply_rules(result, asked)
    if crystal is not None:
        result = limit_special_positions(result, crystal)
    return normalise_sets(result.groups, list(result.notices))


def automatic_groups(table: AtomTable, options: GroupingOptions | Grouping) -> GroupingResult:
    """Return the groups of `group_atoms` with the occupancies of the file, for rules to change."""
    options = GroupingOptions.of(options)
    if options.grouping is Grouping.COPIES:
        return group_by_copy(table)
    result = _without_unknown(residue_parts(table))
    if options.grouping is Grouping.STATES:
        result = group_by_state(result, options.contact_distance)
    else:
        residues = result.groups
        if options.grouping is Grouping.CONNECTED:
            result = connect(result, options.contact_distance)
        result = offer_states(residues, result, options.contact_distance)
    return mind_close_waters(result, link=options.link_close_waters)


def _without_unknown(result: GroupingResult) -> GroupingResult:
    """Hold lone groups of atoms of no known element: they do not scatter."""
    groups = result.groups
    known = np.bincount(groups.index, groups.table.element != b"X", minlength=len(groups)) > 0
    refined = groups.refined & (known | (groups.set_index >= 0))
    return replace(result, groups=replace(groups, refined=refined))


def rule_set(rules: Rules, table: AtomTable) -> RuleSet:
    """Return rules in whichever form they come as a checked set."""
    if isinstance(rules, RuleSet):
        return rules
    if isinstance(rules, str | Path):
        return read_rules(rules, table)
    return parse_rules(rules)
