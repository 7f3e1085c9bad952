"""Time and memory of refinements of many groups, each in a process of its own.

    python benchmarks/many_groups.py --out docs/many-groups.md

Single waters at random places of a crystal of symmetry P 1, as many held ones beside them, data to
2 A with 3% errors: 5.7 reflections and 22 A^3 for each group, whatever their number.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from multicopy_refinement import Model, read_reflections, refine
from multicopy_refinement.refinement.options import RefineOptions
from multicopy_refinement.simulate import simulate, write_simulated

SIZES = (150, 500, 1500, 5000)
#: The cell of 1500 groups, in A.
CELL = np.array([30.0, 32.0, 34.0])

HEAD = """# Time and memory of many groups

Made by `python benchmarks/many_groups.py --out docs/many-groups.md`. Single waters at random
places of a crystal of symmetry P 1, half of them held, data to 2 A: 5.7 reflections a group. Each
row is a process of its own with {threads} threads on {processors}.

- *seconds* on the clock, and of CPU over all threads: structure factors, scale, refinement to
  convergence, su, evidence and decoys, without reading.
- *peak* is the largest memory of the process; {base:.2f} GiB of it are the libraries and the data.
- *rms z* of (found - true)/su; su count coordinates and B, which are right here: it is below 1.

With fewer than {many} unknowns the matrix of a search is factorised at each step. With more it is
made in single precision where that decides nothing, inverted once, mended by what each step shows
and taken over by the next cycle ([equations](theory.md)). Time then goes with the square of the
number of groups times the number of reflections, two or three times in a run; memory with eight
bytes for each group and reflection, twice, and five squares of the number of groups.

| groups | reflections | cycles | seconds | seconds of CPU | peak, GiB | rms z |
|---:|---:|---:|---:|---:|---:|---:|
"""


def water(number: int, occupancy: float, chain: str, place: np.ndarray) -> str:
    """Return the line of a water; numbers above 9999 go on in the next chain."""
    x, y, z = place
    letter = chr(ord(chain) + number // 9999)
    return (
        f"HETATM    1  O   HOH {letter}{number % 9999 + 1:>4}    {x:8.3f}{y:8.3f}{z:8.3f}"
        f"{occupancy:6.2f} 15.00           O"
    )


def crystal(folder: Path, name: str, n: int, occupancies: np.ndarray) -> Model:
    """Return a crystal of n groups of some occupancies and n held waters."""
    cell = CELL * (n / 1500) ** (1 / 3)
    places = np.random.default_rng(5).uniform(0, 1, (2 * n, 3)) * cell
    lines = ["CRYST1{:9.3f}{:9.3f}{:9.3f}  90.00  90.00  90.00 P 1".format(*cell)]
    lines += [water(i, q, "A", places[i]) for i, q in enumerate(occupancies)]
    lines += [water(i, 1.0, "N", place) for i, place in enumerate(places[n:])]
    path = folder / name
    path.write_text("\n".join([*lines, "END", ""]))
    return Model(dtype_float=torch.float64).load(path)


def measure(n: int) -> dict[str, float]:
    """Return what a refinement of n groups took, and how well it ended."""
    true = np.random.default_rng(1).uniform(0.2, 0.95, n).round(2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        code = f"import many_groups as m; m.observe({n}, {str(folder)!r})"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
        model = crystal(folder, "start.pdb", n, np.full(n, 0.6))
        data = read_reflections(folder / "data.mtz")
        base = _peak()
        clock, of_cpu = time.perf_counter(), time.process_time()
        solution = refine(model, data, RefineOptions())
        clock, of_cpu = time.perf_counter() - clock, time.process_time() - of_cpu
    own = solution.groups.refined
    known = np.isfinite(solution.su[own])
    z = ((solution.occupancy[own] - true) / solution.su[own])[known]
    return {
        "groups": n, "reflections": len(data), "cycles": solution.status.cycles,
        "seconds": clock, "cpu": of_cpu, "peak": _peak(), "base": base,
        "z": float(np.sqrt(np.mean(z**2))),
    }  # fmt: skip


def observe(n: int, folder: str) -> None:
    """Write the data of n groups; in a process whose memory does not count."""
    true = np.random.default_rng(1).uniform(0.2, 0.95, n).round(2)
    truth = crystal(Path(folder), "truth.pdb", n, true)
    write_simulated(simulate(truth, 2.0, seed=3), truth, Path(folder) / "data.mtz")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def processors() -> str:
    """Return how many processors there are, and what they are."""
    names = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{len(names)} processors ({names[0]})"


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="Markdown file; standard output when left out")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one)))
        return
    rows = []
    # the first run compiles what the others find
    for n in (min(arguments.sizes), *arguments.sizes):
        command = [sys.executable, "-W", "ignore", __file__, "--one", str(n)]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append(json.loads(found.stdout.splitlines()[-1]))
        print(rows[-1], file=sys.stderr, flush=True)
    from multicopy_refinement.solve.precision import MANY

    text = HEAD.format(
        threads=torch.get_num_threads(), processors=processors(), many=MANY, base=rows[0]["base"]
    )
    for row in rows[1:]:
        text += (
            "| {groups} | {reflections} | {cycles} | {seconds:.1f} | {cpu:.1f} | {peak:.2f} "
            "| {z:.2f} |\n"
        ).format(**row)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
