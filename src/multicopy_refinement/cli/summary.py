"""What a person reads at the end of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from multicopy_refinement.cli.warn import print_warning
from multicopy_refinement.crystal.beam import PLAIN
from multicopy_refinement.modes import TargetKind
from multicopy_refinement.notices import HARMFUL
from multicopy_refinement.results.folder import RESULTS
from multicopy_refinement.results.record import RunRecord
from multicopy_refinement.results.tables import ligand_table, summary_tables
from multicopy_refinement.words import counted

if TYPE_CHECKING:
    from multicopy_refinement.report.findings import Advice

#: What is said of a target that is not the likelihood of amplitudes.
_TARGETS = {
    TargetKind.MLI: "; target mli (likelihood of the intensities; R of French-Wilson amplitudes)",
    TargetKind.LS: "; target ls",
}
#: Groups and warnings that are shown; all of them are in the record.
MOST_GROUPS, MOST_WARNINGS, LONGEST_WARNING = 12, 8, 400
#: Items of advice, and groups of each, that are shown; report.html has them all, and why.
MOST_ADVICE, MOST_NAMES = 5, 4


def print_summary(console: Console, record: RunRecord, advice: Sequence[Advice], out: Path) -> None:
    """Print ligands, what to do, R factors, the largest changes, warnings, where the files are."""
    if record.ligands:
        console.print(ligand_table(record, most=MOST_GROUPS, width=console.width))
    _print_advice(console, advice)
    _print_data(console, record)
    for table in summary_tables(record, most=MOST_GROUPS, width=console.width):
        console.print(table)
    ended = record.status
    word = "Converged" if ended.converged else "[bold yellow]Not converged[/]"
    console.print(
        f"{word} after {counted(ended.cycles, 'cycle')}: {escape(ended.reason)}. "
        f"{record.seconds.total:.1f} s in all.",
        highlight=False,
    )
    _print_warnings(console, record)
    made = [name for name in RESULTS if (out / name).is_file()]
    console.print(
        f"Results are in {escape(str(out))}: {', '.join(made)}",
        highlight=False,
        soft_wrap=True,
    )


def _print_advice(console: Console, advice: Sequence[Advice]) -> None:
    if not advice:
        return
    console.print("[italic]What to do first[/]")
    for number, one in enumerate(advice[:MOST_ADVICE], 1):
        style = "bold red" if one.serious else "green" if one.good else "bold"
        names = list(one.groups[:MOST_NAMES])
        if len(one.groups) > len(names):
            names.append(f"and {len(one.groups) - len(names)} more")
        tail = f": {', '.join(names)}" if names else ""
        console.print(f"{number}  [{style}]{one.title}[/]{escape(tail)}", highlight=False)
        if one.command:
            console.print(f"   {escape(one.command)}", highlight=False, soft_wrap=True)
    more = len(advice) - MOST_ADVICE
    if more > 0:
        console.print(f"{more} more, and why, in report.html", highlight=False)


def _print_data(console: Console, record: RunRecord) -> None:
    inputs, target = record.inputs, record.data.target
    told = "" if target is None else _TARGETS.get(target, "")
    free = "none" if inputs.free_label is None else f"{inputs.free_label} = {inputs.free_value}"
    console.print(
        f"Data: {','.join(inputs.labels)}, {record.data.n_work} work and "
        f"{record.data.n_free} free reflections, {record.data.d_max:.1f} to "
        f"{record.data.d_min:.2f} A, {record.data.spacegroup}{told}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    beam = record.data.beam
    if beam != PLAIN:
        console.print(
            f"Radiation: {beam.in_words()}", highlight=False, markup=False, soft_wrap=True
        )
    if record.twinning is not None and record.twinning.refined is not None:
        text = record.twinning.refined.in_words
        console.print(f"Twin: {text.removeprefix('twin ')}", highlight=False, markup=False)
    if record.extinction is not None:
        text = record.extinction.in_words
        console.print(f"Extinction: {text}", highlight=False, markup=False)
    if record.anomalous is not None:
        console.print(
            f"Bijvoet differences: {record.anomalous.in_words}", highlight=False, markup=False,
            soft_wrap=True,
        )  # fmt: skip
    choice = "" if record.provenance is None else f" ({record.provenance.free_set})"
    console.print(f"Free set: {free}{choice}", highlight=False, markup=False, soft_wrap=True)


def print_harmful(console: Console, record: RunRecord) -> None:
    """Print what spoils the result, for those who asked for quiet."""
    if not record.status.converged:
        print_warning(console, f"not converged: {record.status.reason}")
    for warning in record.warnings:
        if warning.code in HARMFUL:
            print_warning(console, warning.message)


def _print_warnings(console: Console, record: RunRecord) -> None:
    for warning in record.warnings[:MOST_WARNINGS]:
        text = warning.message
        if len(text) > LONGEST_WARNING:
            text = text[: LONGEST_WARNING - 1] + "\u2026"
        console.print(f"[yellow]Warning:[/] {escape(text)}", highlight=False)
    if len(record.warnings) > MOST_WARNINGS:
        more = len(record.warnings) - MOST_WARNINGS
        console.print(f"[yellow]{counted(more, 'more warning')}[/] in result.json", highlight=False)
