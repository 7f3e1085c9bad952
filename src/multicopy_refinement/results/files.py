"""The files of a run: written aside as a whole, then put in place."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.errors import InputError, OutputError
from multicopy_refinement.io.mtz import MtzColumn, write_mtz
from multicopy_refinement.io.pdb_limits import LARGEST_B, RESIDUE_NAME, pdb_fault
from multicopy_refinement.io.structure import StructureFormat
from multicopy_refinement.io.write_structure import beyond_columns, write_mmcif, write_pdb
from multicopy_refinement.model import Model
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.refinement import Solution
from multicopy_refinement.reflections import ReflectionData
from multicopy_refinement.reflections.effective import Intensities
from multicopy_refinement.results.maps import map_coefficients
from multicopy_refinement.results.record import RunRecord

#: The code of the notice that there is no ``refined.pdb``.
NO_PDB = "pdb_cannot_hold"
#: Names of the files that a run leaves.
RESULTS = ("refined.pdb", "refined.cif", "refined.mtz", "result.json", "run.log", "report.html")


def check_directory(directory: Path, *, overwrite: bool) -> None:
    """Refuse a place that is a file, cannot hold a folder, or holds anything.

    Raises
    ------
    OutputError
        With what to do.
    """
    if directory.exists() and not directory.is_dir():
        raise OutputError(f"{directory}: is a file; name a folder with --out")
    if directory.is_dir() and any(directory.iterdir()) and not overwrite:
        raise OutputError(
            f"{directory}: the folder is in use; name another with --out, or give --overwrite"
        )
    parent = next(p for p in [directory, *directory.absolute().parents] if p.exists())
    if not parent.is_dir():
        raise OutputError(f"{directory}: {parent} is not a folder")


def check_inputs_stay(directory: Path, inputs: tuple[Path, ...]) -> None:
    """Refuse a folder in which a result would replace an input."""
    for path in inputs:
        if path.name in RESULTS and path.absolute().parent.resolve() == directory.resolve():
            raise OutputError(
                f"{path}: the results would replace this input; name another folder with --out"
            )


@contextmanager
def placed_together(directory: Path, *, replaces: tuple[str, ...] = ()) -> Iterator[Path]:
    """Give a folder to write to; move its files to ``directory`` when the block ends well.

    Files of the names in ``replaces`` that were not made anew go: they are of an earlier run.
    """
    target = directory.absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    except OSError as fault:
        raise OutputError(f"{directory}: cannot be written: {fault.strerror}") from None
    try:
        yield aside
        target.mkdir(exist_ok=True)
        made = sorted(aside.iterdir())
        for path in made:
            path.replace(target / path.name)
        for name in set(replaces) - {path.name for path in made}:
            (target / name).unlink(missing_ok=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def refined_model(directory: Path, record: RunRecord) -> Path:
    """Return the refined model of a run whose atoms are in the order of the input.

    Raises
    ------
    InputError
        A file that is not there.
    """
    name = record.inputs.model.lower().removesuffix(".gz")
    cif = name.endswith((".cif", ".mmcif"))
    cif |= any(warning.code == NO_PDB for warning in record.warnings)
    path = directory / ("refined.cif" if cif else "refined.pdb")
    if not path.is_file():
        raise InputError(f"{path}: no such file; it is one of those that a run leaves")
    return path


def write_model_and_maps(model: Model, solution: Solution, directory: Path) -> tuple[Notice, ...]:
    """Write ``refined.pdb``, ``refined.cif`` and ``refined.mtz``, and return what was left out."""
    su = solution.su
    notices = pdb_notices(model)
    if not any(notice.code == NO_PDB for notice in notices):
        write_pdb(model.source, model.atom_values(decimals=2), directory / "refined.pdb")
    write_mmcif(model.source, model.atom_values(decimals=4, group_su=su), directory / "refined.cif")
    write_map_file(solution, directory / "refined.mtz")
    return notices


def pdb_notices(model: Model) -> tuple[Notice, ...]:
    """Return what the PDB format cannot hold of a model."""
    source, table = model.source, model.table
    fault = pdb_fault(table) if source.format is StructureFormat.MMCIF else None
    if fault is not None:
        return (Notice(NO_PDB, f"refined.pdb is left out: {fault}; refined.cif has it all"),)
    notices = []
    long = np.char.str_len(table.resname) > RESIDUE_NAME
    if source.format is StructureFormat.MMCIF and long.any():
        names = sorted({name.decode() for name in table.resname[long].tolist()})
        message = f"names of residues are shortened in refined.pdb: {listed(names)}"
        notices.append(Notice("residue_names_shortened", message, table.labels(long)))
    high = beyond_columns(source, model.atom_values(decimals=2))
    if high.any():
        labels = table.labels(high)
        message = f"B of {len(labels)} atoms is {LARGEST_B} in refined.pdb: {listed(list(labels))}"
        notices.append(Notice("b_beyond_columns", f"{message}; refined.cif has it", labels))
    return tuple(notices)


def write_map_file(solution: Solution, path: Path) -> None:
    """Write map coefficients, F_model, the input's amplitudes or intensities, and free flags.

    Amplitudes made from intensities stand beside them, as F and SIGF.
    """
    data: ReflectionData = solution.experiment.data
    maps = map_coefficients(solution.experiment, solution.listed_f_calc)
    blank = np.full(len(data.unobserved_hkl), np.nan)
    columns = [MtzColumn(_label(data, 0, "F"), "F", np.concatenate([data.f_obs, blank]))]
    if len(data.labels.observations) > 1:  # sigmas that were made up are not passed on
        sigma = np.concatenate([data.sigma, blank])
        columns.append(MtzColumn(_label(data, 1, "SIGF"), "Q", sigma))
    if data.intensities is not None:
        columns += _intensity_columns(data, data.intensities, blank)
    if data.labels.free_label is not None:
        flags = np.concatenate([data.flags, data.unobserved_flags]).astype(np.float64)
        columns.append(
            MtzColumn(
                data.labels.free_label, "I", np.where(flags == data.labels.no_flag, np.nan, flags)
            )
        )
    for amplitude, phase, values in (
        ("FWT", "PHWT", maps.weighted),
        ("DELFWT", "PHDELWT", maps.difference),
        ("FC_ALL", "PHIC_ALL", maps.model),
    ):
        columns.append(MtzColumn(amplitude, "F", np.abs(values)))
        columns.append(MtzColumn(phase, "P", np.degrees(np.angle(values)) % 360))
    write_mtz(
        path, data.cell, data.spacegroup, maps.hkl, columns, title="refined by multicopy_refinement"
    )


def _intensity_columns(
    data: ReflectionData, intensities: Intensities, blank: FloatArray
) -> list[MtzColumn]:
    """Return the input's intensities as they were used: of one value for each reflection."""
    labels = data.labels.observations
    value, sigma = labels if len(labels) == 2 else (labels[0] if len(labels) == 1 else "I", "SIGI")
    columns = [MtzColumn(value, "J", np.concatenate([intensities.value, blank]))]
    if len(labels) > 1:
        columns.append(MtzColumn(sigma, "Q", np.concatenate([intensities.sigma, blank])))
    return columns


def _label(data: ReflectionData, place: int, default: str) -> str:
    """Return the input's label where the input is amplitudes, not intensities or Friedel mates."""
    labels = data.labels.observations
    return labels[place] if data.labels.amplitudes and len(labels) == 2 else default
