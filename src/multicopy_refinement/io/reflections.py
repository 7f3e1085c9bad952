"""Reading of reflection files (MTZ, SF-mmCIF) into observed amplitudes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.errors import ReflectionFileError
from multicopy_refinement.io.columns import ObservedColumns, Quantity, find_columns
from multicopy_refinement.io.text import one_line, read_bytes
from multicopy_refinement.notices import Notice
from multicopy_refinement.reflections.data import DataLabels, ReflectionData
from multicopy_refinement.reflections.free_flags import FreeChoice, choose_free_set
from multicopy_refinement.reflections.preparation import (
    Observations,
    drop_unusable,
    french_wilson,
    mean_of_pair,
    unique_observations,
)

#: Reflections without an observation are kept to this times the highest 1/d of those with one.
FILLED_BEYOND = 1.05


@dataclass(frozen=True, eq=False)
class _Table:
    """Columns of a reflection file: labels, MTZ types and values (nan where missing)."""

    columns: tuple[tuple[str, str], ...]
    values: FloatArray
    hkl: IntArray
    cell: Cell | None
    spacegroup: SpaceGroup | None

    def column(self, label: str) -> FloatArray:
        return self.values[:, [name for name, _ in self.columns].index(label)].copy()


def read_reflections(
    path: str | Path,
    *,
    labels: Sequence[str] | None = None,
    free_label: str | None = None,
    free_value: int | None = None,
    d_min: float | None = None,
    cell: Cell | None = None,
    spacegroup: SpaceGroup | None = None,
) -> ReflectionData:
    """Read amplitudes, or intensities through French-Wilson, and the free set.

    Parameters
    ----------
    path
        MTZ or SF-mmCIF, told apart by content, gzipped or not.
    labels
        Value and sigma (or those of two Friedel mates); found by column type when left out.
    free_label, free_value
        Column and value of the free set; found by what the columns hold when left out.
    d_min
        High-resolution cut in A.
    cell, spacegroup
        Taken where the file has none.

    Raises
    ------
    ReflectionFileError
        What makes the file unusable: one line that says what, where and what to do.
    """
    try:
        return _read(path, labels, (free_label, free_value), d_min, (cell, spacegroup))
    except ReflectionFileError as fault:
        text = str(fault)
        if text.startswith(str(path)):
            raise
        raise ReflectionFileError(f"{path}: {text}") from None


def _read(
    path: str | Path, labels: Sequence[str] | None, free: tuple[str | None, int | None],
    d_min: float | None, fallback: tuple[Cell | None, SpaceGroup | None],
) -> ReflectionData:  # fmt: skip
    table = _read_table(path)
    cell, group, notices = _crystal(table, fallback)
    chosen, others = find_columns(table.columns, labels)
    if others:
        names = "; ".join(",".join(o.labels) for o in others)
        notices.append(
            Notice(
                "columns_chosen",
                f"{','.join(chosen.labels)} are used; also there: {names} (--labels to choose)",
            )
        )
    flag_columns = {name: table.column(name) for name, kind in table.columns if kind == "I"}
    choice = choose_free_set(flag_columns, *free)
    value, sigma = _observations(table, chosen)
    flags = np.full(len(value), np.nan) if choice.label is None else flag_columns[choice.label]
    rows, more = unique_observations(
        Observations(table.hkl, value, sigma, flags), cell, group, d_min=d_min
    )
    notices += more
    observed, missing, more = drop_unusable(rows, chosen.quantity)
    notices += more
    if len(observed.hkl) == 0:
        raise ReflectionFileError(
            f"no reflections left of {len(value)} rows"
            + (f" within {d_min} A" if d_min else "")
            + f" ({','.join(chosen.labels)})"
        )
    if chosen.quantity is Quantity.INTENSITY:
        f_obs, sigma = french_wilson(observed, cell, group)
        observed = Observations(observed.hkl, f_obs, sigma, observed.flags)
    return _assemble(observed, missing, cell, group, chosen, choice, notices)


def _assemble(
    observed: Observations, missing: Observations, cell: Cell, group: SpaceGroup,
    chosen: ObservedColumns, choice: FreeChoice, notices: list[Notice],
) -> ReflectionData:  # fmt: skip
    finest = cell.inverse_d_squared(observed.hkl).max() * FILLED_BEYOND**2
    within = cell.inverse_d_squared(missing.hkl) <= finest
    if not within.all():
        notices.append(
            Notice(
                "reflections_beyond",
                f"{int((~within).sum())} reflections without an "
                "observation lie far beyond the resolution of those with one and are "
                "left out of refined.mtz",
            )
        )
        missing = missing.select(within)
    free = np.zeros(len(observed.hkl), dtype=bool)
    if choice.value is None:
        notices.append(
            Notice(
                "no_free_set",
                f"no free set ({choice.why}): R-free cannot be given, "
                "and sigmaA comes from the work set",
            )
        )
    else:
        free = observed.flags == choice.value
        unflagged = int((~np.isfinite(observed.flags)).sum())
        if unflagged:
            notices.append(
                Notice(
                    "no_free_flag",
                    f"{unflagged} observed reflections have no free "
                    "flag and are put in the work set",
                )
            )
    if free.all():
        raise ReflectionFileError("no reflections left in the work set: all are free")
    amplitudes = chosen.quantity is Quantity.AMPLITUDE
    labels = DataLabels(chosen.labels, amplitudes, choice.label, choice.value, choice.why)
    return ReflectionData(
        observed.hkl, observed.value, observed.sigma, free, _integer_flags(observed.flags), cell,
        group, labels, missing.hkl, _integer_flags(missing.flags), tuple(notices),
    )  # fmt: skip


def _observations(table: _Table, chosen: ObservedColumns) -> tuple[FloatArray, FloatArray]:
    columns = [table.column(label) for label in chosen.labels]
    if chosen.friedel_pair:
        return mean_of_pair(*columns)
    return columns[0], columns[1]


def _integer_flags(flags: FloatArray) -> IntArray:
    return np.where(np.isfinite(flags), flags, -1).astype(np.int64)


def _crystal(
    table: _Table, fallback: tuple[Cell | None, SpaceGroup | None]
) -> tuple[Cell, SpaceGroup, list[Notice]]:
    notices = []
    cell, group = table.cell or fallback[0], table.spacegroup or fallback[1]
    if cell is None or group is None:
        lacking = "unit cell" if cell is None else "space group"
        raise ReflectionFileError(f"no {lacking} in the file")
    if table.cell is None or table.spacegroup is None:
        notices.append(
            Notice(
                "data_crystal",
                "the reflection file has no "
                f"{'unit cell' if table.cell is None else 'space group'}; the "
                "model's is used",
            )
        )
    return cell, group, notices


# ---------------------------------------------------------------------- formats


def _read_table(path: str | Path) -> _Table:
    content = read_bytes(path, ReflectionFileError)
    if not content.strip():
        raise ReflectionFileError(f"{path}: the file is empty")
    if content[:4] == b"MTZ ":
        return _table(_parse_mtz(path, content))
    if b"_refln" in content and b"data_" in content:
        return _table(_parse_cif(path, content))
    raise ReflectionFileError(f"{path}: neither an MTZ nor an SF-mmCIF file")


def _parse_mtz(path: str | Path, content: bytes) -> gemmi.Mtz:
    with tempfile.NamedTemporaryFile(suffix=".mtz") as plain:  # gemmi reads MTZ from files only
        plain.write(content)
        plain.flush()
        try:
            return gemmi.read_mtz_file(plain.name)
        except (RuntimeError, ValueError) as fault:
            reason = one_line(fault).replace(plain.name, "").rstrip(": ")
            raise ReflectionFileError(f"{path}: damaged MTZ file: {reason}") from None


def _parse_cif(path: str | Path, content: bytes) -> gemmi.Mtz:
    try:
        blocks = gemmi.as_refln_blocks(gemmi.cif.read_string(content))
        merged = [block for block in blocks if block.default_loop is not None]
        if not merged:
            raise ReflectionFileError(f"{path}: no reflections in the file")
        return gemmi.CifToMtz().convert_block_to_mtz(merged[0])
    except (RuntimeError, ValueError) as fault:
        raise ReflectionFileError(f"{path}: not a readable SF-mmCIF: {one_line(fault)}") from None


def _table(mtz: gemmi.Mtz) -> _Table:
    values = np.array(mtz, copy=True).astype(np.float64)
    columns = tuple((column.label, column.type) for column in mtz.columns)
    hkl = np.rint(values[:, :3]).astype(np.int64)
    cell = Cell(*mtz.cell.parameters) if mtz.cell.is_crystal() else None
    group = SpaceGroup(mtz.spacegroup.xhm()) if mtz.spacegroup is not None else None
    return _Table(columns, values, hkl, cell, group)
