"""``multicopy-refine groups``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from multicopy_refinement.atoms.grouping import Grouping, GroupingResult, group_atoms
from multicopy_refinement.atoms.groups import OccupancyGroups
from multicopy_refinement.errors import OutputError
from multicopy_refinement.io.files import written_aside
from multicopy_refinement.io.structure import read_structure


def run_groups(model: Path, grouping: str, output_format: str, output: Path | None) -> None:
    """Print the groups of a model, or write them to a file."""
    if output is not None and output.exists():
        raise OutputError(f"{output}: the file is there already; name another with --output")
    source = read_structure(model)
    result = group_atoms(source.table, Grouping(grouping))
    if output_format == "json":
        _deliver(json.dumps(groups_as_json(result.groups), indent=1) + "\n", output)
        return
    if output is None:
        _print_table(Console(), result)
        return
    with written_aside(output) as aside, aside.open("w", encoding="utf-8") as stream:
        _print_table(Console(file=stream, width=160), result)


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
             "complete": s.complete}
            for s in groups.sets
        ],
    }  # fmt: skip


def _set_name(groups: OccupancyGroups, group: int) -> str | None:
    number = int(groups.set_index[group])
    return groups.sets[number].name if number >= 0 else None


def _deliver(text: str, output: Path | None) -> None:
    if output is None:
        print(text, end="")
        return
    with written_aside(output) as aside:
        aside.write_text(text, encoding="utf-8")


def _print_table(console: Console, result: GroupingResult) -> None:
    """Print the refined groups one by one, and count the others."""
    groups = result.groups
    table = Table(
        title=f"{int(groups.refined.sum())} refined of {len(groups)} groups, "
        f"{len(groups.sets)} sets",
        title_justify="left",
    )
    for name, justify in (
        ("group", "left"),
        ("atoms", "right"),
        ("occupancy", "right"),
        ("set", "left"),
        ("why", "left"),
    ):
        table.add_column(name, justify="right" if justify == "right" else "left")
    for g in range(len(groups)):
        if groups.refined[g]:
            table.add_row(
                escape(groups.names[g]),
                str(len(groups.members[g])),
                f"{groups.occupancy[g]:.3f}",
                escape(_set_name(groups, g) or ""),
                escape(groups.why(g)),
            )
    console.print(table)
    held = int((~groups.refined).sum())
    console.print(f"{held} groups are held: their occupancy is 1", highlight=False)
    for notice in result.notices:
        console.print(f"[yellow]Warning:[/] {escape(notice.message)}", highlight=False)
