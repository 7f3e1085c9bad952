"""Polar atoms near each other, and what their B are expected to be."""

import numpy as np
import pytest

from helpers import atom_line
from multicopy_refinement import Model
from multicopy_refinement.geometry import Geometry
from multicopy_refinement.geometry.polar import (
    LIGAND_TO_OTHERS,
    SIMILAR_ALONE,
    WATER_TO_OTHERS,
    polar_pairs,
)
from multicopy_refinement.geometry.similar import PairsAlike

CRYST1 = "CRYST1   20.000   22.000   24.000  90.00  90.00  90.00 P 1"
ATOMS = [
    ("N", "GLY", 1, (1.0, 5.0, 5.0), ""),
    ("CA", "GLY", 1, (2.4, 5.0, 5.0), ""),
    ("O", "HOH", 2, (18.5, 5.0, 5.0), ""),  # 2.5 A from a mate of the nitrogen
    ("O", "HOH", 3, (18.5, 7.9, 5.0), ""),  # 2.9 A from the first water
    ("O", "HOH", 4, (18.5, 5.0, 8.5), ""),  # 3.5 A from it
]


@pytest.fixture
def model(tmp_path):
    lines = [
        atom_line(name, residue, number, 1.0, xyz=xyz, element=name[0], altloc=letter, serial=i)
        for i, (name, residue, number, xyz, letter) in enumerate(ATOMS, 1)
    ]
    path = tmp_path / "m.pdb"
    path.write_text("\n".join([CRYST1, *lines, "END", ""]))
    return Model(path)


def test_pairs_are_polar_near_and_of_mates_too(model):
    pairs, here, expected, sigma = polar_pairs(model.table, model.cell, model.spacegroup)
    assert pairs.tolist() == [[0, 2], [2, 3]]
    assert here.tolist() == [False, True]
    assert expected == pytest.approx([1 / WATER_TO_OTHERS, 1.0])
    assert sigma == pytest.approx([SIMILAR_ALONE * 2**0.5] * 2)  # the first water has both
    pairs, here, _, _ = polar_pairs(model.table, None, None)
    assert pairs.tolist() == [[2, 3]]
    assert here.all()


def test_all_contacts_of_a_ligand_together_say_as_much_of_its_b_as_one(tmp_path):
    atoms = [
        ("O1", "EDO", 1, (5.0, 5.0, 5.0)), ("O2", "EDO", 1, (8.6, 5.0, 5.0)),
        ("O", "HOH", 2, (2.2, 5.0, 5.0)), ("O", "HOH", 3, (5.0, 7.8, 5.0)),
        ("O", "HOH", 4, (8.6, 7.8, 5.0)), ("O", "HOH", 5, (8.6, 7.8, 7.8)),
    ]  # fmt: skip
    lines = [
        atom_line(name, residue, number, 1.0, xyz=xyz, element="O", serial=i, record="HETATM")
        for i, (name, residue, number, xyz) in enumerate(atoms, 1)
    ]
    path = tmp_path / "m.pdb"
    path.write_text("\n".join([CRYST1, *lines, "END", ""]))
    model = Model(path)
    pairs, _, expected, sigma = polar_pairs(model.table, model.cell, model.spacegroup)
    assert pairs.tolist() == [[0, 2], [0, 3], [1, 4], [4, 5]]
    assert expected == pytest.approx([LIGAND_TO_OTHERS / WATER_TO_OTHERS] * 3 + [1.0])
    assert sigma == pytest.approx([SIMILAR_ALONE * 3**0.5] * 3 + [SIMILAR_ALONE * 2**0.5])


def test_b_of_a_water_is_drawn_to_what_is_expected_beside_its_neighbour(model):
    alike = PairsAlike.of(model.table, np.array([[0, 1]]), model.cell, model.spacegroup)
    assert alike.pairs.tolist() == [[0, 1], [0, 2], [2, 3]]
    assert alike.sigma[1:] == pytest.approx([SIMILAR_ALONE * 2**0.5] * 2)
    geometry = Geometry.of(model)
    at = geometry.state(model)
    n, b = len(at.xyz), at.b_iso.copy()
    for factor, sign in ((1.0, -1), (WATER_TO_OTHERS, 0), (2.0, 1)):
        at.b_iso[:] = b
        at.b_iso[2:] = factor * b[0]
        slope = geometry.gradient(at)[3 * n + 2]
        assert np.sign(round(slope, 9)) == sign
