"""Simulated diffraction data of a model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from multicopy_refinement._typing import ComplexArray, FloatArray, IntArray
from multicopy_refinement.crystal.hkl import unique_reflections
from multicopy_refinement.errors import InputError
from multicopy_refinement.io.mtz import MtzColumn, write_mtz
from multicopy_refinement.model import Model
from multicopy_refinement.modes import SolventTruth
from multicopy_refinement.scaling.scaler import usual_k_sol
from multicopy_refinement.scattering.atoms import ScatteringAtoms, atoms_of
from multicopy_refinement.scattering.direct import direct_sum
from multicopy_refinement.scattering.factors.tables import double_prime_factors
from multicopy_refinement.scattering.splat import splat_structure_factors
from multicopy_refinement.simulate.noise import amplitude_sigmas
from multicopy_refinement.simulate.solvent import true_solvent

#: Terms up to which direct summation is used; beyond it a fine grid.
_DIRECT_TERMS = 4e8
#: Free flags run from 0 to this, 0 is free.
LAST_FLAG = 19


@dataclass(frozen=True, eq=False)
class SimulatedData:
    """Amplitudes with errors, and what they were before.

    Attributes
    ----------
    hkl
        ``[n, 3]``.
    f_true, f_obs, sigma
        In the unit of the model's form factors, ``[n]``.
    flags
        Free flags 0..19 at random, 0 is free, ``[n]``.
    mates
        F(+) and F(-) with errors, whose mean is ``f_obs``, ``[2, n]``, and the sigma of either is
        sqrt(2) of that of the mean; None where the beam has no f''.
    """

    hkl: IntArray
    f_true: FloatArray
    f_obs: FloatArray
    sigma: FloatArray
    flags: IntArray
    mates: FloatArray | None = None


def simulate(
    model: Model, d_min: float, *, seed: int = 0, noise: float = 0.03,
    k_sol: float | None = None, b_sol: float = 46.0,
    solvent: SolventTruth | str = SolventTruth.OCCUPANCY,
) -> SimulatedData:  # fmt: skip
    """Return amplitudes |F_calc + k_sol exp(-B_sol s^2/4) F_mask| with Gaussian errors.

    Where the beam has f'', those of F(+) and F(-) apart, |F +- iF''| with errors of their own, and
    their mean.

    Parameters
    ----------
    model
        The truth, and with what it is measured (`Model.beam`).
    d_min
        Resolution in A; all unique reflections to it are given.
    seed
        Of errors and free flags.
    noise
        Relative error of strong amplitudes (0.03 is 3%); weak ones err more.
    k_sol, b_sol
        Bulk solvent, in that unit over A^3 (0.35 for X-rays, 0.1 for electrons, 0.6 for neutrons
        when left out) and A^2; none where there is less than 2% of it.
    solvent
        ``occupancy``: it fills what partial groups leave in each of the crystal's molecules, the
        mean of many; ``flat``: every atom that is there at all keeps it out.
    """
    if not d_min > 0:
        raise InputError(f"the resolution must be above 0 A, not {d_min}")
    if not noise >= 0:
        raise InputError(f"the noise must not be below 0, not {noise}")
    hkl = unique_reflections(model.cell, model.spacegroup, d_min)
    if len(hkl) == 0:
        raise InputError(f"no reflections within {d_min} A")
    s_squared = model.cell.inverse_d_squared(hkl)
    k_sol = usual_k_sol(model.radiation) if k_sol is None else k_sol
    faded = k_sol * np.exp(-b_sol * s_squared / 4)
    total = _exact(atoms_of(model), hkl) + faded * true_solvent(model, hkl, SolventTruth(solvent))
    f_true = np.abs(total)
    random = np.random.default_rng(seed)
    sigma = amplitude_sigmas(f_true, s_squared, noise)
    if model.beam.f_double_prime:
        return _apart(model, hkl, total, sigma, random, noise)
    f_obs = np.abs(f_true + (sigma * random.standard_normal(len(hkl)) if noise > 0 else 0.0))
    flags = random.integers(0, LAST_FLAG + 1, len(hkl))
    return SimulatedData(hkl, f_true, f_obs, sigma, flags)


def write_simulated(data: SimulatedData, model: Model, path: str | Path) -> None:
    """Write F, SIGF and FreeR_flag as MTZ, and F(+), SIGF(+), F(-), SIGF(-) where they differ."""
    columns = [
        MtzColumn("F", "F", data.f_obs),
        MtzColumn("SIGF", "Q", data.sigma),
        MtzColumn("FreeR_flag", "I", data.flags.astype(np.float64)),
    ]
    if data.mates is not None:
        for sign, values in zip("+-", data.mates, strict=True):
            columns.append(MtzColumn(f"F({sign})", "G", values))
            columns.append(MtzColumn(f"SIGF({sign})", "L", np.sqrt(2) * data.sigma))
    write_mtz(
        path,
        model.cell,
        model.spacegroup,
        data.hkl,
        columns,
        title="simulated by multicopy_refinement",
        wavelength=model.beam.wavelength,
    )


def _apart(
    model: Model, hkl: IntArray, total: ComplexArray, sigma: FloatArray,
    random: np.random.Generator, noise: float,
) -> SimulatedData:  # fmt: skip
    """Return F(+) and F(-) with their errors, and their mean."""
    atoms = atoms_of(model)
    of_second = double_prime_factors(atoms.factors, model.beam)
    second = _exact(replace(atoms, factors=of_second), hkl)
    # of a centric reflection i F'' stands across F, and both are equal
    mates = np.abs(np.stack([total + 1j * second, total - 1j * second]))
    f_true = mates.mean(axis=0)
    if noise > 0:
        mates = np.abs(mates + np.sqrt(2) * sigma * random.standard_normal(mates.shape))
    flags = random.integers(0, LAST_FLAG + 1, len(hkl))
    return SimulatedData(hkl, f_true, mates.mean(axis=0), sigma, flags, mates)


def _exact(atoms: ScatteringAtoms, hkl: IntArray) -> ComplexArray:
    with torch.no_grad():
        if len(atoms) * len(hkl) * atoms.spacegroup.order < _DIRECT_TERMS:
            return np.asarray(direct_sum(atoms, hkl).numpy())
        return np.asarray(splat_structure_factors(atoms, hkl, accuracy=1e-6).numpy())
