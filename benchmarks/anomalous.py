"""Zinc by Bijvoet differences: a table from crystals whose truth gemmi made."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import gemmi
import numpy as np
import torch

import gemmi_truth as truth
from multicopy_refinement import Model, RefineOptions, read_reflections, refine

#: True occupancies of the zinc sites.
LEVELS = (0.0, 0.3, 0.5, 0.7)
#: Where, to which resolution, with which errors of all other atoms (rms, A), and noise.
CASES = (
    (1.28, 1.8, 0.0, 0.03), (1.54, 1.8, 0.0, 0.03), (1.28, 2.5, 0.0, 0.03), (1.28, 1.8, 0.1, 0.03),
    (1.28, 1.8, 0.2, 0.03), (1.28, 1.8, 0.3, 0.03), (1.28, 1.8, 0.1, 0.01),
)  # fmt: skip

INTRODUCTION = """# Zinc by Bijvoet differences

Made by `python benchmarks/anomalous.py --out docs/anomalous.md` on one thread, in {minutes:.0f}
minutes.

Truth by gemmi alone: its density with f', its solvent, and F'' as the difference of two of its
direct sums; the demonstration crystal with four zinc sites in random places of the solvent at 0,
0.3, 0.5 and 0.7, {n} draws of the places and the errors each. F(+) and F(-) err independently;
their mean has the relative error of the table. All zincs start at 0.5. "Wrong by" is the rms error
of the coordinates of all other atoms; B and the places of zincs are those of the truth, so that
`su_conditional` is what to judge by where they are exact. Rms z is that of the sites that are
there; "error" is their mean, beside the standard error of that.

A model that is wrong has too low a scale, by amplitudes and by differences; the su of the run,
which counts coordinates, covers it."""


@dataclass(frozen=True)
class Row:
    """One site of one run."""

    true: float
    occupancy: float
    su: float
    su_conditional: float
    apart: float
    su_apart: float
    supported: bool


def crystal(seed: int, shake: float) -> tuple[gemmi.Structure, gemmi.Structure]:
    """Return the truth with zincs in the solvent, and the start with its other atoms moved."""
    structure = gemmi.read_structure(str(files("multicopy_refinement") / "demo" / "truth.pdb"))
    start = structure.clone()
    if shake:
        truth.move_at_random(start, np.random.default_rng(seed + 50), shake)
    places = free_places(structure, len(LEVELS), seed)
    for one, levels in ((structure, LEVELS), (start, (0.5,) * len(LEVELS))):
        add_metals(one, places, ["Zn"] * len(LEVELS), levels)
    return structure, start


def add_metals(
    structure: gemmi.Structure, places: Sequence[np.ndarray], elements: Sequence[str],
    occupancies: Sequence[float], b_iso: float = 20.0,
) -> None:  # fmt: skip
    """Add atoms of elements in places as chain Z, a residue each from 1 on."""
    chain = gemmi.Chain("Z")
    for number, (xyz, element, q) in enumerate(zip(places, elements, occupancies, strict=True), 1):
        residue, atom, name = gemmi.Residue(), gemmi.Atom(), element.upper()
        residue.name, residue.seqid, residue.het_flag = name, gemmi.SeqId(str(number)), "H"
        atom.name, atom.element, atom.pos = name, gemmi.Element(element), gemmi.Position(*xyz)
        atom.occ, atom.b_iso = q, b_iso
        residue.add_atom(atom)
        chain.add_residue(residue)
    structure[0].add_chain(chain)
    structure.setup_cell_images()


def free_places(structure: gemmi.Structure, n: int, seed: int) -> list[np.ndarray]:
    """Return places beside the model, 3 to 5 A from it and 6 A from each other."""
    random = np.random.default_rng(seed)
    search = gemmi.NeighborSearch(structure[0], structure.cell, 8.0).populate()
    found: list[np.ndarray] = []
    while len(found) < n:
        place = structure.cell.orthogonalize(gemmi.Fractional(*random.uniform(0, 1, 3)))
        near = truth.nearest(search, structure, [place])
        apart = (
            all(
                structure.cell.find_nearest_image(
                    place, gemmi.Position(*other), gemmi.Asu.Any
                ).dist()
                > 6.0
                for other in found
            )
            and structure.cell.is_special_position(place, 3.0) == 0
        )
        if 3.0 < near < 5.0 and apart:
            found.append(np.array(place.tolist()))
    return found


def make(
    folder: Path, seed: int, wavelength: float, d_min: float, shake: float, noise: float
) -> tuple[Path, Path]:
    """Write start.pdb and data.mtz."""
    structure, start = crystal(seed, shake)
    f_prime, second = {}, {}
    for element in {site.atom.element.name for site in structure[0].all()}:
        z = gemmi.Element(element).atomic_number
        f_prime[element], second[element] = gemmi.cromer_liberman(z, gemmi.hc / wavelength)
    hkl, f = truth.factors(structure, d_min, f_prime=f_prime)
    columns = truth.observe_mates(
        structure, hkl, f, truth.imaginary(structure, hkl, second), seed=seed, noise=noise
    )
    start.write_pdb(str(folder / "start.pdb"))
    truth.write_columns(folder / "data.mtz", structure, hkl, columns)
    return folder / "start.pdb", folder / "data.mtz"


def run(
    paths: tuple[Path, Path], wavelength: float, *, anomalous: bool, **more: object
) -> list[Row]:
    """Return the zinc sites of one refinement."""
    model = Model(dtype_float=torch.float64).load(paths[0])
    data = read_reflections(
        paths[1], cell=model.cell, spacegroup=model.spacegroup, anomalous=anomalous
    )
    options = RefineOptions(wavelength=wavelength, anomalous=anomalous, **more)
    solution = refine(model, data, options, waters=False)
    rows, apart = [], solution.anomalous
    for number, true in enumerate(LEVELS, 1):
        g = solution.groups.names.index(f"Z/{number}/ZN")
        rows.append(
            Row(
                true, float(solution.occupancy[g]), float(solution.su[g]),
                float(solution.results.su_conditional[g]),
                float("nan") if apart is None else float(apart.occupancy[g]),
                float("nan") if apart is None else float(apart.su[g]),
                "not_supported" not in solution.results.flags[g],
            )
        )  # fmt: skip
    return rows


def table(found: dict[tuple[float, ...], tuple[list[Row], list[Row]]]) -> list[str]:
    """Return the lines of the table: each case without and with differences, and by them alone."""
    lines = [
        "| wavelength, A | d_min, A | wrong by, A | noise | data | error | su | su_conditional | "
        "rms z | the same of su_conditional | called present of absent |",
        "|---|---|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for (wavelength, d_min, shake, noise), (without, rows) in found.items():
        for what, mine in (("F", without), ("F, F(+) - F(-)", rows), ("F(+) - F(-) alone", rows)):
            alone = what.endswith("alone")
            there = [r for r in mine if r.true > 0]
            q = np.array([r.apart if alone else r.occupancy for r in there])
            error = q - np.array([r.true for r in there])
            both = [
                np.array([r.su_apart if alone else getattr(r, k) for r in there])
                for k in ("su", "su_conditional")
            ]
            absent = [r for r in mine if r.true == 0]
            z = [f"{np.sqrt(np.mean((error / su) ** 2)):.2f}" for su in both]
            called = "" if alone else f"{sum(r.supported for r in absent)} of {len(absent)}"
            lines.append(
                f"| {wavelength} | {d_min} | {shake} | {noise} | {what} | {error.mean():+.4f}("
                f"{round(1e4 * error.std() / len(error) ** 0.5)}) | {np.median(both[0]):.4f} | "
                f"{np.median(both[1]):.4f} | {z[0]} | {z[1]} | {called} |"
            )
    return lines


def main() -> None:
    """Run all cases and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--draws", type=int, default=12)
    parser.add_argument("--cases", type=int, default=len(CASES))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    began, found = time.perf_counter(), {}
    for case in CASES[: arguments.cases]:
        wavelength, d_min, shake, noise = case
        without, rows = [], []
        for seed in range(arguments.draws):
            with tempfile.TemporaryDirectory() as folder:
                paths = make(Path(folder), seed, wavelength, d_min, shake, noise)
                without += run(paths, wavelength, anomalous=False)
                rows += run(paths, wavelength, anomalous=True)
        found[case] = without, rows
        print("\n".join(table({case: found[case]})[2:]), flush=True)
    minutes = (time.perf_counter() - began) / 60
    text = INTRODUCTION.format(minutes=minutes, n=arguments.draws)
    page = "\n".join([text, "", *table(found), ""])
    print(page) if arguments.out is None else arguments.out.write_text(page)


if __name__ == "__main__":
    main()
