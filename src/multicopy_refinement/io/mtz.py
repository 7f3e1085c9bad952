"""Writing of MTZ files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.io.files import written_aside


@dataclass(frozen=True, eq=False)
class MtzColumn:
    """A column: label, MTZ type and values (nan where missing), ``[n]``."""

    label: str
    type: str
    values: FloatArray


def write_mtz(
    path: str | Path, cell: Cell, group: SpaceGroup, hkl: IntArray, columns: Sequence[MtzColumn],
    *, title: str, history: Sequence[str] = (), wavelength: float | None = None,
) -> None:  # fmt: skip
    """Write one data set with the indices H, K, L and the given columns.

    ``history`` are at most 30 lines of at most 80 characters, ``wavelength`` is in A.
    """
    mtz = gemmi.Mtz(with_base=True)
    mtz.title = title[:70]
    mtz.history = list(history)
    mtz.spacegroup = group.gemmi
    mtz.set_cell_for_all(cell.gemmi)
    data_set = mtz.add_dataset("multicopy_refinement")
    data_set.wavelength = wavelength or 0.0
    for column in columns:
        mtz.add_column(column.label, column.type)
    rows = np.column_stack([hkl.astype(np.float64), *(c.values for c in columns)])
    mtz.set_data(np.ascontiguousarray(rows, dtype=np.float32))
    mtz.sort()
    with written_aside(path) as aside:
        mtz.write_to_file(str(aside))
