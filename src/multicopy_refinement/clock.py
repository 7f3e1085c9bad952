"""Wall times of the steps of a run."""

from __future__ import annotations

import time


class Clock:
    """Wall time between laps, and since the start."""

    def __init__(self) -> None:
        self._started = self._last = time.perf_counter()

    def lap(self) -> float:
        """Return the seconds since the last lap."""
        now = time.perf_counter()
        passed, self._last = now - self._last, now
        return passed

    @property
    def total(self) -> float:
        """The seconds since the start."""
        return time.perf_counter() - self._started
