"""Runs of one data set side by side: one error model, differences with errors, a conclusion."""

import numpy as np
import pytest

from multicopy_refinement.errors import InputError
from multicopy_refinement.run.compare import compare


@pytest.fixture(scope="module")
def runs(demo, command, tmp_path_factory):
    """Three runs of the demo: as it is, with a ligand held where it does not belong, and fewer."""
    folder = tmp_path_factory.mktemp("runs")
    common = ("refine", demo / "start.pdb", demo / "1.8.mtz", "--no-report", "--quiet")
    for name, options in {
        "all": (), "held": ("--hold", "A/201/GOL"), "connected": ("--grouping", "connected"),
    }.items():  # fmt: skip
        assert command(*common, *options, "--out", folder / name).status == 0
    return folder


def test_what_fits_worse_is_found_with_its_error(runs, demo):
    found = compare([runs / "all", runs / "held", demo / "start.pdb"])
    best, held, start = found.entries
    assert found.errors_of == str(runs / "all")
    assert (best.work.value, best.work.su) == (0.0, 0.0)
    assert held.n_parameters == best.n_parameters - 1
    assert held.record is not None
    assert start.record is None
    for one in (held, start):
        assert one.work.value < -5 * one.work.su
        assert one.log_likelihood == pytest.approx(best.log_likelihood + one.work.value)
        assert one.r_work > best.r_work
    assert start.free.telling
    assert start.free.value < 0
    assert "prefer" in found.conclusion
    assert str(runs / "all") in found.conclusion
    turned = compare([runs / "held", runs / "all"]).entries[1]
    assert turned.work.value == pytest.approx(-held.work.value, rel=0.05)


def test_a_model_beside_itself_differs_by_nothing(runs):
    found = compare([runs / "all", runs / "all" / "refined.cif"])
    one, same = found.entries
    assert abs(same.work.value) < 1.0  # four decimals in place of six
    assert abs(same.free.value) < 1.0
    assert same.r_work == pytest.approx(one.r_work, abs=2e-5)
    assert same.n_parameters == one.n_parameters
    assert "do not tell them apart" in found.conclusion


def test_the_error_of_a_difference_is_that_of_other_reflections(runs):
    """Halves of the reflections scatter by what the standard error says, within a factor."""
    found = compare([runs / "all", runs / "held"])
    assert 0.5 * np.sqrt(abs(found.entries[1].work.value)) < found.entries[1].work.su
    assert found.entries[1].work.su < abs(found.entries[1].work.value)


def test_the_command_prints_ligands_first_and_a_conclusion(runs, command, monkeypatch):
    monkeypatch.chdir(runs)
    ended = command("compare", "all", "held", "connected")
    assert ended.status == 0
    lines = ended.out.splitlines()
    first = next(i for i, line in enumerate(lines) if "Occupancies that differ" in line)
    assert "A/201/GOL" in "".join(lines[first : first + 5])
    assert "with the errors of all for all" in ended.out
    assert "held has 1 fewer parameter," in ended.out
    assert ended.err == ""


def test_what_cannot_be_compared_is_refused(runs, demo, command, tmp_path):
    assert command("compare", runs / "all").status == 2
    ended = command("compare", demo / "start.pdb", demo / "truth.pdb")
    assert ended.status == 2
    assert "--data" in ended.err
    both = command("compare", demo / "start.pdb", demo / "truth.pdb", "--data", demo / "1.8.mtz")
    assert both.status == 0
    assert "prefer" in both.out
    other = ("refine", demo / "start.pdb", demo / "2.5.mtz", "--no-report", "--quiet")
    assert command(*other, "--out", tmp_path / "other").status == 0
    with pytest.raises(InputError, match="other data"):
        compare([runs / "all", tmp_path / "other"])
    assert command("compare", runs / "all", tmp_path).status == 2
