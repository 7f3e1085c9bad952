"""Probabilities of gains, false discoveries, and decoys against columns of their own."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2

from demo_data import load_demo, observe
from multicopy_refinement import RefineOptions, refine
from multicopy_refinement.parallel import using_threads
from multicopy_refinement.posterior import Kind, occupancy_posterior
from multicopy_refinement.refinement.decoys import CLEAR, Decoys, decoy_p
from multicopy_refinement.refinement.discoveries import discoveries
from multicopy_refinement.refinement.support import boundary_p
from multicopy_refinement.scattering.basis import group_basis
from multicopy_refinement.solve.covariance import covariance
from posteriors import forward, point


def test_probability_of_a_gain_on_the_boundary():
    gain = np.array([-1.0, 0.0, 1.353, 5.0])
    found = boundary_p(gain)
    assert found[:2].tolist() == [1.0, 1.0]
    assert found[2:] == pytest.approx(0.5 * chi2.sf(2 * gain[2:], 1))
    assert found[2] == pytest.approx(0.05, abs=1e-3)
    more = boundary_p(gain, extra=1)
    assert more[2:] == pytest.approx(
        0.5 * chi2.sf(2 * gain[2:], 1) + 0.5 * chi2.sf(2 * gain[2:], 2)
    )


def test_discoveries_are_those_of_benjamini_and_hochberg():
    p = np.array([0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205, np.nan])
    assert discoveries(p).tolist() == [True, True, *[False] * 7]
    assert discoveries(np.array([0.01, 0.02, 0.03, 0.04])).all()
    assert not discoveries(np.array([np.nan, 0.9])).any()


def test_rank_among_decoys_and_the_tail_beyond():
    scores = np.random.default_rng(0).standard_normal(4000)
    for z in (0.5, 1.0, 2.0, 3.0, 4.0):
        assert decoy_p(z, scores) == pytest.approx(0.5 * chi2.sf(z**2, 1), rel=0.7, abs=1e-3)
    assert decoy_p(-1.0, scores) == pytest.approx(1.0)
    assert decoy_p(3.0, 3 * scores) > 0.1  # errors three times as large: nothing special
    assert decoy_p(5.0, scores[:20]) == 0.0  # too few to say anything


@pytest.fixture(scope="module")
def demo_run():
    """Return the posterior of the refined demo, its experiment and the maximum."""
    model = load_demo("start.pdb")
    data = observe(load_demo("truth.pdb"), 2.0)
    solution = refine(model, data, RefineOptions(uncertainty="none"))
    refined = np.flatnonzero(model.occupancy_groups.refined)
    posterior = occupancy_posterior(
        solution.experiment, group_basis(model, solution.experiment.data.hkl, refined),
        model.occupancy_groups.set_index[refined],
    )  # fmt: skip
    return posterior, solution.experiment, point(posterior, solution.occupancy[refined])


@pytest.fixture(scope="module")
def decoys(demo_run):
    posterior, experiment, _ = demo_run
    at = posterior.space.point({Kind.OCCUPANCY: np.full(posterior.space.size, 0.5)})
    return Decoys(experiment, posterior, at)


def test_a_decoy_in_the_place_of_its_group_has_its_gradient(decoys):
    """Far from the maximum, where gradients are large; solvent is counted by spheres."""
    model, posterior = decoys.experiment.model, decoys.posterior
    groups = model.occupancy_groups
    refined = np.flatnonzero(groups.refined)
    wanted = posterior.normal(decoys.at).gradient
    place = model.table.xyz @ model.cell.fractionalization.T
    found = np.array([
        decoys.gradient(groups.members[g], place[groups.members[g]][None])[0] for g in refined
    ])  # fmt: skip
    assert np.corrcoef(found, wanted)[0, 1] > 0.98
    assert np.polyfit(wanted, found, 1)[0] == pytest.approx(1, abs=0.15)


def test_decoys_stand_clear_of_the_model_and_near_it(decoys):
    model = decoys.experiment.model
    groups = model.occupancy_groups
    ligand = groups.members[groups.names.index("A/201/GOL")]
    places = decoys._placed(ligand, 40, np.random.default_rng(1))
    assert places.shape[1:] == (len(ligand), 3)
    xyz = model.table.xyz[~model.table.hydrogen]
    for one in places:
        apart = one[:, None] - (xyz @ model.cell.fractionalization.T)[None]
        apart -= np.rint(apart)
        nearest = np.linalg.norm(apart @ model.cell.orthogonalization.T, axis=2).min()
        assert nearest > CLEAR - 0.6  # a point of the grid decides
    shape = np.linalg.norm((places[0] - places[0][0]) @ model.cell.orthogonalization.T, axis=1)
    own = np.linalg.norm(model.table.xyz[ligand] - model.table.xyz[ligand[0]], axis=1)
    assert np.allclose(shape, own, atol=1e-6)


def test_scores_of_decoys_at_the_maximum_are_noise(demo_run):
    posterior, experiment, at = demo_run
    groups = experiment.model.occupancy_groups
    water = groups.names.index("W/8/HOH")
    place = int(np.flatnonzero(np.flatnonzero(groups.refined) == water)[0])
    own = posterior.normal(at).information[place, place]
    decoys = Decoys(experiment, posterior, at)
    decoys.prepare([groups.members[water]], 300)
    scores = decoys.scores(groups.members[water], own)
    assert len(scores) == 300
    assert 0.4 < np.std(scores) < 3.0
    assert forward(posterior).n_groups == at.space.size


def test_decoys_of_least_squares_are_judged_by_chi_square():
    """Sigmas that are too large change neither su nor what decoys score."""
    stds = []
    for sigmas in (1.0, 3.0):
        model = load_demo("start.pdb")
        data = observe(load_demo("truth.pdb"), 2.0)
        data = replace(data, sigma=sigmas * data.sigma)
        found = refine(model, data, RefineOptions(uncertainty="none", target="ls"))
        refined = np.flatnonzero(model.occupancy_groups.refined)
        posterior = occupancy_posterior(
            found.experiment, group_basis(model, found.experiment.data.hkl, refined),
            model.occupancy_groups.set_index[refined],
        )  # fmt: skip
        at = point(posterior, found.occupancy[refined])
        posterior = posterior.with_reduced_chi_square(at)
        water = model.occupancy_groups.names.index("W/8/HOH")
        place = int(np.flatnonzero(refined == water)[0])
        decoys = Decoys(found.experiment, posterior, at)
        atoms = model.occupancy_groups.members[water]
        decoys.prepare([atoms], 300)
        own = covariance(posterior, at).information[place, place]
        stds.append(np.std(decoys.scores(atoms, own)))
    assert 0.4 < stds[0] < 3.0
    assert stds[1] == pytest.approx(stds[0], rel=0.3)


def test_groups_of_a_kind_share_decoys_whatever_their_order_and_the_threads(demo_run):
    posterior, experiment, at = demo_run
    groups = experiment.model.occupancy_groups
    mine = [groups.members[g] for g in np.flatnonzero(groups.refined)]
    shared = [groups.members[groups.names.index(f"A/5/GLN:{letter}")] for letter in "AB"]
    found = []
    for order, threads in ((mine, 1), (mine[::-1], 1), (mine, 2), (mine[3:], 2)):
        decoys = Decoys(experiment, posterior, at)
        with using_threads(threads):
            decoys.prepare(order, 60)
        assert np.array_equal(*(decoys.scores(group, 1.0) for group in shared))
        found.append(np.concatenate([decoys.scores(group, 1.0) for group in mine[3:]]))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
