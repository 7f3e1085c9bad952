"""Which column marks the free set, and by which value: told by its name and what it holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.errors import ReflectionFileError
from multicopy_refinement.notices import listed

#: A free set holds at most this part of the reflections ...
LARGEST_FREE_FRACTION = 0.35
#: ... and at least this part of them, or this many of a large data set.
SMALLEST_FREE_FRACTION, ENOUGH_FREE = 0.01, 500
_WORDS_FREE = {"test", "tests", "status"}
_NAMES_FREE = re.compile(r"free|^r?tests?(sets?|flags?|array)?$|crossvalid")


@dataclass(frozen=True)
class FreeChoice:
    """The free set: column, value, the reason in words, and other columns that could be one."""

    label: str | None
    value: int | None
    why: str
    others: tuple[str, ...] = ()


def named_as_free_set(label: str) -> bool:
    """Return whether a column is called what programs call free sets, whatever its spelling.

    >>> [named_as_free_set(name) for name in ("R-free-flags", "FREERFLAG_2", "TEST", "N(+)")]
    [True, True, True, False]
    """
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", label)
    if _WORDS_FREE & {word.lower() for word in words}:
        return True
    return bool(_NAMES_FREE.search(re.sub(r"[^a-z]", "", label.lower())))


def choose_free_set(
    columns: Mapping[str, FloatArray], label: str | None = None, value: int | None = None
) -> FreeChoice:
    """Return the free set of integer columns (nan where a reflection has no flag).

    Only a column that is called a free set is taken for one unasked: counts and other flags are
    integers too. Two values: the rarer one is free (phenix writes 1, others 0). Many values in
    equal parts: 0 is free (CCP4). One value: there is no free set.

    Raises
    ------
    ReflectionFileError
        A column or a value that was asked for and is not there.

    Examples
    --------
    >>> choose_free_set({"FreeR_flag": np.arange(2000.0) % 20}).value
    0
    """
    if label is not None and label not in columns:
        known = ", ".join(columns) or "none"
        raise ReflectionFileError(f"no free-flag column {label!r}; integer columns: {known}")
    names = [label] if label is not None else [name for name in columns if named_as_free_set(name)]
    flags = {name: columns[name][np.isfinite(columns[name])] for name in names}
    if value is not None:
        return _with_value(columns, flags, value)
    told = {name: _free_value(flags[name]) for name in names}
    found = {name: free for name, free in told.items() if free is not None}
    if not found:
        if label is not None:
            raise ReflectionFileError(
                f"the values of {label!r} do not tell a free set; give --free-value"
            )
        return FreeChoice(None, None, _why_none(columns, names))
    first, (marker, why) = next(iter(found.items()))
    differ = [n for n, (v, _) in found.items() if _differ(columns, (first, marker), (n, v))]
    return FreeChoice(first, marker, why, tuple(differ))


def _differ(
    columns: Mapping[str, FloatArray], one: tuple[str, int], other: tuple[str, int]
) -> bool:
    """Return whether two columns mark other reflections, where both have a flag."""
    mine, theirs = columns[one[0]], columns[other[0]]
    known = np.isfinite(mine) & np.isfinite(theirs)
    return not np.array_equal(mine[known] == one[1], theirs[known] == other[1])


def _with_value(
    columns: Mapping[str, FloatArray], flags: Mapping[str, FloatArray], value: int
) -> FreeChoice:
    for name, there in flags.items():
        if (there == value).any():
            return FreeChoice(name, value, "as asked for")
    if not flags:
        raise ReflectionFileError(
            f"no column is called a free set; name one with --free-label: "
            f"{', '.join(columns) or 'there is no column of integers'}"
        )
    raise ReflectionFileError(f"no reflection has free flag {value} in {', '.join(flags)}")


def _why_none(columns: Mapping[str, FloatArray], names: list[str]) -> str:
    if names:
        return f"the values of {', '.join(names)} do not mark one"
    if columns:
        return f"no column is called one; --free-label would take {listed(list(columns))} for it"
    return "no column of flags"


def _free_value(flags: FloatArray) -> tuple[int, str] | None:
    values, counts = np.unique(flags, return_counts=True)
    if len(values) < 2 or not np.array_equal(values, np.rint(values)):
        return None
    fractions = counts / counts.sum()
    if values.tolist() == [-1, 0, 1]:
        free, what = 0, "-1 of -1, 0 and 1, as SHELX has it"
    elif len(values) == 2:
        free = int(np.argmin(fractions))
        what = "the rarer of two values"
    else:
        zero = np.flatnonzero(values == 0)
        if len(zero) == 0:
            return None
        free = int(zero[0])
        what = f"0 of {len(values)} values ({int(values[0])} to {int(values[-1])})"
    if not _plausible(fractions[free], counts[free]):
        return None
    return int(values[free]), f"{what}, {100 * fractions[free]:.1f}% of the reflections"


def _plausible(fraction: float, count: int) -> bool:
    enough = fraction >= SMALLEST_FREE_FRACTION or count >= ENOUGH_FREE
    return bool(enough and fraction <= LARGEST_FREE_FRACTION)
