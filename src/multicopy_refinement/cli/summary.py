"""What a person reads at the end of a run."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from multicopy_refinement.cli.warn import print_warning
from multicopy_refinement.modes import TargetKind
from multicopy_refinement.notices import HARMFUL
from multicopy_refinement.results.record import Group, RunRecord
from multicopy_refinement.words import probability, with_su

#: Files of a run, in the order in which they are named.
_FILES = (
    "refined.pdb", "refined.cif", "refined.mtz", "result.json", "run.log", "report.html",
)  # fmt: skip
#: What is said of a target that is not the likelihood of amplitudes.
_TARGETS = {
    TargetKind.MLI: "; target mli (likelihood of the intensities; R of French-Wilson amplitudes)",
    TargetKind.LS: "; target ls",
}
#: Groups and warnings that are shown; all of them are in the record.
MOST_GROUPS, MOST_WARNINGS, LONGEST_WARNING = 12, 8, 400


def print_summary(console: Console, record: RunRecord, out: Path) -> None:
    """Print R factors, the largest changes, warnings and where the files are."""
    if record.ligands:
        console.print(_ligands(record))
    _print_data(console, record)
    console.print(_agreement(record))
    console.print(_changes(record))
    if record.states:
        console.print(_states(record))
    ended = record.status
    word = "Converged" if ended.converged else "[bold yellow]Not converged[/]"
    console.print(
        f"{word} after {ended.cycles} cycles: {escape(ended.reason)}. "
        f"{record.seconds.total:.1f} s in all.",
        highlight=False,
    )
    _print_warnings(console, record)
    made = [name for name in _FILES if (out / name).is_file()]
    console.print(
        f"Results are in {escape(str(out))}: {', '.join(made)}",
        highlight=False,
        soft_wrap=True,
    )


def _ligands(record: RunRecord) -> Table:
    """Return what a run is about: each ligand, those in doubt first."""
    table = Table(title="Ligands", title_justify="left")
    table.add_column("ligand")
    table.add_column("occupancy", justify="right")
    table.add_column("conformers")
    for name in ("p absent", "CC", "worst difference"):
        table.add_column(name, justify="right")
    ordered = sorted(record.ligands, key=lambda one: -(one.p_absent or 0.0))
    for one in ordered[:MOST_GROUPS]:
        held = "" if one.refined else "not refined"
        flags = ", ".join(flag.replace("_", " ") for flag in one.flags)
        table.add_row(
            escape(_ligand_name(one.name)), with_su(one.occupancy, one.su),
            escape("; ".join(text for text in (one.made_of, flags, held) if text)),
            probability(one.p_absent),
            "-" if one.correlation is None else f"{one.correlation:.2f}",
            "-" if one.worst is None else f"{one.worst + 0.0:.1f} sigma",
        )  # fmt: skip
    if len(ordered) > MOST_GROUPS:
        table.add_row(f"{len(ordered) - MOST_GROUPS} more in result.json", "", "", "", "", "")
    return table


def _ligand_name(name: str) -> str:
    """Return ``LIG A1101`` for ``A/1101/LIG``."""
    *address, residue = name.split("/")
    return f"{residue} {''.join(address[-2:])}"


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
    choice = "" if record.provenance is None else f" ({record.provenance.free_set})"
    console.print(f"Free set: {free}{choice}", highlight=False, markup=False, soft_wrap=True)


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


def _changes(record: RunRecord) -> Table:
    refined = [group for group in record.groups if group.refined]
    refined.sort(key=lambda group: -abs(group.occupancy - group.initial))
    shown = refined[:MOST_GROUPS]
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


def _states(record: RunRecord) -> Table:
    title = "States: sums of groups"
    table = Table(title=title, title_justify="left")
    table.add_column("state")
    for name in ("occupancy", "p absent"):
        table.add_column(name, justify="right")
    for state in record.states[:MOST_GROUPS]:
        occupancy = with_su(state.occupancy, state.su)
        table.add_row(escape(state.name), occupancy, probability(state.p_absent))
    if len(record.states) > MOST_GROUPS:
        table.add_row(f"{len(record.states) - MOST_GROUPS} more in result.json", "", "")
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
        console.print(f"[yellow]{more} more warnings[/] are in result.json", highlight=False)
