"""Amplitudes whose errors are those of the likelihood, for tests."""

import numpy as np

from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.crystal.hkl import unique_reflections
from multicopy_refinement.reflections.data import DataLabels, ReflectionData


def synthetic(
    alpha: float, beta: float, *, free: float, seed: int = 0, sigma: float = 2.0
) -> tuple:
    """Return data with complex Gaussian model errors, F_obs = |alpha F + error| + noise."""
    cell, group = Cell(50, 60, 70, 90, 90, 90), SpaceGroup("P 21 21 21")
    hkl = unique_reflections(cell, group, 2.2)
    random = np.random.default_rng(seed)
    n = len(hkl)
    centric, epsilon = group.centric(hkl), group.epsilon(hkl)
    f = np.abs(random.standard_normal(n) + 1j * random.standard_normal(n)) * 100
    acentric_error = (random.standard_normal(n) + 1j * random.standard_normal(n)) / np.sqrt(2)
    error = np.where(centric, random.standard_normal(n), acentric_error)
    sigma = np.full(n, sigma)
    f_obs = np.abs(alpha * f + error * np.sqrt(beta * epsilon))
    f_obs = np.abs(f_obs + sigma * random.standard_normal(n))
    data = ReflectionData(
        hkl, f_obs, sigma, random.uniform(size=n) < free, np.zeros(n, dtype=np.int64), cell, group,
        DataLabels(("F", "SIGF"), True, None, None, ""), hkl[:0], np.zeros(0, dtype=np.int64),
    )  # fmt: skip
    return data, f
