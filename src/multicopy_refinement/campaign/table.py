"""The table of a campaign: one row a data set, its columns the options of a refinement."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from multicopy_refinement.errors import InputError
from multicopy_refinement.io.files import written_aside
from multicopy_refinement.run.job import REPEATED, RefineJob, in_words
from multicopy_refinement.words import counted

#: Columns that every table has.
REQUIRED = ("name", "model", "data")
#: Fields of a job that the campaign sets itself.
_OWN = frozenset({"out", "overwrite"})
#: Options that a table or the command line of a campaign may give.
OPTIONS = tuple(name for name in RefineJob.model_fields if name not in {*_OWN, "model", "data"})
#: Those that are on or off.
_SWITCHES = frozenset(
    name for name in OPTIONS
    if RefineJob.model_fields[name].annotation is bool and not name.startswith("no_")
)  # fmt: skip
#: What stands between the values of an option that may be given several times.
SEPARATOR = ";"
#: Names of data sets are names of folders, on every system.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+@=-]{0,127}")
#: Faults that are named; there is no end to a table that is wrong throughout.
_MOST_FAULTS = 20
_FILES, _FOLDERS = ("model", "data", "rules", "restraints"), ("monomers",)


@dataclass(frozen=True)
class Row:
    """A row of a table as text; ``number`` as spreadsheets count, the header being 1."""

    number: int
    values: Mapping[str, str]


@dataclass(frozen=True)
class DataSet:
    """A data set: its name, and its refinement with all paths absolute."""

    name: str
    job: RefineJob


def read_table(path: Path, required: Sequence[str] = REQUIRED) -> tuple[list[str], list[Row]]:
    """Return the columns and the rows of a CSV file, whose fields commas, semicolons or tabs part.

    Empty rows are left out.

    Raises
    ------
    InputError
        A file that cannot be read, or has no header, or the same column twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as fault:
        raise InputError(f"{path}: cannot be read as text: {fault}") from None
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    columns = [name.strip() for name in rows[0]] if rows else []
    if not any(columns):
        raise InputError(f"{path}: the first row has to name the columns: {', '.join(required)}")
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise InputError(f"{path}: the column {twice[0]!r} is there twice; name each once")
    long = [n for n, row in enumerate(rows, 1) if any(v.strip() for v in row[len(columns) :])]
    if long:
        raise InputError(f"{path}: row {long[0]} has more fields than the {len(columns)} columns")
    found = [
        Row(n, {c: v.strip() for c, v in zip(columns, row, strict=False)})
        for n, row in enumerate(rows[1:], 2)
        if any(value.strip() for value in row)
    ]
    _unbroken(path, [Row(1, dict(zip(columns, columns, strict=True))), *found])
    return columns, found


def _unbroken(path: Path, rows: Sequence[Row]) -> None:
    """Refuse fields of several lines, which a quotation mark without its mate makes of rows."""
    for row in rows:
        for column, value in row.values.items():
            if column[:1] != "#" and len(value.splitlines()) > 1:
                first = column.splitlines()[0]
                raise InputError(
                    f"{path}: row {row.number} has a line break in its column {first!r}; a "
                    "quotation mark too many, or one too few?"
                )


def data_sets(
    source: Path, columns: Sequence[str], rows: Sequence[Row], *, folder: Path,
    common: Mapping[str, Any] | None = None,
) -> list[DataSet]:  # fmt: skip
    """Return the data sets of a table.

    Parameters
    ----------
    source
        The table, for messages.
    columns, rows
        Of the table. A column whose name begins with ``#`` is the user's own.
    folder
        Where relative paths of the table begin.
    common
        Options of all data sets; what a row says counts more.

    Raises
    ------
    InputError
        All that is wrong with the table, with the numbers of rows.
    """
    given = {c: _field(c) for c in columns if c[:1] not in "#"}
    fields = {c: field for c, (field, _) in given.items()}
    faults = [f"there is no column {name!r}" for name in REQUIRED if name not in fields.values()]
    known = {*REQUIRED, *OPTIONS}
    faults += [_unknown(c, known) for c, field in fields.items() if field not in known]
    if not rows:
        faults.append("there are no data sets")
    if faults:
        raise InputError(f"{source}: {'; '.join(faults)}")
    found, seen = [], dict[str, int]()
    for row in rows:
        values = {
            given[c][0]: _opposite(v) if given[c][1] else v
            for c, v in row.values.items()
            if c in given
        }
        name = values.pop("name", "")
        wrong = [] if _NAME.fullmatch(name) else [_bad_name(name)]
        earlier = seen.setdefault(name.lower(), row.number)
        if earlier != row.number and name:
            wrong.append(f"the name {name!r} is there already (row {earlier})")
        job, others = _job({**(common or {}), **_given(values)}, folder)
        wrong += others
        faults += [f"row {row.number}: {one}" for one in wrong]
        if job is not None:
            found.append(DataSet(name, job))
    if faults:
        more = len(faults) - _MOST_FAULTS
        tail = f"; and {more} more" if more > 0 else ""
        raise InputError(
            f"{source}: {counted(len(faults), 'fault')}, nothing was run: "
            f"{'; '.join(faults[:_MOST_FAULTS])}{tail}"
        )
    return found


def write_table(path: Path, sets: Sequence[DataSet]) -> None:
    """Write a table that makes the same jobs, wherever it is read."""
    common = RefineJob.model_fields
    used = [
        name for name in OPTIONS
        if any(getattr(one.job, name) != common[name].default for one in sets)
    ]  # fmt: skip
    with written_aside(path) as aside, aside.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*REQUIRED, *used])
        for one in sets:
            values = (_as_text(name, getattr(one.job, name)) for name in used)
            writer.writerow([one.name, one.job.model, one.job.data, *values])


def absolute(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return options with paths that begin in a folder made absolute."""
    made = dict(values)
    for name in (*_FILES, *_FOLDERS):
        if name in REPEATED and made.get(name):
            made[name] = [_absolute(one, folder) for one in made[name]]
        elif made.get(name):
            made[name] = _absolute(made[name], folder)
    return made


def _field(column: str) -> tuple[str, bool]:
    """Return the field of a job that a column gives, and whether it turns that off."""
    name = column.lower().lstrip("-").replace("-", "_")
    positive = name.removeprefix("no_")
    off = name.startswith("no_") and positive in _SWITCHES
    return (positive, True) if off else (name, False)


def _opposite(text: str) -> str:
    """Return no for yes and yes for no; what is neither as it is, for the check of the field."""
    try:
        return str(not TypeAdapter(bool).validate_python(text)).lower() if text else text
    except ValidationError:
        return text


def _unknown(column: str, known: set[str]) -> str:
    near = get_close_matches(column.lower().replace("-", "_"), known)
    meant = f"nearest: {', '.join(near)}" if near else "put # before the names of your own"
    return f"no option is called as the column {column!r}; {meant}"


def _bad_name(name: str) -> str:
    if not name:
        return "there is no name"
    return f"{name!r} cannot name a folder; take letters, digits and ._+@=-"


def _given(values: Mapping[str, str]) -> dict[str, Any]:
    """Return what a row says; fields left empty have what all data sets have."""
    return {
        name: [one.strip() for one in text.split(SEPARATOR)] if name in REPEATED else text
        for name, text in values.items()
        if text
    }


def _job(values: Mapping[str, Any], folder: Path) -> tuple[RefineJob | None, list[str]]:
    """Return the job of a row, or what is wrong with it."""
    empty = [f"no {name}" for name in ("model", "data") if not values.get(name)]
    try:
        job = RefineJob.model_validate(
            {"model": "model", "data": "data", **absolute(values, folder)}
        )
    except ValidationError as fault:
        return None, [*empty, *in_words(fault)]
    return job, [*empty, *_missing(job, values)]


def _missing(job: RefineJob, given: Mapping[str, Any]) -> list[str]:
    """Return which of the files that are given are not there."""
    paths = [(name, getattr(job, name)) for name in _FILES if given.get(name)]
    each = [(n, p) for n, one in paths for p in (one if isinstance(one, tuple) else (one,))]
    wrong = [f"{n} {p}: no such file" for n, p in each if not p.is_file()]
    if job.monomers is not None and not job.monomers.is_dir():
        wrong.append(f"monomers {job.monomers}: no such folder")
    return wrong


def _absolute(path: str | Path, folder: Path) -> str:
    return str((folder / Path(path).expanduser()).absolute())


def _as_text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return (SEPARATOR if name in REPEATED else ",").join(str(one) for one in value)
    return "" if value is None else str(value)
