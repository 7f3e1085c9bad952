"""The log of one run: lines with times, kept apart from the logs of other runs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from multicopy_refinement.io.files import written_aside

#: Level of the lines that say what to do about a result.
_ADVICE = "ADVICE"


class RunLog:
    """Lines of ``run.log``, on disk as soon as they are said.

    The package's own logger belongs to the process; two runs in one process do not mix here.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def info(self, message: str) -> None:
        """Write a line."""
        self._write("INFO", message)

    def warning(self, message: str) -> None:
        """Write a line that is to be seen."""
        self._write("WARNING", message)

    def _write(self, level: str, message: str) -> None:
        self._stream.write(_line(level, message))
        self._stream.flush()


def _line(level: str, message: str) -> str:
    now = time.time()
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
    return f"{moment},{int(now % 1 * 1000):03d} {level} {message}\n"


@contextmanager
def run_log(path: Path) -> Iterator[RunLog]:
    """Give a log that is written to a file."""
    with path.open("w", encoding="utf-8") as stream:
        yield RunLog(stream)


def log_advice(path: Path, messages: Iterable[str]) -> None:
    """Put advice behind the lines of a log that is closed, in place of what was there before."""
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.split(" ", 3)[2:3] != [_ADVICE]]
    with written_aside(path) as aside:
        aside.write_text("".join([*kept, *(_line(_ADVICE, m) for m in messages)]), encoding="utf-8")
