"""The solvent of a series: masks of molecules with and without the state, and what lies between."""

import gemmi
import numpy as np
import pytest

from demo_data import DEMO
from multicopy_refinement import Model
from multicopy_refinement.crystal.hkl import unique_reflections
from multicopy_refinement.scaling.displaced import displaced_solvent
from multicopy_refinement.scaling.mask import MaskGrid, density_structure_factors
from multicopy_refinement.scaling.room import solvent_mask
from multicopy_refinement.series.crystal import Regions, in_cell
from multicopy_refinement.series.holes import Holes
from multicopy_refinement.series.solvent import MasksOfCells, SolventOfStates
from multicopy_refinement.series.state import state_of

D_MIN = 2.5


@pytest.fixture(scope="module")
def made():
    """A crystal whose state is all its conformers B, each beside one A, or beside nothing."""
    structure = gemmi.read_pdb(str(DEMO / "truth.pdb"))
    for chain in structure[0]:
        for i in reversed(range(len(chain))):
            if any(atom.altloc == "C" for atom in chain[i]):
                del chain[i]
    model = Model(structure)
    state = state_of(model, "B")
    model = in_cell(model, state, model.cell)
    partial = state.tied
    present = np.ones(len(model.table), dtype=bool)
    grid = MaskGrid.of(model.cell, model.spacegroup, D_MIN)
    crystal = model.table.xyz, grid, state.occupancy(0.5)
    made = SolventOfStates.of(state, MasksOfCells(), state.groups, partial, present, *crystal)
    return model, state, made, displaced_solvent(state.groups, partial, present, *crystal)


def test_ends_are_the_masks_of_molecules_with_and_without_it(made):
    model, state, solvent, _ = made
    hkl = unique_reflections(model.cell, model.spacegroup, D_MIN)
    masks = []
    for fraction in (0.0, 1.0):
        q = state.occupancy(fraction)
        assert set(q[state.tied].tolist()) <= {0.0, 1.0}
        there = np.where((state.slope != 0)[state.groups.index], q[state.groups.index] > 0, True)
        masks.append(solvent_mask(solvent.each.grid, model.table, there, model.table.xyz))
        assert solvent.density(q[state.tied]) == pytest.approx(masks[-1], abs=1e-6)
    between = solvent.f_mask(state.occupancy(0.3)[state.tied], hkl)
    mean = density_structure_factors(
        0.7 * masks[0] + 0.3 * masks[1], model.cell, model.spacegroup, hkl
    )
    assert between == pytest.approx(mean, rel=1e-4, abs=1e-3)
    assert not np.array_equal(masks[0], masks[1])


def test_what_groups_displace_is_the_change_with_the_fraction(made):
    model, state, solvent, _ = made
    hkl = unique_reflections(model.cell, model.spacegroup, D_MIN)
    q0, q1 = (state.occupancy(f)[state.tied] for f in (0.2, 0.6))
    chosen = np.arange(len(state.tied))
    found = solvent.displaced(q0, chosen, hkl, 20.0)
    change = -0.4 * (state.slope[state.tied] @ found.columns)
    right = (solvent.f_mask(q1, hkl) - solvent.f_mask(q0, hkl))[found.low]
    assert change == pytest.approx(right, abs=1e-3 * np.abs(right).max())
    assert solvent.for_other_data().each is not solvent.each


def test_a_pocket_that_several_residues_leave_is_one(made):
    """Judged residue by residue another part is solvent than in molecules with all or none."""
    _, state, solvent, independent = made
    q = state.occupancy(0.5)[state.tied]
    assert solvent.density(q).sum() != independent.density(q).sum()
    q = state.occupancy(1.0)[state.tied]  # one molecule, of which both say the same
    assert solvent.density(q).sum() == pytest.approx(independent.density(q).sum(), rel=1e-3)


def test_probes_are_the_masks_of_its_ends_narrower_and_wider(made):
    model, state, solvent, _ = made
    probes = solvent.probes()
    for pair, change in zip(probes, (-0.1, 0.0, 0.1), strict=True):
        for fraction, density in zip((0.0, 1.0), pair, strict=True):
            q = state.occupancy(fraction)[state.groups.index]
            there = np.where((state.slope != 0)[state.groups.index], q > 0, True)
            grid = solvent.each.grid.with_probe(change)
            right = solvent_mask(grid, model.table, there, model.table.xyz)
            assert density == pytest.approx(right, abs=1e-6)


def test_what_fills_holes_is_in_f_mask_and_in_what_the_state_displaces(made):
    model, state, solvent, _ = made
    regions = Regions.of(state)
    follows = regions.of_atom >= 0
    hkl = unique_reflections(model.cell, model.spacegroup, D_MIN)
    holes = solvent.holes(model.table.xyz[follows], regions.of_atom[follows])
    assert len(holes) > 2
    q0, q1 = (state.occupancy(f)[state.tied] for f in (0.2, 0.6))
    before = solvent.f_mask(q0, hkl)
    solvent.masks.holes = holes
    try:
        assert np.array_equal(solvent.f_mask(q0, hkl), before)
        holes.filled = np.linspace(-1.0, 1.0, len(holes))
        without, with_ = holes.f_filled(hkl, model.cell.volume)
        right = before + 0.8 * without + 0.2 * with_
        assert solvent.f_mask(q0, hkl) == pytest.approx(right, abs=1e-3)
        assert np.abs(right - before).max() > 1.0
        found = solvent.displaced(q0, np.arange(len(state.tied)), hkl, 20.0)
        change = -0.4 * (state.slope[state.tied] @ found.columns)
        right = (solvent.f_mask(q1, hkl) - solvent.f_mask(q0, hkl))[found.low]
        assert change == pytest.approx(right, abs=1e-3 * np.abs(right).max())
    finally:
        solvent.masks.holes = Holes()
