"""Processes that do jobs within limits of time and memory, kept for the next job."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import Any

import psutil

from multicopy_refinement.campaign.limits import Limits
from multicopy_refinement.campaign.plan import Ended, Outcome

#: What does jobs.
COMMAND = (sys.executable, "-m", "multicopy_refinement.campaign.child")
#: How often time and memory of a job are looked at, in s.
_POLL = 0.1
#: How long a process may take to import its libraries, in s; folders on a network are slow.
_START = 300.0
#: Threads of numerical libraries: the work is shared out by torch and by the package.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
#: Lines of standard error that a process leaves and that say why it ended.
_LAST_LINES = 3


class Stopped(Exception):  # noqa: N818  it is no error: somebody wanted it
    """A job was ended because its campaign was."""


class Children:
    """Processes for jobs: as many as jobs are done at a time.

    A process that a signal ended, as one does for which a machine has no memory left, is replaced,
    and its job done once more. ``command`` starts one, which answers lines with lines.
    """

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = command
        self._idle: list[_Child] = []
        self._all: set[_Child] = set()
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def perform(self, order: dict[str, Any], limits: Limits) -> Outcome:
        """Return how a job ended; its time and memory are measured.

        Raises
        ------
        Stopped
            `close` has been called meanwhile.
        """
        outcome, killed = self._attempt(order, limits)
        if killed:
            outcome, _ = self._attempt(order, limits)
        return outcome

    def close(self) -> None:
        """End all processes, with what they do."""
        with self._lock:
            self._stopped.set()
            idle, self._idle = self._idle, []
            busy = self._all.difference(idle)
            self._all = set()
        for child in busy:
            child.kill()  # whoever waits for it ends it
        for child in idle:
            child.end()

    def _attempt(self, order: dict[str, Any], limits: Limits) -> tuple[Outcome, bool]:
        with self._lock:
            if self._stopped.is_set():
                raise Stopped
            child = self._idle.pop() if self._idle else _Child(self._command)
            self._all.add(child)
        try:
            outcome, killed = child.perform(order, limits)
        except BaseException:
            child.end()
            raise
        with self._lock:
            if self._stopped.is_set() and outcome.ended is not Ended.DONE:
                raise Stopped
            if child.alive:
                self._idle.append(child)
            else:
                self._all.discard(child)
        return outcome, killed


class _Child:
    """One process, started when it is first asked."""

    def __init__(self, command: Sequence[str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed when the process is gone
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._ready = False
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
            encoding="utf-8", env={**os.environ, **_ENVIRONMENT},
            start_new_session=True,  # Ctrl-C is for the campaign alone
        )  # fmt: skip
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def perform(self, order: dict[str, Any], limits: Limits) -> tuple[Outcome, bool]:
        """Return how a job ended, and whether a signal ended the process instead."""
        if not self._ready:
            answer, reason, _ = self._wait(Limits(seconds=_START))
            if answer is None:
                said = self.end()
                return Outcome(
                    ended=Ended.CIRCUMSTANCE, reason=f"its process did not start: {said or reason}"
                ), False  # fmt: skip
            self._ready = True
        began = time.perf_counter()
        with contextlib.suppress(OSError):  # it is gone: the answer will tell
            stdin = self._process.stdin
            if stdin is not None:
                stdin.write(json.dumps(order) + "\n")
                stdin.flush()
        answer, reason, peak = self._wait(limits)
        seconds = round(time.perf_counter() - began, 3)
        if answer is not None:
            return Outcome(seconds=seconds, memory=peak, **answer), False
        ended_by = self._process.poll()
        killed = ended_by is not None and ended_by < 0
        said = self.end()
        if ended_by is not None and ended_by > 0 and said:
            reason = f"{reason}: {said}"
        return Outcome(
            ended=Ended.CIRCUMSTANCE, reason=reason, seconds=seconds, memory=peak, details=said
        ), killed  # fmt: skip

    def kill(self) -> None:
        """End the process now."""
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()

    def end(self) -> str:
        """End the process, and return the last that it has said of itself."""
        self.kill()
        self._listener.join()
        with contextlib.suppress(OSError):  # what it was still to be told
            if self._process.stdin is not None:
                self._process.stdin.close()
        with self._errors as errors:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").split("\n")
        return " ".join(" ".join([one for one in lines if one.strip()][-_LAST_LINES:]).split())

    def _listen(self) -> None:
        stdout = self._process.stdout
        if stdout is not None:
            with contextlib.suppress(ValueError), stdout:
                for line in stdout:
                    self._answers.put(json.loads(line))
        self._answers.put(None)

    def _wait(self, limits: Limits) -> tuple[dict[str, Any] | None, str, int]:
        """Return the next answer, or why there is none, and the largest memory until then."""
        began, peak = time.perf_counter(), 0
        while True:
            try:
                answer = self._answers.get(timeout=_POLL)
            except queue.Empty:
                answer = {}
            peak = max(peak, self._memory())
            if answer is None:
                return None, self._how_it_ended(), peak
            if answer:
                return answer, "", peak
            if limits.seconds is not None and time.perf_counter() - began > limits.seconds:
                return None, f"it took longer than {limits.seconds:g} s, the limit", peak
            if limits.memory is not None and peak > limits.memory:
                at = f"{peak / 1e9:.2f} GB of memory"
                return None, f"it took {at}; the limit is {limits.memory / 1e9:.2f} GB", peak

    def _memory(self) -> int:
        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def _how_it_ended(self) -> str:
        status = self._process.wait()
        if status < 0:
            name = signal.Signals(-status).name
            return f"its process was ended by {name}: by hand, or because memory ran out"
        return f"its process ended with status {status}"
