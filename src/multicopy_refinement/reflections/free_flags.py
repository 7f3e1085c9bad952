"""Which column marks the free set, and by which value: told from what the columns hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.errors import ReflectionFileError

#: A free set holds at most this part of the reflections.
LARGEST_FREE_FRACTION = 0.35
_FREE_NAME = re.compile(r"free|test|cross|rfree|status", re.IGNORECASE)


@dataclass(frozen=True)
class FreeChoice:
    """The free set: column, value and the reason for the choice, in words."""

    label: str | None
    value: int | None
    why: str


def choose_free_set(
    columns: Mapping[str, FloatArray], label: str | None = None, value: int | None = None
) -> FreeChoice:
    """Return the free set of integer columns (nan where a reflection has no flag).

    Two values: the rarer one is free (phenix writes 1, others 0). Many values in equal parts: 0 is
    free (CCP4). One value: there is no free set.

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
    names = (
        [label]
        if label is not None
        else sorted(columns, key=lambda name: not _FREE_NAME.search(name))
    )
    for name in names:
        flags = columns[name][np.isfinite(columns[name])]
        if value is not None:
            if (flags == value).any():
                return FreeChoice(name, value, "as asked for")
            continue
        found = _free_value(flags)
        if found is not None:
            return FreeChoice(name, found[0], found[1])
    if value is not None:
        raise ReflectionFileError(
            f"no reflection has free flag {value} in {', '.join(names) or 'any column'}"
        )
    if label is not None:
        raise ReflectionFileError(
            f"the values of {label!r} do not tell a free set; give --free-value"
        )
    return FreeChoice(None, None, "no column with two or more values that could mark a free set")


def _free_value(flags: FloatArray) -> tuple[int, str] | None:
    values, counts = np.unique(flags, return_counts=True)
    if len(values) < 2 or not np.array_equal(values, np.rint(values)):
        return None
    fractions = counts / counts.sum()
    if len(values) == 2:
        rarer = int(np.argmin(fractions))
        if fractions[rarer] > LARGEST_FREE_FRACTION:
            return None
        return int(values[rarer]), (
            f"the rarer of two values, {100 * fractions[rarer]:.1f}% of the reflections"
        )
    zero = np.flatnonzero(values == 0)
    if len(zero) and fractions[zero[0]] <= LARGEST_FREE_FRACTION:
        return 0, (
            f"0 of {len(values)} values ({int(values[0])} to {int(values[-1])}), "
            f"{100 * fractions[zero[0]]:.1f}% of the reflections"
        )
    return None
