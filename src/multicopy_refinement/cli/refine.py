"""``multicopy-refine refine``."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from importlib.metadata import version
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from multicopy_refinement import __version__
from multicopy_refinement.cli.summary import print_summary
from multicopy_refinement.errors import InputError
from multicopy_refinement.io.reflections import read_reflections
from multicopy_refinement.model import Model
from multicopy_refinement.notices import Notice
from multicopy_refinement.occupancy.grouping import Grouping, GroupingOptions
from multicopy_refinement.posterior.experiment import check_same_crystal
from multicopy_refinement.refinement import RefineOptions, Solution, refine
from multicopy_refinement.refinement.macrocycle import Progress as Step
from multicopy_refinement.refinement.options import Parameter
from multicopy_refinement.reflections import ReflectionData
from multicopy_refinement.report.html import write_report
from multicopy_refinement.results.files import (
    check_directory,
    check_inputs_stay,
    placed_together,
    write_model_and_maps,
)
from multicopy_refinement.results.record import Inputs, Provenance, RunRecord, Seconds, make_record
from multicopy_refinement.targets import TargetKind

logger = logging.getLogger("multicopy_refinement")

#: What ``--parameters`` may name in this version.
PARAMETERS = tuple(str(p) for p in Parameter)


@dataclass(frozen=True)
class RefineRequest:
    """The command's arguments as given."""

    model: Path
    data: Path
    out: Path
    parameters: str = "occupancy"
    grouping: str = "residue"
    rules: Path | None = None
    contact_distance: float = 4.0
    link_close_waters: bool = False
    labels: str | None = None
    free_label: str | None = None
    free_value: int | None = None
    d_min: float | None = None
    target: str = "ml"
    threads: int | None = None
    overwrite: bool = False
    quiet: bool = False
    report: bool = True


#: Options with their defaults, in order.
_DEFAULTS = {f.name: f.default for f in fields(RefineRequest) if f.default is not MISSING}


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run."""

    record: RunRecord
    solution: Solution
    data: ReflectionData


def run_refine(request: RefineRequest) -> Run:
    """Refine, write the results and print the summary."""
    started = time.perf_counter()
    options = RefineOptions(
        parameters=_parameters(request.parameters), target=TargetKind(request.target)
    )
    check_directory(request.out, overwrite=request.overwrite)
    inputs = (request.model, request.data, *([request.rules] if request.rules else []))
    check_inputs_stay(request.out, inputs)
    set_threads(request.threads)
    grouping = GroupingOptions(
        Grouping(request.grouping), request.contact_distance, request.link_close_waters
    )
    model = Model(dtype_float=torch.float64).load(
        request.model, grouping=grouping, sharing_rules=request.rules
    )
    data = _read_data(request, model)
    try:
        check_same_crystal(model, data)
    except InputError as fault:
        raise InputError(f"{request.data}: {fault}; take the data of this crystal") from None
    loaded = time.perf_counter()
    with placed_together(request.out) as folder, _logged_to(folder / "run.log"):
        logger.info("multicopy_refinement %s: %s %s", __version__, request.model, request.data)
        with _progress_bar(quiet=request.quiet) as show:
            solution = refine(model, data, options, progress=show)
        refined = time.perf_counter()
        notices = model.notices + data.notices + solution.notices
        write_model_and_maps(model, solution, folder)
        seconds = _seconds(solution, started, loaded, refined)
        record = make_record(
            solution, data, _inputs(request, data, options), notices, seconds,
            _provenance(request),
        )  # fmt: skip
        (folder / "result.json").write_text(record.to_json())
        _log(solution, data, notices)
        if request.report:
            write_report(folder)
    if not request.quiet:
        print_summary(Console(emoji=False), record, data, request.out)
    return Run(record, solution, data)


def set_threads(threads: int | None) -> None:
    """Use a number of threads (all processors when None) in torch and in compiled kernels."""
    count = threads or len(os.sched_getaffinity(0))
    # numba reads this when it is first imported, and cannot be given more threads later
    os.environ.setdefault("NUMBA_NUM_THREADS", str(count))
    torch.set_num_threads(count)


def _parameters(text: str) -> tuple[Parameter, ...]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in PARAMETERS:
            raise InputError(
                f"--parameters: {name!r} cannot be refined; this version knows "
                f"{', '.join(PARAMETERS)}"
            )
    if Parameter.OCCUPANCY not in names:
        raise InputError("--parameters: occupancy is always refined; name it, too")
    return tuple(Parameter(name) for name in dict.fromkeys(names))


def _read_data(request: RefineRequest, model: Model) -> ReflectionData:
    labels = None
    if request.labels is not None:
        labels = [label.strip() for label in request.labels.split(",")]
    return read_reflections(
        request.data, labels=labels, free_label=request.free_label,
        free_value=request.free_value, d_min=request.d_min, cell=model.cell,
        spacegroup=model.spacegroup,
    )  # fmt: skip


def _inputs(request: RefineRequest, data: ReflectionData, options: RefineOptions) -> Inputs:
    given = {
        "grouping": str(request.grouping),
        "rules": None if request.rules is None else str(request.rules),
        "contact_distance": request.contact_distance,
        "link_close_waters": request.link_close_waters,
        "d_min": request.d_min,
        "threads": request.threads,
        **options.model_dump(mode="json"),
    }
    return Inputs(
        model=str(request.model), data=str(request.data), labels=list(data.labels.observations),
        free_label=data.labels.free_label, free_value=data.labels.free_value, options=given,
    )  # fmt: skip


def _provenance(request: RefineRequest) -> Provenance:
    """Return the command that repeats the run, digests of its inputs, versions of libraries."""
    inputs = {str(request.model): request.model, str(request.data): request.data}
    if request.rules is not None:
        inputs[str(request.rules)] = request.rules
    command = ["multicopy-refine", "refine", str(request.model), str(request.data)]
    for name, default in _DEFAULTS.items():
        value = getattr(request, name)
        if value != default and name not in {"overwrite", "quiet", "report"}:
            command.append(f"--{name.replace('_', '-')}")
            command += [] if value is True else [str(value)]
    return Provenance(
        command=[*command, "--out", str(request.out)],
        sha256={n: hashlib.sha256(p.read_bytes()).hexdigest() for n, p in inputs.items()},
        versions={"python": platform.python_version()}
        | {name: version(name) for name in ("gemmi", "numpy", "reciprocalspaceship", "torch")},
    )


def _seconds(solution: Solution, started: float, loaded: float, refined: float) -> Seconds:
    now = time.perf_counter()
    times = {
        "load": loaded - started,
        "scale": solution.seconds["scale"],
        "refine": solution.seconds["refine"],
        "report": now - refined,
        "total": now - started,
    }
    return Seconds(**{name: round(value, 3) for name, value in times.items()})


def _log(solution: Solution, data: ReflectionData, notices: tuple[Notice, ...]) -> None:
    logger.info(
        "data: %s; free set: %s = %s (%s)",
        ",".join(data.labels.observations),
        data.labels.free_label,
        data.labels.free_value,
        data.labels.choice,
    )
    for notice in notices:
        logger.warning("%s: %s", notice.code, notice.message)
    scale = solution.experiment.scale
    logger.info(
        "scale: k %.4f, k_sol %.3f e/A^3, B_sol %.1f A^2", scale.k, scale.k_sol, scale.b_sol
    )
    for name, found in (("start", solution.initial), ("end", solution.final)):
        free = "none" if found.r_free is None else f"{found.r_free:.4f}"
        logger.info(
            "%s: R-work %.4f, R-free %s, log-likelihood %.2f",
            name,
            found.r_work,
            free,
            found.log_likelihood,
        )
    logger.info(
        "%s after %d cycles: %s",
        "converged" if solution.status.converged else "not converged",
        solution.status.cycles,
        solution.status.reason,
    )


@contextmanager
def _logged_to(path: Path) -> Iterator[None]:
    """Write the package's log to a file while the block runs."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()


class _Show:
    """Moves the bar, and logs every step."""

    def __init__(self, bar: Progress | None) -> None:
        self.bar = bar
        self.task = bar.add_task("scale", total=None) if bar else None

    def __call__(self, step: Step) -> None:
        change = step.largest_change
        tail = "" if change is None else f", largest change {change:.4f}"
        logger.info("%s %d%s", step.step, step.done, tail)
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
