"""Where the runs of a campaign stand on disk."""

from pathlib import Path

import pytest

from multicopy_refinement.campaign.plan import (
    OUTCOME,
    Ended,
    Outcome,
    Plan,
    check_folder,
    clear,
    identity,
    others,
    read_outcome,
    write_outcome,
)
from multicopy_refinement.errors import InputError, OutputError
from multicopy_refinement.run.job import RefineJob


@pytest.fixture
def job(tmp_path):
    for name in ("m.pdb", "d.mtz", "r.toml", "l.cif"):
        (tmp_path / name).write_text(name)
    return RefineJob(
        model=tmp_path / "m.pdb", data=tmp_path / "d.mtz", rules=tmp_path / "r.toml",
        restraints=(tmp_path / "l.cif",), out=tmp_path / "out",
    )  # fmt: skip


def test_a_job_is_told_by_contents_options_and_version(job, tmp_path, monkeypatch):
    first = identity(job)
    assert identity(job.model_copy(update={"threads": 3, "out": Path("elsewhere")})) == first
    (tmp_path / "other.mtz").write_text("d.mtz")
    assert identity(job.model_copy(update={"data": tmp_path / "other.mtz"})) == first
    for change in ({"d_min": 2.0}, {"labels": ("F",)}, {"rules": None}, {"report": False}):
        assert identity(job.model_copy(update=change)) != first
    for name in ("m.pdb", "d.mtz", "r.toml", "l.cif"):
        (tmp_path / name).write_text("changed")
        assert identity(job) != first
        (tmp_path / name).write_text(name)
    monkeypatch.setattr("multicopy_refinement.campaign.plan.__version__", "9.9.9")
    assert identity(job) != first
    (tmp_path / "l.cif").unlink()
    with pytest.raises(InputError, match=r"l\.cif: cannot be read"):
        identity(job)


def test_an_outcome_reads_back_and_half_of_one_is_none(tmp_path):
    outcome = Outcome(ended=Ended.PROGRAM, reason="a fault", of={"version": "1"}, seconds=1.5)
    write_outcome(tmp_path / "run", outcome)
    assert read_outcome(tmp_path / "run") == outcome
    (tmp_path / "run" / OUTCOME).write_text(outcome.model_dump_json()[:20])
    assert read_outcome(tmp_path / "run") is None
    assert read_outcome(tmp_path / "none") is None
    assert [Outcome(ended=e).final for e in Ended] == [True, True, False, False]


def test_clearing_takes_what_runs_leave_and_nothing_else(tmp_path):
    for name in ("x1", ".x1.ab_12cde", ".x1.5.ab_12cde", "x1.5"):
        (tmp_path / name).mkdir()
    for name in ("refined.pdb", "result.json", "report.html", OUTCOME, "notes.txt"):
        (tmp_path / "x1" / name).touch()
    clear(tmp_path / "x1")
    assert [p.name for p in (tmp_path / "x1").iterdir()] == ["notes.txt"]
    # what is written aside for the data set x1.5 is not of x1
    assert sorted(p.name for p in tmp_path.iterdir()) == [".x1.5.ab_12cde", "x1", "x1.5"]
    clear(tmp_path / "none" / "x1")


def test_folders_that_hold_something(tmp_path):
    check_folder(tmp_path / "new", resume=False)
    check_folder(tmp_path, resume=True)
    (tmp_path / "notes").touch()
    for resume in (True, False):
        with pytest.raises(OutputError, match="the folder is in use"):
            check_folder(tmp_path, resume=resume)
    (tmp_path / "table.csv").touch()
    check_folder(tmp_path, resume=True)
    with pytest.raises(OutputError, match="give --resume"):
        check_folder(tmp_path, resume=False)


def test_runs_of_data_sets_that_left_the_table_are_named(tmp_path):
    plan = Plan(tmp_path, ())
    assert others(plan) == []
    write_outcome(plan.folder("old"), Outcome(ended=Ended.DONE))
    (tmp_path / "runs" / "mine").mkdir()
    assert others(plan) == ["old"]
