"""Progress in named steps: on standard error, and only on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from multicopy_refinement.modes import Step

#: Shows a step: its name, cycles done and their greatest number, the largest change of the last.
Show = Callable[[str, int, int, float | None], None]
_ORDER = list(Step)


@contextmanager
def named_steps(*, quiet: bool = False) -> Iterator[Show]:
    """Give a function that shows the steps of a run; it does nothing where nobody looks.

    The bar stands where the step stands among `Step`; for other steps it runs to and fro.
    """
    console = Console(stderr=True, emoji=False)
    if quiet or not console.is_terminal:
        yield lambda *_: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(Step.STARTING, total=None)

        def show(step: str, done: int = 0, total: int = 0, change: float | None = None) -> None:
            known = step in _ORDER
            bar.update(
                task, description=in_words(step, done, total, change),
                total=len(_ORDER) if known else None,
                completed=_ORDER.index(Step(step)) + (done / total if total else 0) if known else 0,
            )  # fmt: skip

        yield show


def in_words(step: str, done: int, total: int, change: float | None) -> str:
    """Return a step as it is shown.

    >>> in_words("solving", 1, 8, 0.0213), in_words("files", 0, 0, None)
    ('solving, cycle 2 of at most 8, largest change 0.0213', 'files')
    """
    cycle = f", cycle {min(done + 1, total)} of at most {total}" if total else ""
    return f"{step}{cycle}" + ("" if change is None else f", largest change {change:.4f}")
