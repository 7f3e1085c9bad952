"""``multicopy-refine simulate``."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console

from multicopy_refinement.cli.progress import named_steps
from multicopy_refinement.cli.warn import print_warning
from multicopy_refinement.errors import OutputError
from multicopy_refinement.model import Model
from multicopy_refinement.modes import SolventTruth
from multicopy_refinement.run.job import RefineJob
from multicopy_refinement.simulate import simulate, write_simulated


def run_simulate(
    job: RefineJob, d_min: float, out: Path, seed: int, noise: float, solvent: SolventTruth
) -> None:
    """Simulate data of a job's model, under its radiation, and write them."""
    if out.exists():
        raise OutputError(f"{out}: the file is there already; name another with --out")
    with named_steps() as show:
        show("simulating", 0, 0, None)
        model = Model(dtype_float=torch.float64).load(job.model, radiation=job.radiation)
        model.measured_with(
            wavelength=job.wavelength, f_prime=job.f_prime, f_double_prime=job.f_double_prime,
            anomalous=job.anomalous,
        )  # fmt: skip
        data = simulate(model, d_min, seed=seed, noise=noise, solvent=solvent)
        write_simulated(data, model, out)
    console = Console(stderr=True, emoji=False)
    for notice in model.notices:
        print_warning(console, notice.message)
    console.print(
        f"{len(data.hkl)} reflections to {d_min} A, {model.beam.in_words()}, noise {noise:g}, "
        f"seed {seed}: {out}",
        highlight=False,
        soft_wrap=True,
    )
