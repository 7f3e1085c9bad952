"""``multicopy-refine demo``: a crystal whose occupancies are known."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from multicopy_refinement.cli.refine import RefineRequest, Run, run_refine, set_threads
from multicopy_refinement.model import Model
from multicopy_refinement.results.files import check_directory, placed_together
from multicopy_refinement.simulate import simulate, write_simulated

#: Resolution in A, relative error of amplitudes, and seed of the simulated data.
D_MIN, NOISE, SEED = 1.6, 0.03, 1


def run_demo(out: Path, *, overwrite: bool) -> None:
    """Simulate data of the true model, refine the other one, and print both side by side."""
    check_directory(out, overwrite=overwrite)
    set_threads(None)
    console = Console(emoji=False)
    with as_file(files("multicopy_refinement") / "demo") as source:
        truth = Model(dtype_float=torch.float64).load(source / "truth.pdb")
        with placed_together(out) as folder:
            for name in ("truth.pdb", "start.pdb"):
                shutil.copyfile(source / name, folder / name)
            write_simulated(
                simulate(truth, D_MIN, seed=SEED, noise=NOISE), truth, folder / "data.mtz"
            )
    console.print(
        f"Simulated data of truth.pdb to {D_MIN} A with {100 * NOISE:g}% noise; now "
        "refining start.pdb against them:",
        highlight=False,
    )
    console.print(
        f"  multicopy-refine refine {out / 'start.pdb'} {out / 'data.mtz'} --out "
        f"{out / 'refined'}\n",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    run = run_refine(
        RefineRequest(
            model=out / "start.pdb", data=out / "data.mtz", out=out / "refined", overwrite=overwrite
        )
    )
    console.print(_comparison(run, truth))


def _comparison(run: Run, truth: Model) -> Table:
    """Return refined occupancies beside the true ones."""
    groups = run.solution.groups
    true = truth.group_occupancies()
    refined = np.flatnonzero(groups.refined)
    off = float(np.abs(run.solution.occupancy - true)[refined].max())
    table = Table(
        title=f"Refined and true occupancies; the largest difference is {off:.3f}",
        title_justify="left",
    )
    table.add_column("group")
    for name in ("start", "refined", "su", "truth", "difference"):
        table.add_column(name, justify="right")
    for g in refined:
        value, su = run.solution.occupancy[g], run.solution.su[g]
        table.add_row(
            escape(groups.names[g]),
            f"{groups.file_occupancy[g]:.2f}",
            f"{value:.3f}",
            "-" if np.isnan(su) else f"{su:.3f}",
            f"{true[g]:.2f}",
            f"{value - true[g]:+.3f}",
        )
    return table
