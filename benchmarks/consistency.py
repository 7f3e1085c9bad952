"""Whether su are right on real data, where no truth is known: cuts of resolution, and halves.

python benchmarks/consistency.py --shared ../shared/data --out docs/consistency.md
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from multicopy_refinement import Model, RefineOptions, ReflectionData, read_reflections, refine
from multicopy_refinement.refinement.found import Flag

SETS = (
    "1aie", "1dur", "2xiu", "4cjl", "4hg7", "6pgy", "mpro-x0107", "sh2185-cu", "6mw0",
    "baz2b/x430", "baz2b/x435", "baz2b/x438", "1g8a",
)  # fmt: skip
#: A cut is at this times the highest resolution: 30% of the reflections are left. With more of them
#: the su hardly grow, and differences are divided by next to nothing.
CUT = 1.5

INTRODUCTION = """# Are the standard uncertainties right on real data?

Made by `python benchmarks/consistency.py --out docs/consistency.md`. No truth is known, but two
estimates of one occupancy differ by what their errors are. From a part of the reflections and from
all of them, the difference has the variance su_part^2 - su_all^2 where the errors are those of the
reflections (Hausman 1978, Econometrica 46, 1251): cuts are at {cut} times the highest resolution,
which leaves 30% of the reflections. From random halves it is su_1^2 + su_2^2. z is the difference
over the square root of that, and its rms should be 1. Model errors that are the same at all
resolutions do not show in halves; they do in cuts. One member of each set counts, away from the
bounds.

*Held*: coordinates and B are those of the file in all runs, so that the differences have the su
with these held (`--uncertainty conditional`). *As printed*: the same runs with the su that are
printed by default, in which coordinates and B count; groups that a run flags as `held_off` are left
out, as it says to. *With waters*: the same, and each water has an occupancy, too (`--waters`), so
that there is something to count in data sets of one group or five; most waters come out at 1, and
what is at a bound does not count. *Relaxed*: with what one step of coordinates and B makes of these
occupancies. *B shift*: each run refines one shift of B for each group, too (`--parameters
occupancy,b_group`), and the su count it; coordinates are held. *Jointly*: each run refines
coordinates and B of the groups and of what is within 4 A by its own reflections (U where the file
has it; restraints but at 0.8 A), up to {cycles} macrocycles, and the differences have the marginal
su.
"""
CYCLES = 12
#: Columns of the table, two of each.
MODES = ("held", "as printed", "with waters", "relaxed", "B shift", "jointly")
#: Those in which coordinates and B count, and are held.
MARGINAL = ("as printed", "with waters", "relaxed")
#: Refined without restraints, with U of all atoms.
ATOMIC = ("sh2185-cu", "6mw0")


def occupancies(model_file: Path, data: ReflectionData, mode: str) -> tuple[np.ndarray, np.ndarray]:
    """Return refined occupancies and su of one member of each set, nan where not determined."""
    model = Model(dtype_float=torch.float64).load(model_file)
    options = {"decoys": 0}
    if mode not in MARGINAL:
        options |= {"uncertainty": "conditional"}
    if mode == "B shift":
        options |= {"parameters": "occupancy,b_group", "max_cycles": 30}
    if mode == "jointly":
        displacement = "u_aniso" if model.table.anisotropic.mean() > 0.5 else "b_iso"
        options = {
            "decoys": 0, "parameters": f"occupancy,xyz,{displacement}", "max_cycles": CYCLES,
        }  # fmt: skip
    if mode in (*MARGINAL, "jointly"):
        monomers = model_file.parent.parent / "monomers"
        if not monomers.is_dir():
            monomers = model_file.parents[2] / "monomers"
        options |= {"monomers": monomers, "no_restraints": model_file.parent.name in ATOMIC}
    solution = refine(model, data, RefineOptions(**options), waters=mode == "with waters")
    groups = solution.groups
    chosen = np.flatnonzero(groups.refined & (groups.set_index < 0)).tolist()
    chosen += [s.groups[0] for s in groups.sets if groups.refined[s.groups[0]]]
    q, su = solution.occupancy[chosen], solution.su[chosen]
    free = (q > 0.02) & (q < 0.98)
    if mode in ("as printed", "with waters"):
        free &= np.array([Flag.HELD_OFF not in solution.results.flags[g] for g in chosen])
    if mode == "relaxed":
        q = solution.results.relaxed[chosen]
        free &= (q > 0.02) & (q < 0.98)
    return np.where(free, q, np.nan), su


def thinned(data: ReflectionData, keep: np.ndarray) -> ReflectionData:
    """Return some of the work set, with the whole free set."""
    return data.select(keep | data.free)


def rms(z: np.ndarray) -> str:
    """Return the rms of what is finite, and how much that is."""
    z = z[np.isfinite(z)]
    return f"{np.sqrt(np.mean(z**2)):.2f} ({len(z)})" if len(z) else "-"


def compared(
    model_file: Path, data: ReflectionData, d_min: float, mode: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return z of a cut, and of halves."""
    parts = np.random.default_rng(1).random(len(data)) < 0.5
    chosen = (
        data, data.select(data.s_squared < d_min**-2), thinned(data, parts), thinned(data, ~parts)
    )  # fmt: skip
    (q, su), (low_q, low_su), (q1, s1), (q2, s2) = (
        occupancies(model_file, part, mode) for part in chosen
    )
    more = low_su**2 - su**2
    cut = np.where(more > (0.2 * su) ** 2, (low_q - q) / np.sqrt(np.maximum(more, 1e-12)), np.nan)
    return cut, (q1 - q2) / np.sqrt(s1**2 + s2**2)


def row(folder: Path, modes: list[str]) -> tuple[str, list[np.ndarray]]:
    """Return a line of the table, and z of cuts and halves in all modes."""
    model_file = next(p for p in (folder / "model.pdb", folder / "model.cif") if p.exists())
    model = Model().load(model_file)
    data = read_reflections(
        next(folder.glob("data*")), cell=model.cell, spacegroup=model.spacegroup
    )
    d_min = round(CUT * data.d_min, 1)
    z: list[np.ndarray] = []
    for mode in modes:
        z += compared(model_file, data, d_min, mode)
    name = folder.parent.name + "/" + folder.name if folder.parent.name == "baz2b" else folder.name
    columns = " | ".join(rms(each) for each in z)
    return f"| {name} | {data.d_min:.2f}, {d_min} | {columns} |", z


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs="*", default=list(SETS))
    parser.add_argument("--modes", nargs="*", default=list(MODES), choices=MODES)
    given = parser.parse_args()
    head = " | ".join(f"{mode}: {what}" for mode in given.modes for what in ("cut", "halves"))
    lines = [
        f"| data set | d_min, cut, A | {head} |", "|---|---|" + "---|---|" * len(given.modes),
    ]  # fmt: skip
    every: list[list[np.ndarray]] = []
    for name in given.only:
        line, z = row(given.shared / name, given.modes)
        print(line, flush=True)
        lines.append(line)
        every.append(z)
    total = " | ".join(rms(np.concatenate(column)) for column in zip(*every, strict=True))
    lines.append(f"| all | | {total} |")
    print(lines[-1])
    if given.out:
        given.out.write_text("\n".join([INTRODUCTION.format(cycles=CYCLES, cut=CUT), *lines, ""]))


if __name__ == "__main__":
    main()
