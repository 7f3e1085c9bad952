"""What is drawn in the 3D view: conformers once, patches that give the map back."""

import base64
import json
import zlib

import numpy as np
import pytest

from helpers import atom_line, pdb_text, write_text
from multicopy_refinement.crystal import Cell
from multicopy_refinement.io.structure import read_structure
from multicopy_refinement.report.conformers import drawn_once
from multicopy_refinement.report.viewer import MARGIN, REACH, STEP, _packed, patches
from multicopy_refinement.results.real_space import Maps
from page_scripts import in_node


def read(tmp_path, lines):
    return read_structure(write_text(tmp_path / "m.pdb", pdb_text(lines))).table


def test_conformers_that_coincide_are_drawn_once(tmp_path):
    places = {"A": 0.0, "B": 5.0, "C": 0.0, "D": 5.01}
    lines = [
        atom_line(name, "SER", 1, 0.25, altloc=c, xyz=(x + dx, 0, 0))
        for c, x in places.items()
        for name, dx in (("CB", 0.0), ("OG", 1.4))
    ]
    table = read(tmp_path, lines)
    found = drawn_once(table, np.arange(8), table.occupancy)
    assert [one.letters for one in found] == [("A", "C"), ("B", "D")]
    assert [one.occupancy for one in found] == pytest.approx([0.5, 0.5])
    assert [one.atoms for one in found] == [(0, 1), (2, 3)]


def test_what_conformers_share_is_drawn_once_but_for_the_bond(tmp_path):
    shared = [("N", (-2.4, 0, 0)), ("CA", (-1.2, 0, 0)), ("CB", (0, 0, 0))]
    lines = [
        atom_line(name, "SER", 1, 0.5, altloc=c, xyz=xyz)
        for c, og in (("A", (0.7, 1.2, 0)), ("B", (0.7, -1.2, 0)))
        for name, xyz in (*shared, ("OG", og))
    ]
    table = read(tmp_path, lines)
    first, second = drawn_once(table, np.arange(8), table.occupancy)
    assert (first.letters, first.atoms) == (("A",), (0, 1, 2, 3))
    # of B the oxygen, and the carbon that it is bonded to
    assert (second.letters, second.atoms) == (("B",), (6, 7))


def test_atoms_without_altloc_are_one(tmp_path):
    lines = [atom_line("O", "HOH", 1, 0.4, xyz=(1, 1, 1))]
    table = read(tmp_path, lines)
    (one,) = drawn_once(table, np.arange(1), table.occupancy)
    assert (one.letters, one.occupancy) == (("",), pytest.approx(0.4))


def test_a_patch_is_the_map_at_its_places(tmp_path):
    """A map that is one wave: its values anywhere are known."""
    table = read(tmp_path, [atom_line("O", "HOH", 1, 0.4, xyz=(3.3, 4.1, 5.2))])
    cell, n = Cell(20, 24, 28, 90, 90, 90), (20, 24, 28)
    x, y, z = np.meshgrid(*(np.arange(k) / k for k in n), indexing="ij")
    wave = np.sqrt(2) * np.cos(2 * np.pi * (2 * x + 3 * y - z))
    maps = Maps(wave, 2 * wave, wave, cell)
    patch = patches(maps, table, {"site": [0]}, d_min=2.0)["site"]
    assert patch.omit is None
    assert patch.spacing == pytest.approx(0.5)
    low = np.array(patch.origin)
    assert low == pytest.approx(table.xyz[0] - MARGIN)
    assert (low + patch.spacing * (np.array(patch.size) - 1) >= table.xyz[0] + MARGIN).all()
    grid = np.stack(np.meshgrid(*(np.arange(k) for k in patch.size), indexing="ij"), axis=-1)
    places = low + patch.spacing * grid
    at = places / [20, 24, 28]
    expected = np.sqrt(2) * np.cos(2 * np.pi * (2 * at[..., 0] + 3 * at[..., 1] - at[..., 2]))
    apart = np.linalg.norm(places - table.xyz[0], axis=-1)
    needed = apart < REACH + np.sqrt(3) * patch.spacing
    assert 0.3 < needed.mean() < 0.9
    for text, factor in ((patch.weighted, 1), (patch.difference, 2)):
        steps = unpacked(text, patch.size)
        values = (steps + 0.5) * STEP
        assert values[needed] == pytest.approx(factor * expected[needed], abs=STEP / 2 + 0.02)
        assert not steps[~needed].any()


def unpacked(text, size):
    """Return the bytes of a box: along each axis in turn each was written less the one before."""
    found = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8).reshape(size)
    for axis in range(3):
        found = np.cumsum(found, axis=axis, dtype=np.uint8)
    return found.view(np.int8)


def test_the_script_of_the_page_unpacks_what_was_packed():
    rng = np.random.default_rng(4)
    seen = np.zeros((6, 5, 7), dtype=bool)
    seen[1:5, 1:4, 2:6] = True
    density = rng.normal(0, 6, (8, 8, 8))
    packed = _packed(density, np.argwhere(seen).astype(float), seen)
    found = in_node(
        f"""
        SCRIPTS
        unpack({json.dumps(packed)}, [6, 5, 7]).then(
          (b) => console.log(JSON.stringify(Array.from(b))));
        """,
        "libraries.js",
    )  # fmt: skip
    assert found == unpacked(packed, (6, 5, 7)).ravel().tolist()
    assert len(set(found)) > 20
