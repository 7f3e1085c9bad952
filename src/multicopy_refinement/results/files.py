"""The model and the maps of a run, written and found again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from multicopy_refinement.errors import InputError
from multicopy_refinement.io.pdb_limits import LARGEST_B, RESIDUE_NAME, pdb_fault
from multicopy_refinement.io.structure import StructureFormat
from multicopy_refinement.io.write_structure import beyond_columns, write_mmcif, write_pdb
from multicopy_refinement.model import Model
from multicopy_refinement.modes import Parameter
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.refinement import Solution
from multicopy_refinement.results.facts import ensembles_of, facts_of
from multicopy_refinement.results.maps import map_coefficients, with_differences
from multicopy_refinement.results.omit import Omitted
from multicopy_refinement.results.record import RunRecord
from multicopy_refinement.results.reflection_files import write_map_file, write_sf_file
from multicopy_refinement.words import counted

#: The code of the notice that there is no ``refined.pdb``.
NO_PDB = "pdb_cannot_hold"


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


def write_model_and_maps(
    model: Model, solution: Solution, directory: Path, omitted: Omitted | None = None
) -> tuple[Notice, ...]:
    """Write the model and the reflections in two formats each, and return what was left out."""
    notices = pdb_notices(model)
    atom_su = solution.atom_su
    moved = set(solution.options.parameters)
    values = model.atom_values(
        decimals=4, group_su=solution.su,
        xyz_su=atom_su.xyz if atom_su and Parameter.XYZ in moved else None,
        b_su=atom_su.b if atom_su and Parameter.B_ISO in moved else None,
    )  # fmt: skip
    maps = with_differences(
        map_coefficients(solution.experiment, solution.listed_f_calc), solution.anomalous
    )
    facts = facts_of(solution, maps, model.table, values)
    if not any(notice.code == NO_PDB for notice in notices):
        write_pdb(model.source, model.atom_values(decimals=2), directory / "refined.pdb", facts)
    ensembles = ensembles_of(solution)
    write_mmcif(model.source, values, directory / "refined.cif", facts, ensembles)
    data = solution.experiment.data
    coefficients = None if omitted is None else omitted.coefficients
    length = model.beam.wavelength or data.wavelength
    write_map_file(maps, data, directory / "refined.mtz", coefficients, length)
    write_sf_file(maps, data, model.source, model.beam, directory / "refined-sf.cif")
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
        message = (
            f"B of {counted(len(labels), 'atom')} is {LARGEST_B} in refined.pdb: "
            f"{listed(list(labels))}"
        )
        notices.append(Notice("b_beyond_columns", f"{message}; refined.cif has it", labels))
    return tuple(notices)
