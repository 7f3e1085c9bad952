"""Twins whose truth is made by gemmi alone, refined as one crystal and as twins: a table.

    python benchmarks/twins.py [--seeds 4]

The demonstration model in three crystals whose lattices have a law. Coordinates and B are those of
the truth, so that the su are those of errors of the data alone (``--uncertainty conditional``).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import gemmi
import numpy as np

import gemmi_truth
from multicopy_refinement import Model, RefineOptions, Solution, refine
from multicopy_refinement.words import with_su

#: Group, cell and law: merohedral, pseudo-merohedral, and that of a right angle.
CRYSTALS = (
    ("P 31", (38, 38, 32, 90, 90, 120), "-h,-k,l"),
    ("P 21 21 21", (30, 30.15, 32, 90, 90, 90), "k,h,-l"),
    ("P 1 21 1", (28, 30, 32, 90, 90.3, 90), "-h,-k,l"),
)
FRACTIONS = (0.0, 0.1, 0.25, 0.45)
D_MIN = 1.8


def written(
    folder: Path, crystal: tuple[str, tuple[float, ...], str], fraction: float, seed: int
) -> gemmi.Structure:
    """Write start.pdb and data.mtz of a twin, and return the truth."""
    group, cell, law = crystal
    truth = gemmi.read_structure(str(files("multicopy_refinement") / "demo" / "truth.pdb"))
    truth.cell, truth.spacegroup_hm = gemmi.UnitCell(*cell), group
    truth.setup_cell_images()
    hkl, f = gemmi_truth.twinned(truth, D_MIN, law, fraction)
    s_squared = np.asarray(truth.cell.calculate_1_d2_array(hkl))
    data = gemmi_truth.observe(hkl, f, s_squared, seed=seed)
    gemmi_truth.write_mtz(folder / "data.mtz", truth, data)
    start = truth.clone()
    for site in start[0].all():
        site.atom.occ = 0.5 if site.atom.occ < 1 else 1.0
    start.write_pdb(str(folder / "start.pdb"))
    return truth


def errors(solution: Solution, truth: gemmi.Structure) -> tuple[np.ndarray, np.ndarray]:
    """Return q - truth and (q - truth)/su of the groups that are partial."""
    known, groups = Model(truth).table.occupancy, solution.groups
    expected = np.array([known[members].mean() for members in groups.members])
    some = groups.refined & (expected > 0) & (expected < 1) & np.isfinite(solution.su)
    off = (solution.occupancy - expected)[some]
    return off, off / solution.su[some]


def rows(n_seeds: int) -> Iterator[str]:
    """Yield the rows of the table, in Markdown."""
    head = ("group", "alpha", "told before", "alpha refined", "rms z of it", "R-work", "rms error",
            "rms z", "as one crystal: R-work", "rms error", "rms z")  # fmt: skip
    yield "| " + " | ".join(head) + " |"
    yield "|---" * len(head) + "|"
    for crystal in CRYSTALS:
        for fraction in FRACTIONS:
            found: dict[str | None, list[tuple[Solution, np.ndarray, np.ndarray]]] = {}
            for seed in range(n_seeds):
                with tempfile.TemporaryDirectory() as name:
                    folder = Path(name)
                    truth = written(folder, crystal, fraction, seed)
                    for law in (None, crystal[2]):
                        solution = refine(
                            folder / "start.pdb", folder / "data.mtz",
                            RefineOptions(twin=law, uncertainty="conditional", decoys=0),
                        )  # fmt: skip
                        found.setdefault(law, []).append((solution, *errors(solution, truth)))
            twins, plain = found[crystal[2]], found[None]
            refined = [one.twin for one, *_ in twins if one.twin is not None]
            told = sum(n.code == "twinned" for one, *_ in plain for n in one.notices)
            of_alpha = rms(np.array([(t.fraction - fraction) / t.su for t in refined]))
            yield "| " + " | ".join(
                (
                    crystal[0], f"{fraction:g}", f"{told} of {n_seeds}",
                    with_su(refined[0].fraction, refined[0].su), f"{of_alpha:.1f}",
                    *agreement(twins), *agreement(plain),
                )
            ) + " |"  # fmt: skip


def rms(values: np.ndarray) -> float:
    """Return the root of the mean square."""
    return float(np.sqrt(np.mean(values**2)))


def agreement(found: list[tuple[Solution, np.ndarray, np.ndarray]]) -> tuple[str, str, str]:
    """Return mean R-work, and rms error and rms z of the occupancies, as text."""
    off, z = (np.concatenate([one[i] for one in found]) for i in (1, 2))
    r = np.mean([one.final.r_work for one, *_ in found])
    return f"{r:.3f}", f"{rms(off):.3f}", f"{rms(z):.2f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4)
    for row in rows(parser.parse_args().seeds):
        print(row, flush=True)


if __name__ == "__main__":
    main()
