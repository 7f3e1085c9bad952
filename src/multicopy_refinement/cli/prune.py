"""``multicopy-refine prune`` and ``merge``."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from multicopy_refinement.cli.progress import Show
from multicopy_refinement.cli.refine import use_threads
from multicopy_refinement.modes import Step
from multicopy_refinement.results.folder import RESULTS
from multicopy_refinement.results.prune_record import PruneRecord, reasons, step_row
from multicopy_refinement.run.prune import PruneJob, prune_run

#: Reasons that are shown of each step; all stand in prune.md.
MOST_REASONS = 8


def run_prune(job: PruneJob, show: Show, *, report: bool) -> tuple[PruneRecord, float]:
    """Prune, make the report, and return what was done and how many seconds it took."""
    use_threads(job.threads)
    made, record = prune_run(job, lambda at: show(at.step, at.done, at.total, at.largest_change))
    if report:
        show(Step.REPORT, 0, 0, None)
        from multicopy_refinement.report.write import write_report

        write_report(job.out)
    return made, record.seconds.total


def print_pruned(made: PruneRecord, out: Path, seconds: float) -> None:
    """Print what was done, and why."""
    console = Console(emoji=False)
    console.print(_steps(made))
    for step in made.steps[1:]:
        lines = reasons(step)
        shown = lines if len(lines) <= MOST_REASONS else lines[: MOST_REASONS - 1]
        for line in shown:
            console.print(f"{step.number}  {escape(line)}", highlight=False, soft_wrap=True)
        if len(lines) > len(shown):
            console.print(f"{step.number}  and {len(lines) - len(shown)} more in prune.md")
    console.print(
        f"{made.conclusion} {seconds:.1f} s in all.",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
    names = [name for name in RESULTS if (out / name).is_file()]
    console.print(
        f"Results are in {out}: {', '.join(names)}",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip


def _steps(made: PruneRecord) -> Table:
    table = Table(
        title="Steps; log-likelihoods less that of the start, on its error model",
        title_justify="left",
    )
    table.add_column("step")
    table.add_column("what")
    for name in ("R-work", "R-free", "logL", "logL free", "atoms", "groups"):
        table.add_column(name, justify="right")
    for step in made.steps:
        table.add_row(*(escape(text) for text in step_row(step, made.steps[0])))
    return table
