"""What a worker of the cluster does: one job in a process of its own, its outcome on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Reschedule, Worker, WorkerPlugin, get_worker

from multicopy_refinement.campaign.children import Children, Stopped
from multicopy_refinement.campaign.limits import Limits
from multicopy_refinement.campaign.plan import (
    Ended,
    Outcome,
    clear,
    identity,
    write_outcome,
)
from multicopy_refinement.errors import InputError
from multicopy_refinement.run.job import RefineJob


@dataclass(frozen=True)
class Order:
    """What a worker is told: the job, with how many threads and within which limits.

    ``crew`` is the name of the campaign's plugin, ``scripts`` the folder that pages share.
    """

    name: str
    job: RefineJob
    threads: int
    scripts: Path
    limits: Limits
    crew: str


class Crew(WorkerPlugin):
    """The processes of a campaign on a worker; they end with it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def setup(self, worker: Worker) -> None:
        """Be ready for jobs."""
        self.children = Children()

    def teardown(self, worker: Worker) -> None:
        """End what is still at work."""
        self.children.close()


def fulfil(order: Order) -> dict[str, Any]:
    """Do an order on a worker, and return its outcome as plain data.

    A worker that is told to go, as when its time in a queue is over, gives its job to another.
    """
    children: Children = get_worker().plugins[order.crew].children
    try:
        return perform(order, children).model_dump(mode="json")
    except Stopped:
        raise Reschedule from None


def perform(order: Order, children: Children) -> Outcome:
    """Do an order with these processes; whatever happens is an outcome, which is put on disk.

    The inputs are looked at before the run: one that changes during it makes the run outdated.

    Raises
    ------
    Stopped
        The processes were ended, which is no outcome.
    """
    folder = order.job.out
    try:
        of = identity(order.job)
        clear(folder)
    except (InputError, OSError) as fault:
        return Outcome(ended=Ended.CIRCUMSTANCE, reason=str(fault))
    message = {
        "job": order.job.model_dump(mode="json"), "threads": order.threads,
        "scripts": str(order.scripts),
    }  # fmt: skip
    outcome = children.perform(message, order.limits).model_copy(update={"of": of})
    try:
        if outcome.ended is not Ended.DONE:
            clear(folder)
        write_outcome(folder, outcome)
    except (InputError, OSError) as fault:
        return Outcome(ended=Ended.CIRCUMSTANCE, reason=f"{outcome.reason} {fault}".strip())
    return outcome
