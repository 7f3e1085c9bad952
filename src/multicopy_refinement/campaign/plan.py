"""Where the data sets of a campaign stand, as far as the disk tells."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from multicopy_refinement import __version__
from multicopy_refinement.campaign.table import DataSet
from multicopy_refinement.errors import InputError, OutputError
from multicopy_refinement.io.files import sha256, written_aside
from multicopy_refinement.results.folder import RESULTS
from multicopy_refinement.run.job import RefineJob

#: Names in the folder of a campaign: its table, the runs, one copy of the scripts of their pages.
TABLE, RUNS, SCRIPTS = "table.csv", "runs", "scripts"
#: How the run of a data set ended, beside its results.
OUTCOME = "job.json"
#: Fields that do not change what comes out: places, which count by content, and threads.
_BESIDE = frozenset({"model", "data", "out", "overwrite", "threads", "rules", "restraints"})


class Ended(StrEnum):
    """How a job ended; all but the first are failures, of which the last two are tried again."""

    DONE = "done"
    INPUT = "input"
    CIRCUMSTANCE = "circumstance"
    PROGRAM = "program"


class Outcome(BaseModel):
    """How the run of a data set ended.

    Attributes
    ----------
    ended, reason
        How, and why it failed, in words.
    of
        What it was the run of: contents of inputs, options, version.
    seconds
        Wall time.
    memory
        Largest memory of its process, in bytes; 0 where it was not measured.
    details
        The traceback of a fault of the program.
    """

    model_config = ConfigDict(extra="forbid")

    ended: Ended
    reason: str = ""
    of: dict[str, Any] = {}
    seconds: float = 0.0
    memory: int = 0
    details: str = ""

    @property
    def final(self) -> bool:
        """Whether the same would come out again."""
        return self.ended in {Ended.DONE, Ended.INPUT}


@dataclass(frozen=True)
class Plan:
    """A campaign: its folder, and its data sets in the order of the table."""

    directory: Path
    sets: tuple[DataSet, ...]

    def folder(self, name: str) -> Path:
        """Return where the run of a data set is."""
        return self.directory / RUNS / name

    def outcome(self, name: str) -> Outcome | None:
        """Return how the run of a data set ended, None where it has not."""
        return read_outcome(self.folder(name))

    def due(self) -> list[DataSet]:
        """Return the data sets whose runs are missing, changed, or failed by circumstances."""
        return [one for one in self.sets if not self._stands(one)]

    def _stands(self, one: DataSet) -> bool:
        outcome = self.outcome(one.name)
        return outcome is not None and outcome.final and outcome.of == identity(one.job)


def identity(job: RefineJob) -> dict[str, Any]:
    """Return what decides the result of a job: contents of its files, options, version.

    Raises
    ------
    InputError
        A file that cannot be read.
    """
    files = {"model": job.model, "data": job.data} | ({"rules": job.rules} if job.rules else {})
    files |= {f"restraints {i}": path for i, path in enumerate(job.restraints, 1)}
    try:
        digests = {name: sha256(path) for name, path in files.items() if path is not None}
    except OSError as fault:
        raise InputError(f"{fault.filename}: cannot be read: {fault.strerror}") from None
    options = job.model_dump(mode="json", exclude=set(_BESIDE))
    return {"version": __version__, "sha256": digests, "options": options}


def read_outcome(folder: Path) -> Outcome | None:
    """Return the outcome that stands in the folder of a run; None where there is none to read."""
    try:
        return Outcome.model_validate(json.loads((folder / OUTCOME).read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError):
        return None


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Put an outcome beside the results of a run."""
    folder.mkdir(parents=True, exist_ok=True)
    with written_aside(folder / OUTCOME) as aside:
        aside.write_text(outcome.model_dump_json(indent=1), encoding="utf-8")


def clear(folder: Path) -> None:
    """Remove what earlier runs of a data set left, whole or in part; other files stay."""
    for name in (OUTCOME, *RESULTS):
        (folder / name).unlink(missing_ok=True)
    half = re.compile(rf"\.{re.escape(folder.name)}\.[^.]+")  # what is written aside
    for path in folder.parent.iterdir() if folder.parent.is_dir() else ():
        if half.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def check_folder(directory: Path, *, resume: bool) -> None:
    """Refuse a folder that holds something else, or a campaign that is not to be gone on with.

    Raises
    ------
    OutputError
        With what to do.
    """
    if directory.exists() and not directory.is_dir():
        raise OutputError(f"{directory}: is a file; name a folder with --out")
    if not directory.is_dir() or not any(directory.iterdir()):
        return
    if not (directory / TABLE).is_file():
        raise OutputError(f"{directory}: the folder is in use; name another with --out")
    if not resume:
        raise OutputError(
            f"{directory}: has a campaign already; give --resume to run what is missing or "
            "changed, or name another folder with --out"
        )


def others(plan: Plan) -> list[str]:
    """Return the runs in the folder that are of no data set of the table."""
    runs = plan.directory / RUNS
    names = {one.name for one in plan.sets}
    there: Sequence[Path] = sorted(runs.iterdir()) if runs.is_dir() else []
    return [p.name for p in there if p.name not in names and (p / OUTCOME).is_file()]
