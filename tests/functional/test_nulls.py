"""What is absent comes out absent: truth by gemmi alone, with solvent where nothing is.

Density by gemmi's calculator; a point holds solvent to 1 - the largest occupancy that covers it,
from gemmi's masks of what is there above each level. Nothing of it is the program's own.
"""

from dataclasses import replace

import gemmi
import numpy as np
import pytest
import torch

from gemmi_truth import amplitudes, solvent
from multicopy_refinement import Model, refine
from multicopy_refinement.crystal.hkl import unique_reflections
from multicopy_refinement.reflections.data import DataLabels, ReflectionData
from multicopy_refinement.simulate.noise import amplitude_sigmas

D_MIN, NOISE = 1.9, 0.03
LEVELS = (0.0, 0.3, 0.5, 0.7)


def observe(structure: gemmi.Structure, model: Model, uneven: float = 0.0) -> ReflectionData:
    """Return amplitudes with noise; the density of the solvent varies by ``uneven``."""
    hkl = unique_reflections(model.cell, model.spacegroup, D_MIN)
    s_squared, index = model.cell.inverse_d_squared(hkl), hkl.astype(np.int32)
    f_true = amplitudes(
        structure, D_MIN, hkl=index, filled=lambda one: solvent(one, uneven=uneven)
    )[1]
    random = np.random.default_rng(1)
    sigma = amplitude_sigmas(f_true, s_squared, NOISE)
    f_obs = np.abs(f_true + sigma * random.standard_normal(len(f_true)))
    flags = random.integers(0, 20, len(f_true))
    return ReflectionData(
        hkl, f_obs, sigma, flags == 0, flags, model.cell, model.spacegroup,
        DataLabels(("F", "SIGF"), True, None, None, ""), hkl[:0], np.zeros(0, dtype=np.int64),
    )  # fmt: skip


@pytest.fixture(scope="module")
def crystal(tmp_path_factory, shared_data):
    """Return a model of 48 waters at 0.5, its data, true occupancies: 12 are absent; the truth."""
    structure = gemmi.read_structure(str(shared_data / "4cjl" / "model.pdb"))
    structure.remove_alternative_conformations()
    structure.remove_hydrogens()
    for site in structure[0].all():
        site.atom.occ = 1.0
    waters = [
        (chain.name, residue.seqid.num)
        for chain in structure[0] for residue in chain if residue.name == "HOH"
    ]  # fmt: skip
    chosen = np.random.default_rng(3).permutation(len(waters))[:48]
    true = {waters[w]: LEVELS[i % 4] for i, w in enumerate(chosen)}

    def give(one: gemmi.Structure, occupancy) -> gemmi.Structure:
        for chain in one[0]:
            for residue in chain:
                key = (chain.name, residue.seqid.num)
                if residue.name == "HOH" and key in true:
                    for atom in residue:
                        atom.occ = occupancy(true[key])
        return one

    path = tmp_path_factory.mktemp("nulls") / "start.pdb"
    give(structure.clone(), lambda _: 0.5).write_pdb(str(path))
    model = Model(dtype_float=torch.float64).load(path)
    truth = give(structure, lambda q: q)
    return path, observe(truth, model), true, truth


def refined(crystal, data):
    """Return error, su, truth, support and su_conditional of the waters, and notices."""
    path, _, true, _ = crystal
    solution = refine(Model(dtype_float=torch.float64).load(path), data)
    assert solution.status.converged
    rows = []
    for g in np.flatnonzero(solution.groups.refined):
        chain, number, _ = solution.groups.names[g].split("/")
        q = true[chain, int(number)]
        there = "not_supported" not in solution.results.flags[g]
        held = solution.results.su_conditional[g]
        rows.append((solution.occupancy[g] - q, solution.su[g], q, there, held))
    return np.array(rows).T, {notice.code: notice for notice in solution.notices}


@pytest.fixture(scope="module")
def found(crystal):
    """What `refined` returns of good data."""
    return refined(crystal, crystal[1])[0]


def wrong_amplitudes(data, random):
    """Return the data with 20 amplitudes ten times too large."""
    f_obs = data.f_obs.copy()
    f_obs[random.choice(len(f_obs), 20, replace=False)] *= 10
    return f_obs


def amplitudes_of_zero(data, random):
    """Return the data with 2% of amplitudes 0."""
    return np.where(random.random(len(data)) < 0.02, 0.0, data.f_obs)


def one_that_is_huge(data, random):
    """Return the data with the strongest amplitude a hundred times too large."""
    return np.where(data.f_obs == data.f_obs.max(), 100 * data.f_obs, data.f_obs)


@pytest.mark.parametrize("fault", [wrong_amplitudes, amplitudes_of_zero, one_that_is_huge])
def test_wrong_reflections_are_named_and_change_nothing(crystal, found, fault):
    data = crystal[1]
    spoiled = replace(data, f_obs=fault(data, np.random.default_rng(7)))
    (error, su, true, *_), notices = refined(crystal, spoiled)
    wrong = {f"{h} {k} {m}" for h, k, m in data.hkl[spoiled.f_obs != data.f_obs].tolist()}
    named = set(notices["outliers"].atoms)
    assert len(wrong & named) > 0.9 * len(wrong)
    assert len(named - wrong) <= 3
    partial = true > 0
    assert np.sqrt(np.mean((error[partial] / su[partial]) ** 2)) < 1.3
    assert np.median(np.abs(error - found[0])) < 0.5 * np.median(su)


def test_absent_waters_come_out_absent(found):
    error, su, true, there, _ = found
    absent = true == 0
    assert absent.sum() == 12
    assert (error[absent] > 2 * su[absent]).sum() <= 2  # 11 with a mask that all atoms make
    assert there[absent].sum() <= 0.07 * there.sum()  # of what is called present
    assert there[~absent].all()
    assert error[absent].mean() < 0.012
    assert error[absent].max() < 0.06


def test_partial_waters_have_the_occupancy_that_they_have(found):
    error, su, true, *_ = found
    partial = true > 0
    assert abs(error[partial].mean()) < 0.015
    assert np.sqrt(np.mean((error[partial] / su[partial]) ** 2)) < 1.3


def test_solvent_that_is_not_even_is_counted_in_su(crystal):
    path, _, _, truth = crystal
    model = Model(dtype_float=torch.float64).load(path)
    (error, _, true, there, held), _ = refined(crystal, observe(truth, model, uneven=0.3))
    absent = true == 0
    assert there[absent].sum() <= 0.07 * there.sum()
    assert there[~absent].all()
    z = (error / held)[~absent]
    assert 0.7 < np.sqrt(np.mean(z**2)) < 1.3


def test_uneven_solvent_of_the_truth_varies_by_as_much_and_has_the_symmetry(crystal):
    truth = crystal[3]
    even, uneven = solvent(truth), solvent(truth, uneven=0.3)
    inside = np.asarray(even.array) > 0
    ratio = np.asarray(uneven.array)[inside] / np.asarray(even.array)[inside]
    assert abs(ratio.mean() - 1) < 0.03
    assert 0.25 < ratio.std() < 0.35
    averaged = gemmi.FloatGrid(np.array(uneven.array), truth.cell, uneven.spacegroup)
    averaged.symmetrize_avg()
    differ = np.abs(averaged.array - uneven.array) > 1e-4
    assert differ.mean() < 1e-3  # as do a few points of gemmi's masks by themselves
