"""Likelihood of intensities beside amplitudes made from them: occupancies of known truth."""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import gemmi_truth as truth
from multicopy_refinement import Model, RefineOptions, read_reflections, refine
from multicopy_refinement.modes import TargetKind

CRYSTALS = ("4cjl/model", "1g8a/single-conformer")
D_MIN, OUTER = 2.0, (0.5, 1.0, 2.0)
LEVELS = (0.3, 0.4, 0.5, 0.6)
#: Part of the reflections, those of highest resolution, that I/sigma is told for.
OUTERMOST = 0.1
#: What is refined against what, in the order of the table.
KINDS = {
    "French-Wilson amplitudes, ml": ("intensities.mtz", TargetKind.ML),
    "intensities, mli": ("intensities.mtz", TargetKind.MLI),
    "exact amplitudes, ml": ("amplitudes.mtz", TargetKind.ML),
}

INTRODUCTION = """# Likelihood of intensities

Made by `python benchmarks/intensities.py --out docs/intensities.md` on one thread, in {minutes:.0f}
minutes.

Truth by gemmi alone, as for [What is absent](nulls.md): real models without their altlocs and
hydrogens (4cjl, P 31 2 1, mean B 34 A^2; 1g8a, P 21, mean B 16 A^2), {seeds} draws each, 48 waters
of the model and up to 18 ligands beside it at 0.3 to 0.6, all started at 0.5; data to 2 A.
Intensities have Gaussian errors of one sigma for all reflections, such that I/sigma of the outer
tenth of them, in the mean, is what the table says; many are negative. "Exact amplitudes" are
those of the truth with the same errors, sigma_F = sqrt(F^2 + sigma_I) - F, which no prior has drawn
to anything: what can be had. rms z is 1 where the su are right, known to about 1/sqrt(2n); where it
is above 1 of exact amplitudes, too, it is the solvent of the model that is off, not the data. Alpha
is that of the outermost shell, 1 in truth; it takes up that French-Wilson amplitudes are drawn to
the prior. Seconds are those of a busy machine."""


@dataclass(frozen=True, eq=False)
class Row:
    """One refinement: errors of the occupancies, their su, alpha, seconds."""

    error: np.ndarray
    su: np.ndarray
    alpha: float
    seconds: float


def observe(made: truth.Crystal, folder: Path, outer: float, seed: int, k_sol: float) -> None:
    """Write the start, intensities, and exact amplitudes with the same errors."""
    hkl, f = truth.amplitudes(made.truth, D_MIN, k_sol=k_sol)
    s_squared = np.asarray(made.truth.cell.calculate_1_d2_array(hkl))
    outermost = s_squared > np.quantile(s_squared, 1 - OUTERMOST)
    sigma = np.full(len(f), np.mean(f[outermost] ** 2) / outer)
    random = np.random.default_rng(seed + 2000)
    error = random.standard_normal(len(f))
    flags = {"FreeR_flag": ("I", random.integers(0, 20, len(f)))}
    sigma_f = np.sqrt(f**2 + sigma) - f
    made.start.write_pdb(str(folder / "start.pdb"))
    for name, columns in (
        ("intensities", {"I": ("J", f**2 + sigma * error), "SIGI": ("Q", sigma)}),
        ("amplitudes", {"F": ("F", np.abs(f + sigma_f * error)), "SIGF": ("Q", sigma_f)}),
    ):
        truth.write_columns(folder / f"{name}.mtz", made.truth, hkl, columns | flags)


def run(folder: Path, sites: tuple[truth.Site, ...], data_file: str, target: TargetKind) -> Row:
    """Return the result of one refinement."""
    model = Model(dtype_float=torch.float64).load(folder / "start.pdb")
    data = read_reflections(folder / data_file, cell=model.cell, spacegroup=model.spacegroup)
    began = time.time()
    solution = refine(model, data, RefineOptions(target=target, decoys=0))
    seconds = time.time() - began
    known = {(s.chain, str(s.number)): s.occupancy for s in sites}
    refined = np.flatnonzero(solution.groups.refined)
    true = [known[tuple(solution.groups.names[g].split("/")[:2])] for g in refined]
    alpha = float(solution.experiment.errors.shell_alpha[-1])
    return Row(solution.occupancy[refined] - np.array(true), solution.su[refined], alpha, seconds)


def line(name: str, outer: float, rows: list[Row]) -> str:
    """Return a line of the table."""
    error, su = (np.concatenate([getattr(r, k) for r in rows]) for k in ("error", "su"))
    known = np.isfinite(su)
    z = error[known] / su[known]
    return (
        f"| {outer:g} | {name} | {known.sum()} | {np.sqrt(np.mean(z**2)):.2f} | {z.mean():+.2f} | "
        f"{np.median(np.abs(error)):.4f} | {np.median(su[known]):.4f} | "
        f"{np.mean([r.alpha for r in rows]):.2f} | {np.mean([r.seconds for r in rows]):.1f} |"
    )


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    began, lines = time.time(), []
    for name in CRYSTALS:
        for solvent, k_sol in (("no solvent", 0.0), ("with solvent", truth.K_SOL)):
            lines += [
                "", f"## {name.split('/')[0]}, {solvent}", "",
                "| outer I/sigma | refined against | estimates | rms z | mean z | median error | "
                "median su | alpha | seconds |",
                "|---:|---|---:|---:|---:|---:|---:|---:|---:|",
            ]  # fmt: skip
            for outer in OUTER:
                found: dict[str, list[Row]] = {kind: [] for kind in KINDS}
                for seed in range(given.seeds):
                    made = truth.crystal(
                        given.shared / f"{name}.pdb", given.shared / "monomers", seed=seed,
                        n_ligands=18, levels=LEVELS,
                    )  # fmt: skip
                    with tempfile.TemporaryDirectory() as folder:
                        observe(made, Path(folder), outer, seed, k_sol)
                        for kind, (data_file, target) in KINDS.items():
                            found[kind].append(run(Path(folder), made.sites, data_file, target))
                lines += [line(kind, outer, rows) for kind, rows in found.items()]
                print("\n".join(lines[-len(KINDS) :]), flush=True)
    minutes = (time.time() - began) / 60
    if given.out:
        text = [INTRODUCTION.format(minutes=minutes, seeds=given.seeds), *lines, ""]
        given.out.write_text("\n".join(text))


if __name__ == "__main__":
    main()
