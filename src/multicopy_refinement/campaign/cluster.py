"""Workers for a campaign: on this machine, or those of a scheduler that is there already."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker

import dask
import psutil
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster
from distributed.system import MEMORY_LIMIT

from multicopy_refinement import __version__
from multicopy_refinement.errors import InputError

#: Memory of a job over that of the first, and the part of what is free that jobs may have.
_MARGIN, _PART = 1.25, 0.9
#: How long a scheduler may take to answer, in s.
_CONNECT = 20
#: A job whose worker was lost so many times is given up; memory is watched job by job, not by Dask;
#: jobs wait at the scheduler, so that a lost worker takes none but its own with it. Jobs take
#: seconds to hours: nobody has to look at threads every 10 ms, at the machine every 0.5 s or at
#: the loop every 20 ms, which take 5% of a core from each worker and from the scheduler.
_SETTINGS = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.tick.cycle": "10s",
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.allowed-failures": 2,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
}


@dataclass
class Cluster:
    """The workers of a campaign.

    Attributes
    ----------
    client
        The connection to their scheduler.
    own
        The cluster, where it is on this machine.
    threads
        Of each job that does not say.
    measured
        Whether their number is settled; else the first job that ends well tells its memory.
    """

    client: Client
    own: LocalCluster | None
    threads: int
    measured: bool

    @property
    def dashboard(self) -> str:
        """Where Dask shows what the workers do, empty where it does not."""
        return str(self.client.dashboard_link or "")

    def settle(self, memory: int, n_jobs: int, threads: int | None = None) -> None:
        """Have as many workers as cores and memory allow, now that one job's memory is known.

        ``threads`` is what jobs ask for themselves.
        """
        if self.measured or self.own is None:
            return
        # the process of the first job stays, and will do others
        free = min(psutil.virtual_memory().available + memory, MEMORY_LIMIT)
        workers, self.threads = share(CPU_COUNT, free, memory, n_jobs, threads)
        self.own.scale(workers)
        self.measured = True


def share(
    cores: int, free: float, memory: float, n_jobs: int, threads: int | None = None
) -> tuple[int, int]:
    """Return how many jobs are done at a time, and with how many threads each.

    As many as there are cores: one thread a job leaves none idle, as long as there are jobs.

    Parameters
    ----------
    cores
        Of the machine.
    free, memory
        What is free, and what a job takes, in bytes.
    n_jobs
        That are left.
    threads
        That each job wants, where it does.

    >>> share(16, 64e9, 2e9, 200), share(16, 8e9, 2e9, 200), share(16, 64e9, 2e9, 4)
    ((16, 1), (2, 8), (4, 4))
    >>> share(16, 64e9, 2e9, 200, threads=4), share(2, 1e9, 2e9, 200)
    ((4, 4), (1, 2))
    """
    in_memory = int(_PART * free / max(_MARGIN * memory, 1.0))
    workers = max(1, min(cores // (threads or 1), in_memory, n_jobs))
    return workers, threads or max(1, cores // workers)


@contextmanager
def cluster_of(*, workers: int | None = None, scheduler: str | None = None) -> Iterator[Cluster]:
    """Give the workers of a scheduler, or a cluster on this machine that ends with the block.

    Parameters
    ----------
    workers
        How many on this machine; as many as it has room for when left out.
    scheduler
        Address of a scheduler, or the file that it has written (``--scheduler-file``).

    Raises
    ------
    InputError
        No scheduler that answers, or workers that have another version or none of the package.
    """
    for name in ("distributed", "asyncio"):  # what they say of lost workers is in the tables
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with dask.config.set(_SETTINGS):
        if scheduler is not None:
            with _connected(scheduler) as client:
                yield Cluster(client, None, 1, measured=True)
            return
        with _deaf_to_interrupts():
            own = LocalCluster(
                n_workers=workers or 1, threads_per_worker=1, memory_limit=0,
                dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL,
            )  # fmt: skip
        with own, Client(own) as client:
            threads = max(1, CPU_COUNT // (workers or 1))
            yield Cluster(client, own, threads, measured=workers is not None)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let threads and processes that begin in the block never have SIGINT: it is for us to stop.

    Ctrl-C goes to all processes of a terminal; what is masked in a thread stays so in all that it
    starts, now and later.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # its start would take the mask off again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _connected(scheduler: str) -> Iterator[Client]:
    try:
        if scheduler.endswith(".json"):
            client = Client(scheduler_file=scheduler, timeout=_CONNECT)
        else:
            client = Client(scheduler, timeout=_CONNECT)
    except (OSError, ValueError, TimeoutError) as fault:
        raise InputError(
            f"--scheduler {scheduler}: no Dask scheduler answers there ({fault})"
        ) from None
    with client:
        _check_versions(client, scheduler)
        yield client


def _check_versions(client: Client, scheduler: str) -> None:
    """Refuse workers that would do something else than this program."""
    try:
        versions = client.run(_version)
    except Exception as fault:
        raise InputError(
            f"--scheduler {scheduler}: its workers do not have multicopy_refinement ({fault})"
        ) from None
    odd = {address: v for address, v in versions.items() if v != __version__}
    if odd:
        address, version = next(iter(odd.items()))
        raise InputError(
            f"--scheduler {scheduler}: the worker {address} has version {version}, not "
            f"{__version__}; install one version everywhere"
        )


def _version() -> str:
    return __version__
