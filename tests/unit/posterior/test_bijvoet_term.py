"""Bijvoet differences: F'' against sums of complex factors, and derivatives by differences."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from anomalous_crystals import WAVELENGTH, friedel_mates, with_metals
from demo_data import observe
from multicopy_refinement import Model
from multicopy_refinement.posterior import Kind
from multicopy_refinement.posterior.bijvoet import bijvoet_difference
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.posterior.occupancies import BShifts, occupancy_posterior
from multicopy_refinement.refinement.anomalous import AnomalousSignal
from multicopy_refinement.refinement.decoys import Decoys
from multicopy_refinement.refinement.pull import pull_on_atoms
from multicopy_refinement.refinement.surroundings import surroundings_of
from multicopy_refinement.reflections.bijvoet import BijvoetDifferences
from multicopy_refinement.scattering import structure_factors
from multicopy_refinement.scattering.anomalous import anomalous_columns
from multicopy_refinement.scattering.atom_slopes import unknowns_of_atoms
from multicopy_refinement.scattering.basis import group_basis
from multicopy_refinement.simulate import simulate
from multicopy_refinement.solve.covariance import covariance, misfit
from multicopy_refinement.solve.evidence import evidence
from multicopy_refinement.solve.marginal import with_surroundings


def load(path):
    model = Model(dtype_float=torch.float64).load(path)
    return model.measured_with(wavelength=WAVELENGTH, anomalous=True)


@pytest.fixture(scope="module")
def crystal(tmp_path_factory):
    """A model of zincs, its truth, and data of this."""
    folder = tmp_path_factory.mktemp("anomalous")
    truth = load(with_metals(folder, "truth.pdb", {"Zn1": 0.6, "Zn2": 0.35, "Ca": 0.5}))
    model = load(with_metals(folder, "start.pdb", {"Zn1": 0.5, "Zn2": 0.5, "Ca": 0.4}))
    made = simulate(truth, 2.2, seed=3)
    data = observe(truth, 2.2)
    assert np.array_equal(made.f_obs, data.f_obs)
    value = np.where(data.centric, np.nan, made.mates[0] - made.mates[1])
    pairs = BijvoetDifferences(value, 2 * data.sigma, ("F(+)", "SIGF(+)", "F(-)", "SIGF(-)"))
    return model, truth, replace(data, bijvoet=pairs)


@pytest.fixture(scope="module")
def posterior(crystal):
    """Occupancies, B shifts, scale and solvent at once."""
    model, _, data = crystal
    refined = np.flatnonzero(model.occupancy_groups.refined)
    experiment = Experiment(model, data)
    signal = AnomalousSignal(model, experiment.data, refined)
    q = model.group_occupancies()[refined]
    signal.renew(experiment, experiment.f_calc().detach(), q, None)
    limits = BShifts(np.full(len(refined), -10.0), np.full(len(refined), 20.0))
    made = occupancy_posterior(
        experiment, group_basis(model, data.hkl, refined),
        model.occupancy_groups.sums.restricted(refined, model.group_occupancies()),
        b_shifts=limits, with_scale=True, bijvoet=(signal.columns, signal.errors),
    )  # fmt: skip
    values = {Kind.OCCUPANCY: q, Kind.B_GROUP: np.linspace(-2, 3, len(q))}
    return made, made.space.point({**values, **made.data.fitted.values})


def test_columns_are_what_complex_form_factors_scatter(crystal):
    """|F(+)| and |F(-)| of F_0 +- iF'' against sums with f + f' + if'' at hkl and -h-k-l."""
    model, _, data = crystal
    hkl = data.hkl[::7]
    refined = np.flatnonzero(model.occupancy_groups.refined)
    columns = anomalous_columns(model, hkl, refined)
    second = columns.f_second(model.group_occupancies()[refined])
    with torch.no_grad():
        f = structure_factors(model, hkl, method="direct").numpy()
    plus, minus = friedel_mates(model, hkl)
    scale = np.sqrt(np.mean(np.abs(plus) ** 2))
    assert np.abs(np.abs(f + 1j * second) - np.abs(plus)).max() < 1e-4 * scale
    assert np.abs(np.abs(f - 1j * second) - np.abs(minus)).max() < 1e-4 * scale
    of_second = (plus - minus.conj()) / 2j
    rms = np.sqrt(np.mean(np.abs(of_second) ** 2))
    assert rms > 1.0  # electrons: there is something to be right about
    assert np.sqrt(np.mean(np.abs(second - of_second) ** 2)) < 1e-4 * rms
    # and the difference that the term is made of, to second order in F''/F
    strong = np.abs(f) > 0.3 * scale
    exact = np.abs(plus) - np.abs(minus)
    found = bijvoet_difference(np.ones(len(f)), f, second)
    assert np.abs(found - exact)[strong].max() < 0.02 * np.abs(exact[strong]).max()
    assert np.abs(exact[data.spacegroup.centric(hkl)]).max() < 1e-8 * scale


def test_only_groups_with_f_double_prime_have_columns(crystal):
    model, _, data = crystal
    refined = np.flatnonzero(model.occupancy_groups.refined)
    columns = anomalous_columns(model, data.hkl[:10], refined)
    names = [model.occupancy_groups.names[refined[g]] for g in columns.groups]
    assert {"Z/1/ZN", "Z/2/ZN", "Z/3/CA"} <= set(names)
    assert len(names) < len(refined)


def by_differences(of, at, size):
    """Return d of/dx by central differences."""
    step = np.full(len(at.x), 1e-4)
    rows = []
    for i in range(len(at.x)):
        there = [at.x.copy(), at.x.copy()]
        there[0][i] += step[i]
        there[1][i] -= step[i]
        ends = [of(type(at)(at.space, x)) for x in there]
        rows.append((ends[0] - ends[1]) / (2 * step[i]))
    found = np.array(rows)
    assert found.shape == (len(at.x), *size)
    return found


def test_derivatives_are_those_of_the_value(posterior):
    made, at = posterior
    term = made.differences
    slopes = by_differences(term.calculated, at, (len(term.observed),))
    here = term.normal(at)
    scale = np.sqrt(np.diag(here.information))
    weight = np.where(term.work & term.errors.used, 1 / term.errors.variance, 0.0)
    expected = (slopes * weight) @ slopes.T
    assert np.abs((here.information - expected) / np.outer(scale, scale)).max() < 1e-3
    gradient = by_differences(term.value, at, ())
    assert np.abs((here.gradient - gradient) / scale).max() < 1e-3
    assert np.allclose(term.gradient(at), here.gradient)
    assert here.value == pytest.approx(term.value(at))
    rough = term.normal(at, precise=False).information
    assert np.abs((rough - here.information) / np.outer(scale, scale)).max() < 1e-4


def test_torch_says_the_same(posterior):
    made, at = posterior
    term = made.differences
    flat = at.replacing(Kind.B_GROUP, np.zeros(len(at[Kind.B_GROUP])))
    q = torch.tensor(flat[Kind.OCCUPANCY], requires_grad=True)
    value = term.log_density({Kind.OCCUPANCY: q})
    value.backward()
    assert float(value.detach()) == pytest.approx(term.value(flat), rel=1e-6)
    mine = term.gradient(flat)[at.space.place(Kind.OCCUPANCY)]
    assert np.allclose(q.grad.numpy(), mine, rtol=1e-3, atol=1e-2)


def test_sampled_slopes_make_the_information(posterior, crystal):
    """Of all reflections, and of coordinates of atoms by differences."""
    made, at = posterior
    term, model = made.differences, crystal[0]
    rows = np.arange(len(term.observed))
    sampled = term.sampled_slopes(at, rows)
    of_q = sampled.of[Kind.OCCUPANCY]
    whole = term.normal(at).information[: len(of_q), : len(of_q)]
    assert np.allclose(of_q @ of_q.T, whole, rtol=1e-3, atol=1e-3 * np.diag(whole).max())
    zinc = int(np.flatnonzero(model.table.element == b"ZN")[0])
    refined = np.flatnonzero(model.occupancy_groups.refined)
    around = surroundings_of(model, crystal[2], refined, made.sums)
    flat = at.replacing(Kind.B_GROUP, np.zeros(len(at[Kind.B_GROUP])))
    slopes = term.sampled_slopes(flat, rows).of_atoms(
        around.atoms, np.array([zinc]), crystal[2].hkl, around.tensor[[zinc]]
    )
    ends = []
    for step in (1e-3, -1e-3):
        moved = Model(dtype_float=torch.float64).load(model.source.path)
        moved.beam = model.beam
        xyz = moved.xyz().detach().clone()
        xyz[zinc, 0] += step
        moved.xyz.set_values(xyz)
        columns = anomalous_columns(moved, crystal[2].hkl, refined)
        basis = group_basis(moved, crystal[2].hkl, refined)
        forward = replace(term.forward, fixed=basis.fixed, columns=basis.columns)
        ends.append(replace(term, forward=forward, signal=columns).calculated(flat))
    weight = np.sqrt(np.where(term.work & term.errors.used, 1 / term.errors.variance, 0.0))
    expected = weight * (ends[0] - ends[1]) / 2e-3
    assert np.linalg.norm(slopes[0] - expected) < 0.01 * np.linalg.norm(expected)
    # and the slope of all of them together is what the differences add to the pull on the atom
    alone = replace(made, terms=tuple(t for t in made.terms if t is not term))
    first = unknowns_of_atoms(around.tensor)[zinc]
    both, mean = (pull_on_atoms(one, flat, crystal[2], around)[first] for one in (made, alone))
    off = (term.observed - term.calculated(flat)) * weight
    assert both - mean == pytest.approx(float(slopes[0] @ off), rel=0.01)


def test_everything_that_is_said_of_occupancies_sees_the_differences(posterior, crystal):
    made, at = posterior
    model, _, data = crystal
    alone = replace(made, terms=tuple(t for t in made.terms if t is not made.differences))
    with_, without = covariance(made, at), covariance(alone, at)
    refined = np.flatnonzero(model.occupancy_groups.refined)
    zincs = [i for i, g in enumerate(refined) if "ZN" in model.occupancy_groups.names[g]]
    assert (with_.su[zincs] < without.su[zincs]).all()
    around = surroundings_of(model, data, refined, made.sums)
    wide = with_surroundings(made, at, with_, around).covariance.su
    assert (wide[zincs] < with_surroundings(alone, at, without, around).covariance.su[zincs]).all()
    gain = evidence(made, at, with_)
    assert (gain.of_differences[zincs] > 5.0).all()
    before = evidence(alone, at, without)
    assert np.allclose(gain.gain - gain.of_differences, before.gain, rtol=0.1, atol=1.0)
    assert before.of_differences is None
    assert np.nanmedian(misfit(made, at, with_)) == pytest.approx(1.0, abs=0.35)


def test_decoys_see_the_differences(posterior, crystal):
    """What their maps say where a zinc stands is its gradient."""
    made, at = posterior
    model, _, data = crystal
    flat = at.replacing(Kind.B_GROUP, np.zeros(len(at[Kind.B_GROUP])))
    alone = replace(made, terms=tuple(t for t in made.terms if t is not made.differences))
    experiment = Experiment(model, data)
    refined = np.flatnonzero(model.occupancy_groups.refined)
    gradient = made.differences.gradient(flat)[flat.space.place(Kind.OCCUPANCY)]
    scale = np.sqrt(np.diag(made.differences.normal(flat).information))
    for name in ("Z/1/ZN", "Z/2/ZN"):
        g = model.occupancy_groups.names.index(name)
        (atom,) = own = model.occupancy_groups.members[g]
        place = model.table.xyz[atom] @ model.cell.fractionalization.T
        both, mean = (
            Decoys(experiment, one, flat).gradient(own, place[None, None])[0]
            for one in (made, alone)
        )
        i = int(np.flatnonzero(refined == g)[0])
        assert both - mean == pytest.approx(
            gradient[i], abs=0.15 * scale[i] + 0.1 * abs(gradient[i])
        )
        assert abs(gradient[i]) > 3 * scale[i]
