"""What a run is asked to refine and to hold: rules that come after those of a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.occupancy.rules.models import PlacedRule, Rule, RuleSet
from multicopy_refinement.occupancy.rules.selection import KINDS_OF_RESIDUES, Selection
from multicopy_refinement.occupancy.rules.workbench import Workbench


class HoldAsked(Rule):
    """All that goes by a name is held at what the file says.

    A set whose members are all held is left as it is written, should it sum to less than it must.
    """

    KEY: ClassVar[str] = "hold"
    hold: Selection

    def apply(self, bench: Workbench) -> None:
        """Hold the groups."""
        atoms = bench.asked(self.hold)
        groups = bench.uncut(bench.draft.touched(atoms), atoms, self.hold)
        for group in groups:
            if group not in bench.claims.fixed:
                bench.fix(group, f"held by {bench.where}")
        bench.open_held_sets(groups)


class RefineAsked(Rule):
    """All that goes by a name is refined, save what earlier rules hold.

    What is refined already stays in its set, whatever else is in its group.
    """

    KEY: ClassVar[str] = "refine"
    refine: Selection

    def apply(self, bench: Workbench) -> None:
        """Refine the groups that are not."""
        atoms = bench.asked(self.refine)
        touched, fixed = bench.draft.touched(atoms), bench.claims.fixed
        free = [g for g in touched if g not in fixed]
        if not free:
            bench.refuse_if_fixed(touched[0])
        held = [g for g in free if not bench.draft.groups[g].refined]
        for group in bench.uncut(held, atoms, self.refine):
            bench.release(group)


def asked_rules(
    table: AtomTable, refine: Sequence[Selection], hold: Sequence[Selection], kinds: Sequence[str]
) -> RuleSet:
    """Return rules for what is to be refined beside what is anyway, and for what is to be held.

    Parameters
    ----------
    refine, hold
        Selections. What is held stays so, whatever is to be refined.
    kinds
        Kinds of residues that are to be refined: ``ligands``, ``waters``.
    """
    rules = [PlacedRule(HoldAsked(hold=one), f"--hold {one}") for one in hold]
    rules += [PlacedRule(RefineAsked(refine=one), f"--refine {one}") for one in refine]
    there = [kind for kind in kinds if KINDS_OF_RESIDUES[kind](table).any()]
    rules += [PlacedRule(RefineAsked(refine=kind), f"--{kind}") for kind in there]
    remarks = [f"--{kind}: the model has no {kind}" for kind in kinds if kind not in there]
    return RuleSet(tuple(rules), remarks=tuple(remarks))
