"""The package's demo, and data simulated from it or another truth."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

from multicopy_refinement import Model
from multicopy_refinement.reflections.data import DataLabels, ReflectionData
from multicopy_refinement.simulate import simulate, write_simulated

DEMO = files("multicopy_refinement") / "demo"


def load_demo(name: str) -> Model:
    """Return a model of the demo in double precision."""
    return Model(dtype_float=torch.float64).load(str(DEMO / name))


def observe(truth: Model, d_min: float, *, seed: int = 3, noise: float = 0.03) -> ReflectionData:
    """Return simulated data of a model."""
    s = simulate(truth, d_min, seed=seed, noise=noise)
    return ReflectionData(
        s.hkl, s.f_obs, s.sigma, s.flags == 0, s.flags, truth.cell, truth.spacegroup,
        DataLabels(("F", "SIGF"), True, None, None, ""), s.hkl[:0], np.zeros(0, dtype=np.int64),
    )  # fmt: skip


def simulate_demo(path: Path, d_min: float, *, seed: int) -> Model:
    """Write data of the demo's truth to a file and return the truth."""
    truth = load_demo("truth.pdb")
    write_simulated(simulate(truth, d_min, seed=seed), truth, path)
    return truth
