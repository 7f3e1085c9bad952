"""Columns of a reflection file, with what a file says of them; reading of MTZ."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import gemmi
import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.errors import ReflectionFileError
from multicopy_refinement.io.text import one_line
from multicopy_refinement.notices import Notice

#: Indices beyond this are no Miller indices.
LARGEST_INDEX = 4000
#: A number as large as this is no flag.
LARGEST_FLAG = 1e6
#: A data set's cell that differs from the file's by more than this is named.
CELL_NOTICE = 0.001
_INDEX_TYPE = "H"


@dataclass(frozen=True, eq=False)
class ReflectionTable:
    """Columns of a reflection file.

    Attributes
    ----------
    columns
        (label, MTZ type) of each.
    values
        Of each label, ``[n]``, nan where missing.
    hkl
        Miller indices, ``[n, 3]``.
    cell, spacegroup
        Of the file; None where it has none.
    cells
        Of the data sets of labels that have one of their own.
    notices
        What was chosen of the file.
    wavelengths
        In A, of the labels whose data set has one.
    """

    columns: tuple[tuple[str, str], ...]
    values: Mapping[str, FloatArray]
    hkl: IntArray
    cell: Cell | None
    spacegroup: SpaceGroup | None
    cells: Mapping[str, Cell] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    wavelengths: Mapping[str, float] = field(default_factory=dict)

    def cell_of(self, label: str) -> tuple[Cell | None, list[Notice]]:
        """Return the cell of a column: that of its data set, or else the file's."""
        own = self.cells.get(label, self.cell)
        if own is None or self.cell is None or own.largest_difference(self.cell) <= CELL_NOTICE:
            return own, []
        text = (
            f"the cell is that of the data set of {label}, {_text(own)}; "
            f"the file has another besides, {_text(self.cell)}"
        )
        return own, [Notice("cell_of_data_set", text)]

    def integers(self) -> dict[str, FloatArray]:
        """Return the columns that hold whole numbers only, of any type but indices."""
        return {
            label: self.values[label]
            for label, kind in self.columns
            if kind != _INDEX_TYPE and _whole(self.values[label])
        }

    def select(self, keep: BoolArray) -> dict[str, FloatArray]:
        """Return the values of the rows of a mask."""
        return {label: values[keep] for label, values in self.values.items()}


def _whole(values: FloatArray) -> bool:
    known = values[np.isfinite(values)]
    return bool(((known == np.rint(known)) & (np.abs(known) < LARGEST_FLAG)).all())


def _text(cell: Cell) -> str:
    return " ".join(f"{value:.2f}" for value in cell.parameters)


def miller_indices(values: FloatArray) -> IntArray:
    """Return Miller indices of numbers ``[n, 3]``; what cannot be an index is refused."""
    bad = ~np.isfinite(values) | (values != np.rint(values)) | (np.abs(values) > LARGEST_INDEX)
    if bad.any():
        row = int(np.flatnonzero(bad.any(axis=1))[0])
        shown = " ".join(f"{v:g}" for v in values[row].tolist())
        raise ReflectionFileError(
            f"row {row + 1} has the Miller indices {shown}, and these are no integers from "
            f"{-LARGEST_INDEX} to {LARGEST_INDEX}"
        )
    return values.astype(np.int64)


# ---------------------------------------------------------------------- MTZ


def read_mtz(path: str | Path, content: bytes) -> ReflectionTable:
    """Return the columns of an MTZ file."""
    mtz = parse_mtz(path, content)
    rows = rows_of(mtz)
    if len(mtz.columns) < 3 or len(rows) == 0:
        raise ReflectionFileError(f"{path}: no reflections in the file")
    if np.isfinite(mtz.valm):  # the number that stands for "missing" in this file
        rows[:, 3:][rows[:, 3:] == np.float32(mtz.valm)] = np.nan
    labels = _labels(mtz)
    columns = tuple(zip(labels, (column.type for column in mtz.columns), strict=True))
    values = {label: rows[:, i] for i, label in enumerate(labels)}
    cells = {d.id: cell for d in mtz.datasets if (cell := cell_of(d.cell)) is not None}
    sets = zip(labels, (column.dataset_id for column in mtz.columns), strict=True)
    own = {label: cells[number] for label, number in sets if number in cells}
    waves = {d.id: float(d.wavelength) for d in mtz.datasets if d.wavelength > 0}  # 0 is none
    sets = zip(labels, (column.dataset_id for column in mtz.columns), strict=True)
    wavelengths = {label: round(waves[n], 5) for label, n in sets if n in waves}
    cell = cell_of(mtz.cell)
    group = SpaceGroup(mtz.spacegroup.xhm()) if mtz.spacegroup is not None else None
    notices: tuple[Notice, ...] = ()
    if len(mtz.batches):
        text = (
            f"unmerged data of {len(mtz.batches)} batches are merged as they stand; they must have "
            "been scaled"
        )
        notices = (Notice("unmerged", text),)
    hkl = miller_indices(rows[:, :3])
    return ReflectionTable(columns, values, hkl, cell, group, own, notices, wavelengths)


def rows_of(mtz: gemmi.Mtz) -> FloatArray:
    """Return the numbers of an MTZ file, ``[n_rows, n_columns]``; a NaN of any kind is one."""
    with np.errstate(invalid="ignore"):
        return np.array(mtz, copy=True).astype(np.float64)


def _labels(mtz: gemmi.Mtz) -> list[str]:
    """Return the labels; one that was there before, in another data set, has its number behind."""
    labels: list[str] = []
    for place, column in enumerate(mtz.columns):
        label = column.label
        if label in labels:
            label = f"{label}@{column.dataset_id}"
        labels.append(label if label not in labels else f"{label}@{place}")
    return labels


def cell_of(cell: gemmi.UnitCell) -> Cell | None:
    """Return a cell, or None for what stands where there is none."""
    if not cell.is_crystal() or not np.isfinite(cell.parameters).all() or not cell.volume > 1:
        return None
    return Cell(*cell.parameters)


def parse_mtz(path: str | Path, content: bytes) -> gemmi.Mtz:
    """Return the content of an MTZ file, its labels and types checked to be text.

    Raises
    ------
    ReflectionFileError
        What is no MTZ file, or a damaged one.
    """
    with tempfile.NamedTemporaryFile(suffix=".mtz") as plain:  # gemmi reads MTZ from files only
        plain.write(content)
        plain.flush()
        try:
            mtz = gemmi.read_mtz_file(plain.name)
            for column in mtz.columns:  # bytes that are no text are a UnicodeDecodeError
                _ = column.label, column.type
            return mtz
        except UnicodeDecodeError:
            reason = "labels or types of columns are no text"
        except (RuntimeError, ValueError) as fault:
            reason = one_line(fault).replace(plain.name, "").rstrip(": ")
    raise ReflectionFileError(f"{path}: damaged MTZ file: {reason}")
