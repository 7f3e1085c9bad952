"""The table of a series: one row a data set, and what was varied from one to the next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multicopy_refinement.campaign.table import Row, data_sets, read_table
from multicopy_refinement.errors import InputError
from multicopy_refinement.run.job import RefineJob

#: What may be varied: exactly one of these is a column.
VARIABLES = ("time", "dose", "temperature", "concentration", "x")
#: Columns of a data set's own reading, beside name, data and the variable.
OPTIONS = ("labels", "free_label", "free_value", "d_min")
#: Options of a refinement that all data sets of a series may be given.
COMMON = (
    "grouping", "rules", "contact_distance", "labels", "free_label", "free_value", "d_min",
    "target", "restraints", "monomers", "no_restraints", "decoys", "threads",
)  # fmt: skip
_REQUIRED = ("name", "data", "one of " + "|".join(VARIABLES))
#: Data sets of a series, at least.
_FEWEST = 2


@dataclass(frozen=True)
class Entry:
    """A row of the table.

    Attributes
    ----------
    name
        Of the data set.
    x
        The variable; nan of a reference for which it is left empty.
    job
        The model, its data and how they are read.
    """

    name: str
    x: float
    job: RefineJob


@dataclass(frozen=True)
class SeriesTable:
    """Data sets in the order of the table, and the name of the variable."""

    variable: str
    entries: tuple[Entry, ...]


def read_series(
    path: Path, model: Path, *, reference: str | None = None,
    common: Mapping[str, Any] | None = None,
) -> SeriesTable:  # fmt: skip
    """Return the data sets of a table.

    Parameters
    ----------
    path
        CSV with the columns ``name``, ``data`` and one of `VARIABLES`; those of `OPTIONS` may be
        there, too, and columns whose names begin with ``#`` are the user's own.
    model
        Of all of them.
    reference
        Name of a data set of which the variable may be left empty.
    common
        Options of `RefineJob` for all data sets; what a row says counts more.

    Raises
    ------
    InputError
        All that is wrong with the table, with the numbers of rows.
    """
    columns, rows = read_table(path, _REQUIRED)
    variable = _variable(path, columns)
    fields = {c: c.lower().lstrip("-").replace("-", "_") for c in columns}
    known = {"name", "data", variable, *OPTIONS}
    others = [c for c, field in fields.items() if field not in known and not c.startswith("#")]
    if others:
        raise InputError(
            f"{path}: the column {others[0]!r} is none of a series: "
            f"{', '.join(['name', 'data', variable, *OPTIONS])}; put # before names of your own"
        )
    named = [c for c in columns if fields[c] != variable]
    jobs = data_sets(
        path, [*named, "model"],
        [Row(r.number, {**r.values, "model": str(model.absolute())}) for r in rows],
        folder=path.absolute().parent, common=common,
    )  # fmt: skip
    column = next(c for c in columns if fields[c] == variable)
    values = [_number(path, variable, row, column, reference) for row in rows]
    if len(rows) < _FEWEST:
        raise InputError(f"{path}: a series has {_FEWEST} data sets or more, not {len(rows)}")
    entries = tuple(Entry(one.name, x, one.job) for one, x in zip(jobs, values, strict=True))
    return SeriesTable(variable, entries)


def _variable(path: Path, columns: Sequence[str]) -> str:
    """Return which of the variables is a column."""
    found = [c.lower() for c in columns if c.lower() in VARIABLES]
    if len(found) == 1:
        return found[0]
    several = f"not {' and '.join(found)}" if found else "and there is none"
    raise InputError(f"{path}: one column has to be {', '.join(VARIABLES[:-1])} or x, {several}")


def _number(path: Path, variable: str, row: Row, column: str, reference: str | None) -> float:
    """Return the variable of a row."""
    text = row.values.get(column, "")
    if not text and row.values.get("name") == reference:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{path}: row {row.number}: {variable} has to be a number, not {text!r}")
    if variable == "temperature" and value <= 0:
        raise InputError(f"{path}: row {row.number}: temperature is in kelvin, not {text!r}")
    return value
