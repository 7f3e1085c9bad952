"""A process that does one job after the other, as lines on its standard input say."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from multicopy_refinement.errors import InputError, OccupancyError, OutputError


def main() -> None:
    """Answer each order with a line; end when nobody gives orders any more, even during a job."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()
    import multicopy_refinement.report.write
    import multicopy_refinement.run.pipeline  # noqa: F401  slow to import: before the clock runs

    print(json.dumps({"ready": True}), file=answers)
    while True:
        print(json.dumps(attempt(orders.get())), file=answers)


def _listen(orders: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        orders.put(json.loads(line))
    os._exit(0)  # whoever waits for the job is gone


def attempt(order: dict[str, Any]) -> dict[str, str]:
    """Do a job and make its report; return how it ended, why, and where a fault was.

    ``order`` has ``job``, ``threads`` and ``scripts``, the folder of the scripts of pages.
    """
    import torch

    from multicopy_refinement.report.write import write_report
    from multicopy_refinement.run.job import RefineJob, run

    try:
        job = RefineJob.of(order["job"])
        torch.set_num_threads(job.threads or order["threads"])
        run(job)
        if job.report:
            write_report(job.out, Path(order["scripts"]))
    except (OutputError, MemoryError) as fault:
        return _ended("circumstance", str(fault) or "there was not enough memory")
    except (InputError, OccupancyError) as fault:
        return _ended("input", str(fault))
    except OSError as fault:
        where = f"{fault.filename}: " if fault.filename else ""
        return _ended("circumstance", f"{where}{fault.strerror or fault}")
    except Exception as fault:
        reason = f"a fault of the program, {type(fault).__name__}: {fault}"
        return _ended("program", reason, traceback.format_exc())
    return _ended("done", "")


def _ended(how: str, reason: str, details: str = "") -> dict[str, str]:
    return {"ended": how, "reason": " ".join(reason.split()), "details": details}


if __name__ == "__main__":
    main()
