"""The tables that a person reads of a run, on a terminal and in its log."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from multicopy_refinement.results.record import Group, RunRecord
from multicopy_refinement.words import probability, with_su

#: Wide enough that no cell of a table is broken.
_WIDE = 2000


def summary_tables(record: RunRecord, *, most: int | None = None) -> list[Table]:
    """Return R factors, the largest changes and the states; at most so many rows, or all."""
    tables = [_agreement(record), _changes(record, most)]
    return [*tables, _states(record, most)] if record.states else tables


def as_lines(tables: Sequence[Table]) -> list[str]:
    """Return tables as lines of text, uncut and without colour."""
    text = io.StringIO()
    console = Console(file=text, width=_WIDE, color_system=None, emoji=False)
    for table in tables:
        console.print(table)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def ligand_table(record: RunRecord, *, most: int | None = None) -> Table:
    """Return what a run is about: each ligand, those in doubt first."""
    table = Table(title="Ligands", title_justify="left")
    table.add_column("ligand")
    table.add_column("occupancy", justify="right")
    table.add_column("conformers")
    for name in ("p absent", "CC", "worst difference"):
        table.add_column(name, justify="right")
    ordered = sorted(record.ligands, key=lambda one: -(one.p_absent or 0.0))
    shown = ordered[:most]
    for one in shown:
        held = "" if one.refined else "not refined"
        flags = ", ".join(flag.replace("_", " ") for flag in one.flags)
        table.add_row(
            escape(_ligand_name(one.name)), with_su(one.occupancy, one.su),
            escape("; ".join(text for text in (one.made_of, flags, held) if text)),
            probability(one.p_absent),
            "-" if one.correlation is None else f"{one.correlation:.2f}",
            "-" if one.worst is None else f"{one.worst + 0.0:.1f} sigma",
        )  # fmt: skip
    if len(ordered) > len(shown):
        table.add_row(f"{len(ordered) - len(shown)} more in result.json", "", "", "", "", "")
    return table


def _ligand_name(name: str) -> str:
    """Return ``LIG A1101`` for ``A/1101/LIG``."""
    *address, residue = name.split("/")
    return f"{residue} {''.join(address[-2:])}"


def _agreement(record: RunRecord) -> Table:
    table = Table(title="Agreement", title_justify="left")
    table.add_column("")
    for name in ("before", "after"):
        table.add_column(name, justify="right")
    before, after = record.statistics.initial, record.statistics.final
    for label, field, digits in (
        ("R-work", "r_work", 4), ("R-free", "r_free", 4), ("log-likelihood", "log_likelihood", 1),
        ("log-likelihood, free", "log_likelihood_free", 1),
    ):  # fmt: skip
        values = [getattr(side, field) for side in (before, after)]
        table.add_row(label, *("-" if v is None else f"{v:.{digits}f}" for v in values))
    return table


def _changes(record: RunRecord, most: int | None) -> Table:
    refined = [group for group in record.groups if group.refined]
    refined.sort(key=lambda group: -abs(group.occupancy - group.initial))
    shown = refined[:most]
    title = f"{len(refined)} groups refined of {len(record.groups)}"
    if len(refined) > len(shown):
        title += f"; the {len(shown)} largest changes"
    table = Table(title=title, title_justify="left")
    table.add_column("group")
    # what was clamped or scaled before refinement stands beside what the file says
    moved = any(group.begun_elsewhere for group in shown)
    for name in ("atoms", "before", *(["scaled"] if moved else []), "after", "p absent"):
        table.add_column(name, justify="right")
    table.add_column("flags")
    for group in shown:
        table.add_row(*_row(group, moved=moved))
    return table


def _states(record: RunRecord, most: int | None) -> Table:
    title = "States: sums of groups"
    table = Table(title=title, title_justify="left")
    table.add_column("state")
    for name in ("occupancy", "p absent"):
        table.add_column(name, justify="right")
    shown = record.states[:most]
    for state in shown:
        occupancy = with_su(state.occupancy, state.su)
        table.add_row(escape(state.name), occupancy, probability(state.p_absent))
    if len(record.states) > len(shown):
        table.add_row(f"{len(record.states) - len(shown)} more in result.json", "", "")
    return table


def _row(group: Group, *, moved: bool) -> tuple[str, ...]:
    flags = ", ".join(flag.replace("_", " ") for flag in group.flags)
    return (
        escape(group.name),
        str(group.n_atoms),
        f"{group.initial:.2f}",
        *([f"{group.initial if group.start is None else group.start:.2f}"] if moved else []),
        with_su(group.occupancy, group.su),
        probability(group.p_absent),
        flags,
    )
