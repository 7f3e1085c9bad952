"""``multicopy-refine series``."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from multicopy_refinement.cli.progress import Show
from multicopy_refinement.cli.refine import use_threads
from multicopy_refinement.notices import HARMFUL
from multicopy_refinement.series.job import SeriesJob, run_series
from multicopy_refinement.series.record import FitRecord, SeriesRecord, WarningRecord
from multicopy_refinement.words import counted, probability, with_su

#: Warnings that are shown; the files have all of them.
_MOST = 8


def run(job: SeriesJob, threads: int | None, show: Show) -> SeriesRecord:
    """Refine a series."""
    use_threads(threads)
    return run_series(job, lambda step, done, total: show(step, done, total, None))


def print_harmful(record: SeriesRecord) -> None:
    """Print what spoils the result, for those who asked for quiet."""
    console = Console(emoji=False, stderr=True)
    for one in record.warnings:
        if one.code in HARMFUL:
            _warn(console, one)


def print_series(record: SeriesRecord, out: Path) -> None:
    """Print fractions, curves, whether one fraction fits, and where the files are."""
    console = Console(emoji=False)
    console.print(_fractions(record))
    if record.fits:
        console.print(_curves(record))
    if record.regions is not None:
        test = record.regions
        off = [one.name for one in test.regions if one.disagrees]
        said = f"disagree: {', '.join(off)}" if off else "none disagrees"
        _line(
            console,
            f"One fraction for {counted(len(test.regions), 'residue')}: "
            f"chi-square {test.total_chi_square:.1f} for {test.total_degrees_of_freedom} "
            f"degrees of freedom, "
            f"p {probability(test.total_p)}; {said}.",
        )
    for one in record.warnings[:_MOST]:
        _warn(console, one)
    if len(record.warnings) > _MOST:
        _line(console, f"{counted(len(record.warnings) - _MOST, 'more warning')} in series.json")
    _line(console, f"Results are in {out}: series.html, series.csv, series.parquet, series.json.")


def _warn(console: Console, one: WarningRecord) -> None:
    where = f"{one.data_set}: " if one.data_set else ""
    _line(console, f"Warning: {where}{one.message}")


def _line(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _fractions(record: SeriesRecord) -> Table:
    table = Table(title=f"Fraction of {escape(record.state)}", title_justify="left")
    table.add_column("data set")
    for label in (record.variable, "fraction", "p absent", "R-work", "R-free"):
        table.add_column(label, justify="right")
    table.add_column("remarks")
    for one in record.data_sets:
        remarks = ["reference"] if one.name == record.reference else list(one.flags)
        remarks += [] if one.converged else ["not converged"]
        table.add_row(
            escape(one.name), "-" if one.x is None else f"{one.x:g}",
            with_su(one.fraction, one.su), probability(one.p_absent), f"{one.r_work:.4f}",
            "-" if one.r_free is None else f"{one.r_free:.4f}",
            ", ".join(remark.replace("_", " ") for remark in remarks),
        )  # fmt: skip
    return table


def _curves(record: SeriesRecord) -> Table:
    table = Table(title="Curves", title_justify="left")
    table.add_column("curve")
    for label in ("chi-square", "d.o.f.", "p"):
        table.add_column(label, justify="right")
    table.add_column("parameters")
    for fit in record.fits:
        best = " (best)" if fit.name == record.best else ""
        table.add_row(
            fit.name + best, f"{fit.chi_square:.1f}", str(fit.degrees_of_freedom),
            probability(fit.p), _parameters(fit),
        )  # fmt: skip
    return table


def _parameters(fit: FitRecord) -> str:
    found = []
    for one in (*fit.parameters, *fit.derived):
        value = with_su(one.value, one.su) if one.su is not None else "not determined"
        found.append(
            f"{one.name} {value}{f' {one.unit}' if one.unit and one.su is not None else ''}"
        )
    return ", ".join(found)
