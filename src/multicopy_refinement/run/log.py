"""The log of one run: lines with times, kept apart from the logs of other runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


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
        now = time.time()
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
        self._stream.write(f"{moment},{int(now % 1 * 1000):03d} {level} {message}\n")
        self._stream.flush()


@contextmanager
def run_log(path: Path) -> Iterator[RunLog]:
    """Give a log that is written to a file."""
    with path.open("w", encoding="utf-8") as stream:
        yield RunLog(stream)
