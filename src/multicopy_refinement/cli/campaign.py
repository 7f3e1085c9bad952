"""``multicopy-refine campaign``."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from multicopy_refinement.campaign.collect import DATA_SETS, GROUPS, LIGANDS, PAGE
from multicopy_refinement.campaign.conduct import Asked, At, Conducted, Tell, conduct
from multicopy_refinement.campaign.find import in_folders, in_pandda, is_events, modelled
from multicopy_refinement.campaign.page import hits
from multicopy_refinement.campaign.plan import TABLE
from multicopy_refinement.campaign.table import DataSet, absolute, data_sets, read_table
from multicopy_refinement.errors import InputError
from multicopy_refinement.run.job import RefineJob
from multicopy_refinement.words import counted, probability, with_su

#: Hits and failures that are shown; the files have all of them.
MOST = 12


def sets_of(
    table: Path | None, find: str | None, data: str | None, out: Path, given: Mapping[str, Any]
) -> list[DataSet]:
    """Return the data sets of a table, of a tree of folders, or of both together.

    Raises
    ------
    InputError
        All that is wrong with the table.
    """
    common = {
        name: value for name, value in absolute(given, Path.cwd()).items()
        if value not in (RefineJob.model_fields[name].default, [])
    }  # fmt: skip
    if (find is None) != (data is None):
        raise InputError("--find and --data go together: a pattern of the models, one of the data")
    if table is None and find is None and not (out / TABLE).is_file():
        raise InputError("name a table of data sets, or give --find and --data to find them")
    if table is None and find is not None and data is not None:
        rows, source, folder = in_folders(find, data), Path(find), Path.cwd()
        return data_sets(source, ("name", "model", "data"), rows, folder=folder, common=common)
    source = table if table is not None else out / TABLE
    columns, rows = read_table(source)
    folder = source.absolute().parent
    if is_events(columns):
        if find is not None and data is not None:
            rows, folder = in_folders(find, data, modelled(source, rows)), Path.cwd()
        else:
            rows = in_pandda(source, rows)
        columns = ["name", "model", "data"]
    elif find is not None:
        raise InputError(f"{source}: names its models itself; leave out --find, or the table")
    return data_sets(source, columns, rows, folder=folder, common=common)


def run_campaign(sets: list[DataSet], out: Path, asked: Asked, *, quiet: bool) -> int:
    """Carry out a campaign, write its tables and print what came out; return the exit status."""
    with _shown(len(sets), quiet=quiet) as tell:
        made = conduct(out, sets, asked, tell)
    ended = made.tables.data_sets
    if made.interrupted:
        words = ["multicopy-refine", "campaign", str(out / TABLE), "--out", str(out), "--resume"]
        Console(stderr=True, emoji=False).print(
            f"interrupted: {len(ended)} of {counted(len(sets), 'data set')} have ended; go on "
            f"with: {shlex.join(words)}",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
        return 130
    if not (ended["status"] == "done").any():
        raise InputError(
            f"{out}: none of {counted(len(sets), 'data set')} could be refined; "
            f"{ended['name'].iloc[0]}: {ended['reason'].iloc[0]}"
        )
    if not quiet:
        _print(Console(emoji=False), made, out)
    return 0


@contextmanager
def _shown(total: int, *, quiet: bool) -> Iterator[Tell]:
    """Show how many have ended on a terminal, and sentences above that."""
    console = Console(stderr=True, emoji=False)
    if quiet or not console.is_terminal:
        yield lambda _: None
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("data sets", total=total)

        def tell(at: At) -> None:
            failed = f", {at.failed} failed" if at.failed else ""
            bar.update(task, completed=at.finished, description=f"data sets{failed}")
            if at.said:
                bar.console.print(at.said, highlight=False, markup=False, soft_wrap=True)

        yield tell


def _print(console: Console, made: Conducted, out: Path) -> None:
    found, what = hits(made.tables)
    if found:
        console.print(_hits(found, what))
    ended = made.tables.data_sets
    failed = ended[ended["status"] == "failed"]
    for name, reason in list(zip(failed["name"], failed["reason"], strict=True))[:MOST]:
        line = f"[yellow]Failed:[/] {escape(name)}: {escape(reason)}"
        console.print(line, highlight=False, soft_wrap=True)
    if len(failed) > MOST:
        console.print(
            f"{counted(len(failed) - MOST, 'more failure', 'are')} in {PAGE}", highlight=False
        )
    tested = sum(row["p_absent"] is not None for row in found)
    files = ", ".join(f"{name}.parquet" for name in (DATA_SETS, GROUPS, LIGANDS))
    for line in (
        f"{counted(len(made.plan.sets), 'data set')}, {len(failed)} failed; "
        f"{sum(row['supported'] for row in found)} of {counted(tested, what)} supported at a false "
        "discovery rate of 5% over the campaign.",
        f"Results are in {out}: {PAGE}, {files}, and the same as CSV.",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _hits(found: Sequence[Mapping[str, Any]], what: str) -> Table:
    table = Table(title=f"{what.capitalize()}s by p", title_justify="left")
    table.add_column("data set")
    table.add_column(what)
    table.add_column("occupancy", justify="right")
    table.add_column("p absent", justify="right")
    table.add_column("supported")
    for row in found[:MOST]:
        table.add_row(
            escape(row["name"]), escape(row["what"]), with_su(row["occupancy"], row["su"]),
            probability(row["p_absent"]), "yes" if row["supported"] else "no",
        )  # fmt: skip
    if len(found) > MOST:
        table.add_row(f"{len(found) - MOST} more in {PAGE}")
    return table
