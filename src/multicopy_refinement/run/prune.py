"""Pruning of a finished run: its files in, those of a smaller model out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multicopy_refinement._typing import BoolArray
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.clock import Clock
from multicopy_refinement.errors import InputError, OutputError, RuleError
from multicopy_refinement.io.files import sha256
from multicopy_refinement.io.structure import StructureFile, StructureFormat, parse_structure
from multicopy_refinement.io.text import read_bytes
from multicopy_refinement.io.write_structure import write_mmcif, write_pdb
from multicopy_refinement.modes import Only
from multicopy_refinement.occupancy.grouping import GroupingOptions, automatic_groups, rule_set
from multicopy_refinement.occupancy.groups import OccupancyGroups
from multicopy_refinement.occupancy.rules.application import atoms_spoken_of
from multicopy_refinement.occupancy.rules.selection import RuleSelection
from multicopy_refinement.parallel import using_threads
from multicopy_refinement.refinement.macrocycle import Progress
from multicopy_refinement.refinement.options import RefineOptions
from multicopy_refinement.refinement.pruning.steps import Pruned, prune
from multicopy_refinement.refinement.pruning.subject import Subject
from multicopy_refinement.results.files import refined_model
from multicopy_refinement.results.folder import RESULTS, check_directory, placed_together
from multicopy_refinement.results.prune_record import (
    PruneRecord,
    as_markdown,
    make_prune_record,
    reasons,
)
from multicopy_refinement.results.record import RunRecord, read_record
from multicopy_refinement.run.again import groups_of, reflections_of
from multicopy_refinement.run.log import run_log
from multicopy_refinement.run.pipeline import (
    log_beginning,
    logged,
    provenance_of,
    write_results,
)


@dataclass(frozen=True)
class PruneJob:
    """All that pruning needs.

    Attributes
    ----------
    directory
        Folder of the run.
    out
        Folder for the results.
    protect
        Selections of what stays as it is.
    only
        Groups are removed, or conformers merged, alone.
    ruled
        Whether what the run's rules name may go, too.
    data
        The reflections, where they are not where the run had them.
    rules
        The file of the run's rules, where it is not where the run had it.
    threads
        Of the package's own loops; as many as torch has when left out.
    overwrite
        Whether a folder in use is accepted.
    """

    directory: Path
    out: Path
    protect: tuple[str, ...] = ()
    only: Only | None = None
    ruled: bool = False
    data: Path | None = None
    rules: Path | None = None
    threads: int | None = None
    overwrite: bool = False

    def command(self) -> list[str]:
        """Return the command line that repeats it."""
        words = ["multicopy-refine", "prune", str(self.directory)]
        words += [word for one in self.protect for word in ("--protect", one)]
        words += ["--only", str(self.only)] if self.only else []
        words += ["--ruled"] if self.ruled else []
        words += ["--data", str(self.data)] if self.data else []
        words += ["--rules", str(self.rules)] if self.rules else []
        return [*words, "--out", str(self.out)]


def prune_run(
    job: PruneJob, progress: Callable[[Progress], None] | None = None
) -> tuple[PruneRecord, RunRecord]:
    """Prune the model of a run, write the results to ``job.out``, and return what was done.

    Raises
    ------
    InputError
        A folder that is no run; files of it that are gone or are others now; a selection of
        nothing.
    """
    clock = Clock()
    check_directory(job.out, overwrite=job.overwrite)
    if job.out.resolve() == job.directory.resolve():
        raise OutputError(f"{job.out}: is the folder of the run; name another with --out")
    if not job.directory.is_dir():
        raise InputError(f"{job.directory}: no such folder; name that of a run")
    record = read_record(job.directory / "result.json")
    source = _source(job.directory, record)
    groups = groups_of(record, source.table)
    protected = _protected(job, record, groups)
    subject = Subject.of(source, groups, record.data.beam)
    with using_threads(job.threads):
        model = subject.model()
        data = reflections_of(job.directory, record, model, job.data)
        where = Path(record.inputs.data) if job.data is None else job.data
        _check_same_data(job, record, where)
        loading = clock.lap()
        with (
            placed_together(job.out, replaces=RESULTS) as folder,
            run_log(folder / "run.log") as log,
        ):
            read = {str(p): p for p in (refined_model(job.directory, record), where)}
            provenance = provenance_of(job.command(), data, read)
            log_beginning(log, [str(job.directory)], provenance)
            options = RefineOptions(
                **{
                    k: v
                    for k, v in record.inputs.options.items()
                    if k in RefineOptions.model_fields
                }
            )
            found = prune(
                subject, data, options, protected, only=job.only, progress=logged(log, progress)
            )
            made = make_prune_record(
                found, str(job.directory),
                {"protect": list(job.protect), "only": job.only, "ruled": job.ruled},
                int(protected.sum()),
            )  # fmt: skip
            for step in made.steps[1:]:
                for line in reasons(step):
                    log.info(f"step {step.number}: {line}")
            log.info(made.conclusion)
            name = _write_pruned(found, folder)
            (folder / "prune.json").write_text(made.to_json(), encoding="utf-8")
            (folder / "prune.md").write_text(as_markdown(made), encoding="utf-8")
            inputs = record.inputs.model_copy(
                update={
                    "model": str(job.out / name), "data": str(where),
                    "options": _options_left(record, found),
                }
            )  # fmt: skip
            ended = write_results(
                folder, log, (found.model, data, found.solution), inputs, provenance,
                (clock, loading),
            )  # fmt: skip
    return made, ended


def _source(directory: Path, record: RunRecord) -> StructureFile:
    """Return the refined model of a run, under the name of the model that the run read."""
    path = refined_model(directory, record)
    source = parse_structure(Path(record.inputs.model), read_bytes(path, InputError))
    if sum(group.n_atoms for group in record.groups) != len(source.table):
        raise InputError(f"{path}: has {len(source.table)} atoms, and result.json has others")
    if source.table.several_models:
        raise InputError(f"{path}: has several MODELs; prune is for altlocs, not for copies")
    return source


def _check_same_data(job: PruneJob, record: RunRecord, where: Path) -> None:
    known = None if record.provenance is None else record.provenance.sha256.get(record.inputs.data)
    if job.data is None and known is not None and sha256(where) != known:
        raise InputError(
            f"{where}: is not what {job.directory} was refined against any more (its SHA-256 is "
            "another); give the data with --data FILE"
        )


def _protected(job: PruneJob, record: RunRecord, groups: OccupancyGroups) -> BoolArray:
    """Return the atoms that the user selects, and those that the run's rules name."""
    chosen = RuleSelection(groups)
    for text in job.protect:
        chosen.where = f"--protect {text}"
        chosen.asked(text)
    found = chosen.spoken_of
    if not job.ruled:
        found = found | _ruled(job, record, groups.table)
    return np.asarray(found)


def _ruled(job: PruneJob, record: RunRecord, table: AtomTable) -> BoolArray:
    """Return the atoms that the rules of a run name."""
    options = record.inputs.options
    path = job.rules or (Path(options["rules"]) if options.get("rules") else None)
    if path is None:
        return np.zeros(len(table), dtype=bool)
    if not path.is_file():
        raise InputError(
            f"{path}: the rules of {job.directory} are not there, and what they name is to stay; "
            "give --rules FILE, or --ruled to let it go"
        )
    written = table.occupancy.copy()
    for group in record.groups:  # as the rules were applied to them
        written[group.atom_indices] = group.initial
    table = table.with_occupancy(written)
    known = {k: options[k] for k in ("grouping", "contact_distance", "link_close_waters")
             if k in options}  # fmt: skip
    return atoms_spoken_of(automatic_groups(table, GroupingOptions(**known)), rule_set(path, table))


def _options_left(record: RunRecord, found: Pruned) -> dict[str, Any]:
    """Return the options of a run, without omit maps of what is gone."""
    options = dict(record.inputs.options)
    chosen = RuleSelection(found.solution.groups)

    def there(text: str) -> bool:
        try:
            return bool(chosen.asked(text).any())
        except RuleError:
            return False

    options["omit"] = [text for text in options.get("omit", []) if there(text)]
    return options


def _write_pruned(found: Pruned, folder: Path) -> str:
    """Write the model that the last refinement began with, and return its name."""
    source, model = found.subject.source, found.subject.model()
    if source.format is StructureFormat.PDB:
        write_pdb(source, model.atom_values(decimals=2), folder / "pruned.pdb")
        return "pruned.pdb"
    write_mmcif(source, model.atom_values(decimals=4), folder / "pruned.cif")
    return "pruned.cif"
