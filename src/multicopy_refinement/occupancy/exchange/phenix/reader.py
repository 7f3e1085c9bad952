"""Reading of constrained groups, individual atoms, and what is left out."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import BoolArray
from multicopy_refinement.atoms.numbering import number_residues
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.occupancy.exchange.common import places_of
from multicopy_refinement.occupancy.exchange.phenix.phil import Entry, entries
from multicopy_refinement.occupancy.exchange.phenix.selections import select
from multicopy_refinement.occupancy.rules import FixRule, GroupRule, PlacedRule, RuleSet, SumRule
from multicopy_refinement.words import counted


def read(text: str, table: AtomTable, source: str) -> RuleSet:
    """Return the groups of parameters in phenix' syntax.

    As in phenix.refine, automatic groups stay for atoms that no selection names, and a selection
    that overlaps an earlier one takes its atoms over; here a remark says so. ``individual`` atoms
    are refined one by one, those of ``remove_selection`` are held.
    """
    rules: list[PlacedRule] = []
    remarks: list[str] = []
    taken = np.zeros(len(table), dtype=bool)
    held = np.zeros(len(table), dtype=bool)
    held_where = source
    constrained: dict[tuple[int, ...], list[tuple[Entry, BoolArray]]] = {}
    for entry in entries(text, source):
        where = f"{source}, line {entry.line}"
        known = {"selection", "individual", "remove_selection"}
        if not {"occupancies", "constrained_group"} & set(entry.owners):
            continue  # parameters of something else
        if entry.value.lower() in {"none", "auto", ""}:
            continue
        if entry.name not in known:
            remarks.append(f"{where}: {entry.name} is not taken over")
            continue
        atoms = select(table, entry.value, where)
        if entry.name == "selection" and entry.owners[-1] == "constrained_group":
            constrained.setdefault(entry.scope, []).append((entry, atoms))
        elif entry.name == "individual":
            rules += [
                PlacedRule(GroupRule(atoms=((a,),)), where)
                for a in np.flatnonzero(atoms & ~taken).tolist()
            ]
            taken |= atoms
        elif entry.name == "remove_selection":
            held |= atoms
            held_where = where
    pieces = _apart(list(constrained.values()), table, source, remarks, taken)
    for group in pieces:
        rules += _group_rules(group, source)
    if held.any():
        rules += _held_rules(table, held & ~taken, held_where)
    return RuleSet(tuple(rules), True, tuple(remarks))


def _held_rules(table: AtomTable, held: BoolArray, where: str) -> list[PlacedRule]:
    """Return rules that hold atoms at what they have, residue by residue and value by value."""
    rules = []
    residue = number_residues(table)
    keys: dict[tuple[int, bytes, float], list[int]] = {}
    for atom in np.flatnonzero(held).tolist():
        key = (int(residue[atom]), table.altloc[atom], float(table.occupancy[atom]))
        keys.setdefault(key, []).append(atom)
    for (_, _, occupancy), atoms in keys.items():
        places = (tuple(atoms),)
        value = min(max(occupancy, 0.0), 1.0)
        rules.append(PlacedRule(GroupRule(atoms=places, value=value), where))
        rules.append(PlacedRule(FixRule(fix=places), where))
    return rules


def _apart(
    groups: list[list[tuple[Entry, BoolArray]]], table: AtomTable, source: str,
    remarks: list[str], taken: BoolArray,
) -> list[list[tuple[Entry, BoolArray]]]:  # fmt: skip
    """Return the selections without the atoms that later ones take over."""
    found = []
    for group in reversed(groups):
        kept = []
        for entry, atoms in reversed(group):
            both = atoms & taken
            if both.any():
                remarks.append(
                    f"{source}, line {entry.line}: {counted(int(both.sum()), 'atom', 'are')} named "
                    "again later, and taken there: "
                    f"{table.label(int(np.flatnonzero(both)[0]))} is one"
                )
            taken |= atoms
            if (atoms & ~both).any():
                kept.append((entry, atoms & ~both))
        found.append(kept[::-1])
    return found[::-1]


def _group_rules(group: list[tuple[Entry, BoolArray]], source: str) -> list[PlacedRule]:
    rules = [
        PlacedRule(GroupRule(atoms=(places_of(atoms),)), f"{source}, line {entry.line}")
        for entry, atoms in group
    ]
    if len(group) > 1:
        members = tuple(places_of(atoms) for _, atoms in group)
        rules.append(PlacedRule(SumRule(sum=members), f"{source}, line {group[0][0].line}"))
    return rules
