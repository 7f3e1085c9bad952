"""Limits of a job, as people write them."""

from __future__ import annotations

from dataclasses import dataclass

from dask.utils import parse_bytes

from multicopy_refinement.errors import InputError


@dataclass(frozen=True)
class Limits:
    """Of one job: seconds, and bytes of memory; None for none."""

    seconds: float | None = None
    memory: int | None = None


def limits_of(time_limit: str | None, memory_limit: str | None) -> Limits:
    """Return limits that were written as people do: ``30min``, ``4GB``.

    Raises
    ------
    InputError
        What is no time or no size.
    """
    seconds = None if time_limit is None else _seconds(time_limit)
    memory = None if memory_limit is None else _bytes(memory_limit)
    if seconds is not None and not seconds > 0:
        raise InputError(f"--time-limit: {time_limit!r} is no time; write 90s, 30min or 2h")
    if memory is not None and memory <= 0:
        raise InputError(f"--memory-limit: {memory_limit!r} is no size; write 800MB or 4GB")
    return Limits(seconds, memory)


def _seconds(text: str) -> float:
    """Return a time in s, which a number alone is in; 0 for what is no time."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        import pandas as pd  # only where it is needed: workers read no limits

        return float(pd.Timedelta(text).total_seconds())
    except ValueError:
        return 0.0


def _bytes(text: str) -> int:
    """Return a size in bytes; 0 for what is no size."""
    try:
        return int(parse_bytes(text))
    except ValueError:
        return 0
