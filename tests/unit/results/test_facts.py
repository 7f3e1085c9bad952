"""Figures that the files of a run have besides those of the record."""

import numpy as np
import pytest

from helpers import atom_line, pdb_text, write_text
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.io.structure import read_structure
from multicopy_refinement.reflections import ReflectionData
from multicopy_refinement.reflections.data import DataLabels
from multicopy_refinement.results.facts import atoms_in_carbons, cartesian_b, completeness

CELL = Cell(21, 33, 47, 81, 97, 112)
LABELS = DataLabels(("F", "SIGF"), True, None, None, "none")


def test_b_of_the_scale_in_the_cartesian_frame_is_the_same_factor():
    random = np.random.default_rng(1)
    b = random.normal(size=6) * 1e-3
    hkl = random.integers(-9, 10, size=(50, 3))
    index = np.array([[b[0], b[3], b[4]], [b[3], b[1], b[5]], [b[4], b[5], b[2]]])
    c = cartesian_b(b, CELL.orthogonalization)
    turned = np.array([[c[0], c[3], c[4]], [c[3], c[1], c[5]], [c[4], c[5], c[2]]])
    s = hkl @ CELL.fractionalization
    np.testing.assert_allclose(
        np.einsum("ni,ij,nj->n", s, turned, s), np.einsum("ni,ij,nj->n", hkl, index, hkl)
    )


def data_of(hkl) -> ReflectionData:
    n = len(hkl)
    return ReflectionData(
        hkl, np.ones(n), np.ones(n), np.zeros(n, dtype=bool), np.zeros(n, dtype=int), CELL,
        SpaceGroup("P 1"), LABELS, np.empty((0, 3), dtype=int), np.empty(0, dtype=int),
    )  # fmt: skip


def test_completeness_counts_what_is_possible_between_the_limits():
    every = np.stack(np.meshgrid(*[np.arange(-9, 10)] * 3), axis=-1).reshape(-1, 3)
    half = [h for h in every.tolist() if h > [0, 0, 0]]  # one of each pair of Friedel mates
    d = 1 / np.sqrt(CELL.inverse_d_squared(np.array(half)))
    inside = np.array(half)[(d > 6) & (d < 15)]
    assert completeness(data_of(inside)) == 1
    # the finest and the coarsest stay, so that the limits do
    order = np.argsort(CELL.inverse_d_squared(inside), kind="stable")
    kept = inside[np.sort(np.concatenate([order[:1], order[1:-1:2], order[-1:]]))]
    assert completeness(data_of(kept)) == pytest.approx(len(kept) / len(inside))


def test_atoms_count_as_carbons_by_the_square_of_z(tmp_path):
    lines = [
        atom_line("C", "LIG", 1, 1.0),
        atom_line("O", "LIG", 1, 0.5, serial=2, xyz=(3, 0, 0)),
        atom_line("H", "LIG", 1, 1.0, serial=3, xyz=(6, 0, 0)),
    ]
    table = read_structure(write_text(tmp_path / "m.pdb", pdb_text(lines))).table
    assert atoms_in_carbons(table, table.occupancy) == pytest.approx((36 + 0.5 * 64 + 1) / 36)
