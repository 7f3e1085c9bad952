"""The files of a run as they are read again, with what is found in them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.errors import InputError
from multicopy_refinement.io.entry import entry_name, entry_title, is_code
from multicopy_refinement.io.structure import StructureFile, read_structure
from multicopy_refinement.report.advice import Advice, Findings, advise
from multicopy_refinement.results.files import refined_model
from multicopy_refinement.results.real_space import GroupDensity, Maps, describe_groups, read_maps
from multicopy_refinement.results.record import Group, RunRecord, read_record


@dataclass(frozen=True, eq=False)
class RunFiles:
    """Record, model and maps of a run.

    Attributes
    ----------
    directory
        Where they are.
    model
        Name of the model's file that has the atoms in the order of the input.
    record, table, maps
        Of the run; atom indices of the record count the table's atoms.
    code, title
        PDB code and title that the model's file gives itself; empty where it gives none.
    """

    directory: Path
    model: str
    record: RunRecord
    table: AtomTable
    maps: Maps
    code: str = ""
    title: str = ""

    @property
    def place(self) -> str:
        """Folder and name of the file that was refined."""
        return "/".join(Path(self.record.inputs.model).parts[-2:])

    @property
    def refined(self) -> list[Group]:
        """The refined groups."""
        return [g for g in self.record.groups if g.refined]

    @cached_property
    def density(self) -> dict[str, GroupDensity]:
        """What the maps say of each refined group, by its name."""
        atoms = [np.array(g.atom_indices) for g in self.refined]
        found = describe_groups(self.maps, self.table, atoms)
        return {g.name: d for g, d in zip(self.refined, found, strict=True)}

    @cached_property
    def advice(self) -> list[Advice]:
        """What to do, the most urgent first."""
        return advise(Findings(self.record, self.table, self.density))


def read_run(directory: Path) -> RunFiles:
    """Read the files of a run.

    Raises
    ------
    InputError
        Files of the run that are missing or cannot be read.
    """
    if not directory.is_dir():
        raise InputError(f"{directory}: no such folder")
    record = read_record(directory / "result.json")
    source = _model_of(directory, record)
    name = entry_name(source)
    return RunFiles(
        directory, source.path.name, record, source.table, read_maps(directory / "refined.mtz"),
        name.upper() if is_code(name) else "", entry_title(source),
    )  # fmt: skip


def _model_of(directory: Path, record: RunRecord) -> StructureFile:
    """Return the refined atoms in the order of the input, whose places the record counts."""
    path = refined_model(directory, record)
    source = read_structure(path)
    if sum(g.n_atoms for g in record.groups) != len(source.table):
        raise InputError(f"{path}: has {len(source.table)} atoms, and result.json has others")
    return source
