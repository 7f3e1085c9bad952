"""What is absent and what is partial, beside Servalcat on the same crystals.

    python benchmarks/nulls_servalcat.py --peer build/servalcat-venv/bin/python --out FILE.md

`make nulls-servalcat` installs Servalcat and runs this. Both programs are run as processes of one
thread on the same files, with coordinates and B held; Servalcat takes the groups that we export.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import gemmi
import numpy as np

from data_sets import shared_data
from nulls import CRYSTALS, GAUSSIAN, RESOLUTIONS, make
from whole_model import ALONE, servalcat

OURS, THEIRS, TUNED = "multicopy_refinement", "Servalcat", "Servalcat, other options"
#: What is given to Servalcat beyond occupancies alone: nothing, and what served it best.
OPTIONS = {THEIRS: (), TUNED: ("--non_binary_solvent_mask", "--use_in_est", "work")}
LIMITS = (0.05, 0.10, 0.20)
#: Macrocycles of Servalcat.
CYCLES = 10

HEAD = """# What is absent, beside Servalcat

Made by `make nulls-servalcat` (`python benchmarks/nulls_servalcat.py --peer
build/servalcat-venv/bin/python --out docs/nulls-servalcat.md`), in {minutes:.0f} minutes.

{crystals} crystals of [What is absent](nulls.md), coordinates and B {right}:
the same models, seeds, noise and resolutions, truth by gemmi alone. The waters and ligands in
question start at 0.5; a third of them is absent, the others are at 0.3 to 0.6. Both programs read
the same two files and refine nothing but one occupancy for each group:

    multicopy-refine refine start.pdb data.mtz --threads 1 --no-report
    multicopy-refine groups start.pdb --format refmac --output groups.txt
    servalcat refine_xtal_norefmac --model start.pdb --hklin data.mtz --source xray
        --keyword_file groups.txt --unrestrained --fix_xyz --adp fix --hydrogen no --ncycle {cycles}

Servalcat {version} gives no standard uncertainties, so that only values can be compared: how many
of what is absent end above 0.05, 0.10, 0.20, and the errors (value - truth) of what is partial.
Its default mask leaves no solvent where a partial atom is, whatever its occupancy; the truth has
solvent there in part. "{tuned}" are
`{options}`: a mask that counts partial atoms in part
(experimental, and not in its help), and errors estimated from the work set. After 30 to 40 cycles
in place of {cycles} no occupancy of the first model (1.8 and 2.8 A, seed 0) differs by more than
0.01.

"Called present" are groups without the flag `not_supported`: of the absent ones, which is wrong,
and of the partial ones, which is right.

"""


@dataclass(frozen=True)
class Value:
    """The occupancy of a water or a ligand as a program found it."""

    program: str
    ligand: bool
    d_min: float
    true: float
    found: float
    present: bool | None = None


@dataclass(frozen=True)
class Run:
    """One refinement by one program."""

    program: str
    model: str
    d_min: float
    n_reflections: int
    seconds: float
    values: list[Value]


def timed(command: list[str | Path], folder: Path) -> float:
    """Run a program on one thread in a folder and return the seconds of CPU that it takes."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [str(word) for word in command], cwd=folder, stdout=said, stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{command[0]} failed:\n{said.read()[-2000:]}")
    return used.ru_utime + used.ru_stime


def by_us(folder: Path) -> tuple[float, dict[tuple[str, str], tuple[float, bool]]]:
    """Return seconds, and occupancy and whether it is called present of each refined group."""
    own = [sys.executable, "-m", "multicopy_refinement"]
    seconds = timed(
        [*own, "refine", "start.pdb", "data.mtz", "--threads", "1", "--no-report", "--quiet",
         "--out", "ours", "--overwrite"], folder,
    )  # fmt: skip
    timed([*own, "groups", "start.pdb", "--format", "refmac", "--output", "groups.txt"], folder)
    record = json.loads((folder / "ours" / "result.json").read_text())
    found = {}
    for group in record["groups"]:
        if group["refined"]:
            chain, number = group["name"].split("/")[:2]
            flags = group["flags"]
            present = "not_supported" not in flags and "undetermined" not in flags
            found[chain, number] = (group["occupancy"], present)
    return seconds, found


def by_servalcat(
    peer: Path, folder: Path, options: tuple[str, ...]
) -> tuple[float, dict[tuple[str, str], tuple[float, None]]]:
    """Return seconds, and the occupancy of each residue."""
    seconds = timed(servalcat(peer, CYCLES, "theirs", *ALONE, *options), folder)
    structure = gemmi.read_structure(str(folder / "theirs.mmcif"))
    sites = ((chain.name, residue) for chain in structure[0] for residue in chain)
    return seconds, {(name, str(r.seqid.num)): (r[0].occ, None) for name, r in sites}


def refined_by_all(peer: Path, shake: float, crystal: tuple[int, str, float]) -> list[Run]:
    """Refine one crystal (seed, model, resolution) with every program."""
    seed, name, d_min = crystal
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        known = make(shared_data(), name, d_min, seed, shake, GAUSSIAN, folder)
        n_reflections = gemmi.read_mtz_file(str(folder / "data.mtz")).nreflections
        results = {OURS: by_us(folder)}
        results |= {p: by_servalcat(peer, folder, extra) for p, extra in OPTIONS.items()}
    asked = sorted(results[OURS][1].keys() & known.keys())
    found = []
    for program, (seconds, values) in results.items():
        told = [
            Value(program, known[k].name != "HOH", d_min, known[k].occupancy, *values[k])
            for k in asked
        ]
        print(f"{program} {name} {d_min} A, seed {seed}: {seconds:.1f} s of CPU", flush=True)
        found.append(Run(program, name, d_min, n_reflections, seconds, told))
    return found


def table(values: list[Value]) -> list[str]:
    """Return the lines of a table by kind, resolution and program."""
    limits = " | ".join(f"above {limit:.2f}" for limit in LIMITS)
    lines = [
        f"| what | d_min, A | program | absent | {limits} | called present | partial | "
        "median error | rms error | called present |",
        "|---|---|---|" + "---:|" * (6 + len(LIMITS)),
    ]
    for ligand, d_min, program in product((False, True), [*RESOLUTIONS, None], (OURS, *OPTIONS)):
        mine = [
            v for v in values
            if v.ligand is ligand and v.program == program and d_min in (None, v.d_min)
        ]  # fmt: skip
        absent, there = ([v for v in mine if (v.true == 0) is none] for none in (True, False))
        error = np.array([v.found - v.true for v in there])
        above = " | ".join(str(sum(v.found > limit for v in absent)) for limit in LIMITS)
        called = ["-", "-"]
        if program == OURS:
            called = [str(sum(bool(v.present) for v in some)) for some in (absent, there)]
        lines.append(
            f"| {'ligands' if ligand else 'waters'} | {d_min or 'all'} | {program} | {len(absent)} "
            f"| {above} | {called[0]} | {len(there)} | {np.median(error):+.4f} "
            f"| {np.sqrt(np.mean(error**2)):.4f} | {called[1]} |"
        )
    return lines


def times(found: list[Run]) -> list[str]:
    """Return the lines of a table of seconds, the median over seeds."""
    lines = [
        f"| model | d_min, A | reflections | {' | '.join((OURS, *OPTIONS))} |",
        "|---|---|" + "---:|" * (2 + len(OPTIONS)),
    ]
    for name, d_min in product(CRYSTALS, RESOLUTIONS):
        mine = [r for r in found if r.model == name and r.d_min == d_min]
        medians = [
            f"{np.median([r.seconds for r in mine if r.program == program]):.1f}"
            for program in (OURS, *OPTIONS)
        ]
        lines.append(f"| {name} | {d_min} | {mine[0].n_reflections} | {' | '.join(medians)} |")
    return lines


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path, required=True, help="python that has servalcat")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--shake", type=float, default=0.0, help="rms error of coordinates, A")
    parser.add_argument("--jobs", type=int, default=2, help="crystals at a time, a thread each")
    parser.add_argument("--out", type=Path, help="Markdown file; standard output when left out")
    given = parser.parse_args()
    peer = Path(os.path.abspath(given.peer))  # noqa: PTH100 - a link must not be followed
    version = subprocess.run(
        [peer, "-c", "from importlib.metadata import version as v; print(v('servalcat'))"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    began = time.time()
    crystals = list(product(range(given.seeds), CRYSTALS, RESOLUTIONS))
    with ThreadPoolExecutor(given.jobs) as pool:
        made = pool.map(partial(refined_by_all, peer, given.shake), crystals)
        found = [run for runs in made for run in runs]
    right = "right" if not given.shake else f"right but for {given.shake} A (rms) of coordinates"
    head = HEAD.format(
        minutes=(time.time() - began) / 60, crystals=len(crystals),
        right=right, cycles=CYCLES, version=version, tuned=TUNED, options=" ".join(OPTIONS[TUNED]),
    )  # fmt: skip
    values = [value for run in found for value in run.values]
    seconds = [
        "", "Seconds of CPU of a process from start to end, files read and written, median over "
        "seeds:", "", *times(found), "",
    ]  # fmt: skip
    text = head + "\n".join([*table(values), *seconds])
    if given.out:
        given.out.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
