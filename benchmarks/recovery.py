"""How well refinement recovers known occupancies and B shifts, and whether its su are right.

    python benchmarks/recovery.py --out docs/recovery.md

Data are simulated from the demonstration model in crystals of several space groups, and refined
from several starts. Every estimate is compared with the truth in units of its own su.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import gemmi
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from multicopy_refinement import Model, RefineOptions, ReflectionData, read_reflections, refine
from multicopy_refinement.simulate import simulate, write_simulated

#: A section that is made by hand from another benchmark.
KEPT = "## Truth by gemmi alone"
#: Cells that hold the demonstration model: with and without screw axes, primitive and centred.
CRYSTALS = {
    "P 1": (31.0, 30.0, 28.0, 82.0, 85.0, 95.0),
    "P 1 2 1": (36.0, 33.0, 32.0, 90.0, 101.0, 90.0),
    "P 21 21 21": (28.0, 30.0, 32.0, 90.0, 90.0, 90.0),
    "C 1 2 1": (62.0, 31.0, 36.0, 90.0, 104.0, 90.0),
    "P 31 2 1": (42.0, 42.0, 48.0, 90.0, 90.0, 120.0),
    "I 4": (50.0, 50.0, 40.0, 90.0, 90.0, 90.0),
}
#: Seeds of the data sets of a crystal at each resolution in A; those of the next crystal are
#: `NEXT_CRYSTAL` further on, so that no two data sets share their errors.
SEEDS = {1.2: (1,), 1.6: (3, 4), 2.2: (6, 7, 8), 3.0: (10, 11, 12)}
NEXT_CRYSTAL = 13
QUICK_CRYSTALS = ("P 1", "P 31 2 1")
QUICK_SEEDS = {1.6: (3,), 2.2: (6,), 3.0: (10,)}
Seeds = dict[float, tuple[int, ...]]
NOISE = 0.03
#: Occupancies to start from: of single groups, and of the members of sets of two and of three.
STARTS = {
    "equal shares": (0.5, (0.5, 0.5), (1 / 3, 1 / 3, 1 / 3)),
    "0.99 / 0.01": (0.99, (0.99, 0.01), (0.98, 0.01, 0.01)),
    "1.00 / 0.00": (1.0, (1.0, 0.0), (1.0, 0.0, 0.0)),
    "0.05 / 0.95": (0.05, (0.05, 0.95), (0.05, 0.05, 0.90)),
}
#: B shifts: one for all atoms of a group, as it is refined, or in proportion to each atom's B.
ONE_SHIFT, ONE_FACTOR = "one shift", "one factor"
#: Relative error of the B factors of a group to start from.
WRONG_B = (0.7, 1.3)

HEAD = """# Occupancies of known truth

Made by `{command}` on one thread, in {minutes:.1f} minutes.

The demonstration model ({per_set} independent occupancies: five sets of two members, one of three,
three single groups) in {n_crystals} crystals ({crystals}).
Data are simulated by the package: no bulk solvent (what it costs is in
tests/functional/test_nulls.py, on truth made with gemmi), {noise:.0%} noise, one reflection in
twenty free;
{n_sets} data sets in all. Each is refined from every start.

z = (value - truth) / su. A set of n members counts as n - 1 estimates, a single group as one.
If the su are right, 68% of |z| are below 1, 95% below 2, 99.7% below 3, and the rms of z is 1; of
{n_estimates} estimates the fraction within 1 su is known to about {spread:.1%}, but the starts
share their data: their rows say the same thing several times. "0.99 / 0.01" is for a set of two;
a set of three starts at 0.98, 0.01, 0.01 and a single group at 0.99, and "0.05 / 0.95" is 0.05,
0.05, 0.90 and 0.05.

The model is right but for its occupancies (and B where that is said), so the model error beta of
the likelihood is zero in truth. Its estimate cannot be negative: where it comes out above zero,
the su are a little too large.
"""
ONE_FACTOR_NOTE = """One shift cannot mend these: what is left inside a group, up to 30% of the
spread of its B factors, is not in its su. The groups with the widest spread (ARG 27, all of whose
atoms are refined, from main chain to side-chain end) and the sharpest data show it.
"""


@dataclass(frozen=True)
class Place:
    """One crystal at one resolution with its own noise."""

    crystal: str
    d_min: float
    seed: int


@dataclass(frozen=True, eq=False)
class Case:
    """A data set and the file of its truth."""

    place: Place
    truth: Path
    data: ReflectionData


def crystal_text(group: str) -> str:
    """Return the true model as PDB text in another crystal."""
    text = (files("multicopy_refinement") / "demo" / "truth.pdb").read_text()
    structure = gemmi.read_pdb_string(text)
    structure.cell = gemmi.UnitCell(*CRYSTALS[group])
    structure.spacegroup_hm = group
    return structure.make_pdb_string()


def with_b(text: str, b_iso: NDArray[np.float64]) -> str:
    """Return PDB text with other B factors."""
    lines, atom = [], 0
    for line in text.splitlines():
        is_atom = line.startswith(("ATOM", "HETATM"))
        lines.append(f"{line[:60]}{b_iso[atom]:6.2f}{line[66:]}" if is_atom else line)
        atom += is_atom
    return "\n".join([*lines, ""])


def load(path: Path) -> Model:
    return Model(dtype_float=torch.float64).load(path)


def make_cases(crystals: Sequence[str], seeds: Seeds, folder: Path) -> Iterator[Case]:
    """Simulate the data sets, one after another."""
    for crystal in crystals:
        truth_path = folder / "truth.pdb"
        truth_path.write_text(crystal_text(crystal))
        truth = load(truth_path)
        first = NEXT_CRYSTAL * tuple(CRYSTALS).index(crystal)
        for d_min, numbers in seeds.items():
            for seed in (first + number for number in numbers):
                mtz = folder / "data.mtz"
                write_simulated(
                    simulate(truth, d_min, seed=seed, noise=NOISE, k_sol=0.0), truth, mtz
                )
                yield Case(Place(crystal, d_min, seed), truth_path, read_reflections(mtz))


def start_occupancies(model: Model, start: str) -> NDArray[np.float64]:
    """Return the occupancies of all groups at a start; held groups stay what they are."""
    single, two, three = STARTS[start]
    groups = model.occupancy_groups
    values = model.group_occupancies()
    values[groups.refined] = single
    for members in groups.sets:
        values[list(members.groups)] = two if len(members.groups) == 2 else three
    return values


def independent(model: Model) -> NDArray[np.int64]:
    """Return the refined groups without the last member of each set."""
    groups = model.occupancy_groups
    last = {max(members.groups) for members in groups.sets}
    return np.array([g for g in np.flatnonzero(groups.refined).tolist() if g not in last])


# ---------------------------------------------------------------------- refinement


def occupancy_rows(case: Case, start: str) -> list[dict[str, object]]:
    """Refine occupancies from a start and return a row for each independent one."""
    model = load(case.truth)
    truth = model.group_occupancies()
    model.assign_group_occupancies(start_occupancies(model, start))
    # coordinates and B are right here
    solution = refine(model, case.data, RefineOptions(uncertainty="conditional"))
    groups = independent(model)
    return _rows(
        case, start, "q", model, groups, truth, solution.occupancy, solution.su,
        converged=solution.status.converged,
    )  # fmt: skip


def b_rows(case: Case, way: str, folder: Path) -> list[dict[str, object]]:
    """Refine occupancies and B shifts from wrong B factors; return rows of both."""
    true_model = load(case.truth)
    truth = true_model.group_occupancies()
    table, all_groups = true_model.table, true_model.occupancy_groups
    random = np.random.default_rng(10_000 + case.place.seed)
    b_iso, true_shift = np.array(table.b_iso), np.zeros(len(all_groups))
    for group in np.flatnonzero(all_groups.refined).tolist():
        atoms = all_groups.members[group]
        error = random.uniform(*WRONG_B) - 1
        own = table.b_iso[atoms]
        b_iso[atoms] += error * (own if way == ONE_FACTOR else own.mean())
    wrong = folder / "wrong.pdb"
    wrong.write_text(with_b(case.truth.read_text(), b_iso))
    model = load(wrong)
    for group in np.flatnonzero(all_groups.refined).tolist():
        atoms = all_groups.members[group]
        true_shift[group] = (table.b_iso[atoms] - model.table.b_iso[atoms]).mean()
    model.assign_group_occupancies(start_occupancies(model, "equal shares"))
    solution = refine(
        model,
        case.data,
        RefineOptions(parameters=("occupancy", "b_group"), b_prior=0.5, uncertainty="conditional"),
    )
    found, ok = solution.results, solution.status.converged
    groups, refined = independent(model), np.flatnonzero(all_groups.refined)
    return _rows(
        case, way, "q", model, groups, truth, solution.occupancy, solution.su, converged=ok
    ) + _rows(
        case, way, "B", model, refined, true_shift, found.delta_b, found.delta_b_su, converged=ok
    )


def _rows(
    case: Case, start: str, what: str, model: Model, groups: NDArray[np.int64],
    truth: NDArray[np.float64], value: NDArray[np.float64], su: NDArray[np.float64],
    *, converged: bool,
) -> list[dict[str, object]]:  # fmt: skip
    place, names = case.place, model.occupancy_groups.names
    return [
        {
            "start": start, "what": what, "crystal": place.crystal, "d_min": place.d_min,
            "seed": place.seed, "group": names[g], "reflections": len(case.data),
            "truth": truth[g], "value": value[g], "su": su[g], "converged": converged,
        }
        for g in groups.tolist()
    ]  # fmt: skip


def study(
    crystals: Sequence[str], seeds: Seeds, *, starts: Sequence[str] = tuple(STARTS),
    ways: Sequence[str] = (ONE_SHIFT, ONE_FACTOR),
) -> pd.DataFrame:  # fmt: skip
    """Return one row for each estimate, with ``z``."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for case in make_cases(crystals, seeds, Path(name)):
            for start in starts:
                rows += occupancy_rows(case, start)
            for way in ways:
                rows += b_rows(case, way, Path(name))
    found = pd.DataFrame(rows)
    found["z"] = (found.value - found.truth) / found.su
    return found


# ---------------------------------------------------------------------- tables

FIGURES = (
    "estimates | no su | within 1 su | 2 su | 3 su | mean z | rms z | median su",
    "---:|---:|---:|---:|---:|---:|---:|---:",
)


def figures(rows: pd.DataFrame) -> str:
    """Return the cells of `FIGURES` for some estimates."""
    z = rows.z.dropna()
    within = " | ".join(f"{100 * (z.abs() < n).mean():.1f}%" for n in (1, 2, 3))
    return (
        f"{len(z)} | {int(rows.su.isna().sum())} | {within} | {z.mean():+.2f} "
        f"| {np.sqrt((z**2).mean()):.2f} | {rows.su.median():.3g}"
    )


def table(rows: pd.DataFrame, by: str, heading: str) -> str:
    """Return figures for each value of a column."""
    lines = [f"| {heading} | {FIGURES[0]} |", f"|---|{FIGURES[1]}|"]
    for value, part in rows.groupby(by, sort=False):
        lines.append(f"| {value} | {figures(part)} |")
    lines.append(f"| all | {figures(rows)} |")
    return "\n".join(lines) + "\n"


def disagreement(found: pd.DataFrame) -> pd.DataFrame:
    """Return |value - value from equal shares| / su of every estimate, a column for each start."""
    keys = ["crystal", "d_min", "seed", "group"]
    q = found[(found.what == "q") & found.start.isin(list(STARTS))]
    value = q.pivot_table(index=keys, columns="start", values="value")
    su = q.pivot_table(index=keys, columns="start", values="su")["equal shares"]
    return value.sub(value["equal shares"], axis=0).abs().div(su, axis=0)


def start_table(found: pd.DataFrame) -> str:
    """Return figures for each start, with how far it ends from where the first one ends."""
    apart = disagreement(found)
    lines = [
        f"| start | {FIGURES[0]} | converged | largest difference, su |",
        f"|---|{FIGURES[1]}|---:|---:|",
    ]
    for start in STARTS:
        rows = found[(found.start == start) & (found.what == "q")]
        runs = rows.drop_duplicates(["crystal", "d_min", "seed"]).converged
        lines.append(
            f"| {start} | {figures(rows)} | {int(runs.sum())} of {len(runs)} "
            f"| {apart[start].max():.3f} |"
        )
    return "\n".join(lines) + "\n"


def report(found: pd.DataFrame, command: str, seconds: float) -> str:
    """Return the page."""
    first = found[(found.start == "equal shares") & (found.what == "q")]
    sets = first.drop_duplicates(["crystal", "d_min", "seed"])
    parts = [
        HEAD.format(
            command=command, minutes=seconds / 60, per_set=first.group.nunique(),
            n_crystals=found.crystal.nunique(), crystals=", ".join(found.crystal.unique()),
            noise=NOISE, n_sets=len(sets), n_estimates=len(first),
            spread=np.sqrt(0.68 * 0.32 / len(first)),
        ),
        "## Occupancies alone\n",
        start_table(found),
        "From equal shares:\n",
        table(first, "d_min", "resolution, A"),
        table(first, "crystal", "space group"),
        table(first, "group", "group"),
    ]  # fmt: skip
    for way, words in (
        (ONE_SHIFT, "by one shift, as it is refined"),
        (ONE_FACTOR, "by one factor"),
    ):
        rows = found[found.start == way]
        if len(rows):
            parts += [
                f"## Occupancies and B, every refined group's B wrong {words}\n",
                f"Shifts of {WRONG_B[0] - 1:+.0%} to {WRONG_B[1] - 1:+.0%}; the prior's sigma is "
                "half the group's mean B. Occupancies:\n",
                table(rows[rows.what == "q"], "d_min", "resolution, A"),
                "B shifts (su in A^2), every member of a set counted:\n",
                table(rows[rows.what == "B"], "d_min", "resolution, A"),
            ]
            if way == ONE_FACTOR:
                parts += [ONE_FACTOR_NOTE, table(rows[rows.what == "B"], "group", "group, B shift")]
    return "\n".join(parts)


def _with_kept(text: str, old: Path) -> str:
    """Return the page with the section that another benchmark has put into the old one."""
    if not old.is_file():
        return text
    kept = old.read_text(encoding="utf-8").partition(KEPT)[2].partition("\n## ")[0]
    first = text.index("\n## ")
    return f"{text[:first]}\n{KEPT}{kept}{text[first:]}" if kept else text


def main() -> None:
    """Run the study, print its page, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    parser.add_argument("--rows", type=Path, help="CSV file of all estimates")
    parser.add_argument("--quick", action="store_true", help="two crystals, one seed, no 1.2 A")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    crystals, seeds = (QUICK_CRYSTALS, QUICK_SEEDS) if arguments.quick else (CRYSTALS, SEEDS)
    found = study(tuple(crystals), seeds)
    quick = " --quick" if arguments.quick else ""
    out = f" --out {arguments.out}" if arguments.out else ""
    command = f"python benchmarks/recovery.py{quick}{out}"
    text = report(found, command, time.perf_counter() - started)
    print(text)
    if arguments.rows:
        found.to_csv(arguments.rows, index=False)
    if arguments.out:
        arguments.out.write_text(_with_kept(text, arguments.out), encoding="utf-8")


if __name__ == "__main__":
    main()
