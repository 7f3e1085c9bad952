"""The tables that a person reads of a run, on a terminal and in its log."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from multicopy_refinement.results.anomalous_record import AnomalousRecord
from multicopy_refinement.results.record import Group, LigandRecord, RunRecord, State
from multicopy_refinement.words import counted, probability, with_su

#: Wide enough that no cell of a table is broken.
_WIDE = 2000
#: From this many columns on, tables of groups have the evidence and the set of each.
_ROOMY = 100
#: Evidence, as the report calls it.
_GAIN = "ΔlogL"
#: How flags are seen: what a value cannot be used with, and what to look at.
_STYLES = {
    "undetermined": "red", "not_supported": "red", "at_bound": "yellow", "poor_fit": "yellow",
    "correlated_with_b": "yellow", "held_off": "yellow",
}  # fmt: skip


def summary_tables(
    record: RunRecord, *, most: int | None = None, width: int = _WIDE
) -> list[Table]:
    """Return R factors, the largest changes and the states; at most so many rows, or all.

    Where there is room, groups stand with their evidence and their set.
    """
    roomy = width >= _ROOMY
    tables = [_agreement(record), *_geometry(record)]
    if any(group.refined for group in record.groups):
        tables.append(_changes(record, most, roomy=roomy))
    if record.states:
        tables.append(_states(record, most, roomy=roomy))
    return [*tables, _exchange(record, most)] if record.exchange else tables


def as_lines(tables: Sequence[Table]) -> list[str]:
    """Return tables as lines of text, uncut and without colour."""
    text = io.StringIO()
    console = Console(file=text, width=_WIDE, color_system=None, emoji=False)
    for table in tables:
        console.print(table)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def ligand_table(record: RunRecord, *, most: int | None = None, width: int = _WIDE) -> Table:
    """Return what a run is about: each ligand, those in doubt first."""
    gain = [_GAIN] if width >= _ROOMY else []
    table = Table(title="Ligands", title_justify="left")
    table.add_column("ligand")
    table.add_column("occupancy", justify="right")
    table.add_column("conformers")
    omitted = any(one.omit_peak is not None for one in record.ligands)
    peaks = ["peak or hole, sigma", *(["omit peak, sigma"] if omitted else [])]
    if width < _ROOMY:  # in as many lines as leave room for the conformers
        peaks = ["peak\nor hole,\nsigma", *(name.replace(" ", "\n") for name in peaks[1:])]
    for name in (*gain, "p absent", "CC", *peaks):
        table.add_column(name, justify="right")
    ordered = sorted(record.ligands, key=lambda one: -(one.p_absent or 0.0))
    shown = ordered[:most]
    for one in shown:
        held = "" if one.refined else "held"
        omit = "-" if one.omit_peak is None else f"{one.omit_peak + 0.0:.1f}"
        table.add_row(
            escape(_ligand_name(one.name)), with_su(one.occupancy, one.su),
            "; ".join(t for t in (escape(one.made_of), in_colour(one.flags), held) if t),
            *(_gain(one) for _ in gain), probability(one.p_absent),
            "-" if one.correlation is None else f"{one.correlation:.2f}",
            "-" if one.worst is None else f"{one.worst + 0.0:.1f}",
            *([omit] if omitted else []),
        )  # fmt: skip
    if len(ordered) > len(shown):
        table.add_row(f"{len(ordered) - len(shown)} more in result.json")
    return table


def in_colour(flags: Sequence[str]) -> str:
    """Return flags in words, in rich's markup: red where a value should not be used.

    >>> in_colour(["not_supported", "indistinguishable_from_0"])
    '[red]not supported[/], indistinguishable from 0'
    """
    words = []
    for flag in flags:
        style, word = _STYLES.get(flag), escape(flag.replace("_", " "))
        words.append(word if style is None else f"[{style}]{word}[/]")
    return ", ".join(words)


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
    if record.anomalous is not None:
        for label, *ends in differences_in_words(record.anomalous):
            table.add_row(label, *ends)
    return table


def differences_in_words(found: AnomalousRecord) -> list[tuple[str, str, str]]:
    """Return rows of how Bijvoet differences agree: label, before, after."""
    rows = []
    for label, field in (("CC, F(+) - F(-)", "cc_work"), ("CC, F(+) - F(-), free", "cc_free")):
        ends = [getattr(side, field) for side in (found.initial, found.final)]
        first, last = ("-" if v is None else f"{v:.3f}" for v in ends)
        rows.append((label, first, last))
    return rows


def _geometry(record: RunRecord) -> list[Table]:
    """Return the deviations from the restraints, where coordinates or B were refined."""
    found = record.geometry
    if found is None or not found.kinds:
        return []
    title = (
        f"Geometry; atoms moved by {found.rms_shift:.3f} A, B changed by "
        f"{found.rms_b_change:.1f} A^2 (rms), weight {found.weight:.2g}, "
        f"spread of B {found.b_spread:.2g}"
    )
    if found.leverage > 0:
        title += f", the fit takes up {found.leverage:.0%} of the data"
    table = Table(title=title, title_justify="left")
    table.add_column("restraints")
    for name in ("n", "rms before", "rms after", "rms Z before", "rms Z after"):
        table.add_column(name, justify="right")
    for kind in found.kinds:
        table.add_row(
            kind.kind, str(kind.n), _length(kind.rms_before, kind.unit),
            _length(kind.rms_after, kind.unit),
            "-" if kind.rms_z_before is None else f"{kind.rms_z_before:.2f}",
            f"{kind.rms_z_after:.2f}",
        )  # fmt: skip
    return [table]


def _length(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.3g} {unit}"


def _changes(record: RunRecord, most: int | None, *, roomy: bool) -> Table:
    refined = [group for group in record.groups if group.refined]
    refined.sort(key=lambda group: -abs(group.occupancy - group.initial))
    shown = refined[:most]
    title = f"{counted(len(refined), 'group')} refined of {len(record.groups)}"
    if len(refined) > len(shown):
        title += f"; the {len(shown)} largest changes"
    table = Table(title=title, title_justify="left")
    table.add_column("group")
    columns = _columns(shown, roomy=roomy)
    for name in columns:
        table.add_column(name, justify="left" if name in {"set", "flags"} else "right")
    for group in shown:
        table.add_row(escape(group.name), *(value(group) for value in columns.values()))
    return table


def _states(record: RunRecord, most: int | None, *, roomy: bool) -> Table:
    title = "States: sums of groups"
    table = Table(title=title, title_justify="left")
    table.add_column("state")
    gain = [_GAIN] if roomy else []
    for name in ("occupancy", *gain, "p absent"):
        table.add_column(name, justify="right")
    shown = record.states[:most]
    for state in shown:
        occupancy = with_su(state.occupancy, state.su)
        table.add_row(
            escape(state.name), occupancy, *(_gain(state) for _ in gain),
            probability(state.p_absent),
        )  # fmt: skip
    if len(record.states) > len(shown):
        table.add_row(f"{len(record.states) - len(shown)} more in result.json")
    return table


def _exchange(record: RunRecord, most: int | None) -> Table:
    """Return the part of D by residue: at its main chain's amide, and elsewhere."""
    table = Table(title="Exchange: part of D", title_justify="left")
    table.add_column("residue")
    table.add_column("amide", justify="right")
    table.add_column("other sites")
    rows = exchange_by_residue(record)
    for residue, amide, others in rows[:most]:
        words = [f"{site} {value}" for site, value in others]
        table.add_row(escape(residue), amide or "-", escape(", ".join(words)))
    if most is not None and len(rows) > most:
        table.add_row(f"{len(rows) - most} more in result.json")
    return table


def exchange_by_residue(record: RunRecord) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Return residues with the part of D at the amide, blank without, and at other sites by name.

    What the data do not determine has a question mark.
    """
    rows: dict[str, tuple[list[str], list[tuple[str, str]]]] = {}
    for one in record.exchange:
        value = with_su(one.fraction_d, one.su) + ("" if one.su is not None else "?")
        amide, others = rows.setdefault(one.residue, ([], []))
        if one.parent == "N":
            amide.append(f"{value}{f' ({one.altloc})' if one.altloc else ''}")
        else:
            others.append((f"{one.site}{f':{one.altloc}' if one.altloc else ''}", value))
    return [(name, ", ".join(amide), others) for name, (amide, others) in rows.items()]


def _columns(groups: Sequence[Group], *, roomy: bool) -> dict[str, Callable[[Group], str]]:
    """Return what is said of groups beside their name, as far as there is something and room."""
    columns: dict[str, Callable[[Group], str]] = {
        "atoms": lambda group: str(group.n_atoms),
        "before": lambda group: f"{group.initial:.2f}",
    }
    if any(group.begun_elsewhere for group in groups):
        # what was clamped or scaled before refinement stands beside what the file says
        columns["scaled"] = lambda group: (
            f"{group.initial if group.start is None else group.start:.2f}"
        )
    columns["after"] = lambda group: with_su(group.occupancy, group.su)
    if roomy and any(group.delta_b is not None for group in groups):
        columns["B shift"] = lambda group: (
            "-" if group.delta_b is None else with_su(group.delta_b, group.delta_b_su, 1)
        )
    if roomy:
        columns[_GAIN] = _gain
    if roomy and any(group.occupancy_anomalous is not None for group in groups):
        columns[f"{_GAIN} of F(+)-F(-)"] = lambda group: (
            "-"
            if group.occupancy_anomalous is None
            else _shown(group.delta_log_likelihood_anomalous)
        )
        columns["by F(+)-F(-)"] = lambda group: (
            "-"
            if group.occupancy_anomalous is None
            else with_su(group.occupancy_anomalous, group.su_anomalous)
        )
    columns["p absent"] = lambda group: probability(group.p_absent)
    if roomy and any(_other_set(group) for group in groups):
        columns["set"] = lambda group: escape(_other_set(group))
    columns["flags"] = lambda group: in_colour(group.flags)
    return columns


def _gain(one: Group | State | LigandRecord) -> str:
    return _shown(one.delta_log_likelihood)


def _shown(gain: float | None) -> str:
    return "-" if gain is None else f"{round(gain, 1) + 0.0:.1f}"


def _other_set(group: Group) -> str:
    """Return the set of a group, where that is another than its residue."""
    own = group.set in {group.name, group.name.rpartition(":")[0]}
    return "" if group.set is None or own else group.set
