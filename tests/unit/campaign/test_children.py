"""Jobs in processes of their own: limits, deaths, and what they say of themselves."""

import errno
import sys
import threading
import time

import psutil
import pytest

from multicopy_refinement.campaign.child import attempt
from multicopy_refinement.campaign.children import Children, Stopped
from multicopy_refinement.campaign.limits import Limits
from multicopy_refinement.campaign.plan import Ended
from multicopy_refinement.errors import InputError, OutputError
from multicopy_refinement.run import job as job_module

#: A process that answers as ours does, and does what its orders say.
DOES_AS_TOLD = """
import json, os, pathlib, signal, sys, time
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    order = json.loads(line)
    kept = bytearray(order.get("bytes", 0))
    once = order.get("dies_once")
    if once and not pathlib.Path(once).exists():
        pathlib.Path(once).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if "exits" in order:
        print("what went wrong", file=sys.stderr)
        sys.exit(order["exits"])
    if order.get("always"):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(order.get("sleeps", 0))
    print(json.dumps({"ended": "done", "reason": str(os.getpid()), "details": ""}), flush=True)
"""
NONE = Limits()


@pytest.fixture
def children():
    made = Children((sys.executable, "-c", DOES_AS_TOLD))
    yield made
    made.close()


def test_a_process_is_kept_for_the_next_job(children):
    one, two = children.perform({}, NONE), children.perform({"bytes": 50_000_000}, NONE)
    assert one.ended is two.ended is Ended.DONE
    assert one.reason == two.reason  # its process
    together: list = []
    threads = [
        threading.Thread(target=lambda: together.append(children.perform({"sleeps": 0.5}, NONE)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.reason for one in together}) == 2


def test_time_and_memory_have_limits_and_are_measured(children):
    late = children.perform({"sleeps": 30}, Limits(seconds=0.3))
    assert late.ended is Ended.CIRCUMSTANCE
    assert late.reason == "it took longer than 0.3 s, the limit"
    assert 0.3 <= late.seconds < 5
    large = children.perform({"bytes": 300_000_000, "sleeps": 30}, Limits(memory=200_000_000))
    assert large.ended is Ended.CIRCUMSTANCE
    assert large.reason.endswith("GB of memory; the limit is 0.20 GB")
    assert large.memory > 200_000_000
    within = children.perform(
        {"bytes": 100_000_000, "sleeps": 0.5}, Limits(seconds=20, memory=10**9)
    )
    assert within.ended is Ended.DONE
    assert 100_000_000 < within.memory < 300_000_000


def test_a_job_whose_process_was_killed_is_done_once_more(children, tmp_path):
    assert children.perform({"dies_once": str(tmp_path / "died")}, NONE).ended is Ended.DONE
    assert (tmp_path / "died").exists()
    twice = children.perform({"always": True}, NONE)
    assert twice.ended is Ended.CIRCUMSTANCE
    assert twice.reason.startswith("its process was ended by SIGKILL")


def test_a_process_that_gives_up_is_quoted(children):
    gone = children.perform({"exits": 3}, NONE)
    assert gone.reason == "its process ended with status 3: what went wrong"
    nothing = Children((sys.executable, "-c", "raise SystemExit('no such library')"))
    gone = nothing.perform({}, NONE)
    assert gone.reason == "its process did not start: no such library"
    assert children.perform({}, NONE).ended is Ended.DONE


def test_closing_ends_jobs_and_starts_none_again(children):
    ended: list = []

    def sleep():
        with pytest.raises(Stopped):
            children.perform({"sleeps": 60}, NONE)
        ended.append(True)

    thread = threading.Thread(target=sleep)
    thread.start()
    deadline = time.monotonic() + 10
    mine = psutil.Process()
    while not any(DOES_AS_TOLD in p.cmdline() for p in mine.children()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.3)
    children.close()
    thread.join(10)
    assert ended == [True]
    with pytest.raises(Stopped):
        children.perform({}, NONE)


@pytest.mark.parametrize(
    ("fault", "ended", "says"),
    [
        (InputError("d.mtz: damaged"), "input", "d.mtz: damaged"),
        (OutputError("out: is a file"), "circumstance", "out: is a file"),
        (OSError(errno.ENOSPC, "No space left on device", "x/a.mtz"), "circumstance",
         "x/a.mtz: No space left on device"),
        (MemoryError(), "circumstance", "there was not enough memory"),
        (KeyError("a\nb"), "program", "a fault of the program, KeyError: 'a\\nb'"),
    ],
)  # fmt: skip
def test_faults_of_a_job_are_told_apart(fault, ended, says, monkeypatch):
    def fails(job):
        raise fault

    monkeypatch.setattr(job_module, "run", fails)
    order = {"job": {"model": "m.pdb", "data": "d.mtz"}, "threads": 1, "scripts": "scripts"}
    told = attempt(order)
    assert (told["ended"], told["reason"]) == (ended, says)
    assert ("Traceback" in told["details"]) == (ended == "program")
