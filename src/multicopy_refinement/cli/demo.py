"""``multicopy-refine demo``: a crystal whose occupancies are known."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from multicopy_refinement.cli.progress import named_steps
from multicopy_refinement.cli.refine import print_outcome, run_refine, use_threads
from multicopy_refinement.model import Model
from multicopy_refinement.results.folder import check_directory, placed_together
from multicopy_refinement.results.record import RunRecord
from multicopy_refinement.run.job import RefineJob
from multicopy_refinement.simulate import simulate, write_simulated

#: Resolution in A, relative error of amplitudes, and seed of the simulated data.
D_MIN, NOISE, SEED = 1.6, 0.03, 1


def run_demo(out: Path, *, overwrite: bool) -> None:
    """Simulate data of the true model, refine the other one, and print both side by side."""
    check_directory(out, overwrite=overwrite)
    use_threads(None)
    console = Console(emoji=False)
    with named_steps() as show, as_file(files("multicopy_refinement") / "demo") as source:
        show("simulating data", 0, 0, None)
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
    job = RefineJob(
        model=out / "start.pdb", data=out / "data.mtz", out=out / "refined", overwrite=overwrite
    )
    with named_steps() as show:
        record, advice = run_refine(job, show)
    print_outcome(record, advice, job)
    console.print(_comparison(record, truth))


def _comparison(record: RunRecord, truth: Model) -> Table:
    """Return refined occupancies beside the true ones."""
    true = truth.group_occupancies().tolist()
    refined = [(group, q) for group, q in zip(record.groups, true, strict=True) if group.refined]
    off = max(abs(group.occupancy - q) for group, q in refined)
    table = Table(
        title=f"Refined and true occupancies; the largest difference is {off:.3f}",
        title_justify="left",
    )
    table.add_column("group")
    for name in ("start", "refined", "su", "truth", "difference"):
        table.add_column(name, justify="right")
    for group, q in refined:
        table.add_row(
            escape(group.name),
            f"{group.initial:.2f}",
            f"{group.occupancy:.3f}",
            "-" if group.su is None else f"{group.su:.3f}",
            f"{q:.2f}",
            f"{group.occupancy - q:+.3f}",
        )
    return table
