"""The package's demo, with data simulated from its truth."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import torch

from multicopy_refinement import Model
from multicopy_refinement.simulate import simulate, write_simulated

DEMO = files("multicopy_refinement") / "demo"


def simulate_demo(path: Path, d_min: float, *, seed: int) -> Model:
    """Write data of the demo's truth to a file and return the truth."""
    truth = Model(dtype_float=torch.float64).load(str(DEMO / "truth.pdb"))
    write_simulated(simulate(truth, d_min, seed=seed), truth, path)
    return truth
