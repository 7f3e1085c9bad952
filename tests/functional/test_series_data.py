"""Series of other kinds of data and states: copies, intensities, two residues at a place, twins."""

import json

import gemmi
import numpy as np
import pytest
import torch

import gemmi_truth as truth
from demo_data import DEMO
from multicopy_refinement import Model, read_reflections
from multicopy_refinement.modes import Parameter, TargetKind
from multicopy_refinement.series import SeriesData, SeriesOptions, refine_series
from multicopy_refinement.series import shared as shared_model
from two_states import single_conformer

pytestmark = pytest.mark.slow
QUICK = SeriesOptions(decoys=0, parameters=(Parameter.OCCUPANCY,))
FRACTIONS = (0.15, 0.45)
D_MIN = 2.3


def whole():
    """Return a crystal without altlocs and hydrogens."""
    return single_conformer(DEMO / "truth.pdb")


def turned(structure, number=8):
    """Return a crystal of which a part of the chain is moved."""
    other = structure.clone()
    for residue in other[0][0]:
        if abs(residue.seqid.num - number) <= 1:
            for atom in residue:
                atom.pos += gemmi.Position(0.9, 0.5, -0.6)
    return other


def mixed(ground, other, law=None, alpha=0.0):
    """Return intensities of two crystals mixed by each fraction, with errors of 3%."""
    hkl, f0 = truth.factors(ground, D_MIN)
    f1 = truth.factors(other, D_MIN, hkl=hkl)[1]
    for i, fraction in enumerate(FRACTIONS):
        square = np.abs((1 - fraction) * f0 + fraction * f1) ** 2
        if law is not None:
            mates = np.array([law.as_xyz().apply_to_hkl(h) for h in hkl.tolist()], dtype=np.int32)
            turned_f = [truth.factors(s, D_MIN, hkl=mates)[1] for s in (ground, other)]
            domain = np.abs((1 - fraction) * turned_f[0] + fraction * turned_f[1]) ** 2
            square = (1 - alpha) * square + alpha * domain
        s_squared = np.asarray(ground.cell.calculate_1_d2_array(hkl))
        yield truth.observe(hkl, np.sqrt(square), s_squared, seed=10 + i)


def write_sets(folder, ground, other, **twin):
    """Write the data sets, and return their paths."""
    paths = []
    for i, data in enumerate(mixed(ground, other, **twin)):
        paths.append(folder / f"d{i}.mtz")
        truth.write_mtz(paths[-1], ground, data)
    return paths


def as_intensities(path):
    """Write F^2 with 2 F sigma in place of amplitudes, some of them below zero."""
    mtz = gemmi.read_mtz_file(str(path))
    rows = np.array(mtz, copy=True)
    f, sigma = (mtz.column_labels().index(label) for label in ("F", "SIGF"))
    random = np.random.default_rng(5)
    value, error = rows[:, f] ** 2, 2 * rows[:, f] * rows[:, sigma]
    floor = 0.02 * value.mean()
    rows[:, sigma] = np.hypot(error, floor)
    rows[:, f] = value + floor * random.standard_normal(len(rows))
    mtz.set_data(rows)
    for place, label, kind in ((f, "I", "J"), (sigma, "SIGI", "Q")):
        mtz.columns[place].label, mtz.columns[place].type = label, kind
    mtz.write_to_file(str(path))


def series(model_path, paths, state, options=QUICK):
    """Return a series of some files."""
    model = Model(dtype_float=torch.float64).load(model_path)
    crystal = {"cell": model.cell, "spacegroup": model.spacegroup}
    sets = [
        SeriesData(path.stem, read_reflections(path, **crystal), float(i))
        for i, path in enumerate(paths)
    ]
    return refine_series(model, sets, state, options)


def check_fractions(found, su=0.03):
    """Check fractions beside the truth, and that they are known."""
    assert np.all(found.su < su)
    assert np.all(np.abs(found.unbounded - FRACTIONS) < 3 * found.su), (found.unbounded, found.su)


def with_letters(ground, other, path):
    """Write one model of two crystals, letters A and B where they differ."""
    both = ground.clone()
    for chain, second in zip(both[0], other[0], strict=True):
        for residue, its in zip(chain, second, strict=True):
            if any(a.pos.dist(b.pos) > 0.01 for a, b in zip(residue, its, strict=True)):
                for atom in residue:
                    atom.altloc, atom.occ = "A", 0.7
                for atom in its:
                    copy = atom.clone()
                    copy.altloc, copy.occ = "B", 0.3
                    residue.add_atom(copy)
    both.write_pdb(str(path))
    return path


@pytest.fixture(scope="module")
def crystals():
    ground = whole()
    return ground, turned(ground)


def test_a_model_of_a_file_is_a_state(crystals, tmp_path):
    both = gemmi.Structure()
    both.cell, both.spacegroup_hm = crystals[0].cell, crystals[0].spacegroup_hm
    for number, (one, part) in enumerate(zip(crystals, (0.7, 0.3), strict=True), 1):
        made = one[0].clone()
        made.num = number
        for site in made.all():
            site.atom.occ = part
        both.add_model(made)
    both.write_pdb(str(tmp_path / "copies.pdb"))
    paths = write_sets(tmp_path, *crystals)
    found = series(tmp_path / "copies.pdb", paths, "model 2")
    check_fractions(found)
    # all of the crystal is in two copies, and only what moved tells them apart
    assert found.state.tied.tolist() == [0, 1]
    first = series(tmp_path / "copies.pdb", paths, "1")
    assert first.unbounded == pytest.approx(1 - found.unbounded, abs=0.004)
    assert first.su == pytest.approx(found.su, rel=0.1)


def test_intensities_are_refined_against_as_intensities(crystals, tmp_path):
    model = with_letters(*crystals, tmp_path / "both.pdb")
    paths = write_sets(tmp_path, *crystals)
    amplitudes = series(model, paths, "B")
    check_fractions(amplitudes)
    for path in paths:
        as_intensities(path)
    found = series(model, paths, "B")
    assert all(one.intensities is not None for one in found.data)
    assert sum(int((one.intensities.value < 0).sum()) for one in found.data) > 0
    check_fractions(found)
    assert np.all(found.su_conditional > amplitudes.su_conditional)  # errors are larger
    by_f = series(
        model, paths, "B",
        SeriesOptions(decoys=0, parameters=(Parameter.OCCUPANCY,), target=TargetKind.ML),
    )  # fmt: skip
    check_fractions(by_f)
    assert found.unbounded != pytest.approx(by_f.unbounded, abs=1e-6)


def test_another_kind_of_residue_is_a_state(tmp_path):
    ground = whole()
    chain = ground[0][0]
    place = next(i for i, r in enumerate(chain) if r.name == "GLU")
    other = ground.clone()
    alanine = other[0][0][place]
    alanine.name = "ALA"
    for name in [a.name for a in alanine if a.name not in ("N", "CA", "C", "O", "CB")]:
        alanine.remove_atom(name, "\0")
    both = ground.clone()
    for atom in both[0][0][place]:
        atom.altloc, atom.occ = "A", 0.7
    second = alanine.clone()
    for atom in second:
        atom.altloc, atom.occ = "B", 0.3
    both[0][0].add_residue(second, place + 1)
    both.write_pdb(str(tmp_path / "both.pdb"))
    found = series(tmp_path / "both.pdb", write_sets(tmp_path, ground, other), "B")
    names = found.state.groups.table.resname[found.state.atoms]
    assert set(names.tolist()) == {b"ALA"}
    assert len(found.state.tied) == 2
    check_fractions(found, su=0.05)


def twins(folder, alpha):
    """Write a model and data of a lattice that is nearly tetragonal; return their paths."""
    ground = whole()
    ground.cell, ground.spacegroup_hm = gemmi.UnitCell(30, 30.15, 32, 90, 90, 90), "P 21 21 21"
    ground.setup_cell_images()
    other = turned(ground)
    model = with_letters(ground, other, folder / "both.pdb")
    return model, write_sets(folder, ground, other, law=gemmi.Op("k,h,-l"), alpha=alpha)


@pytest.mark.parametrize("alpha", [0.0, 0.25])
def test_a_twin_is_told_of(tmp_path, alpha):
    model, paths = twins(tmp_path, alpha)
    found = series(model, paths, "B")
    said = [(name, one) for name, one in found.notices if one.code == "twinned"]
    assert [name for name, _ in said] == (["d0", "d1"] if alpha else [])
    if alpha:
        assert "twin by k,h,-l: beside the model alpha is 0.2" in said[0][1].message
        assert "its fraction is biased" in said[0][1].message
        assert "by itself with --twin=k,h,-l" in said[0][1].message
    else:
        check_fractions(found)


@pytest.mark.parametrize("quiet", [False, True])
def test_twins_stand_on_the_terminal_and_in_the_record(tmp_path, command, quiet):
    model, _ = twins(tmp_path, 0.25)
    table = tmp_path / "series.csv"
    table.write_text("name,data,time\na,d0.mtz,1\nb,d1.mtz,2\n")
    called = command(
        "series", model, table, "--state", "B", "--hold-model", "--decoys", "0", "--out",
        tmp_path / "out", *(["--quiet"] if quiet else []),
    )  # fmt: skip
    assert called.status == 0
    said = called.err if quiet else called.out
    assert "Warning: a: the crystal is a twin by k,h,-l" in said
    assert "Warning: b: the crystal is a twin by k,h,-l" in said
    record = json.loads((tmp_path / "out" / "series.json").read_text())
    assert [(w["data_set"], w["code"]) for w in record["warnings"][:2]] == [
        ("a", "twinned"), ("b", "twinned"),
    ]  # fmt: skip
    assert "twin by k,h,-l" in (tmp_path / "out" / "series.html").read_text()


def test_a_state_with_too_much_around_it_says_so(crystals, tmp_path, monkeypatch):
    model = with_letters(*crystals, tmp_path / "both.pdb")
    paths = write_sets(tmp_path, *crystals)
    assert "surroundings_cut" not in {n.code for _, n in series(model, paths, "B").notices}
    monkeypatch.setattr(shared_model, "MOST_ATOMS", 50)
    found = series(model, paths, "B")
    (notice,) = [n for _, n in found.notices if n.code == "surroundings_cut"]
    assert "coordinates and B of 50" in notice.message
    check_fractions(found)
