"""Solvent of the truth: the mean over molecules, in each of which groups are there or not.

This is not how a refinement computes it (`scaling.displaced`): the two check each other.
"""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import BoolArray, ComplexArray, IntArray
from multicopy_refinement.model import Model
from multicopy_refinement.modes import SolventTruth
from multicopy_refinement.occupancy.groups import OccupancyGroups
from multicopy_refinement.scaling.mask import (
    MaskGrid,
    density_structure_factors,
    mask_by_gemmi,
)
from multicopy_refinement.scaling.scaler import SMALLEST_SOLVENT

#: Molecules that are averaged.
MOLECULES = 64


def true_solvent(model: Model, hkl: IntArray, truth: SolventTruth) -> ComplexArray:
    """Return F of the solvent for a density of 1, complex ``[n]``; 0 below 2% of solvent."""
    groups, occupancy = model.occupancy_groups, model.group_occupancies()
    xyz = model.xyz().detach().double().cpu().numpy()
    d_min = float(1 / np.sqrt(model.cell.inverse_d_squared(hkl).max()))
    flat = truth is SolventTruth.FLAT
    states = (occupancy > 0)[None] if flat else molecules(groups, occupancy)
    different, count = np.unique(states, axis=0, return_counts=True)
    grid, masks = MaskGrid.of(model.cell, model.spacegroup, d_min), []
    for present, n in zip(different, count, strict=True):
        mask = mask_by_gemmi(grid, model.table, present[groups.index], xyz)
        masks.append(mask * (n / len(states)))
    density = np.sum(masks, axis=0)
    if float(density.mean()) < SMALLEST_SOLVENT:
        return np.zeros(len(hkl), dtype=np.complex128)
    return density_structure_factors(density, model.cell, model.spacegroup, hkl)


def molecules(groups: OccupancyGroups, occupancy: np.ndarray) -> BoolArray:
    """Return which groups each of `MOLECULES` molecules has, ``[n_molecules, n_groups]``.

    Each group is in a part of them that is its occupancy; members of a set are never in one
    together, nested groups only with their parent, all others independently of each other.
    """
    random = np.random.default_rng(7)
    present = np.zeros((MOLECULES, len(occupancy)), dtype=bool)
    count = np.rint(occupancy * MOLECULES).astype(int)
    for group in np.flatnonzero(groups.set_index < 0).tolist():
        present[random.permutation(MOLECULES)[: count[group]], group] = True
    for number in groups.sums.outermost_first.tolist():
        parent = int(groups.sums.parent[number])
        rows = np.arange(MOLECULES) if parent < 0 else np.flatnonzero(present[:, parent])
        members = groups.sums.members[number]
        edges = np.rint(np.cumsum(occupancy[members]) * MOLECULES).astype(int)
        order, first = random.permutation(rows), 0
        for member, last in zip(members.tolist(), edges.tolist(), strict=True):
            present[order[first:last], member] = True
            first = last
    return present
