"""``multicopy-refine groups``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from multicopy_refinement.atoms.hydrogen_pairs import exchangeable_alone
from multicopy_refinement.atoms.numbering import number_residues
from multicopy_refinement.cli.warn import print_warning
from multicopy_refinement.errors import InputError, OutputError
from multicopy_refinement.io.files import written_aside
from multicopy_refinement.io.radiation import wavelength_of
from multicopy_refinement.io.structure import read_structure
from multicopy_refinement.modes import ExchangeFormat, GroupsFormat
from multicopy_refinement.notices import listed
from multicopy_refinement.occupancy.exchange import write_groups
from multicopy_refinement.occupancy.exchange.common import is_plain
from multicopy_refinement.occupancy.grouping import GroupingOptions, group_atoms
from multicopy_refinement.occupancy.groups import OccupancyGroups
from multicopy_refinement.occupancy.rules.selection import KINDS_OF_RESIDUES
from multicopy_refinement.occupancy.summary import summary_of
from multicopy_refinement.occupancy.values import GroupingResult, not_full
from multicopy_refinement.words import counted


def run_groups(
    model: Path,
    output_format: GroupsFormat,
    output: Path | None,
    *,
    everything: bool = False,
    rules: Path | None = None,
    **options: Any,
) -> None:
    """Print the groups of a model, or write them to a file; options are `GroupingOptions`."""
    if output is not None and output.exists():
        raise OutputError(f"{output}: the file is there already; name another with --output")
    if everything and output_format not in (GroupsFormat.TABLE, GroupsFormat.JSON):
        raise InputError(
            f"--all: is for tables; {output_format} says of what is held no more than it must"
        )
    source = read_structure(model)
    grouping = GroupingOptions(**options)
    result = group_atoms(source.table, grouping, rules=rules, crystal=source.crystal)
    result = replace(result, notices=source.notices + result.notices)
    if output_format is GroupsFormat.TABLE:
        _deliver_table(result, output, everything=everything)
        return
    if output_format is GroupsFormat.JSON:
        text = json.dumps(groups_as_json(result.groups), indent=1) + "\n"
    else:
        form = ExchangeFormat(output_format)
        text = write_groups(
            result.groups, form, cell=source.cell, spacegroup=source.spacegroup,
            wavelength=wavelength_of(source), title=source.path.name,
        )  # fmt: skip
    _deliver(text, output)
    for notice in result.notices:
        print_warning(Console(stderr=True, emoji=False), notice.message)


def groups_as_json(groups: OccupancyGroups) -> dict[str, Any]:
    """Return groups and sets as plain data; atom indices count the file's atoms from 0."""
    return {
        "groups": [
            {
                "name": name,
                "atom_indices": groups.members[g].tolist(),
                "occupancy": round(float(groups.occupancy[g]), 6),
                "refined": bool(groups.refined[g]),
                "set": _set_name(groups, g),
                "why": groups.why(g),
            }
            for g, name in enumerate(groups.names)
        ],
        "sets": [
            {"name": s.name, "groups": [groups.names[g] for g in s.groups], "total": s.total,
             "complete": s.complete,
             **({} if s.parent is None else {"parent": groups.names[s.parent]})}
            for s in groups.sets
        ],
    }  # fmt: skip


def _short_reason(groups: OccupancyGroups, group: int) -> str:
    """Return why a group exists, and its sum where that is not the usual 1."""
    number = int(groups.set_index[group])
    plain = number < 0 or is_plain(groups.sets[number])
    return groups.reason(group) if plain else groups.why(group)


def _set_name(groups: OccupancyGroups, group: int) -> str | None:
    number = int(groups.set_index[group])
    return groups.sets[number].name if number >= 0 else None


def _deliver(text: str, output: Path | None) -> None:
    if output is None:
        print(text, end="")
        return
    with written_aside(output) as aside:
        aside.write_text(text, encoding="utf-8")


def _deliver_table(result: GroupingResult, output: Path | None, *, everything: bool) -> None:
    if output is None:
        _print_table(Console(emoji=False), result, everything=everything)
        return
    with written_aside(output) as aside, aside.open("w", encoding="utf-8") as stream:
        console = Console(file=stream, width=160, emoji=False)
        _print_table(console, result, everything=everything)


def _print_table(console: Console, result: GroupingResult, *, everything: bool) -> None:
    """Print the groups that are refined or tied one by one, or all, and count the others."""
    groups = result.groups
    shown = groups.refined | (groups.set_index >= 0) | not_full(groups.occupancy) | everything
    table = Table(
        title=f"{int(groups.refined.sum())} refined of {len(groups)} groups, "
        f"{counted(len(groups.sets), 'set')}",
        title_justify="left",
    )
    table.add_column("group")
    for name in ("atoms", "occupancy"):
        table.add_column(name, justify="right")
    table.add_column("refined")
    table.add_column("set")
    table.add_column("why")
    for g in np.flatnonzero(shown).tolist():
        table.add_row(
            escape(groups.names[g]),
            str(len(groups.members[g])),
            f"{groups.occupancy[g]:.3f}",
            "yes" if groups.refined[g] else "no",
            escape(_set_name(groups, g) or ""),
            escape(_short_reason(groups, g)),
        )
    console.print(table)
    for restraint in groups.restraints:
        console.print(f"Restraint: {escape(restraint.name)}", highlight=False)
    console.print(summary_of(groups).in_words(), highlight=False, markup=False, soft_wrap=True)
    for notice in result.notices:
        print_warning(console, notice.message)
    for line in (_exchangeable(groups), _how_to_free(groups)):
        if line:
            console.print(line, highlight=False, markup=False, soft_wrap=True)


def _exchangeable(groups: OccupancyGroups) -> str:
    """Return which sites of a model with D could be refined for their exchange, and are not."""
    table = groups.table
    if not (table.element == b"D").any():
        return ""
    alone = exchangeable_alone(table, number_residues(table))
    if len(alone) == 0:
        return ""
    names = listed(list(table.labels(alone)))
    return (
        f"Exchangeable sites with H or D alone: {len(alone)} ({names}); with both at the site, "
        "their exchange is refined."
    )


def _how_to_free(groups: OccupancyGroups) -> str:
    """Return how many residues are held at 1, and how they can be refined."""
    full = ~groups.refined & ~not_full(groups.occupancy)
    residue = number_residues(groups.table)
    held = np.setdiff1d(residue, residue[~full[groups.index]])
    if len(held) == 0:
        return "No residue is held at 1."
    counts = {
        kind: len(np.intersect1d(residue[atoms(groups.table)], held))
        for kind, atoms in KINDS_OF_RESIDUES.items()
    }
    offers = "".join(f", --{kind} all {kind} ({n})" for kind, n in counts.items() if n)
    name = groups.table.residue_label(int(np.flatnonzero(residue == held[0])[0]))
    return (
        f"{counted(len(held), 'residue', 'are')} held at 1 (--all lists them): "
        f"--refine SELECTION refines what you name, for example --refine {name}{offers}."
    )
