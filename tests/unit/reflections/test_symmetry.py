"""In which group data are merged: the model's, where its equivalents agree; else it is refused."""

import numpy as np
import pytest

from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.crystal.hkl import unique_reflections
from multicopy_refinement.errors import InputError, ReflectionFileError
from multicopy_refinement.io.reflections import read_reflections
from multicopy_refinement.posterior.same_crystal import check_same_crystal
from reflection_files import cif_text, write_columns

P1 = SpaceGroup("P 1")
CELLS = {
    "P 21 21 21": Cell(28, 30, 32, 90, 90, 90),
    "P 1 21 1": Cell(28, 30, 32, 90, 104, 90),
    "C 1 2 1": Cell(38, 30, 32, 90, 104, 90),
    "I 2 2 2": Cell(28, 30, 32, 90, 90, 90),
    "P 31 2 1": Cell(30, 30, 32, 90, 90, 120),
    "P -1": Cell(28, 30, 32, 80, 95, 103),
}


def crystal(name, seed=1):
    """Return group, cell, unique indices and their amplitudes."""
    group, cell = SpaceGroup(name), CELLS[name]
    hkl = unique_reflections(cell, group, 4.0)
    return group, cell, hkl, np.random.default_rng(seed).uniform(10, 100, len(hkl))


def sphere(group, hkl, value):
    """Return all equivalents, each once, and the value of each."""
    mates = np.concatenate([sign * hkl @ r for r in group.rotations for sign in (1, -1)])
    unique, first = np.unique(mates, axis=0, return_index=True)
    return unique, value[first % len(hkl)]


def written(path, hkl, value, group, cell, sigma=None):
    flags = np.abs(hkl).sum(axis=1) % 5
    sigma = 0.02 * value if sigma is None else sigma
    columns = {"F": ("F", value), "SIGF": ("Q", sigma), "FREE": ("I", flags)}
    return write_columns(path, columns, hkl, group=group, cells=(cell,))


class Crystal:
    """What of a model is compared with data."""

    def __init__(self, cell, group):
        self.cell, self.spacegroup = cell, group


@pytest.mark.parametrize("name", [n for n in CELLS if n != "P -1"])
def test_a_sphere_in_p1_is_merged_by_the_model(name, tmp_path):
    group, cell, hkl, value = crystal(name)
    everything, f = sphere(group, hkl, value)
    path = written(tmp_path / "x.mtz", everything, f, P1, cell)
    data = read_reflections(path, cell=cell, spacegroup=group)
    assert data.spacegroup == group
    np.testing.assert_array_equal(data.hkl[np.lexsort(data.hkl.T)], hkl[np.lexsort(hkl.T)])
    wanted = {tuple(h): v for h, v in zip(hkl.tolist(), value, strict=True)}
    np.testing.assert_allclose(data.f_obs, [wanted[tuple(h)] for h in data.hkl.tolist()], rtol=1e-5)
    (notice,) = (n for n in data.notices if n.code == "merged_by_model")
    assert "R = 0.000" in notice.message
    assert f"{len(hkl)} unique ones" in notice.message
    assert check_same_crystal(Crystal(cell, group), data) == []


def test_the_merging_r_is_that_of_the_errors(tmp_path):
    group, cell, hkl, value = crystal("P 21 21 21")
    everything, f = sphere(group, hkl, value)
    noisy = f * (1 + 0.05 * np.random.default_rng(0).standard_normal(len(f)))
    path = written(tmp_path / "x.mtz", everything, noisy, P1, cell, 0.05 * f)
    data = read_reflections(path, spacegroup=group)
    (notice,) = (n for n in data.notices if n.code == "merged_by_model")
    factor = float(notice.message.split("R = ")[1].split()[0])
    # Friedel mates are merged before: 5%/sqrt(2), mean deviation sqrt(2/pi), of four: sqrt(3/4)
    assert factor == pytest.approx(0.05 / np.sqrt(2) * np.sqrt(2 / np.pi * 3 / 4), rel=0.1)


def test_equivalents_that_differ_are_refused(tmp_path):
    group, cell, hkl, _ = crystal("P 21 21 21")
    everything, _ = sphere(group, hkl, np.zeros(len(hkl)))
    value = np.random.default_rng(4).uniform(10, 100, len(everything))
    path = written(tmp_path / "x.mtz", everything, value, P1, cell)
    with pytest.raises(ReflectionFileError, match=r"x\.mtz: .*P 1, and do not.*R = 0\.[23]"):
        read_reflections(path, spacegroup=group)
    assert read_reflections(path).spacegroup == P1


def test_lower_symmetry_than_the_model_with_equivalents(tmp_path):
    group, cell, hkl, value = crystal("P 21 21 21")
    lower = SpaceGroup("P 1 21 1")
    everything, f = sphere(group, hkl, value)
    path = written(tmp_path / "x.mtz", everything, f, lower, cell)
    assert read_reflections(path, spacegroup=group).spacegroup == group


def test_lower_symmetry_without_equivalents_is_refused(tmp_path):
    """What is listed once only does not show that it has the symmetry."""
    group, cell, hkl, value = crystal("P 21 21 21")
    for lower in ("P 1", "P 1 21 1"):
        data = read_reflections(
            written(tmp_path / "x.mtz", hkl, value, SpaceGroup(lower), cell), spacegroup=group
        )
        with pytest.raises(InputError, match="different symmetry"):
            check_same_crystal(Crystal(cell, group), data)


@pytest.mark.parametrize("agree", [True, False])
def test_a_list_without_a_space_group_must_not_contradict_the_model(agree, tmp_path):
    group, _, hkl, value = crystal("P 21 21 21")
    everything, f = sphere(group, hkl, value)
    if not agree:
        np.random.default_rng(0).shuffle(f)
    text = cif_text({"F_meas_au": f, "F_meas_sigma_au": 0.02 * f}, hkl=everything)
    (tmp_path / "x.cif").write_text(text.replace("_symmetry.space", "_nothing.space"))
    if not agree:
        with pytest.raises(ReflectionFileError, match="do not have the symmetry of the model"):
            read_reflections(tmp_path / "x.cif", spacegroup=group)
        return
    data = read_reflections(tmp_path / "x.cif", spacegroup=group)
    assert (data.spacegroup, len(data)) == (group, len(hkl))
    codes = [n.code for n in data.notices]
    assert codes[:2] == ["data_crystal", "merged_by_model"]


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        ("I 2 2 2", "P 2 2 2"),
        ("P 2 2 2", "I 2 2 2"),
        ("C 1 2 1", "P 1 2 1"),
        ("C 2 2 2", "I 2 2 2"),
    ],
)
def test_another_centring_is_refused(mine, theirs, tmp_path):
    cell = CELLS["P 1 21 1" if mine == "C 1 2 1" else "P 21 21 21"]
    group, model = SpaceGroup(theirs), SpaceGroup(mine)
    hkl = unique_reflections(cell, group, 4.0)
    value = np.random.default_rng(0).uniform(10, 100, len(hkl))
    data = read_reflections(written(tmp_path / "x.mtz", hkl, value, group, cell), spacegroup=model)
    with pytest.raises(InputError, match=f"centring: space group {mine} and {theirs}"):
        check_same_crystal(Crystal(cell, model), data)


def test_strong_reflections_that_the_centring_forbids_are_refused(tmp_path):
    cell, group = CELLS["I 2 2 2"], SpaceGroup("I 2 2 2")
    hkl = unique_reflections(cell, SpaceGroup("P 2 2 2"), 4.0)
    value = np.random.default_rng(0).uniform(10, 100, len(hkl))
    forbidden = hkl.sum(axis=1) % 2 == 1
    path = tmp_path / "x.mtz"
    with pytest.raises(
        ReflectionFileError, match=r"x\.mtz: .*centring of I 2 2 2 forbids have 1?\d+%"
    ):
        read_reflections(written(path, hkl, value, group, cell))
    everything, f = sphere(SpaceGroup("P 2 2 2"), hkl, value)
    written(path, everything, f, P1, cell)
    with pytest.raises(ReflectionFileError, match="centring of I 2 2 2 forbids"):
        read_reflections(path, spacegroup=group)
    value[forbidden] *= 0.05
    data = read_reflections(written(path, hkl, value, group, cell))
    assert not (data.hkl.sum(axis=1) % 2).any()
    (notice,) = data.notices
    assert notice.code == "reflections_dropped"
    assert len(notice.atoms) == forbidden.sum()


def test_forbidden_reflections_of_weak_data_are_noise(tmp_path):
    """Amplitudes of no intensity are about as large as those of weak data, but not significant."""
    cell, group = CELLS["I 2 2 2"], SpaceGroup("I 2 2 2")
    hkl = unique_reflections(cell, SpaceGroup("P 2 2 2"), 4.0)
    random = np.random.default_rng(0)
    value = random.uniform(10, 30, len(hkl))
    forbidden = hkl.sum(axis=1) % 2 == 1
    value[forbidden] = random.uniform(4, 16, int(forbidden.sum()))
    data = read_reflections(
        written(tmp_path / "x.mtz", hkl, value, group, cell, np.full(len(hkl), 5.0))
    )
    assert len(data) == (~forbidden).sum()


def test_absences_are_those_of_the_model(tmp_path):
    cell, group = CELLS["P 21 21 21"], SpaceGroup("P 21 21 21")
    plain = SpaceGroup("P 2 2 2")
    hkl = unique_reflections(cell, plain, 4.0)
    value = np.random.default_rng(0).uniform(10, 100, len(hkl))
    path = written(tmp_path / "x.mtz", hkl, value, plain, cell)
    assert len(read_reflections(path)) == len(hkl)
    data = read_reflections(path, spacegroup=group)
    assert [n.code for n in data.notices] == ["spacegroup_differs", "reflections_dropped"]
    assert not group.absent(data.hkl).any()
    assert len(data) == len(hkl) - group.absent(hkl).sum()


@pytest.mark.parametrize("name", ["P 21 21 21", "C 1 2 1", "P 31 2 1"])
def test_no_reflection_is_used_twice_however_it_is_listed(name, tmp_path):
    """Another asymmetric unit, Friedel mates, duplicates: the unique ones, and each once."""
    group, cell, hkl, value = crystal(name)
    expected = read_reflections(written(tmp_path / "x.mtz", hkl, value, group, cell))
    everything, f = sphere(group, hkl, value)
    listings = {
        "mates": (-hkl, value),
        "another unit": (hkl @ group.rotations[-1], value),
        "all": (everything, f),
        "twice": (np.concatenate([hkl, hkl]), np.concatenate([value, value])),
    }
    for listing, (indices, values) in listings.items():
        path = written(tmp_path / "y.mtz", indices, values, group, cell)
        data = read_reflections(path, cell=cell, spacegroup=group)
        assert len(np.unique(data.hkl, axis=0)) == len(data) == len(expected), listing
        order, other = np.lexsort(data.hkl.T), np.lexsort(expected.hkl.T)
        np.testing.assert_array_equal(data.hkl[order], expected.hkl[other])
        np.testing.assert_allclose(data.f_obs[order], expected.f_obs[other], rtol=1e-5)
