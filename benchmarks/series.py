"""Series of data sets with known fractions, made by gemmi alone; cells that share F."""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import gemmi
import numpy as np
import torch

from everything_wrong import natural
from multicopy_refinement import Model, RefineOptions, read_reflections, refine
from multicopy_refinement.crystal import Cell
from multicopy_refinement.modes import Parameter
from multicopy_refinement.scattering import structure_factors
from multicopy_refinement.series import SeriesData, SeriesOptions, SeriesSolution, refine_series
from multicopy_refinement.series.crystal import in_cell
from multicopy_refinement.series.state import state_of
from two_states import TwoStates, series_truth, shaken, two_states, write

TIMES = np.array([0.0, 1.0, 2.0, 4.0, 8.0, 16.0])
RATE, END = 0.25, 0.5
FRACTIONS = END * (1 - np.exp(-RATE * TIMES))
DEMO = Path(__file__).parents[1] / "src" / "multicopy_refinement" / "demo" / "truth.pdb"
EVERYTHING = (Parameter.OCCUPANCY, Parameter.XYZ, Parameter.B_ISO)

INTRODUCTION = """# Series of known truth

Made by `python benchmarks/series.py --out docs/series.md` on one thread, in {minutes:.0f} minutes.

Truth by gemmi alone: two crystals, one without the state and one with it, each with gemmi's density
and flat solvent from gemmi's own mask on a grid of 0.2 A; a data set is the sum of both by its
fraction, in a cell that differs by up to 0.3% in each axis, with its own scale (a factor of 0.4 to
2.7), B (0 to 6 A^2 more), errors (2 to 4%), and B of each residue that takes part (8%, as in
crystals of one form). The state is five side chains that have turned, in the demonstration crystal
also a ligand that is bound; the others have a draw of the dictionary's geometry, contacts among it,
which a refinement with restraints would lead to. Fractions are 0.5 (1 - exp(-0.25 t)) at t = 0, 1,
2, 4, 8, 16; the file says 0.3.

z is (fraction - truth)/su, without bounds; "white" is the same with the covariance taken out, 1
where that is right, too. "One alone" is the su of the data set at t = 4 refined as a series of one.
k is the rate that the exponential curve has."""


@dataclass(frozen=True)
class Draw:
    """What came of one series."""

    z: np.ndarray
    white: np.ndarray
    su: np.ndarray
    alone: float
    k: tuple[float, float]
    p_first: float
    regions: float
    seconds: float


def load(model: Path, folder: Path, names: list[str]) -> tuple[Model, list[SeriesData]]:
    """Return a model and its data sets."""
    loaded = Model(dtype_float=torch.float64).load(model)
    return loaded, [
        SeriesData(
            name,
            read_reflections(
                folder / f"{name}.mtz", cell=loaded.cell, spacegroup=loaded.spacegroup
            ),
            float(x),
        )
        for name, x in zip(names, TIMES, strict=True)
    ]


def draw(path: Path, d_min: float, seed: int, *, wrong: bool, reference: bool) -> Draw:
    """Return one series of a crystal; ``wrong`` starts from a model refined by itself."""
    ligand = next(
        (
            (c.name, r.seqid.num)
            for c in gemmi.read_structure(str(path))[0] for r in c if r.name == "GOL"
        ),
        None,
    ) if path == DEMO else None  # fmt: skip
    states = two_states(path, seed=seed, ligand=ligand)
    if path != DEMO:  # a refinement with restraints can have no other geometry
        states = of_dictionary(states, np.random.default_rng(seed + 5))
    sets = series_truth(TIMES, FRACTIONS, seed=seed + 100)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = shaken(states.both, 0.1, 0.15, seed=seed) if wrong else None
        model, _ = write(folder, states, sets, d_min, start=start, spread=0.08)
        if wrong:
            model = refined(model, folder / f"{sets[-1].name}.mtz", folder / "refined.pdb")
        loaded, data = load(model, folder, [one.name for one in sets])
        began = time.time()
        options = SeriesOptions(
            decoys=0, parameters=EVERYTHING, reference="d0" if reference else None
        )
        found = refine_series(loaded, data, "B", options)
        seconds = time.time() - began
        loaded, data = load(model, folder, [one.name for one in sets])
        alone = refine_series(loaded, [data[3]], "B", SeriesOptions(decoys=0))
    return judged(found, float(alone.su[0]), seconds, reference=reference)


def of_dictionary(states: TwoStates, random: np.random.Generator) -> TwoStates:
    """Return states with a draw of the dictionary's geometry, contacts among it."""
    both = natural(states.both, random)
    found = []
    for other in "BA":
        one = both.clone()
        for chain in one[0]:
            for residue in chain:
                for i in reversed(range(len(residue))):
                    if residue[i].altloc == other:
                        del residue[i]
                    else:
                        residue[i].altloc, residue[i].occ = "\0", 1.0
        found.append(one)
    return replace(states, ground=found[0], other=found[1], both=both)


def refined(model: Path, data: Path, out: Path) -> Path:
    """Write a model refined against one data set, coordinates and B of all atoms, too."""
    loaded = Model(dtype_float=torch.float64).load(model)
    reflections = read_reflections(data, cell=loaded.cell, spacegroup=loaded.spacegroup)
    options = RefineOptions(parameters=EVERYTHING, active="all", uncertainty="none", decoys=0)
    refine(loaded, reflections, options)
    loaded.write(out)
    return out


def judged(found: SeriesSolution, alone: float, seconds: float, *, reference: bool) -> Draw:
    """Return what a series says beside the truth."""
    some = slice(1, None) if reference else slice(None)
    error = (found.unbounded - FRACTIONS)[some]
    covariance = found.covariance[some, some]
    curve = next(one for one in found.fits("time") if one.name == "exponential")
    return Draw(
        error / np.sqrt(np.diag(covariance)),
        np.linalg.solve(np.linalg.cholesky(covariance), error), found.su[some], alone,
        (float(curve.value[2]), float(curve.su[2])), float(found.evidence.p_absent[0]),
        np.nan if found.regions is None else found.regions.total[2], seconds,
    )  # fmt: skip


def row(title: str, draws: list[Draw]) -> str:
    """Return a line of the table."""
    z, white = (np.array([getattr(one, name) for one in draws]) for name in ("z", "white"))
    k, k_su = np.array([one.k for one in draws]).T
    regions = [one.regions for one in draws if np.isfinite(one.regions)]
    return (
        f"| {title} | {len(draws)} | {100 * np.mean(np.abs(z) < 3):.0f}% | "
        f"{np.sqrt(np.mean(z**2)):.2f} | {np.sqrt(np.mean(white**2)):.2f} | "
        f"{np.median([one.su[-3] for one in draws]):.4f} | "
        f"{np.median([one.alone for one in draws]):.4f} | {k.mean():.3f} | {np.median(k_su):.3f} | "
        f"{np.sqrt(np.mean(((k - RATE) / k_su) ** 2)):.2f} | "
        f"{sum(p < 0.01 for p in regions)} of {len(regions)} | "
        f"{np.median([one.seconds for one in draws]):.0f} |"
    )


HEAD = (
    "| start | draws | within 3 su | rms z | white | su at t = 4 | one alone | k (0.25) | "
    "su of k | rms z of k | one fraction refused at 1% | seconds |\n|---|" + "---:|" * 11
)


def cells_table(path: Path) -> list[str]:
    """Return by how much F differ where a cell is taken for another, and what it costs."""
    model = Model(dtype_float=torch.float64).load(path)
    letter = sorted(set(model.table.altloc.tolist()) - {b""})[0].decode()
    state = state_of(model, letter)
    lines = [
        "| cell differs by | R of F_atoms, scaled | R of F_atoms, high resolution |",
        "|---:|---:|---:|",
    ]
    p = model.cell.parameters
    hkl = np.array([h for h in np.ndindex(24, 24, 24) if any(h)], dtype=np.int64)
    s_squared = model.cell.inverse_d_squared(hkl)
    hkl = hkl[s_squared < 1 / 2.0**2]
    here = structure_factors(model, hkl).abs().detach().numpy()
    for part in (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01):
        cell = Cell(p[0] * (1 + part), p[1] * (1 - part), p[2] * (1 + part / 2), *p[3:])
        other = structure_factors(in_cell(model, state, cell), hkl).abs().detach().numpy()
        s = cell.inverse_d_squared(hkl)
        # what a scale takes: ln k and an anisotropic B
        rows = np.column_stack([np.ones(len(hkl)), (hkl**2), hkl[:, [0, 0, 1]] * hkl[:, [1, 2, 2]]])
        good = (here > 1) & (other > 1)
        log = np.log(other[good] / here[good])
        fit = np.linalg.lstsq(rows[good] * here[good, None], log * here[good], rcond=None)[0]
        scaled = here * np.exp(rows @ fit)
        fine = s > np.quantile(s, 0.8)
        r = [float(np.abs(scaled - other)[m].sum() / other[m].sum()) for m in (s > 0, fine)]
        lines.append(f"| {100 * part:.2g}% | {100 * r[0]:.3f}% | {100 * r[1]:.3f}% |")
    return lines


def reuse_seconds(path: Path) -> tuple[float, float]:
    """Return seconds that F and masks of six data sets take, in one cell and in six."""
    states = two_states(path, seed=0)
    sets = series_truth(TIMES, FRACTIONS, seed=1, cells=0.0005)
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for cells in (8.0, 1.0, 8.0):  # the first has the compilation in it
            moved = [replace(s, cell=tuple(1 + cells * (c - 1) for c in s.cell)) for s in sets]
            model, _ = write(folder, states, moved, 2.5)
            loaded, data = load(model, folder, [one.name for one in sets])
            options = SeriesOptions(decoys=0, parameters=EVERYTHING[:1])
            solution = refine_series(loaded, data, "B", options)
            found.append((solution.seconds["structure_factors"], solution.crystals))
    print("cells and seconds", found, flush=True)
    return found[1][0], found[2][0]


def baz2b(shared: Path) -> list[str]:
    """Return what three crystals of one fragment screen say."""
    folder = shared / "baz2b"
    model = Model(dtype_float=torch.float64).load(folder / "x430" / "model.pdb")
    sets = [
        SeriesData(
            name,
            read_reflections(
                folder / name / "data.mtz", cell=model.cell, spacegroup=model.spacegroup
            ),
            float(i),
        )
        for i, name in enumerate(("x430", "x435", "x438"))
    ]
    lines = ["| state | x430 | x435 | x438 | chi-square of a constant | p |", "|---|" + "---:|" * 5]
    for selection in ("ligands", "B"):
        found = refine_series(model, sets, selection, SeriesOptions(parameters=EVERYTHING))
        fit = next(one for one in found.fits() if one.name == "constant")
        each = " | ".join(
            f"{f:.3f} ({su:.3f})" for f, su in zip(found.fraction, found.su, strict=True)
        )
        lines.append(f"| {selection} | {each} | {fit.chi_square:.1f} for 2 | {fit.p:.2f} |")
    return lines


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", choices=["small", "right", "protein", "rest"])
    given = parser.parse_args()
    began, lines = time.time(), []
    protein, *others = (given.shared / one / "model.pdb" for one in ("4cjl", "2xiu", "6pgy"))
    for title, kind, path, d_min, wrong, reference, n in (
        ("demonstration crystal, 1.8 A, model right", "small", DEMO, 1.8, False, False, 1),
        ("the same, the first data set as reference", "small", DEMO, 1.8, False, True, 2),
        ("4cjl, 2.5 A, model right", "right", protein, 2.5, False, False, 2),
        ("2xiu, 2.5 A, model right", "right", others[0], 2.5, False, False, 2),
        ("6pgy, 2.5 A, model right", "right", others[1], 2.5, False, False, 2),
        ("4cjl, 2.5 A, model refined by itself", "protein", protein, 2.5, True, False, 2),
    ):
        if given.only not in (None, kind):
            continue
        draws = []
        for seed in range(given.draws // n):
            draws.append(draw(path, d_min, seed, wrong=wrong, reference=reference))
            print(title, seed, draws[-1], flush=True)
        lines.append(row(title, draws))
        print(lines[-1], flush=True)
    text = [HEAD, *lines]
    if given.only in (None, "rest"):
        shared, own = reuse_seconds(protein)
        text += ["", "## Cells that share a calculation", "", CELLS.format(shared=shared, own=own),
                 "", *cells_table(protein), "", "## Three crystals of BAZ2B", "", BAZ2B, "",
                 *baz2b(given.shared)]  # fmt: skip
    made = "\n".join([INTRODUCTION.format(minutes=(time.time() - began) / 60), "", *text, ""])
    print(made)
    if given.out:
        given.out.write_text(made)


CELLS = """Data sets whose cells differ by less than 0.2% from that of another share its structure
factors and mask. The fractional coordinates are those of the model in any case, so that F differ
only in how form factors and B fall off, which the scale takes nearly whole (4cjl, a and b the
opposite way). F, masks, first scales and errors of six data sets to 2.5 A take {shared:.1f} s
in one cell and {own:.1f} s in cells of their own."""
BAZ2B = """Real data, R-free 0.21 to 0.26; cells differ by 0.7%. All three have the same ethylene
glycol bound: nothing bound changes. B are the conformers of a leucine and a glutamate."""


if __name__ == "__main__":
    main()
