"""Whether su are right on real data, where no truth is known: cuts of resolution, and halves.

python benchmarks/consistency.py --shared ../shared/data --out docs/consistency.md
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from held import Answer, answers
from multicopy_refinement import Model, RefineOptions, ReflectionData, read_reflections
from multicopy_refinement.posterior.blocks import Kind
from multicopy_refinement.refinement.found import Flag
from multicopy_refinement.refinement.macrocycle import refine_to_maximum

SETS = (
    "1aie", "1dur", "2xiu", "4cjl", "4hg7", "6pgy", "mpro-x0107", "sh2185-cu", "6mw0",
    "baz2b/x430", "baz2b/x435", "baz2b/x438", "1g8a",
)  # fmt: skip
#: A cut is at this times the highest resolution: 30% of the reflections are left. With more of them
#: the su hardly grow, and differences are divided by next to nothing.
CUT = 1.5
#: Those of the second table: a half, a third and an eighth of the reflections.
CUTS = (1.25, 1.5, 2.0)
#: Its halves are those of so many random splits.
SPLITS = 4

INTRODUCTION = """# Are the standard uncertainties right on real data?

Made by `python benchmarks/consistency.py --out docs/consistency.md`. No truth is known, but two
estimates of one occupancy differ by what their errors are. From a part of the reflections and from
all of them, the difference has the variance su_part^2 - su_all^2 where the errors are those of the
reflections (Hausman 1978, Econometrica 46, 1251): cuts are at {cut} times the highest resolution,
which leaves 30% of the reflections. From random halves it is su_1^2 + su_2^2. z is the difference
over the square root of that, and its rms should be 1. Model errors that are the same at all
resolutions do not show in halves; they do in cuts. One member of each set counts.

Estimates are those without bounds, one step from where the search ended: of waters that are full,
those away from the bounds are the low ones, and lower the larger their su.

*Held*: coordinates and B are those of the file in all runs, so that the differences have the su
with these held (`--uncertainty conditional`). *As printed*: the same runs with the su that are
printed by default, V = V_held + c S c', S what is known of coordinates, B and displaced solvent and
c = dq/dtheta the answer of an occupancy to these. Both runs hold the same: their difference has
what the reflections say and (c - c')S(c - c')', with S of all reflections. Groups that a run flags
as `held_off` are left out, as it says to. *With waters*: the same, and each water has an occupancy,
too (`--waters`), so that there is something to count in data sets of one group or five. *Relaxed*:
with what one step of coordinates and B makes of these occupancies, away from the bounds. *B shift*:
each run refines one shift of B for each group, too (`--parameters occupancy,b_group`), and the su
count it; coordinates are held. *Jointly*: each run refines coordinates and B of the groups and of
what is within 4 A by its own reflections (U where the file has it; restraints but at 0.8 A), up to
{cycles} macrocycles; the differences, away from the bounds, have the marginal su.
"""
CYCLES = 12
#: Columns of the table, two of each.
MODES = ("held", "as printed", "with waters", "relaxed", "B shift", "jointly")
#: Those in which coordinates and B count, and are held.
MARGINAL = ("as printed", "with waters", "relaxed")
#: Those whose estimates hold what their su count.
HELD = ("as printed", "with waters")
#: Refined without restraints, with U of all atoms.
ATOMIC = ("sh2185-cu", "6mw0")


@dataclass(frozen=True, eq=False)
class Estimates:
    """Occupancies of one member of each set, ``[n]``, nan where they do not count.

    They are those without bounds, q + C g with the gradient of log p and the covariance C where the
    search ended: what is cut off at 0 and 1 is not where su say. Of waters that are full, those
    away from the bounds are the low ones, and lower the larger their su.

    Attributes
    ----------
    value, su
        Without bounds, and the printed su.
    held
        Their su with coordinates, B and displaced solvent known.
    answers
        How they answer to these; None where that is not asked for, or does not count in su.
    """

    value: np.ndarray
    su: np.ndarray
    held: np.ndarray
    answers: list[Answer | None]


def occupancies(model_file: Path, data: ReflectionData, mode: str) -> Estimates:
    """Return what one run finds."""
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
    if mode == "with waters":
        model.regroup(waters=True)
    with answers() if mode in HELD else nullcontext({}) as of_refined:
        found = refine_to_maximum(model, data, RefineOptions(**options))
    solution, groups = found.solution, found.solution.groups
    value = solution.occupancy.copy()
    if mode == "relaxed":
        value = solution.results.relaxed
    elif mode != "jointly":  # whose covariance is with the atoms held
        gradient = found.posterior.scaled_gradient(found.at)
        value[found.refined] += (
            found.covariance.matrix @ gradient[found.at.space.place(Kind.OCCUPANCY)]
        )
    counts = np.isfinite(solution.su)
    if mode in HELD:
        counts &= np.array([Flag.HELD_OFF not in flags for flags in solution.results.flags])
    if mode in ("relaxed", "jointly"):
        counts &= np.all([(q > 0.02) & (q < 0.98) for q in (solution.occupancy, value)], axis=0)
    chosen = np.flatnonzero(groups.refined & (groups.set_index < 0)).tolist()
    chosen += [s.groups[0] for s in groups.sets if groups.refined[s.groups[0]]]
    place = np.searchsorted(found.refined, chosen)
    return Estimates(
        np.where(counts, value, np.nan)[chosen], solution.su[chosen],
        np.sqrt(np.diag(found.covariance.matrix))[place],
        [of_refined.get(i) for i in place.tolist()],
    )  # fmt: skip


def thinned(data: ReflectionData, keep: np.ndarray) -> ReflectionData:
    """Return some of the work set, with the whole free set."""
    return data.select(keep | data.free)


def rms(z: np.ndarray) -> str:
    """Return the rms of what is finite, and how much that is."""
    z = z[np.isfinite(z)]
    return f"{np.sqrt(np.mean(z**2)):.2f} ({len(z)})" if len(z) else "-"


def resolutions(data: ReflectionData, cuts: tuple[float, ...]) -> list[float]:
    """Return where data are cut, in A."""
    return [round(cut * data.d_min, 1) for cut in cuts]


def cut_z(whole: Estimates, part: Estimates, mode: str) -> np.ndarray:
    """Return z of what a cut changes, nan where su hardly grow."""
    su, of_part = (whole.held, part.held) if mode in HELD else (whole.su, part.su)
    more = of_part**2 - su**2
    if mode in HELD:
        more = np.maximum(more, 0.0) + apart(whole, whole, part)
    counts = more > (0.2 * su) ** 2
    return np.where(counts, (part.value - whole.value) / np.sqrt(np.maximum(more, 1e-12)), np.nan)


def half_z(whole: Estimates, one: Estimates, other: Estimates, mode: str) -> np.ndarray:
    """Return z of what two halves differ by."""
    if mode in HELD:
        variance = one.held**2 + other.held**2 + apart(whole, one, other)
    else:
        variance = one.su**2 + other.su**2
    return (one.value - other.value) / np.sqrt(variance)


def split_z(
    whole: Estimates, model_file: Path, data: ReflectionData, mode: str, seed: int
) -> np.ndarray:
    """Return z of the halves of a random split."""
    half = np.random.default_rng(seed).random(len(data)) < 0.5
    one, other = (occupancies(model_file, thinned(data, part), mode) for part in (half, ~half))
    return half_z(whole, one, other, mode)


def apart(whole: Estimates, one: Estimates, other: Estimates) -> np.ndarray:
    """Return the variance of a difference that comes from what both runs hold."""
    every = zip(whole.answers, one.answers, other.answers, strict=True)
    return np.array([np.nan if None in three else three[0].apart(*three[1:]) for three in every])


def row(folder: Path, modes: list[str], cuts: tuple[float, ...]) -> tuple[str, list[np.ndarray]]:
    """Return a line of the table, and z in all modes: of a cut and halves, or of several.

    Of several cuts all together, too.
    """
    model_file = next(p for p in (folder / "model.pdb", folder / "model.cif") if p.exists())
    model = Model().load(model_file)
    data = read_reflections(
        next(folder.glob("data*")), cell=model.cell, spacegroup=model.spacegroup
    )
    z: list[np.ndarray] = []
    for mode in modes:
        whole = occupancies(model_file, data, mode)
        at_cuts = [
            occupancies(model_file, data.select(data.s_squared < d_min**-2), mode)
            for d_min in resolutions(data, cuts)
        ]
        z += [cut_z(whole, part, mode) for part in at_cuts]
        if len(cuts) > 1:
            z.append(np.concatenate(z[-len(cuts) :]))
        splits = range(1, (SPLITS if len(cuts) > 1 else 1) + 1)
        z.append(np.concatenate([split_z(whole, model_file, data, mode, s) for s in splits]))
    name = folder.parent.name + "/" + folder.name if folder.parent.name == "baz2b" else folder.name
    columns = " | ".join(rms(each) for each in z)
    at = ", ".join(map(str, resolutions(data, cuts)))
    return f"| {name} | {data.d_min:.2f}, {at} | {columns} |", z


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs="*", default=list(SETS))
    parser.add_argument("--modes", nargs="*", default=list(MODES), choices=MODES)
    parser.add_argument(
        "--several", action="store_true", help="several cuts, and halves of several splits"
    )
    given = parser.parse_args()
    cuts = CUTS if given.several else (CUT,)
    several = [*(f"{c} d_min" for c in CUTS), "all cuts", "halves"]
    columns = several if given.several else ["cut", "halves"]
    head = " | ".join(f"{mode}: {what}" for mode in given.modes for what in columns)
    lines = [
        f"| data set | d_min, {'cuts' if given.several else 'cut'}, A | {head} |",
        "|---|---|" + "---|" * len(columns) * len(given.modes),
    ]  # fmt: skip
    every: list[list[np.ndarray]] = []
    for name in given.only:
        line, z = row(given.shared / name, given.modes, cuts)
        print(line, flush=True)
        lines.append(line)
        every.append(z)
    total = " | ".join(rms(np.concatenate(column)) for column in zip(*every, strict=True))
    lines.append(f"| all | | {total} |")
    print(lines[-1])
    if given.out:
        introduction = [] if given.several else [INTRODUCTION.format(cycles=CYCLES, cut=CUT)]
        given.out.write_text("\n".join([*introduction, *lines, ""]))


if __name__ == "__main__":
    main()
