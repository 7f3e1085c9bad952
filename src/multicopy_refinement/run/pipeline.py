"""The steps of a run: load, refine, write, record."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from multicopy_refinement import __version__
from multicopy_refinement.clock import Clock
from multicopy_refinement.errors import InputError
from multicopy_refinement.io.files import sha256
from multicopy_refinement.io.reflections import read_reflections
from multicopy_refinement.model import Model
from multicopy_refinement.modes import Step
from multicopy_refinement.parallel import one_thread_for_products, using_threads
from multicopy_refinement.posterior.same_crystal import check_same_crystal
from multicopy_refinement.refinement.macrocycle import Progress, refine
from multicopy_refinement.refinement.solution import Solution
from multicopy_refinement.reflections import ReflectionData
from multicopy_refinement.results.files import write_model_and_maps
from multicopy_refinement.results.folder import (
    RESULTS,
    check_directory,
    check_inputs_stay,
    placed_together,
)
from multicopy_refinement.results.omit import atoms_to_omit, omit, with_omit
from multicopy_refinement.results.real_space import GroupDensity, describe_groups, read_maps
from multicopy_refinement.results.record import (
    Inputs,
    Provenance,
    RunRecord,
    Seconds,
    make_record,
)
from multicopy_refinement.results.tables import as_lines, ligand_table, summary_tables
from multicopy_refinement.run.job import RefineJob
from multicopy_refinement.run.log import RunLog, run_log
from multicopy_refinement.scaling.displaced import DOUBT
from multicopy_refinement.targets.choice import preferred, target_kind
from multicopy_refinement.words import counted

#: Libraries whose versions stand in the record.
LIBRARIES = ("gemmi", "numpy", "scipy", "torch")


def carry_out(job: RefineJob, progress: Callable[[Progress], None] | None) -> RunRecord:
    """Do what `multicopy_refinement.run.job.run` promises."""
    clock = Clock()
    check_directory(job.out, overwrite=job.overwrite)
    check_inputs_stay(job.out, tuple(job.inputs.values()))
    # of the whole run, so that jobs beside one another compute what each would alone
    with using_threads(job.threads), one_thread_for_products():
        model, data = _load(job, progress or (lambda _: None))
        atoms_to_omit(model.occupancy_groups, job.omit)  # what cannot be is said at once
        loading = clock.lap()
        with (
            placed_together(job.out, replaces=RESULTS) as folder,
            run_log(folder / "run.log") as log,
        ):
            provenance = _provenance(job, data)
            log_beginning(log, [str(job.model), str(job.data)], provenance)
            for name, value in job.options().items():
                log.info(f"option {name}: {json.dumps(value)}")
            told = logged(log, progress)
            solution = refine(model, data, job, progress=told)
            told(Progress(Step.FILES))
            record = write_results(
                folder, log, (model, data, solution), _inputs(job, data), provenance,
                (clock, loading),
            )  # fmt: skip
    return record


def write_results(
    folder: Path, log: RunLog, refined: tuple[Model, ReflectionData, Solution], inputs: Inputs,
    provenance: Provenance, times: tuple[Clock, float],
) -> RunRecord:  # fmt: skip
    """Write the files of a run but its page, say in the log what came out, and return the record.

    ``times`` are the clock of the run and the seconds that loading took.
    """
    model, data, solution = refined
    clock, loading = times
    clock.lap()  # the solution has its own times
    atoms = atoms_to_omit(solution.groups, inputs.options.get("omit", ()))
    omitted = omit(solution, atoms) if atoms.any() else None
    written = write_model_and_maps(model, solution, folder, omitted)
    density = _ligand_density(model, solution, folder)
    writing = clock.lap()
    record = make_record(
        solution, data, inputs, model.notices + data.notices + solution.notices + written,
        _seconds(solution, loading, writing, clock.total), provenance, density,
    )  # fmt: skip
    if omitted is not None:
        record = with_omit(record, omitted, solution.experiment)
    (folder / "result.json").write_text(record.to_json())
    _log_outcome(log, solution, record)
    return record


def _load(
    job: RefineJob, progress: Callable[[Progress], None]
) -> tuple[Model, ReflectionData]:  # fmt: skip
    progress(Progress(Step.MODEL))
    model = Model(dtype_float=torch.float64).load(
        job.model, grouping=job.grouping_options(), sharing_rules=job.rules,
        radiation=job.radiation,
    )  # fmt: skip
    progress(Progress(Step.DATA))
    data = data_of(job, model)
    try:
        check_same_crystal(model, data)
    except InputError as fault:
        raise InputError(f"{job.data}: {fault}; take the data of this crystal") from None
    return model, data


def data_of(job: RefineJob, model: Model) -> ReflectionData:
    """Return the reflections that a job asks for, for the crystal of its model.

    Raises
    ------
    InputError
        A file that cannot be used, or that the job's target is not for.
    """
    data = read_reflections(
        job.data, labels=job.labels, free_label=job.free_label, free_value=job.free_value,
        d_min=job.d_min, cell=model.cell, spacegroup=model.spacegroup,
        prefer=preferred(job.target), radiation=model.radiation, anomalous=job.anomalous,
    )  # fmt: skip
    try:
        target_kind(job.target, data)
    except InputError as fault:
        raise InputError(f"{job.data}: {fault}") from None
    return data


def _ligand_density(model: Model, solution: Solution, folder: Path) -> list[GroupDensity]:
    """Return what the maps of the run say of its ligands."""
    if not solution.ligands:
        return []
    maps = read_maps(folder / "refined.mtz")
    return describe_groups(maps, model.table, [np.array(one.atoms) for one in solution.ligands])


def _seconds(solution: Solution, loading: float, writing: float, total: float) -> Seconds:
    """Return the times as they are recorded."""
    times = {
        "load": loading,
        "scale": solution.seconds["scale"],
        "refine": solution.seconds["refine"],
        "report": writing,
        "total": total,
    }
    return Seconds(**{name: round(value, 3) for name, value in times.items()})


def _inputs(job: RefineJob, data: ReflectionData) -> Inputs:
    labels = data.labels
    return Inputs(
        model=str(job.model), data=str(job.data), labels=list(labels.observations),
        free_label=labels.free_label, free_value=labels.free_value,
        options=job.options(),
    )  # fmt: skip


def _provenance(job: RefineJob, data: ReflectionData) -> Provenance:
    """Return the command that repeats the run, digests of its inputs, versions of libraries."""
    return provenance_of(job.command(), data, job.inputs)


def provenance_of(command: list[str], data: ReflectionData, inputs: dict[str, Path]) -> Provenance:
    """Return a command, digests of the files that it reads, and versions of libraries."""
    return Provenance(
        command=command,
        free_set=data.labels.choice,
        sha256={name: sha256(path) for name, path in inputs.items()},
        versions={"python": platform.python_version()} | {n: version(n) for n in LIBRARIES},
    )


def logged(log: RunLog, progress: Callable[[Progress], None] | None) -> Callable[[Progress], None]:
    """Return a progress function that logs every step and passes it on."""

    def step(done: Progress) -> None:
        change = done.largest_change
        tail = "" if change is None else f", largest change {change:.4f}"
        cycle = f", cycle {done.done}" if done.done else ""
        log.info(f"{done.step}{cycle}{tail}")
        if progress is not None:
            progress(done)

    return step


def log_beginning(log: RunLog, inputs: list[str], provenance: Provenance) -> None:
    """Say in the log what a run is of, and how it can be repeated."""
    log.info(f"multicopy_refinement {__version__}: {' '.join(inputs)}")
    log.info(f"command: {shlex.join(provenance.command)}")
    log.info(f"versions: {', '.join(f'{n} {v}' for n, v in provenance.versions.items())}")
    for name, digest in provenance.sha256.items():
        log.info(f"sha256 of {name}: {digest}")


def _log_outcome(log: RunLog, solution: Solution, record: RunRecord) -> None:
    inputs, scale = record.inputs, solution.experiment.scale
    log.info(
        f"data: {','.join(inputs.labels)}, target {record.data.target}; "
        f"free set: {inputs.free_label} = {inputs.free_value} "
        f"({solution.experiment.data.labels.choice})"
    )
    used = record.data
    log.info(
        f"reflections: {used.n_work} work, {used.n_free} free, {used.n_outliers} left out, "
        f"{used.d_max:.2f} to {used.d_min:.2f} A, {used.spacegroup}, "
        f"cell {' '.join(f'{v:.3f}' for v in used.cell)}"
    )
    for warning in record.warnings:
        log.warning(f"{warning.code}: {warning.message}")
    beam, grid = used.beam, solution.experiment.grid
    log.info(f"radiation: {beam.in_words()}")
    log.info(
        f"scale: k {scale.k:.4f}, k_sol {scale.k_sol:.3f} {beam.density_unit}, "
        f"B_sol {scale.b_sol:.1f} A^2, C_sol {scale.c_sol:.1f} A^4 "
        f"(falls to 1/e as B_sol {scale.equivalent_b_sol:.1f} A^2 alone), "
        f"grown back {grid.shrink:.2f} A from where the probe fits, "
        f"{grid.blend:.0%} of it by a probe {DOUBT:g} A narrower and by one as much wider each"
    )
    if record.twinning is not None and record.twinning.refined is not None:
        log.info(record.twinning.refined.in_words)
    if record.extinction is not None:
        log.info(f"extinction: {record.extinction.in_words}")
    if record.anomalous is not None:
        log.info(f"Bijvoet differences: {record.anomalous.in_words}")
    for name, found in (("start", solution.initial), ("end", solution.final)):
        free = "none" if found.r_free is None else f"{found.r_free:.4f}"
        log.info(
            f"{name}: R-work {found.r_work:.4f}, R-free {free}, "
            f"log-likelihood {found.log_likelihood:.2f}"
        )
    ended = record.status
    word = "converged" if ended.converged else "not converged"
    log.info(f"{word} after {counted(ended.cycles, 'cycle')}: {ended.reason}")
    ligands = [ligand_table(record)] if record.ligands else []
    for line in as_lines([*ligands, *summary_tables(record)]):
        log.info(line)
