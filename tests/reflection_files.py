"""Small reflection files, column by column, so that a test shows the file that it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import gemmi
import numpy as np

from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.crystal.hkl import unique_reflections

CELL, GROUP = Cell(28, 30, 32, 90, 90, 90), SpaceGroup("P 21 21 21")
HKL = unique_reflections(CELL, GROUP, 4.0)
N = len(HKL)
F = np.random.default_rng(0).uniform(10, 100, N).round(2)
SIGMA = (0.05 * F).round(2)
FLAGS = np.arange(N) % 20
OBSERVED = {"F": ("F", F), "SIGF": ("Q", SIGMA), "FreeR_flag": ("I", FLAGS)}

Columns = Mapping[str, tuple[str, np.ndarray]]


def write_columns(
    path: Path,
    columns: Columns = OBSERVED,
    hkl: np.ndarray = HKL,
    *,
    group: SpaceGroup = GROUP,
    cells: Sequence[Cell] = (CELL,),
    sets: Mapping[str, int] | None = None,
) -> Path:
    """Write columns {label: (MTZ type, values)}; ``sets`` gives the data set (from 1) of labels.

    The first of ``cells`` is that of the file, the others those of data sets.
    """
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup = group.gemmi
    mtz.set_cell_for_all(cells[0].gemmi)
    for number, cell in enumerate(cells[1:] or cells, start=1):
        mtz.add_dataset(f"set {number}").cell = cell.gemmi
    for label, (kind, _) in columns.items():
        mtz.add_column(label, kind, dataset_id=(sets or {}).get(label, 1))
    table = np.column_stack([hkl, *(values for _, values in columns.values())])
    mtz.set_data(table.astype(np.float32))
    mtz.write_to_file(str(path))
    return path


def cif_text(
    columns: Mapping[str, Sequence[object]],
    *,
    hkl: np.ndarray = HKL,
    name: str = "rxsf",
    prefix: str = "_refln.",
    crystal: bool = True,
    extra: str = "",
) -> str:
    """Return a block of reflections {item: values}."""
    dot = "." if prefix.endswith(".") else "_"
    lines = [f"data_{name}"]
    if crystal:
        names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
        pairs = zip(names, CELL.parameters, strict=True)
        lines += [f"_cell{dot}{name} {value:g}" for name, value in pairs]
        lines.append(f"_symmetry{dot}space_group_name_H-M '{GROUP.name}'")
    lines += [extra, "loop_", *(f"{prefix}index_{axis}" for axis in "hkl")]
    lines += [f"{prefix}{item}" for item in columns]
    for index, values in zip(hkl.tolist(), zip(*columns.values(), strict=True), strict=True):
        lines.append(" ".join(str(v) for v in (*index, *values)))
    return "\n".join([*lines, ""])
