"""Marginal uncertainties against the inverse of everything, and against the scatter of refits."""

from dataclasses import replace

import numpy as np
import pytest

from boxes import load, waters
from crystals import crystal
from demo_data import observe
from helpers import atom_line
from multicopy_refinement import RefineOptions, refine
from multicopy_refinement.geometry import Geometry
from multicopy_refinement.posterior import Kind, occupancy_posterior
from multicopy_refinement.refinement.found import Flag
from multicopy_refinement.refinement.pull import pull_on_atoms
from multicopy_refinement.refinement.surroundings import surroundings_as_held, surroundings_of
from multicopy_refinement.scattering.atom_slopes import unknowns_of_atoms
from multicopy_refinement.scattering.basis import group_basis
from multicopy_refinement.scattering.compiled import SplatJacobian
from multicopy_refinement.scattering.plan import plan_splat
from multicopy_refinement.solve.covariance import covariance
from multicopy_refinement.solve.marginal import (
    POCKET_SIGMA,
    SOLVENT_SIGMA,
    _together,
    dependent_sets,
    with_surroundings,
)
from multicopy_refinement.units import EIGHT_PI_SQUARED


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    model = crystal(tmp_path_factory.mktemp("marginal"), (0.6, 0.4), shift=(0.0, 1.6))
    return model, *surrounded(model, observe(model, 1.4))


def surrounded(model, data):
    """Return the posterior of a model, where it is highest, and what is near its groups."""
    solution = refine(model, data, RefineOptions(uncertainty="none", target="ml"))
    refined = np.flatnonzero(model.occupancy_groups.refined)
    posterior = occupancy_posterior(
        solution.experiment, group_basis(model, data.hkl, refined),
        model.occupancy_groups.set_index[refined], with_scale=True,
    )  # fmt: skip
    values = {Kind.OCCUPANCY: solution.occupancy[refined]}
    at = posterior.space.point({**values, **posterior.data.forward.fitted.values})
    return posterior, at, surroundings_of(model, solution.experiment.data, refined, posterior.sums)


class Known:
    """Coordinates and displacements that are known for certain."""

    def of_atoms(self, atoms, tensor):
        return 1e12 * np.eye(int(unknowns_of_atoms(tensor)[-1]))


def slopes_by_the_grid(posterior, at, around, atoms):
    """Return d|F| sqrt(W) by the coordinates and B of atoms, by products with the grid's J."""
    here = posterior.data._around(at)
    root = np.sqrt(here.derivatives.information * posterior.data.work)
    jacobian = SplatJacobian(around.atoms, around.hkl, plan_splat(around.atoms, 1.4, accuracy=1e-7))
    n = len(around.atoms)
    rows = []
    for atom in atoms.tolist():
        for k in range(4):
            xyz, u = np.zeros((n, 3)), np.zeros((n, 6))
            if k < 3:
                xyz[atom, k] = 1.0
            else:
                u[atom, :3] = 1 / EIGHT_PI_SQUARED
            f = jacobian.times(np.zeros(n), xyz, u)
            rows.append((here.along.conj() * f).real * root)
    return np.array(rows)


def by_hand(posterior, at):
    """Return slopes by q, by scale and solvent, and by what is displaced and in doubt."""
    here = posterior.data._around(at)
    root = np.sqrt(here.derivatives.information * posterior.data.work)
    everything, every = slice(0, len(root)), np.arange(len(root))
    known = {
        kind: here.jacobians[kind].columns(everything, here.along, np.float64) * root
        for kind in at.space.kinds
    }
    q, forward = known.pop(Kind.OCCUPANCY), posterior.data.forward
    displaced = forward.displaced_slopes(at, every, here.along * root)
    pockets = forward.pocket_slopes(at, every, here.along * root)
    pockets = pockets[pockets.any(axis=1)]
    return (
        q, list(known.values()),
        np.concatenate([SOLVENT_SIGMA * displaced, POCKET_SIGMA * pockets]),
    )  # fmt: skip


def test_su_is_that_of_the_inverse_of_everything(setting):
    _, posterior, at, around = setting
    (near,) = around.near
    marginal = with_surroundings(posterior, at, covariance(posterior, at), around)
    found = marginal.covariance
    q, known, displaced = by_hand(posterior, at)
    columns = np.concatenate(
        [
            q[:1] - q[1:], *known, displaced,
            slopes_by_the_grid(posterior, at, around, near),
        ]
    )  # fmt: skip
    h = columns @ columns.T
    of_solvent = len(columns) - 4 * len(near) - 1 - np.arange(len(displaced))
    h[of_solvent, of_solvent] += 1.0
    said = around.stiffness.of_atoms(near, np.zeros(len(near), dtype=bool))
    h[-len(said) :, -len(said) :] += said
    variance = np.diag(np.linalg.inv(h))
    expected = np.sqrt(variance[0])
    for atom in (near[0], near[3]):
        first = len(columns) - 4 * len(near) + 4 * near.tolist().index(atom)
        su_xyz, su_b = marginal.su_xyz[atom], marginal.su_b[atom]
        assert su_xyz == pytest.approx(np.sqrt(variance[first : first + 3].mean()), rel=5e-3)
        assert su_b == pytest.approx(np.sqrt(variance[first + 3]), rel=5e-3)
    assert found.su == pytest.approx([expected, expected], rel=2e-3)
    assert expected > 1.5 * found.su_conditional[0]


def test_a_sample_of_the_reflections_says_the_same(setting, monkeypatch):
    _, posterior, at, around = setting
    whole = with_surroundings(posterior, at, covariance(posterior, at), around).covariance
    monkeypatch.setattr("multicopy_refinement.solve.marginal._FEWEST", 0)
    monkeypatch.setattr("multicopy_refinement.solve.marginal._FOR_AN_UNKNOWN", 6)
    sampled = with_surroundings(posterior, at, covariance(posterior, at), around).covariance
    assert sampled.su[0] != whole.su[0]
    assert sampled.su == pytest.approx(whole.su, rel=0.15)


def test_known_coordinates_leave_the_conditional_su(setting, monkeypatch):
    _, posterior, at, around = setting
    for name in ("SOLVENT_SIGMA", "POCKET_SIGMA"):
        monkeypatch.setattr(f"multicopy_refinement.solve.marginal.{name}", 0.0)

    held = covariance(posterior, at)
    found = with_surroundings(posterior, at, held, replace(around, stiffness=Known())).covariance
    assert found.su == pytest.approx(held.su, rel=1e-3)


def test_solvent_that_vanishes_is_no_unknown(setting, monkeypatch):
    """Slopes in B_sol of a k_sol of 1e-22: products of them are less than single precision has."""
    _, posterior, at, around = setting
    held = covariance(posterior, at)
    right = with_surroundings(posterior, at, held, around).covariance.su
    kind, before = type(posterior.data), type(posterior.data).sampled_slopes

    def faint(self, point, rows):
        found = before(self, point, rows)
        found.of[Kind.SOLVENT][1:] *= np.float32(1e-22)
        return found

    monkeypatch.setattr(kind, "sampled_slopes", faint)
    found = with_surroundings(posterior, at, held, around).covariance.su
    assert found == pytest.approx(right, rel=0.2)


def test_sums_stay_exact_and_the_wider_su_is_reported(setting):
    model, posterior, at, around = setting
    found = with_surroundings(posterior, at, covariance(posterior, at), around).covariance
    sums, _ = posterior.sums.equalities
    assert np.abs(sums @ found.matrix).max() < 1e-9
    assert len(dependent_sets(posterior.sums)) == 1
    data = observe(model, 1.4)
    marginal = refine(model, data, RefineOptions(target="ml", decoys=0))
    conditional = refine(
        model, data, RefineOptions(target="ml", decoys=0, uncertainty="conditional")
    )
    group = int(np.flatnonzero(model.occupancy_groups.refined)[0])
    assert marginal.results.su[group] > 1.5 * conditional.results.su[group]
    assert marginal.results.su_conditional[group] == pytest.approx(
        conditional.results.su_conditional[group], rel=1e-3
    )
    assert conditional.results.su_conditional == pytest.approx(
        conditional.results.su, rel=1e-3, nan_ok=True
    )
    assert marginal.conditional_on == ()
    assert conditional.conditional_on == ("coordinates", "B factors")


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """Pairs of waters 0.7 A apart: what one has the other may have."""
    cell, folder = (9.0, 9.5, 10.0), tmp_path_factory.mktemp("crowd")
    held = [line.replace("HOH W", "HOH Z") for line in waters(8, cell=cell, seed=8)]
    first = waters(7, cell=cell, occupancies=[0.6] * 7)
    second = [
        f"{line[:21]}V{line[22:30]}{float(line[30:38]) + 0.7:8.3f}{line[38:]}" for line in first
    ]
    model = load(folder, held, first, second, cell=cell)
    return surrounded(model, observe(model, 1.6))


def test_correlations_with_neighbours_count_once(crowd, monkeypatch):
    """With all atoms known the marginal su are the conditional ones, which count neighbours."""
    posterior, at, around = crowd
    for name in ("SOLVENT_SIGMA", "POCKET_SIGMA"):
        monkeypatch.setattr(f"multicopy_refinement.solve.marginal.{name}", 0.0)

    held = covariance(posterior, at)
    alone = 1 / np.sqrt(np.diag(held.information))
    assert (held.su > 1.1 * alone).any()
    found = with_surroundings(posterior, at, held, replace(around, stiffness=Known())).covariance
    assert found.su == pytest.approx(held.su, rel=0.02)


def test_neighbours_worked_on_together_have_the_same_su(crowd, monkeypatch):
    posterior, at, around = crowd
    held = covariance(posterior, at)
    alone = with_surroundings(posterior, at, held, around)
    monkeypatch.setattr("multicopy_refinement.solve.marginal._MANY", 1)
    monkeypatch.setattr("multicopy_refinement.solve.marginal._FEWEST_OF_MANY", 3000)
    joined = _together(around)
    assert len(joined.sets) < len(around.sets)
    assert sorted(np.concatenate(joined.sets).tolist()) == list(range(14))
    assert all(len(np.unique(near)) == len(near) for near in joined.near)
    together = with_surroundings(posterior, at, held, around)
    assert together.covariance.su == pytest.approx(alone.covariance.su, rel=0.15)
    assert together.su_xyz == pytest.approx(alone.su_xyz, rel=0.15, nan_ok=True)


@pytest.mark.parametrize(("target", "sigmas"), [("ml", 1.0), ("ls", 1.0), ("ls", 2.0)])
def test_an_audit_says_the_same(setting, target, sigmas):
    """Also where sigmas are too large, which least squares find by chi-square."""
    model, *_ = setting
    data = observe(model, 1.4)
    data = replace(data, sigma=sigmas * data.sigma)
    near, whole = (
        refine(model, data, RefineOptions(target=target, decoys=0, uncertainty=kind))
        for kind in ("marginal", "audit")
    )
    refined = model.occupancy_groups.refined
    assert whole.su[refined] == pytest.approx(near.su[refined], rel=0.1)
    assert np.ptp(whole.su[refined]) < 1e-9


def with_moved(posterior, model, data, xyz, b_iso):
    """Return the data's posterior of a model with other coordinates and B, all else as it was."""
    model.xyz.set_values(xyz)
    model.b_iso.set_values(b_iso)
    refined = np.flatnonzero(model.occupancy_groups.refined)
    basis = group_basis(model, data.hkl, refined)
    term = posterior.data
    forward = replace(term.forward, fixed=basis.fixed, columns=basis.columns)
    return replace(posterior, terms=(replace(term, forward=forward),))


def test_the_pull_on_atoms_is_the_slope_of_the_posterior(tmp_path):
    """By central differences of data and restraints, of an atom of a group and of a held one."""
    model = crystal(tmp_path, (0.6, 0.4), shift=(0.0, 1.6))
    data = observe(model, 1.4)
    posterior, at, around = surrounded(model, data)
    geometry = Geometry.of(model)
    refined = np.flatnonzero(model.occupancy_groups.refined)
    around = surroundings_of(model, data, refined, posterior.sums, geometry)
    pull = pull_on_atoms(posterior, at, data, around)
    own = int(model.occupancy_groups.members[refined[0]][1])
    held = int(np.flatnonzero(around.group_of_atom < 0)[0])
    xyz, b_iso = model.xyz().detach().clone(), model.b_iso().detach().clone()
    for atom in (own, held):
        for k, size in ((0, 1e-3), (2, 1e-3), (3, 0.02)):
            ends = []
            for sign in (1, -1):
                places, b = xyz.clone(), b_iso.clone()
                if k < 3:
                    places[atom, k] += sign * size
                else:
                    b[atom] += sign * size
                moved = with_moved(posterior, model, data, places, b)
                ends.append(moved.value(at) - geometry.value(geometry.state(model)))
            expected = (ends[0] - ends[1]) / (2 * size)
            scale = np.abs(pull[k::4]).max()
            assert pull[4 * atom + k] == pytest.approx(expected, rel=2e-3, abs=2e-3 * scale)


@pytest.mark.parametrize("off", [0.0, 8.0])
def test_where_b_is_off_the_occupancy_with_it_refined_is_foretold(tmp_path, off):
    """A phosphate of B 15 that is held at less: what joint refinement finds, to first order."""

    def phosphate(q, b):
        ends = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 1.54 / np.sqrt(3)
        places = {"P": np.zeros(3), **{f"O{i + 1}": end for i, end in enumerate(ends)}}
        return [
            atom_line(name, "LIG", 90, q, xyz=place + (6.0, 7.0, 8.0), b_iso=b, record="HETATM")
            for name, place in places.items()
        ]  # fmt: skip

    data = observe(load(tmp_path, waters(40), phosphate(0.6, 15.0)), 1.6, seed=4)
    held, moved = (
        refine(
            load(tmp_path, waters(40), phosphate(0.5, 15.0 - off)),
            data,
            RefineOptions(decoys=0, **options),
        )
        for options in ({}, {"parameters": "occupancy,xyz,b_iso"})
    )
    (group,) = np.flatnonzero(held.groups.refined)
    value, found = held.occupancy[group], held.results.relaxed[group]
    assert (Flag.HELD_OFF in held.results.flags[group]) == (off > 0)
    assert ("held_off" in [n.code for n in held.notices]) == (off > 0)
    assert (Flag.HELD_OFF in held.ligands[0].flags) == (off > 0)
    assert np.isnan(moved.results.relaxed[group])
    if off:
        assert abs(value - 0.6) > 2 * held.su[group]
        assert abs(found - moved.occupancy[group]) < 0.5 * abs(value - moved.occupancy[group])
        assert abs(moved.occupancy[group] - 0.6) < 3 * moved.su[group]
    else:
        assert found == pytest.approx(value, abs=3 * held.su[group])


def test_without_moving_atoms_the_solvent_alone_widens_su(setting):
    """By hand: q of both in one unknown, scale and solvent, what is displaced and in doubt."""
    model, posterior, at, around = setting
    refined = np.flatnonzero(model.occupancy_groups.refined)
    held = surroundings_as_held(model, observe(model, 1.4), refined, posterior.sums)
    found = covariance(posterior, at)
    su = with_surroundings(posterior, at, found, held).covariance.su
    q, known, displaced = by_hand(posterior, at)
    columns = np.concatenate([q[:1] - q[1:], *known, displaced])
    h = columns @ columns.T
    unknown = len(h) - 1 - np.arange(len(displaced))
    h[unknown, unknown] += 1.0
    assert su[0] == pytest.approx(np.sqrt(np.linalg.inv(h)[0, 0]), rel=5e-3)
    assert found.su[0] < su[0] < with_surroundings(posterior, at, found, around).covariance.su[0]
