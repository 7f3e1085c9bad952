"""Hydrogens keep their place among the bonds of their parents, and hand on their force."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from helpers import atom_line
from multicopy_refinement.geometry import Geometry
from multicopy_refinement.geometry.terms.base import State


@pytest.fixture(scope="module")
def ridden(with_hydrogens):
    geometry = Geometry.of(with_hydrogens)
    return geometry, geometry.state(with_hydrogens)


def test_they_start_where_they_are(ridden):
    geometry, at = ridden
    assert len(geometry.riding) > 200
    assert geometry.table.hydrogen[geometry.riding.hydrogen].all()
    placed = geometry.riding.placed(at)
    np.testing.assert_allclose(placed.xyz, at.xyz, atol=1e-9)
    np.testing.assert_allclose(placed.b_iso, at.b_iso, atol=1e-9)
    bonded = np.linalg.norm(geometry.riding.offset, axis=1)
    assert bonded.min() > 0.8
    assert bonded.max() < 1.4
    letters = geometry.table.altloc
    own, base = letters[geometry.riding.hydrogen], letters[geometry.riding.parent]
    assert ((own == base) | (own == b"") | (base == b"")).all()


def test_they_turn_with_the_molecule(ridden):
    geometry, at = ridden
    turn = Rotation.from_rotvec([0.3, -0.8, 0.5]).as_matrix()
    xyz = at.xyz @ turn.T + [1.0, 2.0, -3.0]
    heavy = np.where(geometry.table.hydrogen[:, None], 99.0, xyz)
    placed = geometry.riding.placed(replace(at, xyz=heavy))
    turns = geometry.riding.shares.any(axis=1)
    assert turns.mean() > 0.8
    atoms = geometry.riding.hydrogen[turns]
    np.testing.assert_allclose(placed.xyz[atoms], xyz[atoms], atol=1e-8)


def test_lengths_are_kept_when_atoms_move(ridden):
    geometry, at = ridden
    random = np.random.default_rng(1)
    xyz = at.xyz + 0.1 * random.standard_normal(at.xyz.shape)
    placed = geometry.riding.placed(replace(at, xyz=xyz)).xyz
    length = np.linalg.norm(placed[geometry.riding.hydrogen] - xyz[geometry.riding.parent], axis=1)
    np.testing.assert_allclose(length, np.linalg.norm(geometry.riding.offset, axis=1), rtol=1e-9)


def test_slopes_are_those_of_the_places(ridden):
    geometry, at = ridden
    random = np.random.default_rng(7)
    n = len(geometry.table)
    at = replace(at, xyz=at.xyz + 0.05 * random.standard_normal((n, 3)))
    slopes = geometry.riding.slopes(at)
    for _ in range(4):
        way = random.standard_normal(10 * n)
        ends = [flat(geometry.riding.placed(moved(at, h * way))) for h in (1e-5, -1e-5)]
        np.testing.assert_allclose(slopes @ way, (ends[0] - ends[1]) / 2e-5, atol=1e-6)
    rows = geometry.columns.xyz(geometry.riding.hydrogen).ravel()
    assert abs(slopes[:, rows]).max() == 0


def test_the_energy_moves_heavy_atoms_only(ridden):
    geometry, at = ridden
    random = np.random.default_rng(9)
    n = len(geometry.table)
    at = replace(at, xyz=at.xyz + 0.1 * random.standard_normal((n, 3)))
    linear = geometry.linear(at)
    assert linear.value == pytest.approx(geometry.value(at), rel=1e-12)
    riding = geometry.columns.xyz(geometry.riding.hydrogen).ravel()
    assert not linear.gradient[riding].any()
    for _ in range(4):
        way = random.standard_normal(10 * n)
        way[4 * n :] = 0
        ends = [geometry.value(moved(at, h * way)) for h in (1e-6, -1e-6)]
        assert linear.gradient @ way == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5)


def moved(at, step):
    n = len(at.xyz)
    return State(at.xyz + step[: 3 * n].reshape(n, 3), at.b_iso + step[3 * n : 4 * n],
                 at.u_aniso + step[4 * n :].reshape(n, 6))  # fmt: skip


def flat(at):
    return np.concatenate([at.xyz.ravel(), at.b_iso, at.u_aniso.ravel()])


def test_hydrogens_of_a_water_move_as_it_does(load_lines):
    lines = [
        atom_line("O", "HOH", 1, 1.0, xyz=(0, 0, 0)),
        atom_line("H1", "HOH", 1, 1.0, xyz=(0.9, 0, 0), b_iso=18.0),
        atom_line("H2", "HOH", 1, 1.0, xyz=(-0.2, 0.88, 0)),
        atom_line("H", "HOH", 2, 1.0, xyz=(9, 9, 9)),
    ]
    model = load_lines(lines)
    geometry = Geometry.of(model)
    assert [n.code for n in geometry.notices] == ["lonely_hydrogen"]
    assert "A/2/HOH/H" in geometry.notices[0].message
    at = geometry.state(model)
    xyz = at.xyz.copy()
    xyz[0] += [1.0, 2.0, 3.0]
    placed = geometry.riding.placed(State(xyz, 2 * at.b_iso, at.u_aniso))
    np.testing.assert_allclose(placed.xyz[1:3] - xyz[0], at.xyz[1:3] - at.xyz[0])
    assert placed.b_iso[1] == pytest.approx(36.0)
    assert placed.xyz[3].tolist() == [9, 9, 9]


def test_hydrogens_ride_on_anisotropic_parents(load_lines):
    lines = [
        atom_line("C", "XXX", 1, 1.0, xyz=(0, 0, 0)),
        "ANISOU    1  C   XXX A   1     1000   2000   3000      0      0      0       C",
        atom_line("H", "XXX", 1, 1.0, xyz=(1.0, 0, 0), b_iso=20.0, serial=2),
    ]
    model = load_lines(lines)
    geometry = Geometry.of(model)
    at = geometry.state(model)
    twice = State(at.xyz, at.b_iso, 2 * at.u_aniso)
    assert geometry.riding.placed(twice).b_iso[1] == pytest.approx(40.0)
    slopes = geometry.riding.slopes(at)
    way = np.concatenate([np.zeros(8), at.u_aniso.ravel()])
    assert (slopes @ way)[7] == pytest.approx(20.0)
