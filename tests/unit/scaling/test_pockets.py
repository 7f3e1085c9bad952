"""Solvent in pockets: where nothing leads out of them there is none, in whatever state."""

import numpy as np
import pytest

from everything_wrong import with_conformers
from gemmi_truth import crystal
from multicopy_refinement import Model
from multicopy_refinement.scaling.displaced import displaced_solvent
from multicopy_refinement.scaling.mask import MaskGrid, mask_by_gemmi

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def molecules(shared_data, tmp_path_factory):
    """4cjl with 40 side chains in two conformers, and how much solvent its molecules leave."""
    made = crystal(
        shared_data / "4cjl/model.pdb", shared_data / "monomers", seed=5, n_waters=40,
        n_ligands=16, levels=(0.3, 0.5, 0.7, 0.9),
    )  # fmt: skip
    made, _ = with_conformers(made, 40, np.random.default_rng(82), 0.05, 0.1)
    path = tmp_path_factory.mktemp("pockets") / "truth.pdb"
    made.truth.write_pdb(str(path))
    model = Model(path)
    groups, q = model.occupancy_groups, model.group_occupancies()
    grid = MaskGrid.of(model.cell, model.spacegroup, 2.5)
    random, n, alone = np.random.default_rng(5), 20, q < 1
    there = np.ones((n, len(groups)), dtype=bool)
    for members in groups.sums.members:
        drawn = np.searchsorted(np.cumsum(q[members]), (random.permutation(n) + 0.5) / n)
        for number, g in enumerate(members.tolist()):
            there[:, g] = drawn == number
        alone[members] = False
    for g in np.flatnonzero(alone).tolist():
        there[:, g] = (random.permutation(n) + 0.5) / n < q[g]
    table = groups.table
    masks = [mask_by_gemmi(grid, table, one[groups.index], table.xyz) for one in there]
    return model, grid, np.mean(masks, axis=0)


def test_solvent_is_where_the_molecules_of_a_crystal_leave_it(molecules):
    """Side chains of the core leave pockets that are too small, or have no way out."""
    model, grid, mean = molecules
    groups, q = model.occupancy_groups, model.group_occupancies()
    partial = np.flatnonzero(groups.refined)
    assert len(partial) > 120
    there = np.ones(len(groups.table), dtype=bool)
    solvent = displaced_solvent(groups, partial, there, groups.table.xyz, grid, q)
    found = solvent.density(q[partial])
    voxel = grid.cell.volume / found.size
    displaced = float((mean - solvent.base).sum()) * voxel
    off = np.abs(found - mean).sum() * voxel
    assert displaced > 5000
    assert off < 0.04 * displaced, (off, displaced)
    core = model.table.xyz[groups.members[groups.names.index("A/101/LEU:A")]].mean(axis=0)
    place = tuple((grid.cell.fractionalization @ core % 1 * found.shape).astype(int))
    assert found[place] == mean[place] == 0
    # beside several groups, none of which shuts it alone
    beside = model.table.xyz[groups.members[groups.names.index("A/2012/HOH")][0]]
    place = np.argwhere(np.ones(found.shape, dtype=bool)) / np.array(found.shape)
    apart = place - grid.cell.fractionalization @ beside % 1
    apart -= np.rint(apart)
    near = np.linalg.norm(apart @ grid.cell.orthogonalization.T, axis=1) < 4
    assert found.ravel()[near].sum() == pytest.approx(mean.ravel()[near].sum(), rel=0.1)


def test_another_most_frequent_molecule_is_judged_as_anew(molecules):
    """What spheres cover is taken over: with other occupancies other pockets are open."""
    model, grid, _ = molecules
    groups, q = model.occupancy_groups, model.group_occupancies()
    partial = np.flatnonzero(groups.refined)
    there = np.ones(len(groups.table), dtype=bool)
    other = q.copy()
    for members in groups.sums.members:
        other[members] = q[members][::-1]
    first = displaced_solvent(groups, partial, there, groups.table.xyz, grid, q)
    right = displaced_solvent(groups, partial, there, groups.table.xyz, grid, other)
    found = displaced_solvent(groups, partial, there, groups.table.xyz, grid, other, first)
    for occupancy in (q[partial], other[partial]):
        expected = right.density(occupancy)
        assert np.array_equal(found.density(occupancy), expected)
    assert not np.array_equal(first.density(q[partial]), right.density(q[partial]))
    moved = groups.table.xyz + 0.1
    anew = displaced_solvent(groups, partial, there, moved, grid, other, first)
    right = displaced_solvent(groups, partial, there, moved, grid, other)
    assert np.array_equal(anew.density(q[partial]), right.density(q[partial]))
