"""Occupancies where coordinates and B are as wrong as in life: alone, with B shifts, and jointly.

    python benchmarks/everything_wrong.py --out docs/everything-wrong.md

Truth is made by gemmi alone (`gemmi_truth`): waters, ligands and side chains of two conformers,
with solvent where nothing is. Refinement starts from coordinates and B factors with random errors.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import gemmi
import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from gemmi_truth import (
    Crystal,
    Site,
    amplitudes,
    crystal,
    observe,
    solvent_of_states,
    write_mtz,
)
from multicopy_refinement import Model, RefineOptions, read_reflections, refine
from multicopy_refinement.geometry import Geometry

#: Model, and pairs of rms coordinate error in A and relative B error.
CRYSTALS = ("1g8a/single-conformer.pdb", "4cjl/model.pdb")
RESOLUTIONS = (1.4, 1.8, 2.3)
ERRORS = ((0.05, 0.10), (0.10, 0.20))
WAYS = {
    "occupancies": {},
    "b_group": {"parameters": "occupancy,b_group"},
    "jointly": {"parameters": "occupancy,xyz,b_iso", "active": "all", "max_cycles": 12},
}
#: Of the truth's masks, in A; on one of 0.45 F_mask is off by 17% at 6 A beside partial groups.
SPACING = 0.25
#: Occupancies of the first conformer of side chains.
SHARES = (0.3, 0.4, 0.5, 0.6, 0.7)


@dataclass(frozen=True)
class Row:
    """One occupancy that is known."""

    crystal: str
    d_min: float
    shake: float
    way: str
    kind: str
    name: str
    truth: float
    value: float
    su: float
    su_conditional: float


def with_conformers(made: Crystal, n: int, random: np.random.Generator, shake: float,
                    b_error: float) -> tuple[Crystal, dict[tuple[str, int], float]]:  # fmt: skip
    """Return a crystal some of whose side chains have a second conformer, and their first shares.

    The second is the first turned by 120 degrees about CA-CB where nothing is in its way. The start
    has random errors of all coordinates and B.
    """
    truth = made.truth.clone()
    search = gemmi.NeighborSearch(truth[0], truth.cell, 6.0).populate()
    candidates = [
        (c.name, r) for c in truth[0] for r in c
        if {"CA", "CB"} <= {a.name for a in r} and r.name in
        ("SER", "THR", "VAL", "LEU", "ILE", "GLN", "GLU", "LYS", "ASN", "ASP", "MET", "CYS")
    ]  # fmt: skip
    shares: dict[tuple[str, int], float] = {}
    for k in random.permutation(len(candidates)).tolist():
        if len(shares) == n:
            break
        chain, residue = candidates[k]
        turned = _free_turn(truth[0], search, residue)
        if turned is None:
            continue
        share = SHARES[len(shares) % len(SHARES)]
        shares[chain, residue.seqid.num] = share
        _split(residue, turned, share)
    truth.setup_entities()
    truth = natural(truth, random)
    start = truth.clone()
    sites = {(s.chain, s.number) for s in made.sites}
    for chain in start[0]:
        for residue in chain:
            key = (chain.name, residue.seqid.num)
            for atom in residue:
                if atom.altloc != "\0" or (
                    key in sites and (residue.name == "HOH" or chain.name == "Z")
                ):
                    atom.occ = 0.5
                moved = np.array(atom.pos.tolist()) + random.standard_normal(3) * shake / 3**0.5
                atom.pos = gemmi.Position(*moved)
                atom.b_iso *= float(np.clip(1 + b_error * random.standard_normal(), 0.4, 1.8))
    return Crystal(truth, start, made.sites), shares


def natural(structure: gemmi.Structure, random: np.random.Generator) -> gemmi.Structure:
    """Return a structure whose geometry deviates from ideal as the dictionary's sigmas say.

    From the least energy near by, d = H^-1 (J'e + P^(1/2) e'), e and e' standard normal and
    H = J'J + P, is a draw of the restraints' own distribution with a wide prior P of each unknown.
    B are those of the real model, and share nothing with the restraints of this package.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pdb"
        structure.write_pdb(str(path))
        model = Model(path)
    geometry = Geometry.of(model)
    at = geometry.state(model)
    n = len(model.table)
    begin = x = at.xyz.ravel()
    prior = np.full(3 * n, 0.3**-2)

    def near(x: np.ndarray) -> tuple[sparse.csr_matrix, np.ndarray]:
        here = geometry.linear(replace(at, xyz=x.reshape(n, 3)))
        return here.jacobian[:, : 3 * n], here.residuals

    for _ in range(30):
        j, residuals = near(x)
        h = (j.T @ j + sparse.diags(prior)).tocsc()
        step = -splu(h).solve(j.T @ residuals + prior * (x - begin))
        x = x + np.clip(step, -0.1, 0.1)
        if np.abs(step).max() < 1e-3:
            break
    j, _ = near(x)
    noise = j.T @ random.standard_normal(j.shape[0])
    noise += np.sqrt(prior) * random.standard_normal(3 * n)
    x = x + splu((j.T @ j + sparse.diags(prior)).tocsc()).solve(noise)
    found = structure.clone()
    for site, place in zip(found[0].all(), x.reshape(n, 3), strict=True):
        site.atom.pos = gemmi.Position(*place)
    return found


def _free_turn(
    model: gemmi.Model, search: gemmi.NeighborSearch, residue: gemmi.Residue
) -> dict[str, np.ndarray] | None:
    """Return a turned side chain that nothing is in the way of."""
    for angle in (120.0, 240.0, 90.0, 270.0):
        turned = _turned(residue, angle)
        if turned is not None and not _clashes(model, search, turned, residue):
            return turned
    return None


def _turned(residue: gemmi.Residue, degrees: float) -> dict[str, np.ndarray] | None:
    ca, cb = (np.array(residue[a][0].pos.tolist()) for a in ("CA", "CB"))
    axis = (cb - ca) / np.linalg.norm(cb - ca)
    angle = np.deg2rad(degrees)
    x = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.eye(3) + np.sin(angle) * x + (1 - np.cos(angle)) * x @ x
    found = {
        a.name: cb + turn @ (np.array(a.pos.tolist()) - cb)
        for a in residue if a.name not in ("N", "CA", "C", "O", "CB", "OXT")
    }  # fmt: skip
    return found or None


def _clashes(
    model: gemmi.Model, search: gemmi.NeighborSearch, atoms: dict[str, np.ndarray],
    residue: gemmi.Residue,
) -> bool:  # fmt: skip
    for place in atoms.values():
        for mark in search.find_atoms(gemmi.Position(*place), "\0", radius=2.6):
            found = mark.to_cra(model)
            if mark.image_idx or found.residue.seqid != residue.seqid:
                return True
    return False


def _split(residue: gemmi.Residue, turned: dict[str, np.ndarray], share: float) -> None:
    second = []
    for atom in residue:
        if atom.name in turned:
            other = atom.clone()
            atom.altloc, other.altloc = "A", "B"
            atom.occ, other.occ = share, 1 - share
            other.pos = gemmi.Position(*turned[atom.name])
            second.append(other)
    for other in second:
        residue.add_atom(other)


def rows_of(
    name: str, d_min: float, error: tuple[float, float], data_folder: Path, folder: Path, seed: int,
    vibrating: float = 0.0,
) -> list[Row]:  # fmt: skip
    """Simulate a crystal and refine it in all ways."""
    random = np.random.default_rng(seed + 77)
    made = crystal(
        data_folder / name, data_folder / "monomers", seed=seed, n_waters=40, n_ligands=16,
        levels=(0.3, 0.5, 0.7, 0.9),
    )  # fmt: skip
    made, shares = with_conformers(made, 40, random, *error)
    solvent = partial(solvent_of_states, spacing=SPACING, vibrating=vibrating)
    hkl, f = amplitudes(made.truth, d_min, filled=solvent)
    s_squared = np.asarray(made.truth.cell.calculate_1_d2_array(hkl))
    mtz, start = folder / "data.mtz", folder / "start.pdb"
    write_mtz(mtz, made.truth, observe(hkl, f, s_squared, seed=seed))
    made.start.write_pdb(str(start))
    known = truths(made.sites, shares)
    rows = []
    for way, options in WAYS.items():
        model = Model(start)
        begun = time.perf_counter()
        solution = refine(model, read_reflections(mtz), RefineOptions(decoys=0, **options))
        seconds = time.perf_counter() - begun
        groups = solution.groups
        for g in np.flatnonzero(groups.refined).tolist():
            atom = groups.members[g][0]
            table = model.table
            key = (table.chain[atom].decode(), int(table.resseq[atom]), table.altloc[atom].decode())
            if key not in known:
                continue
            kind, truth = known[key]
            rows.append(
                Row(
                    name, d_min, error[0], way, kind, groups.names[g], truth,
                    float(solution.occupancy[g]), float(solution.results.su[g]),
                    float(solution.results.su_conditional[g]),
                )
            )  # fmt: skip
        here = [r for r in rows if r.way == way]
        print(
            name, d_min, error, way, f"{seconds:.0f} s", solution.status.reason,
            f"R {solution.final.r_work:.4f} {solution.final.r_free:.4f}", summary(here), flush=True,
        )  # fmt: skip
    return rows


def truths(
    sites: tuple[Site, ...], shares: dict[tuple[str, int], float]
) -> dict[tuple[str, int, str], tuple[str, float]]:
    """Return kind and true occupancy by chain, number and letter; one member of a pair."""
    found = {}
    for site in sites:
        kind = "water" if site.name == "HOH" else "ligand"
        found[site.chain, site.number, ""] = kind, site.occupancy
    for (chain, number), share in shares.items():
        found[chain, number, "A"] = "side chain", share
    return found


def summary(rows: list[Row]) -> str:
    """Return the errors in short."""
    error = np.array([r.value - r.truth for r in rows])
    su = np.array([r.su for r in rows])
    known = np.isfinite(su)
    z = error[known] / su[known]
    within = [float(np.mean(np.abs(z) < k)) for k in (1, 2, 3)]
    return (
        f"n {len(rows)} ({int(known.sum())} with su) median error {np.median(np.abs(error)):.4f} "
        f"mean {error.mean():+.4f} median su {np.median(su[known]):.4f} rms z "
        f"{np.sqrt(np.mean(z**2)):.2f} within 1, 2, 3 su " + " ".join(f"{w:.0%}" for w in within)
    )


MOVE = """
and atoms move against their neighbours ({:.0%} of the mean square displacement of their B)"""
INTRODUCTION = """# Occupancies where coordinates and B are wrong, as in life

Made by `make everything-wrong` (`benchmarks/everything_wrong.py --vibrating {vibrating:g}`), in
{minutes:.0f} minutes.

Truth by gemmi alone: its density, and as solvent the mean of its masks of 40 molecules at 0.25 A,
in which groups are there or not independently and conformers of a residue exclude each other{move};
3% noise. {crystals} without their altlocs and hydrogens; 40 waters at 0.3 to 0.9, 16 ligands of 4
to 13 atoms at 0.3 to 0.9 in solvent, and up to 40 side chains in two conformers (0.3 to 0.7). The
geometry of the truth is a draw from the dictionary; B are those of the real models.
Refinement starts with all of these at 0.5, and with random errors of all coordinates (rms as given)
and B factors (relative, as given):

- **occupancies**: coordinates and B stay wrong; `su` counts them, `su_conditional` does not,
- **b_group**: with one B shift for each group,
- **jointly**: `--parameters occupancy,xyz,b_iso --active all`.

z = (value - truth)/su; the su are right where 68% are within 1, 95% within 2, 99.7% within 3 and
the rms of z is 1. "Conditional" is the same for `su_conditional`.

"""


def tables(rows: list[Row]) -> str:
    """Return one table for each error of the start, and one by kind."""
    head = (
        "| {} | way | n | with su | median error | mean error | median su | rms z | within 1 su | "
        "2 su | 3 su | conditional: rms z | within 1 su |\n"
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
    )
    parts = []
    for shake in sorted({r.shake for r in rows}):
        mine = [r for r in rows if r.shake == shake]
        b_error = dict(ERRORS)[shake]
        parts.append(f"## Coordinates wrong by {shake} A, B by {b_error:.0%}\n")
        text = head.format("d_min, A")
        for d_min in [*sorted({r.d_min for r in mine}), None]:
            for way in WAYS:
                some = [r for r in mine if r.way == way and d_min in {None, r.d_min}]
                text += f"| {'all' if d_min is None else d_min} | {way} | {line(some)} |\n"
        parts.append(text)
        text = head.format("what")
        for kind in ("water", "ligand", "side chain"):
            for way in WAYS:
                some = [r for r in mine if r.way == way and r.kind == kind]
                text += f"| {kind} | {way} | {line(some)} |\n"
        parts.append(text)
    return "\n".join(parts)


def line(rows: list[Row]) -> str:
    """Return the cells of some estimates."""
    error = np.array([r.value - r.truth for r in rows])
    su, conditional = (np.array([getattr(r, k) for r in rows]) for k in ("su", "su_conditional"))
    known = np.isfinite(su)
    z, other = error[known] / su[known], error / conditional
    other = other[np.isfinite(other)]
    within = " | ".join(f"{np.mean(np.abs(z) < k):.0%}" for k in (1, 2, 3))
    return (
        f"{len(rows)} | {int(known.sum())} | {np.median(np.abs(error)):.4f} | "
        f"{error.mean():+.4f} | "
        f"{np.median(su[known]):.4f} | {np.sqrt(np.mean(z**2)):.2f} | {within} | "
        f"{np.sqrt(np.mean(other**2)):.2f} | {np.mean(np.abs(other) < 1):.0%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rows", type=Path, help="keep every estimate (JSON)")
    parser.add_argument("--crystals", nargs="*", default=CRYSTALS)
    parser.add_argument("--resolutions", nargs="*", type=float, default=RESOLUTIONS)
    parser.add_argument(
        "--vibrating", type=float, default=0.0,
        help="part of the mean square displacement of atoms that their neighbours do not share",
    )  # fmt: skip
    arguments = parser.parse_args()
    vibrating = arguments.vibrating
    data = Path(os.environ.get("MULTICOPY_DATA", "../shared/data"))
    rows: list[Row] = []
    crystals, resolutions = arguments.crystals, arguments.resolutions
    seed, begun = 0, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for name in crystals:
            for d_min in resolutions:
                for error in ERRORS:
                    seed += 1
                    rows += rows_of(name, d_min, error, data, Path(folder), seed, vibrating)
    if arguments.rows:
        arguments.rows.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    text = INTRODUCTION.format(
        minutes=(time.perf_counter() - begun) / 60,
        crystals=" and ".join(c.split("/")[0] for c in crystals),
        vibrating=vibrating, move=MOVE.format(vibrating) if vibrating else "",
    )  # fmt: skip
    print(tables(rows))
    if arguments.out:
        arguments.out.write_text(text + tables(rows))


if __name__ == "__main__":
    sys.exit(main())
