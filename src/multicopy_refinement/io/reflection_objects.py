"""Reflections that are in memory already: gemmi.Mtz, reciprocalspaceship.DataSet, data frames."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np

from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.errors import ReflectionFileError

if TYPE_CHECKING:
    import pandas as pd

_INDICES = ("H", "K", "L")


@contextmanager
def as_file(
    source: gemmi.Mtz | pd.DataFrame, cell: Cell | None, spacegroup: SpaceGroup | None
) -> Iterator[Path]:
    """Give the path of an MTZ file of reflections, which goes at the end of the block.

    Raises
    ------
    ReflectionFileError
        What holds no reflections; a data frame without Miller indices, cell or space group.
    """
    mtz = _as_mtz(source, cell, spacegroup)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.mtz"
        mtz.write_to_file(str(path))
        yield path


def _as_mtz(source: Any, cell: Cell | None, spacegroup: SpaceGroup | None) -> gemmi.Mtz:
    if isinstance(source, gemmi.Mtz):
        return source
    if hasattr(source, "to_gemmi"):  # a reciprocalspaceship.DataSet
        found: gemmi.Mtz = source.to_gemmi()
        return found
    if not hasattr(source, "columns") or not hasattr(source, "reset_index"):
        raise ReflectionFileError(
            "data are the path of a file, ReflectionData, a gemmi.Mtz, a "
            f"reciprocalspaceship.DataSet or a data frame, not {type(source).__name__}"
        )
    return _of_frame(source, cell, spacegroup)


def _of_frame(frame: pd.DataFrame, cell: Cell | None, spacegroup: SpaceGroup | None) -> gemmi.Mtz:
    if set(_INDICES) & set(frame.index.names):
        frame = frame.reset_index()
    lacking = [name for name in _INDICES if name not in frame.columns]
    if lacking:
        raise ReflectionFileError(
            f"the data frame has no {', '.join(lacking)}: Miller indices are its index or columns"
        )
    if cell is None or spacegroup is None:
        raise ReflectionFileError("a data frame needs cell= and spacegroup=")
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup = gemmi.SpaceGroup(spacegroup.name)
    mtz.set_cell_for_all(gemmi.UnitCell(*cell.parameters))
    mtz.add_dataset("data")
    rest = [name for name in frame.columns if name not in _INDICES]
    for name in rest:
        mtz.add_column(str(name), _column_type(str(name), frame[name].dtype))
    columns = [frame[name].to_numpy(dtype=np.float64) for name in (*_INDICES, *rest)]
    mtz.set_data(np.stack(columns, axis=1).astype(np.float32))
    return mtz


def _column_type(name: str, dtype: Any) -> str:
    """Return the MTZ type of a column: by what it holds and, for numbers, by its name."""
    if np.issubdtype(dtype, np.integer) or np.issubdtype(dtype, np.bool_):
        return "I"
    upper = name.upper()
    if upper.startswith("SIG"):
        return "Q"
    if upper.startswith(("PH", "PHI")):
        return "P"
    return "J" if upper in {"I", "IMEAN", "IOBS", "I-OBS", "INTENSITY"} else "F"
