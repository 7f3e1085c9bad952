"""``multicopy-refine refine``."""

from __future__ import annotations

import os
import threading
from importlib import import_module
from typing import TYPE_CHECKING

import torch
from rich.console import Console

from multicopy_refinement.cli.progress import Show
from multicopy_refinement.cli.summary import print_harmful, print_summary
from multicopy_refinement.modes import Step
from multicopy_refinement.refinement.macrocycle import Progress
from multicopy_refinement.results.record import RunRecord
from multicopy_refinement.run.job import RefineJob, run

if TYPE_CHECKING:
    from multicopy_refinement.report.findings import Advice

_FIGURES = "multicopy_refinement.report.plots"


def run_refine(job: RefineJob, show: Show) -> tuple[RunRecord, list[Advice]]:
    """Refine and make the report, and return with the record what the report says to do."""
    use_threads(job.threads)
    # of the report's figures, which take a second and more to import
    libraries = threading.Thread(target=import_module, args=[_FIGURES], daemon=True)

    def step(at: Progress) -> None:
        # loops of numbers leave a processor to it, reading and writing do not
        if job.report and at.step is Step.SOLVING and not libraries.ident:
            libraries.start()
        show(at.step, at.done, at.total, at.largest_change)

    record = run(job, step)
    if not job.report:
        return record, []
    show(Step.REPORT, 0, 0, None)
    from multicopy_refinement.report.write import write_report

    return record, write_report(job.out)


def print_outcome(
    record: RunRecord, advice: list[Advice], job: RefineJob, *, quiet: bool = False
) -> None:
    """Print the summary, or only what spoils the result."""
    if quiet:
        print_harmful(Console(emoji=False, stderr=True), record)
    else:
        print_summary(Console(emoji=False), record, advice, job.out)


def use_threads(threads: int | None) -> None:
    """Let this process use a number of threads; all processors that it may run on when None."""
    torch.set_num_threads(threads or _processors())


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
