"""Holes whose way out is in doubt."""

import numpy as np
import pytest

from helpers import atom_line
from multicopy_refinement import Model
from multicopy_refinement.crystal.hkl import unique_reflections
from multicopy_refinement.scaling.displaced import PROBES, displaced_solvent
from multicopy_refinement.scaling.mask import MaskGrid
from multicopy_refinement.scaling.points import exclusion_radius

CRYST1 = "CRYST1   24.000   24.000   24.000  90.00  90.00  90.00 P 1"
CENTRE = np.full(3, 12.0)


def solvent_of(path, waters, occupancy, *, gap, radius):
    """Waters within a shell of carbons that a channel leads out of, along the first axis.

    The axis is so much farther from the atoms beside it than the probe can come, in A.
    """
    beside = exclusion_radius("C") + gap
    k = np.arange(300) + 0.5
    height, angle = 1 - 2 * k / 300, np.pi * (1 + 5**0.5) * k
    across = np.sqrt(1 - height**2)
    shell = radius * np.stack([height, across * np.cos(angle), across * np.sin(angle)], axis=1)
    shell = shell[(shell[:, 0] < 0) | (np.linalg.norm(shell[:, 1:], axis=1) > beside + 0.3)]
    turn = 2 * np.pi * np.arange(8) / 8
    ring = beside * np.stack([0 * turn, np.cos(turn), np.sin(turn)], axis=1)
    ring[:, 0] = np.sqrt(max(radius**2 - beside**2, 0.0))
    lines = [
        atom_line("C", "LIG", i, 1.0, xyz=tuple(p), element="C", serial=i)
        for i, p in enumerate(CENTRE + np.concatenate([shell, ring]), 1)
    ]
    lines += [
        atom_line("O", "HOH", 900 + i, q, xyz=tuple(CENTRE + p), element="O", serial=900 + i)
        for i, (p, q) in enumerate(zip(waters, occupancy, strict=True))
    ]
    path.write_text("\n".join([CRYST1, *lines, "END", ""]))
    model = Model(path)
    groups, q = model.occupancy_groups, model.group_occupancies()
    grid = MaskGrid.of(model.cell, model.spacegroup, 2.0)
    partial = np.flatnonzero(q < 1)
    there = np.ones(len(groups.table), dtype=bool)
    made = displaced_solvent(groups, partial, there, groups.table.xyz, grid, q)
    return model, made, q[partial]


@pytest.mark.parametrize(("gap", "in_doubt"), [(-0.02, True), (-0.4, False)])
def test_solvent_of_a_hole_behind_a_bottleneck_is_in_doubt(tmp_path, gap, in_doubt):
    model, solvent, q = solvent_of(
        tmp_path / "m.pdb", np.zeros((1, 3)), [0.4], gap=gap, radius=4.5
    )  # fmt: skip
    hkl = unique_reflections(model.cell, model.spacegroup, 6.0)
    found = solvent.displaced(q, np.array([0]), hkl, np.inf)
    least = np.argmin(np.abs(hkl).sum(axis=1))
    assert np.abs(found.columns).max() < 1.0  # A^3: an island that nothing leads to
    volume = float(np.abs(found.in_doubt(np.array([least]))).sum())
    assert (volume > 15.0) == in_doubt, volume
    assert in_doubt or volume < 1.0


def test_in_doubt_is_little_where_solvent_gets_in_any_case(tmp_path):
    """Of a water in the open the two probes say the same, but for the edge."""
    model, solvent, q = solvent_of(
        tmp_path / "m.pdb", np.array([[-9.0, -9.0, -9.0]]), [0.4], gap=-0.4, radius=4.5
    )
    hkl = unique_reflections(model.cell, model.spacegroup, 6.0)
    found = solvent.displaced(q, np.array([0]), hkl, np.inf)
    low = np.argmin(np.abs(hkl).sum(axis=1))
    assert np.abs(found.columns[0, low]) > 12.0
    assert np.abs(found.in_doubt(np.array([low]))).sum() < 0.3 * np.abs(found.columns[0, low])


def probed(model, solvent, wider):
    """Return the solvent of one other probe alone."""
    groups = model.occupancy_groups
    return displaced_solvent(
        groups, np.flatnonzero(groups.refined), np.ones(len(model.table), dtype=bool),
        model.table.xyz, solvent.grid, model.group_occupancies(), probes=(wider,),
    )  # fmt: skip


@pytest.fixture
def holes(tmp_path):
    """A water behind a bottleneck, and one in the open."""
    waters = np.array([[0.0, 0.0, 0.0], [-9.0, -9.0, -9.0]])
    return solvent_of(tmp_path / "m.pdb", waters, [0.4, 0.7], gap=-0.02, radius=4.5)


def test_in_doubt_are_a_narrower_probe_and_a_wider_one_beside_the_present_one(holes):
    """Each by itself: where both differ from the present one alike, their difference is nothing."""
    model, solvent, q = holes
    hkl, chosen = unique_reflections(model.cell, model.spacegroup, 6.0), np.array([0, 1])
    places = np.array([0, 3, 5])
    narrow, own, wide = (
        probed(model, solvent, wider).displaced(q, chosen, hkl, np.inf) for wider in PROBES
    )
    found = solvent.displaced(q, chosen, hkl, np.inf)
    assert found.columns == pytest.approx(own.columns, abs=1e-3)
    right = np.concatenate([narrow.columns - own.columns, own.columns - wide.columns])[:, places]
    assert found.in_doubt(places) == pytest.approx(right, abs=1e-3)
    assert np.abs(right).max() > 5.0
    assert own.in_doubt is None  # of one probe nothing is


@pytest.mark.parametrize("blend", [0.25, 0.5])
def test_a_blend_is_the_mean_of_what_the_probes_leave(holes, blend):
    model, solvent, q = holes
    hkl, chosen = unique_reflections(model.cell, model.spacegroup, 6.0), np.array([0, 1])
    parts = [probed(model, solvent, wider) for wider in PROBES]
    shares = (blend, 1 - 2 * blend, blend)
    blended = solvent.regrown(solvent.grid.with_blend(blend))
    assert blended.parts[1] is solvent.parts[1]  # what is made stays
    density, right = (
        blended.density(q),
        sum(s * p.density(q) for s, p in zip(shares, parts, strict=True)),
    )
    assert density == pytest.approx(right, abs=1e-6)
    assert density == pytest.approx(solvent.density(q) + blend * solvent.blended(q), abs=1e-6)
    base = sum(s * p.base for s, p in zip(shares, parts, strict=True))
    assert blended.base == pytest.approx(base, abs=1e-6)
    assert blended.all_there(blended.grid) == pytest.approx(base, abs=1e-6)
    middle = tuple(n // 2 for n in density.shape)
    assert solvent.density(q)[middle] == 0  # it is shut for the present probe
    assert density[middle] == pytest.approx(0.6 * blend, abs=1e-6)
    columns = [p.displaced(q, chosen, hkl, np.inf).columns for p in parts]
    found, right = blended.displaced(q, chosen, hkl, np.inf), np.tensordot(shares, columns, 1)
    assert found.columns == pytest.approx(right, abs=1e-3)
    in_doubt = solvent.displaced(q, chosen, hkl, np.inf).in_doubt
    assert found.in_doubt(np.arange(5)) == pytest.approx(in_doubt(np.arange(5)), abs=1e-4)
