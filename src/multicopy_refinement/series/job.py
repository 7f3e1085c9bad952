"""A series as one record of files and options, and its run: files in, files out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from multicopy_refinement.campaign.table import absolute
from multicopy_refinement.errors import InputError
from multicopy_refinement.model import Model
from multicopy_refinement.modes import Parameter
from multicopy_refinement.parallel import using_threads
from multicopy_refinement.report.series import make_series_page
from multicopy_refinement.results.folder import check_directory, placed_together
from multicopy_refinement.run.pipeline import data_of
from multicopy_refinement.series.record import SeriesRecord, make_record
from multicopy_refinement.series.refine import Tell, refine_series
from multicopy_refinement.series.solution import SeriesData, SeriesOptions
from multicopy_refinement.series.table import COMMON, SeriesTable, read_series

#: Files that a series leaves.
FILES = ("series.csv", "series.parquet", "series.json", "series.html", "series.cif", "series.pdb")


@dataclass(frozen=True)
class SeriesJob:
    """All that a series needs.

    Attributes
    ----------
    model
        The coordinate file that holds all states.
    table
        CSV with the columns name, data and one of time, dose, temperature, concentration, x.
    state
        What the state is.
    out
        Folder for the results.
    reference
        Name of a data set whose fraction is 0.
    options
        Of `RefineJob`, those of `COMMON`, for all data sets.
    hold_model
        Whether coordinates and B stay as they are in the file.
    overwrite
        Whether a folder in use is accepted.
    """

    model: Path
    table: Path
    state: str
    out: Path
    reference: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    hold_model: bool = False
    overwrite: bool = False


def run_series(job: SeriesJob, tell: Tell | None = None) -> SeriesRecord:
    """Refine a series, write the results to ``job.out``, and return their record.

    The results appear together or not at all.

    Raises
    ------
    InputError
        A file or an option is at fault: one line that says what, where and what to do.
    """
    tell = tell or (lambda *_: None)
    check_directory(job.out, overwrite=job.overwrite)
    if not job.model.is_file():
        raise InputError(f"{job.model}: no such file")
    unknown = [name for name in job.options if name not in COMMON]
    if unknown:
        raise InputError(f"{unknown[0]}: no option of a series; there are {', '.join(COMMON)}")
    common = {k: v for k, v in absolute(job.options, Path.cwd()).items() if v not in (None, [], ())}
    table = read_series(job.table, job.model, reference=job.reference, common=common)
    asked = table.entries[0].job
    with using_threads(asked.threads):
        tell("model and groups", 0, 0)
        model = Model(dtype_float=torch.float64).load(
            job.model, grouping=asked.grouping_options(), sharing_rules=asked.rules
        )
        sets = []
        for i, entry in enumerate(table.entries):
            tell("reflections", i, len(table.entries))
            sets.append(SeriesData(entry.name, data_of(entry.job, model), entry.x))
        parameters: tuple[Parameter, ...] = (Parameter.OCCUPANCY,)
        if not job.hold_model:
            parameters += (Parameter.XYZ, Parameter.B_ISO)
        options = SeriesOptions(
            job.reference, asked.target, asked.restraints, asked.monomers, asked.no_restraints,
            asked.decoys, parameters,
        )  # fmt: skip
        found = refine_series(model, sets, job.state, options, tell=tell)
    tell("files", 0, 0)
    fits = found.fits(table.variable)
    record = make_record(
        found, table.variable, fits, model=job.model, table=job.table,
        data=[one.job.data for one in table.entries], options=_options(job, table),
    )  # fmt: skip
    page = make_series_page(record.model_dump(), [(one.name, one.function) for one in fits])
    frame = record.table_of_sets()
    with placed_together(job.out, replaces=FILES) as folder:
        flat = frame.assign(flags=[";".join(flags) for flags in frame["flags"]])
        flat.to_csv(folder / "series.csv", index=False)
        frame.to_parquet(folder / "series.parquet", index=False)
        (folder / "series.json").write_text(record.to_json(), encoding="utf-8")
        (folder / "series.html").write_text(page, encoding="utf-8")
        _write_model(model, float(found.fraction.mean()), found.state.occupancy, folder)
    return record


def _options(job: SeriesJob, table: SeriesTable) -> dict[str, Any]:
    """Return what was asked for of all data sets, as plain data."""
    asked = table.entries[0].job.model_dump(mode="json", include=set(COMMON))
    return {**asked, "hold_model": job.hold_model}


def _write_model(model: Model, fraction: float, occupancy: Any, folder: Path) -> None:
    """Write the shared model with the mean fraction of the series."""
    model.assign_group_occupancies(occupancy(fraction))
    model.write(folder / "series.cif")
    if model.source.format == "pdb":
        model.write(folder / "series.pdb")
