"""What runs that hold the same coordinates and B differ by, as the benchmark of su counts it."""

import numpy as np
import pytest
import torch

from consistency import Estimates, cut_z, half_z
from held import OF_ATOM, Answer, answers
from helpers import atom_line, pdb_text, write_text
from multicopy_refinement import Model, RefineOptions, read_reflections
from multicopy_refinement.refinement.macrocycle import refine_to_maximum
from multicopy_refinement.simulate import simulate, write_simulated

N_WATERS, N_GROUPS = 60, 12
#: In the place of B among the unknowns of an atom.
B = 3


def waters(path, b):
    """Return a crystal of waters, some of them half there."""
    places = np.random.default_rng(4).uniform(0, (15, 16, 17), (N_WATERS, 3))
    lines = [
        atom_line(
            "O", "HOH", i + 1, 0.5 if i < N_GROUPS else 1.0, b_iso=b[i], xyz=xyz, record="HETATM",
        )
        for i, xyz in enumerate(places)
    ]  # fmt: skip
    return Model(dtype_float=torch.float64).load(write_text(path, pdb_text(lines)))


@pytest.fixture(scope="module")
def crystal(tmp_path_factory):
    """Return a folder, and data to 1.6 A of waters in it."""
    folder = tmp_path_factory.mktemp("waters")
    model = waters(folder / "true.pdb", np.full(N_WATERS, 15.0))
    write_simulated(simulate(model, 1.6, seed=3), model, folder / "data.mtz")
    return folder, read_reflections(folder / "data.mtz")


def refined(crystal, b, cut=0.0):
    folder, data = crystal
    data = data.select(data.s_squared < max(cut, 1e-3) ** -2)
    model = waters(folder / "start.pdb", b)
    with answers() as found:
        ended = refine_to_maximum(model, data, RefineOptions(decoys=0))
    return ended, found


@pytest.mark.parametrize("cut", [0.0, 2.2])
def test_an_occupancy_answers_to_a_b_that_is_held_as_the_slope_says(crystal, cut):
    ended, found = refined(crystal, np.full(N_WATERS, 15.0), cut)
    assert ended.solution.groups.refined.sum() == N_GROUPS
    here, slopes = ended.at["occupancy"], []
    for group in range(0, N_GROUPS, 3):
        other = np.full(N_WATERS, 15.0)
        other[group] += 2.0
        there = refined(crystal, other, cut)[0].at["occupancy"]
        (at,) = np.flatnonzero(found[group].name == OF_ATOM * group + B)
        slopes.append(((there - here)[group] / 2.0, found[group].slope[at]))
    seen, said = np.transpose(slopes)
    assert (seen > 0.005).all()
    np.testing.assert_allclose(said, seen, rtol=0.25)


def test_su_are_those_of_what_is_held_and_of_the_reflections(crystal):
    """V = V_held + c S c'; what is printed is from a sample of the reflections, too."""
    ended, found = refined(crystal, np.full(N_WATERS, 15.0))
    held = np.diag(ended.covariance.matrix)
    made = np.array([found[g].slope @ found[g].errors @ found[g].slope for g in range(N_GROUPS)])
    np.testing.assert_allclose(np.sqrt(held + made), ended.solution.su[ended.refined], rtol=0.05)


def answer(*slope, names=(7, 5, -1)):
    n = len(slope)
    return Answer(np.array(names[:n]), np.array(slope), np.diag(np.arange(1.0, n + 1)))


def test_runs_that_answer_alike_differ_by_the_reflections_alone():
    one, other = answer(0.3, 0.2), answer(0.1, 0.2, 0.5)
    assert one.apart(one, one) == 0.0
    assert one.apart(one, other) == pytest.approx(0.2**2)
    assert other.apart(one, other) == pytest.approx(0.2**2 + 3 * 0.5**2)


def test_differences_over_their_su():
    value, su = np.array([0.5, 0.5, np.nan, 0.5]), np.full(4, 0.1)
    whole = Estimates(value, su, su, [answer(0.1)] * 4)
    part = Estimates(value + 0.1, 2 * su, 1.25 * su, [answer(0.2)] * 3 + [None])
    held = 0.1 / np.sqrt(0.125**2 - 0.1**2 + 0.1**2)
    np.testing.assert_allclose(cut_z(whole, part, "as printed"), [held, held, np.nan, np.nan])
    printed = 0.1 / np.sqrt(0.2**2 - 0.1**2)
    np.testing.assert_allclose(cut_z(whole, part, "relaxed"), [printed, printed, np.nan, printed])
    same = Estimates(value, su, su, whole.answers)
    assert np.isnan(cut_z(whole, same, "as printed")).all()  # su do not grow
    halves = -0.1 / np.sqrt(0.125**2 + 0.1**2 + 0.1**2)
    np.testing.assert_allclose(
        half_z(whole, whole, part, "with waters"), [halves, halves, np.nan, np.nan]
    )
