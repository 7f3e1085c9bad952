"""What is absent, what is partial: a table from crystals whose truth gemmi made."""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

import gemmi_truth as truth
from everything_wrong import SPACING, natural
from multicopy_refinement import Model, RefineOptions, read_reflections, refine

CRYSTALS = ("4cjl/model", "1g8a/single-conformer")
RESOLUTIONS = (1.5, 1.8, 2.2, 2.8)
LEVELS = (0.0, 0.0, 0.3, 0.4, 0.5, 0.6)

INTRODUCTION = """# What is absent, and what is partial

Made by `python benchmarks/nulls.py --out docs/nulls.md` on one thread, in {minutes:.0f} minutes.

Truth by gemmi alone: its density, and solvent that fills each point of a grid of {spacing} A to 1 -
the largest occupancy that covers it. (The program takes groups to be there or not independently:
where they overlap truth is another.) Two real models without their altlocs and hydrogens (4cjl,
1g8a), three draws each: 48 waters of the model and up to 32 ligands of 4 to 13 atoms (ethylene
glycol, acetate, sulfate, glycerol, phosphate, citrate) in random places beside it, a third of both
absent, the others at 0.3 to 0.6; 3% noise. All start at 0.5. "Called present" are groups without
the flag `not_supported`; in the last column is their part that is absent, which the flag holds at
5%. rms z is that of the partial ones: 1 where the su are right. The su count coordinates and B,
which are exact but in the second table and the third: su_conditional is what to judge by. In the
third the truth is a draw of the dictionary's geometry: contacts that cannot be are none that a
refinement could stand. In the fourth the solvent falls off as in real crystals (flat to 4 A, gone
at 2.8 A). In the fifth its density is that of the first times 1 + 0.3 x, x random, of rms 1, and
smooth by 1.5 A (sigma): around molecules that stand still solvent is in shells, not even."""
#: Of the third table: coordinates and B of what is within 4 A are refined with the occupancies.
JOINTLY = {"parameters": "occupancy,xyz,b_iso", "max_cycles": 10}
JOINT_RESOLUTIONS = (1.8, 2.2)


@dataclass(frozen=True)
class Row:
    """One group of one run."""

    ligand: bool
    resolution: float
    true: float
    occupancy: float
    su: float
    su_conditional: float
    p_theory: float
    supported: bool


class Solvent(NamedTuple):
    """S = k_sol exp(-b_sol s^2/4 - c_sol s^4) of the truth, its density uneven by some part."""

    k_sol: float
    b_sol: float
    c_sol: float = 0.0
    uneven: float = 0.0


GAUSSIAN, SHARP = Solvent(truth.K_SOL, truth.B_SOL), Solvent(truth.K_SOL, 5.0, 90.0)
NONE = Solvent(0.0, truth.B_SOL)
UNEVEN = GAUSSIAN._replace(uneven=0.3)


def make(
    shared: Path, name: str, d_min: float, seed: int, shake: float, solvent: Solvent, folder: Path,
    *, of_dictionary: bool = False,
) -> dict[tuple[str, str], truth.Site]:  # fmt: skip
    """Write start.pdb and data.mtz of a crystal; return its sites by chain and number.

    ``of_dictionary`` gives it a geometry that restraints know.
    """
    made = crystal(shared, name, seed, 0.0 if of_dictionary else shake)
    if of_dictionary:
        made = natural_crystal(made, np.random.default_rng(seed + 5), shake)
    scale = solvent._asdict()
    filled = partial(truth.solvent, spacing=SPACING, uneven=scale.pop("uneven"))
    hkl, f = truth.amplitudes(made.truth, d_min, filled=filled, **scale)
    s_squared = np.asarray(made.truth.cell.calculate_1_d2_array(hkl))
    made.start.write_pdb(str(folder / "start.pdb"))
    truth.write_mtz(folder / "data.mtz", made.truth, truth.observe(hkl, f, s_squared, seed=seed))
    return {(s.chain, str(s.number)): s for s in made.sites}


@cache  # to place ligands takes longer than a refinement
def crystal(shared: Path, name: str, seed: int, shake: float) -> truth.Crystal:
    """Return a crystal with waters and ligands of known occupancy."""
    return truth.crystal(
        shared / f"{name}.pdb", shared / "monomers", seed=seed, n_ligands=32, levels=LEVELS,
        shake=shake,
    )  # fmt: skip


def natural_crystal(
    made: truth.Crystal, random: np.random.Generator, shake: float
) -> truth.Crystal:
    """Return a crystal with a draw of the dictionary's geometry, and a start off by ``shake``."""
    structure = natural(made.truth, random)
    start = structure.clone()
    for site, old in zip(start[0].all(), made.start[0].all(), strict=True):
        site.atom.occ = old.atom.occ
    truth.move_at_random(start, random, shake)
    return replace(made, truth=structure, start=start)


def run(
    shared: Path, name: str, d_min: float, seed: int, shake: float, solvent: Solvent, folder: Path,
    jointly: bool = False,
) -> list[Row]:  # fmt: skip
    """Return the groups of one refinement."""
    from multicopy_refinement.refinement.support import boundary_p

    known = make(shared, name, d_min, seed, shake, solvent, folder, of_dictionary=jointly)
    model = Model(dtype_float=torch.float64).load(folder / "start.pdb")
    data = read_reflections(folder / "data.mtz", cell=model.cell, spacegroup=model.spacegroup)
    options = {**JOINTLY, "monomers": shared / "monomers"} if jointly else {}
    solution = refine(model, data, RefineOptions(**options))
    results, rows = solution.results, []
    for g in np.flatnonzero(solution.groups.refined).tolist():
        chain, number = solution.groups.names[g].split("/")[:2]
        site = known[chain, number]
        # a place, an orientation, and a B
        extra = (4 if len(solution.groups.members[g]) == 1 else 7) if jointly else 0
        rows.append(
            Row(
                site.name != "HOH", d_min, site.occupancy, float(solution.occupancy[g]),
                float(solution.su[g]), float(results.su_conditional[g]),
                float(boundary_p(results.delta_log_likelihood[[g]], np.array([extra]))[0]),
                "not_supported" not in results.flags[g] and np.isfinite(solution.su[g]),
            )
        )  # fmt: skip
    return rows


def table(rows: list[Row]) -> list[str]:
    """Return the lines of a table by kind and resolution."""
    lines = [
        "| what | d_min, A | absent | called present | mean q | theory alone: p < 0.05 | partial | "
        "found | mean error | median su | rms z | the same of su_conditional | "
        "called present and absent |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for ligand in (False, True):
        kind = [r for r in rows if r.ligand is ligand]
        found = sorted({r.resolution for r in kind})
        for d in [*found, None]:
            mine = [r for r in kind if d is None or r.resolution == d]
            absent = [r for r in mine if r.true == 0]
            partial = [r for r in mine if r.true > 0]
            error = np.array([r.occupancy - r.true for r in partial])
            su, conditional = (
                np.array([getattr(r, k) for r in partial]) for k in ("su", "su_conditional")
            )
            called = sum(r.supported for r in mine)
            wrong = sum(r.supported for r in absent)
            lines.append(
                f"| {'ligands' if ligand else 'waters'} | {'all' if d is None else d} | "
                f"{len(absent)} | {wrong} | {np.mean([r.occupancy for r in absent]):.3f} | "
                f"{100 * np.mean([r.p_theory < 0.05 for r in absent]):.1f}% | {len(partial)} | "
                f"{100 * np.mean([r.supported for r in partial]):.1f}% | {error.mean():+.4f} | "
                f"{np.nanmedian(su):.4f} | {np.sqrt(np.nanmean((error / su) ** 2)):.2f} | "
                f"{np.sqrt(np.nanmean((error / conditional) ** 2)):.2f} | "
                f"{100 * wrong / max(called, 1):.1f}% |"
            )
    return lines


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="tables with this in their title")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    began, lines = time.time(), []
    with tempfile.TemporaryDirectory() as folder:
        for title, shake, solvent, jointly in (
            ("Coordinates and B right", 0.0, GAUSSIAN, False),
            ("Coordinates off by 0.1 A (rms)", 0.1, GAUSSIAN, False),
            ("Coordinates off by 0.1 A, refined with B and occupancies", 0.1, GAUSSIAN, True),
            ("Solvent with a sharp edge, as in crystals", 0.0, SHARP, False),
            ("Solvent that is not even", 0.0, UNEVEN, False),
            ("No solvent, neither in truth nor model: the statistics alone", 0.0, NONE, False),
        ):
            if given.only and given.only not in title:
                continue
            rows: list[Row] = []
            for name in CRYSTALS:
                for d_min in JOINT_RESOLUTIONS if jointly else RESOLUTIONS:
                    for seed in range(given.seeds):
                        rows += run(
                            given.shared, name, d_min, seed, shake, solvent, Path(folder), jointly
                        )
            lines += [f"### {title}", "", *table(rows), ""]
            print("\n".join(lines[-len(table(rows)) - 3 :]), flush=True)
    minutes = (time.time() - began) / 60
    text = "\n".join([INTRODUCTION.format(minutes=minutes, spacing=SPACING), "", *lines])
    if given.out:
        given.out.write_text(text)


if __name__ == "__main__":
    main()
