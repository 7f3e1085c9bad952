"""Omit maps against gemmi, against the model without the atoms, and where there is nothing."""

import gemmi
import numpy as np
import pytest
import torch

from demo_data import DEMO, load_demo, observe
from multicopy_refinement import Model, RefineOptions, refine
from multicopy_refinement.errors import InputError, RuleError
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.results.maps import difference_coefficients, map_coefficients
from multicopy_refinement.results.omit import atoms_to_omit, omit, omit_density
from multicopy_refinement.scaling.mask import solvent_masker

LIGAND = "A/201/GOL"
QUICK = RefineOptions(uncertainty="none")


@pytest.fixture(scope="module")
def solution():
    return refine(load_demo("start.pdb"), observe(load_demo("truth.pdb"), 1.8), QUICK)


def _without(structure, wanted):
    """Return a structure without residues of a name."""
    left = structure.clone()
    for chain in left[0]:
        for i in reversed(range(len(chain))):
            if wanted(chain[i]):
                del chain[i]
    left.remove_empty_chains()
    return left


def _rms(f):
    return float(np.sqrt((np.abs(f) ** 2).mean()))


def test_f_without_a_held_ligand_is_that_of_gemmi():
    """All at occupancy 1, so that mask and F of gemmi know of no partial group."""
    full = gemmi.read_pdb(str(DEMO / "truth.pdb"))
    for _, residue, atom in ((c, r, a) for c in full[0] for r in c for a in r):
        atom.occ = 1.0
        assert residue is not None
    full = _kept(full, lambda a: a.altloc in {"\0", "A"})
    for site in full[0].all():
        site.atom.altloc = "\0"
    model = Model(full)
    data = observe(load_demo("truth.pdb"), 2.0)
    found = refine(model, data, QUICK)
    assert not model.occupancy_groups.refined.any()
    atoms = atoms_to_omit(model.occupancy_groups, ())
    assert atoms.sum() == 6
    omitted = omit(found, atoms)

    less = _without(full, lambda residue: residue.name == "GOL")
    experiment, scale = found.experiment, found.experiment.scale
    hkl = experiment.data.hkl
    calculator = gemmi.StructureFactorCalculatorX(less.cell)
    f_calc = np.array(
        [calculator.calculate_sf_from_model(less[0], h) for h in hkl.astype(int).tolist()]
    )
    grid = gemmi.Int8Grid(*experiment.grid.fine)
    grid.spacegroup = gemmi.SpaceGroup("P 21 21 21")
    grid.set_unit_cell(less.cell)
    solvent_masker(experiment.grid.growth).put_mask_on_int8_grid(grid, less[0])
    coarse = gemmi.FloatGrid(experiment.grid.coarse(grid.array), less.cell, grid.spacegroup)
    transform = gemmi.transform_map_to_f_phi(coarse, half_l=True)
    f_mask = np.asarray(transform.get_value_by_hkl(hkl.astype(np.int32)))
    f_model = scale.overall(hkl) * (f_calc + scale.solvent(experiment.data.s_squared) * f_mask)
    expected = difference_coefficients(experiment, f_model)[1]
    mine = omitted.coefficients[: len(hkl)]
    assert _rms(mine - expected) < 0.01 * _rms(expected)
    whole = map_coefficients(experiment, found.listed_f_calc)
    assert _rms(whole.model[: len(hkl)] - omitted.part[: len(hkl)] - f_model) < 2e-3 * _rms(f_model)


def _kept(structure, wanted):
    left = structure.clone()
    for chain in left[0]:
        for residue in chain:
            for i in reversed(range(len(residue))):
                if not wanted(residue[i]):
                    del residue[i]
    return left


def test_a_partial_ligand_is_left_out_with_the_solvent_that_it_displaces(solution, tmp_path):
    """F without it against that of a model in which it is not, at the same occupancies."""
    groups, q = solution.groups, solution.occupancy
    atoms = atoms_to_omit(groups, ())
    omitted = omit(solution, atoms)
    structure = gemmi.read_pdb(str(DEMO / "start.pdb"))
    _without(structure, lambda residue: residue.name == "GOL").write_pdb(str(tmp_path / "less.pdb"))
    model = Model(tmp_path / "less.pdb")
    by_name = dict(zip(groups.names, q.tolist(), strict=True))
    model.assign_group_occupancies(np.array([by_name[n] for n in model.occupancy_groups.names]))
    experiment = solution.experiment
    hkl = experiment.data.listed_hkl
    other = Experiment(model, experiment.data, shrink=experiment.grid.shrink)
    with torch.no_grad():
        f_calc = other.f_calc().numpy()
    scale, s2 = experiment.scale, experiment.data.s_squared
    expected = scale.overall(hkl) * (f_calc + scale.solvent(s2) * other.f_mask_at(hkl))
    whole = map_coefficients(experiment, solution.listed_f_calc).model
    assert _rms(whole - omitted.part - expected) < 0.01 * _rms(omitted.part)
    # the map with it is another one
    assert _rms(map_coefficients(experiment, solution.listed_f_calc).difference) < _rms(
        omitted.coefficients
    )


def test_the_ligand_shows_where_it_was_and_nothing_where_none_is(tmp_path):
    """A ligand that is not in the data has no peak above noise; one that is has a high one."""
    structure = gemmi.read_pdb(str(DEMO / "truth.pdb"))
    bare = tmp_path / "bare.pdb"
    _without(structure, lambda residue: residue.name == "GOL").write_pdb(str(bare))
    peaks = {}
    for name, truth in (("there", load_demo("truth.pdb")), ("absent", Model(bare))):
        # model errors as in a crystal: a tenth of the atoms have a wrong place
        model = load_demo("start.pdb")
        with torch.no_grad():
            xyz = model.xyz().detach().clone()
            random = np.random.default_rng(2)
            wrong = torch.as_tensor(random.uniform(size=len(xyz)) < 0.1)
            wrong[atoms_to_omit(model.occupancy_groups, ())] = False
            xyz[wrong] += torch.as_tensor(0.3 * random.standard_normal((int(wrong.sum()), 3)))
            model.xyz.set_values(xyz)
        found = refine(model, observe(truth, 1.8), QUICK)
        atoms = atoms_to_omit(found.groups, ())
        (shown,) = omit_density(omit(found, atoms), found.experiment, [np.flatnonzero(atoms)])
        peaks[name] = shown
    assert peaks["there"].peak > 6
    assert peaks["there"].correlation > 0.8
    assert peaks["absent"].peak < 4
    assert (peaks["absent"].correlation or 0.0) < 0.6


def test_peaks_are_those_of_gemmi(solution, tmp_path):
    atoms = atoms_to_omit(solution.groups, ("W/8/HOH",))
    omitted = omit(solution, atoms)
    data, table = solution.experiment.data, solution.groups.table
    water = np.flatnonzero((table.chain == b"W") & (table.resseq == 8))
    (shown,) = omit_density(omitted, solution.experiment, [water])
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup, mtz.cell = gemmi.SpaceGroup(data.spacegroup.name), data.cell.gemmi
    mtz.add_dataset("x")
    mtz.add_column("F", "F")
    mtz.add_column("P", "P")
    f = omitted.coefficients
    rows = [data.listed_hkl, np.abs(f)[:, None], np.degrees(np.angle(f))[:, None]]
    mtz.set_data(np.concatenate(rows, axis=1).astype(np.float32))
    grid = mtz.transform_f_phi_to_map("F", "P", sample_rate=6.0)
    grid.normalize()
    at = gemmi.Position(*table.xyz[water[0]])
    assert grid.interpolate_value(at) == pytest.approx(shown.peak, rel=0.15)
    assert shown.peak > 5


def test_what_is_left_out_is_said_or_refused(solution):
    groups = solution.groups
    table = groups.table
    found = atoms_to_omit(groups, ("resname HOH", "A/5/GLN:A"))
    expected = (table.resname == b"HOH") | (table.resname == b"GOL")
    expected |= (table.resseq == 5) & (table.altloc == b"A")
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(RuleError, match="--omit W/99/HOH"):
        atoms_to_omit(groups, ("W/99/HOH",))
    with pytest.raises(InputError, match="nothing is left"):
        atoms_to_omit(groups, ("/*",))
