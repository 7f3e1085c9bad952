"""A campaign from its table to its results: what is due is done, faults stay where they are."""

from __future__ import annotations

import contextlib
import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from distributed import Future, KilledWorker, as_completed

from multicopy_refinement.campaign.cluster import Cluster, cluster_of
from multicopy_refinement.campaign.collect import Tables, collect, write_tables
from multicopy_refinement.campaign.limits import Limits
from multicopy_refinement.campaign.lock import locked
from multicopy_refinement.campaign.page import page_of
from multicopy_refinement.campaign.plan import (
    RUNS,
    SCRIPTS,
    TABLE,
    Ended,
    Outcome,
    Plan,
    check_folder,
    clear,
    others,
    write_outcome,
)
from multicopy_refinement.campaign.table import DataSet, write_table
from multicopy_refinement.campaign.worker import Crew, Order, fulfil
from multicopy_refinement.errors import InputError, OutputError


@dataclass(frozen=True)
class Asked:
    """How a campaign is to be carried out."""

    workers: int | None = None
    scheduler: str | None = None
    resume: bool = False
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class At:
    """Where a campaign stands; ``said`` is a sentence for the terminal."""

    finished: int
    failed: int
    total: int
    said: str = ""


Tell = Callable[[At], None]


@dataclass(frozen=True)
class Conducted:
    """A campaign as it was left, and whether somebody stopped it."""

    plan: Plan
    tables: Tables
    interrupted: bool


def conduct(directory: Path, sets: Sequence[DataSet], asked: Asked, tell: Tell) -> Conducted:
    """Refine what is due of the data sets of a campaign; its runs are on disk as they end.

    Ctrl-C and SIGTERM end the jobs in flight; tables are made of all that has ended.

    Parameters
    ----------
    directory
        Folder of the campaign.
    sets
        Its data sets; their jobs are given their folders here.
    asked
        Workers, limits, and whether a campaign is gone on with.
    tell
        Called with every change.

    Raises
    ------
    InputError
        A folder in use, another campaign at work in it, no scheduler.
    """
    check_folder(directory, resume=asked.resume)
    directory = directory.absolute()
    plan = Plan(directory, ())
    placed = [
        DataSet(one.name, one.job.model_copy(
            update={"out": plan.folder(one.name), "overwrite": True}
        ))
        for one in sets
    ]  # fmt: skip
    plan = Plan(directory, tuple(placed))
    with _writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    with _begun(directory), locked(directory) as left:
        with _writing(directory):
            write_table(directory / TABLE, placed)
        due = plan.due()
        for one in due:
            clear(plan.folder(one.name))
        count = _Count(len(placed), len(placed) - len(due), tell)
        count.failed = sum(
            o is not None and o.ended is not Ended.DONE for o in map(plan.outcome, _names(placed))
        )
        count.say(left or "")
        strangers = others(plan)
        if strangers:
            count.say(f"runs of data sets that are not in the table stay: {', '.join(strangers)}")
        interrupted = not _done(plan, due, asked, count)
        tables = collect(plan)
        with _writing(directory):
            write_tables(plan, tables, page_of(plan, tables))
    return Conducted(plan, tables, interrupted)


def _done(plan: Plan, due: Sequence[DataSet], asked: Asked, count: _Count) -> bool:
    """Do what is due; return whether it was done to the end."""
    if not due:
        return True
    try:
        with (
            _terminable(),
            cluster_of(workers=asked.workers, scheduler=asked.scheduler) as cluster,
        ):
            count.say(f"dashboard: {cluster.dashboard}" if cluster.dashboard else "")
            _Work(plan, cluster, asked.limits, count).do(due)
    except KeyboardInterrupt:
        return False
    return True


def _names(sets: Sequence[DataSet]) -> list[str]:
    return [one.name for one in sets]


class _Count:
    """How many have finished, told to whoever looks."""

    def __init__(self, total: int, finished: int, tell: Tell) -> None:
        self.total, self.finished, self.failed, self._tell = total, finished, 0, tell

    def say(self, sentence: str) -> None:
        self._tell(At(self.finished, self.failed, self.total, sentence))

    def add(self, name: str, outcome: Outcome) -> None:
        self.finished += 1
        self.failed += outcome.ended is not Ended.DONE
        self.say("" if outcome.ended is Ended.DONE else f"{name}: {outcome.reason}")


class _Work:
    """Jobs on a cluster."""

    def __init__(self, plan: Plan, cluster: Cluster, limits: Limits, count: _Count) -> None:
        self._plan, self._cluster, self._limits, self._count = plan, cluster, limits, count
        self._crew = f"multicopy-{uuid.uuid4().hex[:12]}"

    def do(self, due: Sequence[DataSet]) -> None:
        """Do jobs: alone until the memory of one is known, then all."""
        client, left = self._cluster.client, list(due)
        client.register_plugin(Crew(self._crew))
        try:
            while left and not self._cluster.measured:
                first = left.pop(0)
                (outcome,) = self._outcomes([first])
                if outcome.ended is Ended.DONE:
                    asked = [one.job.threads for one in left if one.job.threads is not None]
                    self._cluster.settle(outcome.memory, len(left), max(asked, default=None))
            for _ in self._outcomes(left):
                pass
        finally:
            if self._cluster.own is None:  # own workers end anyway, and their plugins with them
                with contextlib.suppress(Exception):  # as those of a scheduler that is gone
                    client.unregister_worker_plugin(self._crew)

    def _outcomes(self, sets: Sequence[DataSet]) -> Iterator[Outcome]:
        """Give the outcomes of jobs as they end."""
        client = self._cluster.client
        futures = {
            client.submit(
                fulfil, self._order(one), key=f"{self._crew}-{one.name}", pure=False
            ): one.name
            for one in sets
        }  # fmt: skip
        try:
            for future in as_completed(list(futures), raise_errors=False):
                name = futures[future]
                outcome = self._outcome(future)
                if self._plan.outcome(name) is None:  # its worker could not write it, or is gone
                    self._write(name, outcome)
                future.release()
                self._count.add(name, outcome)
                yield outcome
        except BaseException:
            with contextlib.suppress(Exception):
                client.cancel(list(futures), force=True)
            raise

    def _write(self, name: str, outcome: Outcome) -> None:
        try:
            write_outcome(self._plan.folder(name), outcome)
        except (OSError, InputError) as fault:
            self._count.say(f"{name}: its outcome could not be written: {fault}")

    def _order(self, one: DataSet) -> Order:
        scripts = self._plan.directory / SCRIPTS
        return Order(
            one.name, one.job, self._cluster.threads, scripts, self._limits, self._crew
        )  # fmt: skip

    def _outcome(self, future: Future) -> Outcome:
        """Return what a worker says of a job, or what is to be said in its place."""
        if future.status == "finished":
            return Outcome.model_validate(future.result())
        if future.status != "error":
            raise InputError(
                "the scheduler is gone, and with it the jobs in flight; give --resume to go on"
            )
        fault = future.exception()
        if isinstance(fault, KilledWorker):
            reason = "the workers that it was given to were lost, one after the other"
            return Outcome(ended=Ended.CIRCUMSTANCE, reason=reason)
        reason = f"a fault of the program, {type(fault).__name__}: {fault}"
        return Outcome(ended=Ended.PROGRAM, reason=" ".join(reason.split()))


@contextlib.contextmanager
def _writing(directory: Path) -> Iterator[None]:
    """Say in a line that a folder cannot be written to, and how to go on when it can."""
    try:
        yield
    except OSError as fault:
        raise OutputError(
            f"{directory}: cannot be written: {fault.strerror or fault}; make room for it, and "
            "give --resume to go on"
        ) from None


@contextlib.contextmanager
def _begun(directory: Path) -> Iterator[None]:
    """Leave nothing of a campaign that could not begin, so that it can be begun anew."""
    new = not (directory / TABLE).is_file()
    try:
        yield
    except InputError:
        if new and not (directory / RUNS).is_dir():
            (directory / TABLE).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # another one may be beginning there
                directory.rmdir()
        raise


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM, which queueing systems send, stop a campaign as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
