"""Writing of groups for phenix.refine."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import BoolArray
from multicopy_refinement.errors import RuleError
from multicopy_refinement.occupancy.exchange.common import (
    Piece,
    Pieces,
    is_plain,
    listed_sets,
    lone_groups,
    refuse_namesakes,
    restraint_in_words,
    set_in_words,
    special_in_words,
)
from multicopy_refinement.occupancy.groups import OccupancyGroups
from multicopy_refinement.occupancy.values import not_full


def write(groups: OccupancyGroups, title: str = "") -> str:
    """Return groups as parameters for phenix.refine; comments name what it cannot express."""
    pieces = Pieces.of(groups.table)
    lines = [f"# occupancy groups{' of ' + title if title else ''}", *_lost(groups)]
    lines += [f"# {text}" for text in special_in_words(groups, once=True)]
    lines.append("refinement.refine.occupancies {")
    for one in listed_sets(groups):
        if is_plain(one) and groups.refined[list(one.groups)].all():
            lines += _constrained(groups, pieces, list(one.groups))
        else:
            for g in one.groups:
                if groups.refined[g]:
                    lines += _constrained(groups, pieces, [g])
    for g in lone_groups(groups):
        lines += _constrained(groups, pieces, [g])
    for g in np.flatnonzero(~groups.refined & _refined_there(groups)).tolist():
        lines += _selection("remove_selection", groups, pieces, g, "  ")
    return "\n".join([*lines, "}", ""])


def _refined_there(groups: OccupancyGroups) -> BoolArray:
    """Return which groups phenix would refine unasked: partial ones, and members of sets."""
    return np.asarray(not_full(groups.occupancy) | (groups.set_index >= 0))


def _lost(groups: OccupancyGroups) -> list[str]:
    lines = []
    for one in listed_sets(groups):
        if not is_plain(one):
            lines.append(f"# not expressed: {set_in_words(groups, one)}")
        elif not groups.refined[list(one.groups)].all():
            lines.append(f"# not expressed: fixed members of {set_in_words(groups, one)}")
    lines += [f"# not expressed: {restraint_in_words(groups, r)}" for r in groups.restraints]
    return lines


def _constrained(groups: OccupancyGroups, pieces: Pieces, members: list[int]) -> list[str]:
    lines = ["  constrained_group {"]
    for g in members:
        lines += _selection("selection", groups, pieces, g, "    ")
    return [*lines, "  }"]


def _selection(
    name: str, groups: OccupancyGroups, pieces: Pieces, group: int, indent: str
) -> list[str]:
    several = groups.table.several_models
    parts = []
    for piece in pieces.cut(groups.members[group]):
        refuse_namesakes(groups.table, piece, "phenix", by_residue_name=True)
        parts.append(_words(piece, several=several))
    lines = [f"{indent}{name} = {parts[0]}"]
    for part in parts[1:]:
        lines[-1] += " or \\"
        lines.append(f"{indent}    {part}")
    return lines


def _words(piece: Piece, *, several: bool) -> str:
    words = [f"model {piece.model}"] if several else []
    words += [f"chain {_quoted(piece.chain)}", f"resseq {piece.number}"]
    words.append(f"icode '{piece.icode or ' '}'")
    if piece.several_names:
        words.append(f"resname '{piece.resname}'")
    words.append(f"altid {_quoted(piece.altloc or ' ')}")
    if piece.names:
        names = [f"name {_quoted(name)}" for name in piece.names]
        words.append(names[0] if len(names) == 1 else f"({' or '.join(names)})")
    return f"({' and '.join(words)})"


def _quoted(name: str) -> str:
    """Return a name in quotes that do not occur in it: O5' has one of its own.

    Raises
    ------
    RuleError
        A name that phenix would read as a pattern, or that has both quotes in it.
    """
    if set("*?") & set(name) or set("'\"") <= set(name):
        raise RuleError(
            f"the name {name!r} cannot be written for phenix, which reads it as a pattern; "
            "rename it in the model, or write toml"
        )
    return f'"{name}"' if "'" in name else f"'{name}'"
