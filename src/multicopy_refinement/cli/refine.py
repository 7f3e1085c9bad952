"""``multicopy-refine refine``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from multicopy_refinement.cli.summary import print_harmful, print_summary
from multicopy_refinement.refinement.macrocycle import Progress as Step
from multicopy_refinement.results.record import RunRecord
from multicopy_refinement.run.job import RefineJob, run


def run_refine(job: RefineJob, *, quiet: bool = False) -> RunRecord:
    """Refine with progress on a terminal, make the report and print the summary."""
    use_threads(job.threads)
    with _progress_bar(quiet=quiet) as show:
        record = run(job, show)
    if job.report:
        from multicopy_refinement.report.write import (
            write_report,
        )  # its figures take long to import

        write_report(job.out)
    if quiet:
        print_harmful(Console(emoji=False, stderr=True), record)
    else:
        print_summary(Console(emoji=False), record, job.out)
    return record


def use_threads(threads: int | None) -> None:
    """Let this process use a number of threads; all processors that it may run on when None."""
    torch.set_num_threads(threads or _processors())


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Show:
    """Moves the bar."""

    def __init__(self, bar: Progress | None) -> None:
        self.bar = bar
        self.task = bar.add_task("scale", total=None) if bar else None

    def __call__(self, step: Step) -> None:
        change = step.largest_change
        tail = "" if change is None else f", largest change {change:.4f}"
        if self.bar is not None and self.task is not None:
            self.bar.update(
                self.task, description=f"{step.step}{tail}", completed=step.done, total=step.total
            )


@contextmanager
def _progress_bar(*, quiet: bool) -> Iterator[_Show]:
    """Show progress on standard error, and only on a terminal."""
    console = Console(stderr=True, emoji=False)
    if quiet or not console.is_terminal:
        yield _Show(None)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        yield _Show(bar)
