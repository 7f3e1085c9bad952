"""Occupancies of groups alone, beside Servalcat: time, agreement, and whether values still move.

    make groups-alone

Both programs are run by their commands, with two threads, one after the other, on the same model,
amplitudes, free set and groups; coordinates and B are held. R of both is by this package.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np

from many_groups import processors
from multicopy_refinement import Model, read_reflections, refine
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.refinement.options import RefineOptions
from whole_model import DATA_SETS, prepare, timed, write_data

#: Cycles of Servalcat, and those that the same run has had before the last of them.
CYCLES, BEFORE = 30, 25
#: Runs of `refine` in one process, of which the first loads what the others have.
CALLS = 4

OURS, THEIRS = "this package", "Servalcat"

INTRODUCTION = """# Occupancies of groups, beside Servalcat

Made by `make groups-alone` (`python benchmarks/groups_alone.py --peer
build/servalcat-venv/bin/python --out docs/groups-alone.md`), both programs by their commands on two
threads of {processors}, one after the other.

The same groups, model (atoms on axes at 1/multiplicity), amplitudes and free set; coordinates and B
are held. Servalcat 0.4.142 takes {cycles} cycles (`refine_xtal_norefmac --unrestrained --fix_xyz
--adp fix`), this package ends by its own criterion. *Part*: of Servalcat's seconds. *Worst sum*: by
how much a complete set is off. *Moves*: by how much an occupancy still changes from cycle {before}
to {cycles}, or did in the last cycle. R of both is by this package. Its time by the command has the
start of Python and all imports in it, standard uncertainties, evidence and the report; in Python it
is that of `refine()` in a process that runs already (the median of {calls} calls).

| data set | groups | program | seconds | part | R-work | R-free | worst sum | moves |
|---|---:|---|---:|---:|---:|---:|---:|---:|
"""


@dataclass(frozen=True)
class Run:
    """What came of one data set in one program."""

    data_set: str
    groups: int
    program: str
    seconds: float
    part: float
    r_work: float
    r_free: float
    worst_sum: float
    moves: float


def occupancies(path: Path) -> dict[str, float]:
    """Return the occupancy of every atom of a file."""
    return {str(site): site.atom.occ for site in gemmi.read_structure(str(path))[0].all()}


def agreement(path: Path, mtz: Path, start: Path) -> tuple[float, float, float]:
    """Return R-work, R-free and the worst sum of a complete set of a model that was written."""
    model, begun = Model(path), Model(start)
    data = read_reflections(mtz, cell=model.cell, spacegroup=model.spacegroup)
    now = {label: float(q) for label, q in zip(
        model.table.labels(np.arange(len(model.table))), model.table.occupancy, strict=True
    )}  # fmt: skip
    groups, table = begun.occupancy_groups, begun.table
    label = table.labels(groups.first_atom)
    worst = [
        abs(sum(now[label[g]] for g in one.groups) - one.total)
        for one in groups.sets if one.complete
    ]  # fmt: skip
    statistics = Experiment(model, data).statistics()
    return statistics.r_work, statistics.r_free or float("nan"), max(worst, default=0.0)


def in_python(folder: Path, kind: str) -> float:
    """Return the seconds of `refine` in a process that runs already."""
    code = f"import groups_alone as g; g.time_calls({str(folder)!r}, {kind!r})"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=Path(__file__).parent, text=True,
        check=True, capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
    )  # fmt: skip
    return float(done.stdout.split()[-1])


def time_calls(folder: str, kind: str) -> None:
    """Print the median of some calls of `refine`."""
    seconds = []
    for _ in range(CALLS + 1):
        begun = time.perf_counter()
        refine(f"{folder}/start.pdb", f"{folder}/data.mtz", RefineOptions(uncertainty=kind))
        seconds.append(time.perf_counter() - begun)
    print(np.median(seconds[1:]))


def refined(name: str, source: Path, peer: str, folder: Path) -> list[Run]:
    """Refine one data set by both programs."""
    write_data(folder / "data.mtz", prepare(source, DATA_SETS[name], folder))
    mtz, start = folder / "data.mtz", folder / "start.pdb"
    command = [sys.executable, "-m", "multicopy_refinement"]
    timed([*command, "groups", "start.pdb", "--format", "refmac", "--output", "groups.txt"], folder)
    theirs = {
        cycles: timed(
            [peer, "-m", "servalcat", "refine_xtal_norefmac", "--model", "start.pdb", "--hklin",
             "data.mtz", "--labin", "F,SIGF,FreeR_flag", "--free", "0", "--source", "xray",
             "--keyword_file", "groups.txt", "--unrestrained", "--fix_xyz", "--adp", "fix",
             "--hydrogen", "no", "--ncycle", str(cycles), "--output_prefix", f"theirs{cycles}"],
            folder,
        )
        for cycles in (BEFORE, CYCLES)
    }  # fmt: skip
    before, after = (occupancies(folder / f"theirs{n}.mmcif") for n in (BEFORE, CYCLES))
    moves = max(abs(after[atom] - before[atom]) for atom in after)
    # kernels are compiled at their first use on a machine
    timed([*command, "refine", "start.pdb", "data.mtz", "--quiet", "--out", "first"], folder)
    ways = {
        "command": [],
        "command, no report": ["--no-report"],
        "command, no report, conditional su": ["--no-report", "--uncertainty", "conditional"],
    }
    seconds = {
        way: timed(
            [*command, "refine", "start.pdb", "data.mtz", "--quiet", "--overwrite", "--out", "ours",
             *options], folder,
        )
        for way, options in ways.items()
    }  # fmt: skip
    result = json.loads((folder / "ours" / "result.json").read_text())
    for way, kind in (("in Python", "marginal"), ("in Python, conditional su", "conditional")):
        seconds[way] = in_python(folder, kind)
    n_groups = int(Model(start).occupancy_groups.refined.sum())
    last = float(result["history"][-1]["largest_change"])
    ours = agreement(folder / "ours" / "refined.cif", mtz, start)
    whole = theirs[CYCLES]
    return [
        Run(name, n_groups, THEIRS, whole, 1.0,
            *agreement(folder / f"theirs{CYCLES}.mmcif", mtz, start), moves),
        *(Run(name, n_groups, f"{OURS}, {way}", own, own / whole, *ours, last)
          for way, own in seconds.items()),
    ]  # fmt: skip


def table(runs: list[Run]) -> str:
    """Return the rows of a table."""
    return "\n".join(
        f"| {r.data_set} | {r.groups} | {r.program} | {r.seconds:.1f} | {r.part:.2f} | "
        f"{r.r_work:.4f} | {r.r_free:.4f} | {r.worst_sum:.3f} | {r.moves:.1g} |"
        for r in runs
    )


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", required=True, help="Python that has Servalcat")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs="*", default=list(DATA_SETS))
    arguments = parser.parse_args()
    shared = Path(os.environ.get("MULTICOPY_DATA", "../shared/data")).resolve()
    peer = str(Path(arguments.peer).absolute())
    runs: list[Run] = []
    for name in arguments.only:
        with tempfile.TemporaryDirectory() as folder:
            found = refined(name, shared / name, peer, Path(folder))
        runs += found
        print(table(found), flush=True)
    if arguments.out:
        head = INTRODUCTION.format(
            cycles=CYCLES, before=BEFORE, calls=CALLS, processors=processors()
        )
        arguments.out.write_text(head + table(runs) + "\n")


if __name__ == "__main__":
    main()
