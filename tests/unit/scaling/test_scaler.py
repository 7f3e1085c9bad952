"""Scale and solvent: recovered from simulated amplitudes, differentiated, kept in symmetry."""

from dataclasses import replace

import numpy as np
import pytest

from crystals import AtomSpec, load_crystal, random_atoms, solvent_structure_factors
from multicopy_refinement import structure_factors
from multicopy_refinement.crystal.hkl import unique_reflections
from multicopy_refinement.scaling import Scale, fit_scale
from multicopy_refinement.scaling.scaler import _Compressed, _fit, _Problem, quadratic_terms


@pytest.fixture(params=["P 1", "C 1 2 1", "P 31 2 1", "F 2 3"])
def case(request, tmp_path):
    model = load_crystal(tmp_path / "c.pdb", request.param, random_atoms(20, 4))
    hkl = unique_reflections(model.cell, model.spacegroup, 1.7)
    f_calc = structure_factors(model, hkl).detach().numpy()
    f_mask, fraction = solvent_structure_factors(model, model.table.occupancy, hkl)
    return model, hkl, f_calc, f_mask, fraction


def test_known_scale_is_recovered(case):
    model, hkl, f_calc, f_mask, fraction = case
    basis = model.spacegroup.adp_basis
    b = np.random.default_rng(1).uniform(-0.02, 0.02, len(basis)) @ basis
    truth = Scale(3.7, b, 0.33, 55.0)
    s_squared = model.cell.inverse_d_squared(hkl)
    f_obs = truth.overall(hkl) * np.abs(f_calc + truth.solvent(s_squared) * f_mask)
    use = np.ones(len(hkl), dtype=bool)
    found = fit_scale(f_calc, f_mask, f_obs, hkl, s_squared, model.spacegroup, use, fraction)
    assert found.k == pytest.approx(3.7, rel=1e-4)
    assert np.allclose(found.b_cryst, b, atol=1e-5)
    assert found.k_sol == pytest.approx(0.33, abs=1e-3)
    assert found.b_sol == pytest.approx(55.0, abs=0.5)
    for rotation in model.spacegroup.rotations:
        assert np.allclose(found.overall(hkl @ rotation), found.overall(hkl))


def test_solvent_with_a_sharp_edge_is_recovered(case):
    model, hkl, f_calc, f_mask, fraction = case
    truth = Scale(1.2, np.zeros(6), 0.36, 12.0, c_sol=90.0)
    s_squared = model.cell.inverse_d_squared(hkl)
    f_obs = truth.overall(hkl) * np.abs(f_calc + truth.solvent(s_squared) * f_mask)
    use = np.ones(len(hkl), dtype=bool)
    found = fit_scale(f_calc, f_mask, f_obs, hkl, s_squared, model.spacegroup, use, fraction)
    assert found.k_sol == pytest.approx(0.36, abs=1e-3)
    assert found.b_sol == pytest.approx(12.0, abs=0.5)
    assert found.c_sol == pytest.approx(90.0, abs=2.0)


@pytest.mark.parametrize(("b_sol", "c_sol"), [(46.0, 0.0), (5.0, 90.0), (30.0, 40.0)])
def test_the_equivalent_b_falls_alike(b_sol, c_sol):
    scale = Scale(1.0, np.zeros(6), 0.35, b_sol, c_sol=c_sol)
    limit = scale.solvent_limit(0.01)
    assert scale.solvent(np.array([limit]))[0] == pytest.approx(0.01 * 0.35)
    there = np.array([4 / scale.equivalent_b_sol])
    assert scale.solvent(there)[0] == pytest.approx(0.35 / np.e)
    if c_sol == 0:
        assert scale.equivalent_b_sol == pytest.approx(b_sol)


def test_b_given_away_leaves_the_solvent_where_it_was(case):
    model, hkl, f_calc, f_mask, _ = case
    s_squared = model.cell.inverse_d_squared(hkl)
    before = Scale(1.2, np.zeros(6), 0.36, 12.0, c_sol=90.0)
    after = before.with_b_given_away(7.0, model.cell)
    f = [
        s.overall(hkl) * (fade * f_calc + s.solvent(s_squared) * f_mask)
        for s, fade in ((before, 1.0), (after, np.exp(-7.0 * s_squared / 4)))
    ]
    np.testing.assert_allclose(f[1], f[0], rtol=1e-9)


@pytest.fixture
def problem(case):
    model, hkl, f_calc, f_mask, _ = case
    return _Problem(
        f_calc, f_mask, np.abs(f_calc), np.linspace(0.5, 1.5, len(hkl)),
        model.cell.inverse_d_squared(hkl), model.spacegroup.adp_basis @ quadratic_terms(hkl).T,
        True,
    )  # fmt: skip


def unknowns(problem):
    return np.array([0.1, *np.full(len(problem.quadratic), 0.003), 0.3, 40.0, 30.0])


def test_jacobian_is_a_finite_difference(problem):
    p = unknowns(problem)
    slopes = problem.weighted(p)[1]
    for row in range(len(p)):
        step = np.zeros(len(p))
        step[row] = 1e-5
        difference = (problem.weighted(p + step)[0] - problem.weighted(p - step)[0]) / 2e-5
        assert np.allclose(slopes[row], difference, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("hold", [0.0, 3.0])
def test_few_residuals_stand_for_those_of_all_reflections(problem, hold):
    p = unknowns(problem)
    residual, slopes = problem.weighted(p)
    few, jacobian = _Compressed(problem, hold).at(p)
    prior = np.where(np.arange(len(p)) == len(p) - 1, hold, 0.0)
    off = hold * (p[-1] - 50.0)
    assert len(few) == len(p) + 1
    wanted = slopes @ slopes.T + np.outer(prior, prior)
    size = np.sqrt(np.diag(wanted))
    close = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(jacobian.T @ jacobian / np.outer(size, size),
                               wanted / np.outer(size, size), **close)  # fmt: skip
    np.testing.assert_allclose(
        jacobian.T @ few / size, (slopes @ residual + prior * off) / size,
        rtol=1e-9, atol=1e-9 * np.linalg.norm(residual),
    )  # fmt: skip
    assert few @ few == pytest.approx(residual @ residual + off**2)


def test_a_step_to_where_nothing_is_finite_is_taken_back(problem):
    p = unknowns(problem)
    p[0] = 800.0  # exp(800) is infinite
    with np.errstate(over="ignore", invalid="ignore"):
        assert not np.isfinite(_Compressed(problem, 1.0).at(p)[0]).any()


def test_unknowns_that_nothing_tells_stay(problem):
    """Without any F of solvent its unknowns have no slope: the others are fitted, they stay."""
    none = replace(problem, f_mask=np.zeros_like(problem.f_mask))
    start = unknowns(problem)
    cost, found = _fit(none, start, 0.0)
    assert cost < 1e-9
    np.testing.assert_allclose(found[-3:], start[-3:], rtol=1e-6)


def test_free_reflections_do_not_matter(case):
    model, hkl, f_calc, f_mask, fraction = case
    s_squared = model.cell.inverse_d_squared(hkl)
    use = np.arange(len(hkl)) % 10 > 0
    f_obs = 2.0 * np.abs(f_calc)
    wild = np.where(use, f_obs, 1e6)
    fits = [
        fit_scale(f_calc, f_mask, f, hkl, s_squared, model.spacegroup, use, fraction)
        for f in (f_obs, wild)
    ]
    assert fits[0].k == fits[1].k


def test_no_solvent_term_without_solvent(case):
    model, hkl, f_calc, f_mask, _ = case
    s_squared = model.cell.inverse_d_squared(hkl)
    use = np.ones(len(hkl), dtype=bool)
    found = fit_scale(f_calc, f_mask, np.abs(f_calc), hkl, s_squared, model.spacegroup, use, 0.01)
    assert found.k_sol == 0.0


@pytest.mark.parametrize("group", ["P 1", "P 65 2 2"])
def test_mask_is_all_that_atoms_leave(group, tmp_path):
    model = load_crystal(tmp_path / "c.pdb", group, [AtomSpec("C", (0.3, 0.1, 0.4))])
    hkl = np.array([[0, 0, 6], [1, 0, 0]])

    def mask(occupancy: float) -> tuple[np.ndarray, float]:
        return solvent_structure_factors(model, np.array([occupancy]), hkl)

    values, fraction = mask(1.0)
    without, everything = mask(0.0)
    assert everything == pytest.approx(1.0)
    assert np.allclose(without, 0.0, atol=1e-3)
    assert 0.5 < fraction < 1
    assert np.abs(values).max() > 0.1
