"""Campaigns as they are carried out: faults, deaths, going on, and a cluster of processes."""

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from pandas.testing import assert_frame_equal

from demo_data import simulate_demo
from multicopy_refinement.campaign.cluster import cluster_of
from multicopy_refinement.campaign.conduct import Asked
from multicopy_refinement.campaign.limits import limits_of
from multicopy_refinement.campaign.plan import Plan
from multicopy_refinement.campaign.table import DataSet, data_sets, read_table
from multicopy_refinement.errors import InputError
from multicopy_refinement.run.job import RefineJob

CAMPAIGN = [sys.executable, "-m", "multicopy_refinement", "campaign"]
#: A job in its own process, and a worker of Dask, by what their command lines have.
CHILD, WORKER = "multicopy_refinement.campaign.child", "multiprocessing.spawn"
#: What differs between two campaigns that come to the same.
COSTS = ["seconds", "memory"]


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    """A folder with a table of five data sets: two are broken, in two ways, two have options."""
    folder = tmp_path_factory.mktemp("screen")
    start = files("multicopy_refinement") / "demo" / "start.pdb"
    (folder / "model.pdb").write_text(start.read_text())
    for k in range(3):
        simulate_demo(folder / f"{k}.mtz", 4.0, seed=k)
    (folder / "damaged.mtz").write_bytes((folder / "0.mtz").read_bytes()[:2000])
    other = start.read_text().replace("CRYST1   28.000", "CRYST1   56.000")
    assert other != start.read_text()
    (folder / "other.pdb").write_text(other)
    (folder / "table.csv").write_text(
        "name,model,data,max-cycles,hold,decoys,report,#compound\n"
        "x0,model.pdb,0.mtz,,,20,yes,ethanol\n"
        "x1,model.pdb,1.mtz,2,,0,no,\n"
        "damaged,model.pdb,damaged.mtz,,,,,\n"
        "x2,model.pdb,2.mtz,,A/5;A/17/GLU,0,no,\n"
        "other,other.pdb,2.mtz,,,,,\n"
    )
    return folder


def processes(kind, of=None):
    """Return the processes below one that are jobs or workers."""
    found = []
    for one in psutil.Process(of).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if kind in " ".join(one.cmdline()):
                found.append(one)
    return found


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it has not come"
        time.sleep(0.02)
    return found


def ended(out):
    return sorted(path.parent.name for path in out.glob("runs/*/job.json"))


def table_of(out, name="datasets"):
    return pd.read_parquet(out / f"{name}.parquet")


@pytest.fixture(scope="module")
def done(screen, command):
    """A campaign during which a worker was killed, and what the call gave back."""
    out = screen / "done"
    killed = []

    def kill():
        child = wait_for(lambda: processes(CHILD))[0]
        worker = child.parent()
        assert WORKER in " ".join(worker.cmdline())
        worker.send_signal(signal.SIGKILL)
        wait_for(lambda: not child.is_running())  # it does not outlive who gave it the job
        killed.append(worker.pid)

    killer = threading.Thread(target=kill)
    killer.start()
    called = command("campaign", screen / "table.csv", "--out", out, "--workers", 2)
    killer.join()
    assert len(killed) == 1
    return out, called


def test_faults_are_rows_with_reasons_and_the_others_finish(done, screen):
    out, called = done
    assert (called.status, called.err) == (0, "")
    sets = table_of(out).set_index("name")
    assert list(sets.index) == ["x0", "x1", "damaged", "x2", "other"]
    assert sets["status"].to_dict() == {
        "x0": "done", "x1": "done", "damaged": "failed", "x2": "done", "other": "failed",
    }  # fmt: skip
    assert sets.loc["damaged", "reason"].startswith(f"{screen / 'damaged.mtz'}: ")
    assert "cell" in sets.loc["other", "reason"]
    assert "damaged: " in called.out
    assert "5 data sets, 2 failed" in called.out
    assert processes(CHILD) == processes(WORKER) == []
    assert not (out / "campaign.lock").exists()


def test_columns_are_options_of_their_data_sets(done):
    out, _ = done
    cycles = {
        name: json.loads((out / "runs" / name / "result.json").read_text())["inputs"]["options"]
        for name in ("x0", "x1", "x2")
    }
    default = RefineJob.model_fields["max_cycles"].default
    assert [cycles[name]["max_cycles"] for name in ("x0", "x1")] == [default, 2]
    assert cycles["x2"]["hold"] == ["A/5", "A/17/GLU"]
    groups = table_of(out, "campaign")
    refined = groups.pivot_table(index="group", columns="name", values="refined", aggfunc="first")
    assert refined.loc["A/5/GLN:A", "x0"]
    assert not refined.loc["A/5/GLN:A", "x2"]


def test_groups_of_the_campaign_are_those_of_the_runs(done):
    out, _ = done
    groups = table_of(out, "campaign")
    for name, mine in groups.groupby("name"):
        record = json.loads((out / "runs" / name / "result.json").read_text())
        assert mine["group"].tolist() == [group["name"] for group in record["groups"]]
        for key in ("occupancy", "su", "p_absent", "delta_log_likelihood"):
            theirs = np.array([group[key] for group in record["groups"]], dtype=float)
            assert np.array_equal(mine[key].to_numpy(dtype=float), theirs, equal_nan=True)


def test_reports_share_their_scripts(done):
    out, _ = done
    names = sorted(path.name for path in (out / "scripts").iterdir())
    assert len(names) == 2
    page = (out / "runs" / "x0" / "report.html").read_text(encoding="utf-8")
    for name in names:
        assert f'<script src="../../scripts/{name}"></script>' in page
    assert len(page) < 400_000
    campaign = (out / "campaign.html").read_text(encoding="utf-8")
    assert '<a href="runs/x0/report.html">x0</a>' in campaign
    assert "runs/x1/report.html" not in campaign  # its row asks for none


def due(screen, out, table="table.csv"):
    columns, rows = read_table(screen / table)
    sets = data_sets(screen / table, columns, rows, folder=screen)
    folder = Plan(out, ()).folder
    placed = [
        DataSet(s.name, s.job.model_copy(update={"out": folder(s.name), "overwrite": True}))
        for s in sets
    ]
    return [one.name for one in Plan(out, tuple(placed)).due()]


def test_only_what_is_missing_or_changed_is_due(done, screen, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(done[0], out)
    assert due(screen, out) == []
    job = out / "runs" / "x1" / "job.json"
    for change in ({"ended": "circumstance"}, {"ended": "program"}, {"of": {}}):
        content = json.loads(job.read_text())
        job.write_text(json.dumps(content | change))
        assert due(screen, out) == ["x1"]
        job.write_text(json.dumps(content))
    job.unlink()
    assert due(screen, out) == ["x1"]
    text = (screen / "table.csv").read_text()
    (screen / "changed.csv").write_text(
        text.replace("x2,model.pdb,2.mtz,,", "x2,model.pdb,2.mtz,4,")
    )
    assert due(screen, out, "changed.csv") == ["x1", "x2"]
    (screen / "changed.csv").write_text(text.replace("x0,model.pdb,0.mtz", "x0,model.pdb,1.mtz"))
    assert due(screen, out, "changed.csv") == ["x0", "x1"]  # contents count, not names
    (screen / "same.mtz").write_bytes((screen / "0.mtz").read_bytes())
    (screen / "changed.csv").write_text(text.replace("x0,model.pdb,0.mtz", "x0,model.pdb,same.mtz"))
    assert due(screen, out, "changed.csv") == ["x1"]


def test_a_campaign_that_is_stopped_and_killed_comes_to_the_same(
    done, screen, command, monkeypatch
):
    """Ctrl-C once, then SIGKILL of the whole campaign, then to the end: as if undisturbed."""
    out = screen / "disturbed"
    line = [*CAMPAIGN, str(screen / "table.csv"), "--out", str(out), "--workers", "1"]
    # tests that run in the background of a shell are deaf to Ctrl-C, and their children would be
    before_tests = signal.signal(signal.SIGINT, signal.default_int_handler)
    for _ in range(3):  # where others keep the processors, all may have ended before it is seen
        shutil.rmtree(out, ignore_errors=True)
        one = subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        wait_for(lambda: ended(out))
        os.killpg(one.pid, signal.SIGINT)  # as a terminal does: its workers have it, too
        stdout, stderr = one.communicate(timeout=120)
        if one.returncode:
            break
    signal.signal(signal.SIGINT, before_tests)
    assert (one.returncode, stdout) == (130, "")
    assert stderr.startswith(f"interrupted: {len(ended(out))} of 5 data sets have ended; go on")
    assert stderr.endswith(f"{out}/table.csv --out {out} --resume\n")
    assert len(stderr.splitlines()) == 1
    before = {name: (out / "runs" / name / "job.json").stat().st_mtime_ns for name in ended(out)}
    assert sorted(table_of(out)["name"]) == sorted(before)

    line = [*CAMPAIGN, str(out / "table.csv"), "--out", str(out), "--resume", "--workers", "1"]
    two = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    children = wait_for(lambda: processes(CHILD, two.pid))
    two.kill()
    two.wait()
    wait_for(lambda: not any(child.is_running() for child in children))
    assert (out / "campaign.lock").is_file()

    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # to see what a terminal shows
    called = command("campaign", "--out", out, "--resume", "--workers", 1)
    assert called.status == 0, called.err
    assert "ended without a word; its lock is removed" in called.err
    assert "dashboard: http://127.0.0.1:" in called.err
    assert "data sets, 2 failed" in called.err
    now = {name: (out / "runs" / name / "job.json").stat().st_mtime_ns for name in before}
    assert now == before  # what had finished was not done again
    for name in ("datasets", "campaign", "ligands"):
        left, right = table_of(done[0], name), table_of(out, name)
        assert_frame_equal(
            left.drop(columns=COSTS, errors="ignore"), right.drop(columns=COSTS, errors="ignore"),
            rtol=1e-6, atol=1e-9,
        )  # fmt: skip
    assert [p.name for p in (out / "runs").iterdir() if p.name.startswith(".")] == []


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """A Dask scheduler and two workers as processes of their own, as a cluster has them."""
    folder = tmp_path_factory.mktemp("cluster")
    dask = str(Path(sys.executable).with_name("dask"))
    where = folder / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    lines = [[dask, "scheduler", "--port", "0", "--host", "127.0.0.1", "--no-dashboard",
              "--scheduler-file", str(where)]]  # fmt: skip
    lines += [[dask, "worker", "--scheduler-file", str(where), "--nthreads", "1", "--no-dashboard",
               "--host", "127.0.0.1"]] * 2  # fmt: skip
    running = [subprocess.Popen(line, **quiet) for line in lines]
    wait_for(lambda: where.is_file() and where.read_text().endswith("}"))  # written bit by bit
    yield where
    for one in running:
        one.terminate()
    for one in running:
        one.wait(30)


def test_the_workers_of_a_scheduler_do_the_same(done, screen, command, scheduler, tmp_path):
    address = json.loads(scheduler.read_text())["address"]
    with cluster_of(scheduler=str(scheduler)) as cluster:
        assert cluster.client.scheduler.address == address

    def dismiss():  # as a queueing system does with a worker whose time is over
        child = wait_for(lambda: processes(CHILD))[0]
        next(p for p in child.parents() if "--scheduler-file" in p.cmdline()).terminate()

    rows = (screen / "table.csv").read_text().splitlines(keepends=True)
    (screen / "two.csv").write_text("".join([rows[0], rows[3], rows[4]]))
    dismisser = threading.Thread(target=dismiss)
    dismisser.start()
    called = command(
        "campaign", screen / "two.csv", "--out", tmp_path / "out", "--scheduler", address
    )
    dismisser.join()
    assert called.status == 0, called.err
    mine, theirs = table_of(tmp_path / "out", "campaign"), table_of(done[0], "campaign")
    theirs = theirs[theirs["name"] == "x2"].reset_index(drop=True)
    columns = ["name", "group", "occupancy", "su", "p_absent"]
    assert_frame_equal(mine[columns], theirs[columns], rtol=1e-6)
    assert table_of(tmp_path / "out")["status"].tolist() == ["failed", "done"]
    wait_for(lambda: not processes(CHILD), 20)  # the other worker is free, and still there
    with cluster_of(scheduler=str(scheduler)) as cluster:
        assert len(cluster.client.scheduler_info()["workers"]) == 1


def test_faults_of_usage_are_one_line_and_leave_nothing(screen, command, tmp_path):
    table, out = screen / "table.csv", tmp_path / "out"
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes").touch()
    (screen / "wrong.csv").write_text("name,model,data\nx,model.pdb,none\nx,model.pdb,0.mtz\n")
    cases = [
        ((screen / "wrong.csv", "--out", out), "2 faults, nothing was run: row 2: data "),
        (("--out", out), "name a table of data sets"),
        ((table, "--out", tmp_path / "used"), "the folder is in use"),
        ((table, "--out", table), "is a file"),
        ((table, "--out", out, "--workers", 1, "--scheduler", "tcp://x:1"), "leave out --workers"),
        ((table, "--out", out, "--time-limit", "soon"), "--time-limit: 'soon' is no time"),
        ((table, "--out", out, "--memory-limit", "much"), "--memory-limit: 'much' is no size"),
        ((table, "--out", out, "--find", "*.pdb"), "--find and --data go together"),
        ((table, "--out", out, "--find", "*", "--data", "*"), "names its models itself"),
        ((table, "--out", out, "--max-cycles", "0"), "row 2: --max-cycles"),
    ]
    for words, says in cases:
        called = command("campaign", *words)
        assert (called.status, called.out) == (2, ""), words
        assert says in called.err
        assert len(called.err.splitlines()) == 1
    assert not out.exists()


def test_a_folder_with_a_campaign_asks_for_resume(done, screen, command):
    called = command("campaign", screen / "table.csv", "--out", done[0])
    assert called.status == 2
    assert "give --resume to run what is missing or changed" in called.err


def test_a_second_campaign_in_a_folder_is_refused(done, screen, command):
    lock = {"pid": os.getppid(), "host": os.uname().nodename, "since": "now"}
    lock["began"] = psutil.Process(os.getppid()).create_time()
    (done[0] / "campaign.lock").write_text(json.dumps(lock))
    called = command("campaign", screen / "table.csv", "--out", done[0], "--resume")
    (done[0] / "campaign.lock").unlink()
    assert called.status == 2
    assert f"another campaign is at work here (process {os.getppid()} on " in called.err


def test_a_disk_that_is_full_at_the_end_is_one_line_and_resume_goes_on(
    done, screen, command, monkeypatch
):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("multicopy_refinement.campaign.conduct.write_tables", full)
        called = command("campaign", screen / "table.csv", "--out", done[0], "--resume")
    assert called.status == 2
    assert called.err.endswith(
        "cannot be written: No space left on device; make room for it, and give --resume to go on\n"
    )
    called = command("campaign", screen / "table.csv", "--out", done[0], "--resume")
    assert called.status == 0


def test_a_scheduler_that_is_not_there_is_told(screen, command, tmp_path, monkeypatch):
    monkeypatch.setattr("multicopy_refinement.campaign.cluster._CONNECT", 0.5)
    address = "tcp://127.0.0.1:9"
    called = command(
        "campaign", screen / "table.csv", "--out", tmp_path / "out", "--scheduler", address
    )
    assert called.status == 2
    assert f"--scheduler {address}: no Dask scheduler answers there" in called.err
    assert not (tmp_path / "out").exists()
    assert len(called.err.splitlines()) == 1


def test_limits_are_written_as_people_do():
    limits = limits_of("1.5min", "2GB")
    assert (limits.seconds, limits.memory) == (90.0, 2 * 10**9)
    assert limits_of("90", None).seconds == 90.0
    assert Asked().limits == limits_of(None, None)
    for time_limit, memory_limit in (("0", None), ("-3s", None), (None, "0"), (None, "-1GB")):
        with pytest.raises(InputError):
            limits_of(time_limit, memory_limit)
