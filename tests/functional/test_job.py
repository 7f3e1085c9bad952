"""A job as Python code and workers run it: no printing, nothing of the process changed."""

import contextlib
import io
import json
import os
import subprocess
import sys
import threading

import pytest
import torch

from multicopy_refinement.cli.main import _REFINE
from multicopy_refinement.errors import InputError
from multicopy_refinement.results.record import read_record
from multicopy_refinement.run.job import RefineJob, run


def test_a_job_prints_nothing_and_leaves_the_process_alone(demo, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["somebody", "else"])
    before = dict(os.environ), torch.get_num_threads()
    steps = []
    job = RefineJob(
        model=demo / "start.pdb", data=demo / "2.5.mtz", out=tmp_path / "out", threads=1
    )
    record = run(job, steps.append)
    assert capfd.readouterr() == ("", "")
    assert (dict(os.environ), torch.get_num_threads()) == before
    assert [step.step for step in steps][:2] == ["model and groups", "reflections"]
    assert record == read_record(tmp_path / "out" / "result.json")
    assert record.provenance.command[:2] == ["multicopy-refine", "refine"]
    assert not (tmp_path / "out" / "report.html").exists()


def test_two_jobs_in_two_threads_are_the_same_as_one_after_the_other(demo, tmp_path):
    def job(name, d_min):
        return RefineJob(
            model=demo / "start.pdb", data=demo / "1.8.mtz", out=tmp_path / name, d_min=d_min
        )

    alone = [run(job(f"alone{d}", d)) for d in (2.0, 3.0)]
    together = {}

    def work(d_min):
        together[d_min] = run(job(f"together{d_min}", d_min))

    threads = [threading.Thread(target=work, args=(d,)) for d in (2.0, 3.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for record, d_min in zip(alone, (2.0, 3.0), strict=True):
        assert together[d_min].groups == record.groups
        assert together[d_min].statistics == record.statistics
        logs = [
            (tmp_path / name / "run.log").read_text().replace(name, "out").splitlines()
            for name in (f"together{d_min}", f"alone{d_min}")
        ]
        lines, reference = ([line.split(" ", 2)[2] for line in log] for log in logs)
        assert lines == reference  # each run has its own log, and no line of the other


def test_every_field_of_a_job_is_an_option_of_the_command_line():
    assert set(_REFINE) == set(RefineJob.model_fields)


def test_strings_of_a_table_make_the_same_job_as_the_command_line():
    row = {
        "model": "m.pdb", "data": "d.mtz", "parameters": "occupancy,b_group", "max_cycles": "12",
        "tolerance": "1e-4", "b_prior": "3", "labels": "F,SIGF", "link_close_waters": "true",
        "solver": "gauss_newton", "free_value": "1", "hold": "//A/5/CA,CB:A", "ligands": "true",
    }  # fmt: skip
    job = RefineJob.of(row)
    assert RefineJob.of(json.loads(job.model_dump_json())) == job
    assert job.command() == [
        "multicopy-refine", "refine", "m.pdb", "d.mtz", "--parameters", "occupancy,b_group",
        "--b-prior", "3.0", "--max-cycles", "12", "--tolerance", "0.0001", "--link-close-waters",
        "--hold", "//A/5/CA,CB:A", "--ligands", "--labels", "F,SIGF",
        "--free-value", "1", "--out", "refined",
    ]  # fmt: skip
    assert job.options()["max_cycles"] == 12


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"max_cycles": "0"}, "--max-cycles: input should be greater than or equal to 1, not '0'"),
        ({"tolerance": "soon"}, "--tolerance: input should be a valid number"),
        ({"parameters": "charge"}, "--parameters: 'charge' cannot be refined; this version knows"),
        ({"parameters": "b_group"}, "--parameters: occupancy is always refined"),
        ({"solver": "lbfgs", "parameters": "occupancy,b_group"}, "lbfgs refines occupancy alone"),
        ({"speed": "high"}, "--speed: extra inputs are not permitted"),
    ],
)
def test_faulty_options_are_one_line(values, says):
    with pytest.raises(InputError) as fault:
        RefineJob.of({"model": "m.pdb", "data": "d.mtz", **values})
    assert says in str(fault.value)
    assert "\n" not in str(fault.value)


def test_options_reach_the_refinement_from_the_command_line(command, demo, tmp_path):
    with contextlib.redirect_stdout(io.StringIO()):
        called = command(
            "refine", demo / "start.pdb", demo / "2.5.mtz", "--out", tmp_path / "out",
            "--max-cycles", 2, "--tolerance", 0.5, "--solver", "lbfgs", "--no-report",
        )  # fmt: skip
    assert called.status == 0, called.err
    record = read_record(tmp_path / "out" / "result.json")
    assert record.status.cycles == 2
    assert all(group.su is None for group in record.groups)
    asked = record.inputs.options
    assert (asked["solver"], asked["max_cycles"], asked["tolerance"]) == ("lbfgs", 2, 0.5)


def test_a_run_imports_what_it_needs(demo, tmp_path):
    """A run without report needs no figures, and nothing needs pandas."""
    code = (
        "import sys\n"
        "from multicopy_refinement.cli.main import main\n"
        "try:\n    main()\n"
        "finally:\n    slow = {'bokeh', 'jinja2', 'pandas'}\n"
        "    print(sorted(slow & set(sys.modules)))\n"
    )
    arguments = ["refine", demo / "start.pdb", demo / "2.5.mtz", "--out", tmp_path / "out"]
    arguments += ["--no-report", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
