"""What a finished run was made from, read once more."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.errors import InputError
from multicopy_refinement.io.reflections import read_reflections
from multicopy_refinement.model import Model
from multicopy_refinement.occupancy.groups import ModelState, OccupancyGroups, Restraint, Why
from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.reflections import ReflectionData
from multicopy_refinement.results.record import RunRecord


def reflections_of(
    directory: Path, record: RunRecord, model: Model, data: Path | None = None
) -> ReflectionData:
    """Return the reflections of a run, with its columns, free set and resolution.

    Those of a twin are no reflections of a single crystal: what reads a run again is for these.

    Parameters
    ----------
    directory, record
        Of the run.
    model
        Its model.
    data
        Where they are now, if they have moved.

    Raises
    ------
    InputError
        A file that is not there; the data of a twin.
    """
    inputs = record.inputs
    if inputs.options.get("twin"):
        raise InputError(
            f"{directory}: is a run of a twin, and this command is for single crystals; refine it "
            "anew with other groups or rules"
        )
    source = Path(inputs.data) if data is None else data
    if not source.is_file():
        where = f"the data of {directory} are not there; give --data FILE"
        raise InputError(f"{source}: {where if data is None else 'no such file'}")
    return read_reflections(
        source, labels=tuple(inputs.labels), free_label=inputs.free_label,
        free_value=inputs.free_value, d_min=inputs.options.get("d_min"), cell=model.cell,
        spacegroup=model.spacegroup, radiation=model.radiation,
        anomalous=bool(inputs.options.get("anomalous")),
    )  # fmt: skip


def groups_of(record: RunRecord, table: AtomTable) -> OccupancyGroups:
    """Return the groups of a run with their refined occupancies, whatever rules made them.

    ``table`` are the run's atoms, which the record counts.
    """
    names = {group.name: g for g, group in enumerate(record.groups)}
    index = np.full(len(table), -1)
    for g, group in enumerate(record.groups):
        index[group.atom_indices] = g
    set_index = np.full(len(names), -1)
    for number, one in enumerate(record.sets):
        set_index[[names[name] for name in one.groups]] = number
    sums = SumConstraints(
        set_index, np.array([one.total for one in record.sets], dtype=np.float64),
        np.array([one.complete for one in record.sets], dtype=bool),
        np.array([-1 if one.parent is None else names[one.parent] for one in record.sets],
                 dtype=np.int64),
    )  # fmt: skip
    occupancy = np.array([group.occupancy for group in record.groups])
    lettered = [bool(table.altloc[group.atom_indices[0]]) for group in record.groups]
    whole = record.inputs.options.get("grouping") == "states"
    return OccupancyGroups(
        table, index, occupancy, np.array([group.refined for group in record.groups], dtype=bool),
        np.where(lettered, Why.ALTLOC, Why.RESIDUE), sums,
        restraints=tuple(
            Restraint(
                tuple(names[n] for n in one.groups), tuple(one.weights), one.target, one.sigma,
                one.name,
            )
            for one in record.restraints
        ),
        labels={g: group.name for g, group in enumerate(record.groups)},
        set_labels={number: one.name for number, one in enumerate(record.sets)},
        states=tuple(
            ModelState(one.name, tuple(names[n] for n in one.groups))
            for one in record.states
            if whole and _is_state(one.name, one.groups)
        ),
    )  # fmt: skip


def _is_state(name: str, groups: list[str]) -> bool:
    """Return whether a state is one of the model, not a sum that is named after a residue."""
    return not name.startswith(groups[0].rpartition(":")[0] + ":") or "/" not in name
