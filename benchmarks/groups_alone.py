"""Occupancies of groups alone, beside Servalcat: time, agreement, and whether values still move.

    make groups-alone

Both programs are run by their commands, with two threads, one after the other, on the same model,
amplitudes, free set and groups; coordinates and B are held. R of both is by this package.
"""

import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import gemmi
import numpy as np

from many_groups import processors
from multicopy_refinement import Model, refine
from multicopy_refinement.refinement.options import RefineOptions
from whole_model import (
    ALONE,
    DATA_SETS,
    OURS,
    THEIRS,
    Run,
    judged,
    prepare,
    said,
    servalcat,
    timed,
    write_data,
    write_page,
)

#: Cycles of Servalcat, and those that the same run has had before the last of them.
CYCLES, BEFORE = 30, 25
#: Runs of `refine` in one process, of which the first loads what the others have.
CALLS = 4

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
class Row:
    """What came of one data set in one program, and beside the other one."""

    run: Run
    groups: int
    part: float
    moves: float


def occupancies(path: Path) -> dict[str, float]:
    """Return the occupancy of every atom of a file."""
    return {str(site): site.atom.occ for site in gemmi.read_structure(str(path))[0].all()}


def in_python(folder: Path, kind: str) -> float:
    """Return the seconds of `refine` in a process that runs already."""
    code = f"import groups_alone as g; g.time_calls({str(folder)!r}, {kind!r})"
    command = [sys.executable, "-W", "ignore", "-c", code]
    return float(said(command, Path(__file__).parent).split()[-1])


def time_calls(folder: str, kind: str) -> None:
    """Print the median of some calls of `refine`."""
    seconds = []
    for _ in range(CALLS + 1):
        begun = time.perf_counter()
        refine(f"{folder}/start.pdb", f"{folder}/data.mtz", RefineOptions(uncertainty=kind))
        seconds.append(time.perf_counter() - begun)
    print(np.median(seconds[1:]))


def refined(name: str, source: Path, peer: str, folder: Path) -> list[Row]:
    """Refine one data set by both programs."""
    write_data(folder / "data.mtz", prepare(source, DATA_SETS[name], folder))
    mtz, start = folder / "data.mtz", folder / "start.pdb"
    command = [sys.executable, "-m", "multicopy_refinement"]
    timed([*command, "groups", "start.pdb", "--format", "refmac", "--output", "groups.txt"], folder)
    theirs = {
        cycles: timed(servalcat(peer, cycles, f"theirs{cycles}", *ALONE), folder)
        for cycles in (BEFORE, CYCLES)
    }
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
    ours = judged(name, OURS, folder / "ours" / "refined.cif", mtz, 0.0, start)
    whole = theirs[CYCLES]
    peers = judged(name, THEIRS, folder / f"theirs{CYCLES}.mmcif", mtz, whole, start)
    return [
        Row(peers, n_groups, 1.0, moves),
        *(
            Row(replace(ours, program=f"{OURS}, {way}", seconds=own), n_groups, own / whole, last)
            for way, own in seconds.items()
        ),
    ]


def table(rows: list[Row]) -> str:
    """Return the rows of a table."""
    return "\n".join(
        f"| {r.run.data_set} | {r.groups} | {r.run.program} | {r.run.seconds:.1f} | {r.part:.2f} | "
        f"{r.run.r_work:.4f} | {r.run.r_free:.4f} | {r.run.worst_sum:.3f} | {r.moves:.1g} |"
        for r in rows
    )


def main() -> None:
    """Write the table."""
    write_page(
        __doc__, refined, table,
        lambda: INTRODUCTION.format(
            cycles=CYCLES, before=BEFORE, calls=CALLS, processors=processors()
        ),
    )  # fmt: skip


if __name__ == "__main__":
    main()
