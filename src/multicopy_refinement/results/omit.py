"""Omit maps: what the data show where atoms were left out, with all else as it was refined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from multicopy_refinement._typing import BoolArray, ComplexArray, FloatArray, IntArray
from multicopy_refinement.crystal import Cell
from multicopy_refinement.crystal.density import density_from
from multicopy_refinement.crystal.grid import grid_size
from multicopy_refinement.errors import InputError
from multicopy_refinement.occupancy.groups import OccupancyGroups
from multicopy_refinement.occupancy.rules.selection import RuleSelection
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.refinement import Solution
from multicopy_refinement.refinement.ligands import ligand_sites
from multicopy_refinement.results.maps import difference_coefficients
from multicopy_refinement.results.real_space import (
    NEAR_ATOM,
    NEAR_PEAK,
    SAMPLING,
    correlation,
    points_near,
)
from multicopy_refinement.results.record import Group, LigandRecord, RunRecord
from multicopy_refinement.scattering.atoms import atoms_of
from multicopy_refinement.scattering.basis import MEMORY_LIMIT
from multicopy_refinement.scattering.columns import make_columns


@dataclass(frozen=True, eq=False)
class Omitted:
    """Atoms that are left out, and the map without them.

    Attributes
    ----------
    atoms
        Which, bool ``[n_atoms]``.
    coefficients
        mFo-DFc without them at all reflections that the data list, 0 where nothing was observed
        and for outliers; complex ``[n]``.
    part
        What they add to F_model, with the solvent that they displace; complex ``[n]``.
    """

    atoms: BoolArray
    coefficients: ComplexArray
    part: ComplexArray


@dataclass(frozen=True)
class OmitDensity:
    """What the omit map shows of some atoms.

    Attributes
    ----------
    peak
        Its highest value within 2 A of them, in standard deviations of the map.
    correlation
        With their own density within 1.5 A of them; None where one is flat.
    """

    peak: float
    correlation: float | None


def atoms_to_omit(groups: OccupancyGroups, selections: Sequence[str]) -> BoolArray:
    """Return the atoms of ligands, and of selections.

    Raises
    ------
    RuleError
        A selection of nothing, with what has a name like it.
    InputError
        Where nothing would be left.
    """
    chosen = RuleSelection(groups)
    for text in selections:
        chosen.where = f"--omit {text}"
        chosen.asked(text)
    found = chosen.spoken_of.copy()
    ligands = found.copy()
    for site in ligand_sites(groups):
        ligands[list(site.atoms)] = True
    if found.all():
        raise InputError(f"--omit {selections[-1]}: nothing is left to phase the map with")
    return found if ligands.all() else ligands  # a ligand alone in its crystal


def omit(solution: Solution, atoms: BoolArray) -> Omitted:
    """Return mFo-DFc without some atoms.

    F_model without them is k (F_calc - sum q_g G_g + S F_mask'): G_g is the scattering of those of
    each group, and F_mask' the solvent that fills their place. Scale, solvent, alpha and beta are
    those of the run: F is linear in what is left out, and nothing is refined around the hole. All
    atoms are left out together.
    """
    experiment, data = solution.experiment, solution.experiment.data
    hkl, scale = data.listed_hkl, experiment.scale
    f_calc = solution.listed_f_calc - _f_of(experiment, atoms, hkl)
    solvent = scale.solvent(data.cell.inverse_d_squared(hkl))
    overall = scale.overall(hkl)
    f_model = overall * (solution.listed_f_calc + solvent * experiment.f_mask_at(hkl))
    without = overall * (f_calc + solvent * experiment.f_mask_without(atoms, hkl))
    difference = difference_coefficients(experiment, without[: len(data)])[1]
    missing = np.zeros(len(hkl) - len(data))
    return Omitted(atoms, np.concatenate([difference, missing]), f_model - without)


def _f_of(experiment: Experiment, atoms: BoolArray, hkl: IntArray) -> ComplexArray:
    """Return F_calc of some atoms of a model, complex ``[n]``."""
    model = experiment.model
    number, group = np.unique(model.occupancy_groups.index[atoms], return_inverse=True)
    with torch.no_grad():
        chosen = atoms_of(model).select(torch.as_tensor(atoms)).double()
        columns = make_columns(chosen, group, len(number), hkl, MEMORY_LIMIT)
    real, imaginary = columns.members(np.arange(len(number)))
    q = model.group_occupancies()[number]
    return np.asarray(q @ real + 1j * (q @ imaginary))


@dataclass(frozen=True, eq=False)
class _Map:
    """A map as `points_near` takes it."""

    size: tuple[int, int, int]
    cell: Cell


def omit_density(
    omitted: Omitted, experiment: Experiment, members: Sequence[IntArray]
) -> list[OmitDensity]:
    """Return what the omit map shows of groups of atoms that were left out."""
    data, table = experiment.data, experiment.model.table
    place = experiment.model.xyz().detach().double().cpu().numpy()
    size = grid_size(data.cell, data.spacegroup, data.listed_d_min / SAMPLING)
    grid = _Map(size, data.cell)

    def density(f: ComplexArray) -> FloatArray:
        found = density_from(f, data.listed_hkl, data.cell, data.spacegroup, size)
        return found.reshape(-1)

    shown, own = density(omitted.coefficients), density(omitted.part)
    sigma = float(shown.std()) or 1.0
    found = []
    for atoms in members:
        heavy = atoms[~table.hydrogen[atoms]]
        xyz = place[heavy if len(heavy) else atoms]
        near = points_near(grid, xyz, NEAR_ATOM)
        around = shown[points_near(grid, xyz, NEAR_PEAK)]
        found.append(OmitDensity(float(around.max()) / sigma, correlation(shown[near], own[near])))
    return found


def with_omit(record: RunRecord, omitted: Omitted, experiment: Experiment) -> RunRecord:
    """Return a record with what the omit map shows of the ligands and groups that were left out."""

    def left_out(one: Group | LigandRecord) -> bool:
        return bool(omitted.atoms[one.atom_indices].all())

    everything: list[Group | LigandRecord] = [*record.groups, *record.ligands]
    chosen = [one for one in everything if left_out(one)]
    members = [np.array(one.atom_indices) for one in chosen]
    shown = {
        id(one): {
            "omit_peak": round(found.peak, 3),
            "omit_correlation": None if found.correlation is None else round(found.correlation, 4),
        }
        for one, found in zip(chosen, omit_density(omitted, experiment, members), strict=True)
    }
    return record.model_copy(
        update={
            "groups": [g.model_copy(update=shown.get(id(g), {})) for g in record.groups],
            "ligands": [one.model_copy(update=shown.get(id(one), {})) for one in record.ligands],
        }
    )
