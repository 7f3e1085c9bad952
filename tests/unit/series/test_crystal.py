"""F of a model as a function of the fraction, in cells of its own; and data of other crystals."""

from dataclasses import replace

import gemmi
import numpy as np
import pytest
import torch

from demo_data import DEMO, load_demo, observe
from multicopy_refinement import structure_factors
from multicopy_refinement.crystal import Cell
from multicopy_refinement.crystal.hkl import to_asymmetric_unit, unique_reflections
from multicopy_refinement.errors import InputError
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.series.crystal import (
    Crystal,
    Regions,
    in_cell,
    positions,
    shared_cells,
    union_of,
)
from multicopy_refinement.series.isomorphism import amplitude_correlation, isomorphism
from multicopy_refinement.series.state import state_of


@pytest.fixture(scope="module")
def demo():
    return load_demo("truth.pdb")


@pytest.fixture(scope="module")
def data(demo):
    return observe(demo, 3.0)


def test_f_follows_the_fraction(demo):
    model = load_demo("truth.pdb")
    state, hkl = state_of(model, "B"), unique_reflections(model.cell, model.spacegroup, 3.0)
    regions = Regions.of(state)
    crystal = Crystal.of(in_cell(model, state, model.cell), state, regions, hkl)
    for fraction in (0.0, 0.35, 1.0):
        model.assign_group_occupancies(state.occupancy(fraction))
        whole = structure_factors(model, hkl).detach().numpy()
        made = crystal.held + (crystal.before + fraction * crystal.added).sum(axis=0)
        assert np.abs(made - whole).max() < 2e-3 * np.abs(whole).max()
    assert len(regions) == len(set(regions.names)) == 6  # one a residue with a letter B


def test_atoms_move_with_the_cell(demo):
    state = state_of(load_demo("truth.pdb"), "B")
    p = demo.cell.parameters
    cell = Cell(p[0] * 1.003, p[1] * 0.998, p[2], *p[3:])
    moved = in_cell(demo, state, cell)
    assert moved.cell is cell
    before = demo.table.xyz @ demo.cell.fractionalization.T
    after = moved.xyz().detach().numpy() @ cell.fractionalization.T
    assert after == pytest.approx(before, abs=1e-12)
    assert demo.table.xyz[0] != pytest.approx(moved.table.xyz[0])


def test_cells_that_are_alike_share_one():
    own = Cell(30, 40, 50, 90, 90, 90)
    cells = [Cell(30 * f, 40, 50, 90, 90, 90) for f in (1.0005, 1.004, 1.0045, 1.0, 0.99)]
    assert shared_cells(cells, own, 0.001) == [0, 2, 2, 0, 5]


def test_places_in_a_union():
    a = np.array([[1, 2, 3], [0, 0, 1], [5, -4, 2]])
    b = np.array([[0, 0, 1], [7, 7, 7]])
    every = union_of([a, b])
    assert len(every) == 4
    assert np.array_equal(every[positions(a, every)], a)
    assert positions(np.array([[9, 9, 9], [1, 2, 2]]), every).tolist() == [-1, -1]


def test_a_mask_may_be_that_of_another_experiment(demo, data):
    first = Experiment(demo, data)
    other = observe(demo, 3.4, seed=9)
    with torch.no_grad():
        alone, shared = Experiment(demo, other), Experiment(demo, other, like=first)
    assert shared.solvent.base is first.solvent.base  # made once
    assert alone.solvent.base is not first.solvent.base
    assert shared.statistics().r_work == pytest.approx(alone.statistics().r_work, abs=5e-3)
    assert len(shared.forward()) == len(other)


def test_amplitudes_tell_crystals_apart(demo, data):
    again = observe(demo, 3.0, seed=8)
    assert amplitude_correlation(data, again) > 0.98
    structure = gemmi.read_pdb(str(DEMO / "truth.pdb"))
    for site in structure[0].all():
        site.atom.pos = gemmi.Position(site.atom.pos.y, -site.atom.pos.x, site.atom.pos.z + 7)
    other = observe(type(demo)(structure), 3.0)
    assert amplitude_correlation(data, other) < 0.3
    names, group = ("a", "b", "c"), demo.spacegroup
    with pytest.raises(InputError, match=r"data set c: .* another crystal; leave it out"):
        isomorphism(names, (data, again, other), group)
    assert isomorphism(names[:2], (data, again), group).form.tolist() == [0, 0]
    two = isomorphism(("a", "b", "c", "d"), (data, again, other, replace(other)), group)
    assert two.form.tolist() == [0, 0, 1, 1]
    assert two.kin[0].tolist() == [1, 1, 0, 0]
    assert [one.code for one in two.notices] == ["not_isomorphous"]
    assert "(a, b; c, d)" in two.notices[0].message


def test_another_way_of_indexing_is_named():
    structure = gemmi.read_pdb(str(DEMO / "truth.pdb"))
    structure.cell, structure.spacegroup_hm = gemmi.UnitCell(32, 32, 40, 90, 90, 90), "P 41"
    model = type(load_demo("truth.pdb"))(structure)
    data = observe(model, 3.0)
    flipped = np.stack([data.hkl[:, 1], data.hkl[:, 0], -data.hkl[:, 2]], axis=1)
    other = replace(data, hkl=to_asymmetric_unit(flipped, model.spacegroup))
    with pytest.raises(InputError, match=r"data set b: .* indexed as .* with a: reindex it"):
        isomorphism(("b", "a"), (other, data), model.spacegroup)
