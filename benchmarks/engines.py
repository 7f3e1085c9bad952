"""Structure factors and their gradients: this package beside others, in the same run.

    python benchmarks/engines.py --peers build/bench-venv/bin/python --out docs/engines.md

`make bench` installs the others and runs this. Every engine has a process of its own; they take
turns, so that all meet the same machine. Models come from $MULTICOPY_DATA or ../shared/data.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import torch

from data_sets import ROOT, shared_data
from multicopy_refinement import Model, structure_factors
from multicopy_refinement.crystal.hkl import unique_reflections

WORKER = Path(__file__).with_name("engine_worker.py")
#: Reflections whose F is compared with direct summation.
SAMPLE = 400
#: What an engine may hold at once, by a rough count, before it is left out.
MEMORY_GB = 14.0
#: Models of more atoms have fewer turns, of one call.
LARGE = 10_000
SMALL = 1_000
#: A call that takes longer, in seconds, is not repeated.
SLOW = 10.0
OURS = "multicopy float64"
EVERY = [
    OURS, "multicopy float32", "multicopy, accuracy 1e-3", "multicopy torch-only",
    "torchref float64", "torchref float32", "sfcalculator", "gemmi", "gemmi, no blur", "cctbx",
]  # fmt: skip
SOME = [OURS, "torchref float64", "gemmi"]


@dataclass(frozen=True)
class Case:
    """A model at a resolution."""

    name: str
    model: Path
    d_min: float
    n_atoms: int
    hkl: np.ndarray = field(repr=False)


@dataclass
class Result:
    """What one engine took for one case."""

    case: str
    engine: str
    threads: int
    n_atoms: int
    n_reflections: int
    d_min: float
    forward_s: float | None = None
    both_s: float | None = None
    error: float | None = None
    forward_mb: float | None = None
    both_mb: float | None = None
    process_mb: float | None = None
    note: str = ""


class Worker:
    """A process with one engine."""

    def __init__(self, engine: str, threads: int, peers: Path) -> None:
        ours = engine.startswith("multicopy")
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
        environment["TORCHREF_DTYPE_FLOAT"] = engine.rsplit(maxsplit=1)[-1]
        self.process = subprocess.Popen(
            [sys.executable if ours else peers, "-W", "ignore", WORKER, engine, str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment,
        )  # fmt: skip

    def ask(self, **order: object) -> dict[str, Any]:
        assert self.process.stdin
        assert self.process.stdout
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            assert self.process.stderr
            last = self.process.stderr.read().strip().splitlines()[-1:] or ["killed"]
            raise RuntimeError(last[0]) from None

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def make_case(name: str, model: Path, d_min: float) -> Case:
    loaded = Model().load(model)
    hkl = unique_reflections(loaded.cell, loaded.spacegroup, d_min)
    return Case(name, model, d_min, len(loaded.table), hkl)


def plain(source: Path, target: Path) -> Path:
    """Write a model without occupancies above 1, which this package reads as 1."""
    structure = gemmi.read_structure(str(source))
    for site in structure[0].all():
        site.atom.occ = min(site.atom.occ, 1.0)
    target.write_text(structure.make_pdb_string())
    return target


def tile(source: Path, target: Path, tiles: tuple[int, int, int]) -> Path:
    """Write a P1 supercell of a crystal, its atoms moved and their B changed a little.

    Exact copies would leave only every n-th reflection; moves of 0.3 A give all of them.
    """
    random = np.random.default_rng(0)
    old = gemmi.read_structure(str(source))
    a, b, c = old.cell.a * tiles[0], old.cell.b * tiles[1], old.cell.c * tiles[2]
    operations = old.find_spacegroup().operations()
    new = gemmi.Structure()
    new.cell = gemmi.UnitCell(a, b, c, old.cell.alpha, old.cell.beta, old.cell.gamma)
    new.spacegroup_hm = "P 1"
    model = gemmi.Model(1)
    letters = iter("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
    for shift in np.ndindex(*tiles):
        for operation in operations:
            chain = gemmi.Chain(next(letters))
            for k, residue in enumerate(r for chain in old[0] for r in chain):
                copy = residue.clone()
                copy.seqid = gemmi.SeqId(str(k + 1))
                for atom in copy:
                    place = operation.apply_to_xyz(old.cell.fractionalize(atom.pos).tolist())
                    moved = [x + s for x, s in zip(place, shift, strict=True)]
                    atom.pos = old.cell.orthogonalize(gemmi.Fractional(*moved))
                    atom.pos += gemmi.Position(*random.normal(0, 0.3, 3))
                    atom.b_iso = max(2.0, atom.b_iso * random.uniform(0.7, 1.3))
                chain.add_residue(copy)
            model.add_chain(chain)
    new.add_model(model)
    target.write_text(new.make_pdb_string())
    return target


def part(source: Path, target: Path, n_chains: int) -> Path:
    """Write the first chains of a model."""
    structure = gemmi.read_structure(str(source))
    for name in [c.name for c in structure[0]][n_chains:]:
        structure[0].remove_chain(name)
    target.write_text(structure.make_pdb_string())
    return target


def error_of(case: Case, sample: Path) -> float:
    """Return sqrt(sum |F - F_direct|^2 / sum |F_direct|^2) of a sample, in float64."""
    found = np.load(sample)
    model = Model(dtype_float=torch.float64).load(case.model)
    with torch.no_grad():
        exact = structure_factors(model, found["hkl"], method="direct").numpy()
    return float(np.linalg.norm(found["f"] - exact) / np.linalg.norm(exact))


def calls_of(case: Case) -> int:
    """Return the calls of a turn: enough for caches and threads to settle."""
    return 1 if case.n_atoms > LARGE else 5 if case.n_atoms > SMALL else 20


def compare(
    case: Case, engines: list[str], peers: Path, folder: Path, *, threads: int, rounds: int
) -> list[Result]:
    """Let engines take turns on a case."""
    print(f"{case.name}: {case.n_atoms} atoms, {len(case.hkl)} reflections", flush=True)
    np.save(folder / "hkl.npy", case.hkl)
    workers, results = {}, []
    times: dict[tuple[str, str], list[float]] = {}
    for engine in engines:
        result = Result(case.name, engine, threads, case.n_atoms, len(case.hkl), case.d_min)
        results.append(result)
        # one complex and one real number for each atom and reflection, and the gradient's copies
        if engine == "sfcalculator" and 36e-9 * case.n_atoms * len(case.hkl) > MEMORY_GB:
            result.note = "left out: needs more memory than there is"
            continue
        worker = Worker(engine, threads, peers)
        try:
            loaded = worker.ask(
                do="load", model=str(case.model), d_min=case.d_min, hkl=str(folder / "hkl.npy")
            )
            kinds = ["forward", "both"] if loaded["gradients"] else ["forward"]
            for kind in kinds:
                first = worker.ask(do=kind, memory=True)  # with compilation, plans, caches
                times[engine, kind] = [first["took"]] if first["took"] > SLOW else []
                later = first if first["took"] > SLOW else worker.ask(do=kind, memory=True)
                setattr(result, f"{kind}_mb", later["growth_mb"])
                result.process_mb = max(result.process_mb or 0.0, later["peak_mb"])
            workers[engine] = worker, kinds, result
        except RuntimeError as error:
            result.note = f"failed: {error}"
            worker.stop()
    slow = {key for key, found in times.items() if found}
    for _ in range(rounds):
        for engine, (worker, kinds, _) in workers.items():
            for kind in kinds:
                if (engine, kind) not in slow:
                    answer = worker.ask(do=kind, calls=calls_of(case))
                    times[engine, kind].extend(answer["seconds"])
    for engine, (worker, kinds, result) in workers.items():
        for kind in kinds:
            setattr(result, f"{kind}_s", statistics.median(times[engine, kind]))
        worker.ask(do="sample", n=SAMPLE, out=str(folder / "sample.npz"))
        result.error = error_of(case, folder / "sample.npz")
        worker.stop()
    for result in results:
        print("  ", row(result, None), flush=True)
    return results


def seconds(value: float | None) -> str:
    return (
        "-" if value is None else f"{1000 * value:.0f}" if value > 0.01 else f"{1000 * value:.1f}"
    )


def ratio(value: float | None, reference: float | None) -> str:
    return "" if not value or not reference else f" ({value / reference:.1f} x)"


def row(result: Result, reference: Result | None) -> str:
    if result.note:
        return f"| {result.engine} | {result.note} | | | | |"
    forward, both = (
        seconds(v) + ratio(v, r)
        for v, r in (
            (result.forward_s, reference and reference.forward_s),
            (result.both_s, reference and reference.both_s),
        )
    )
    error = "-" if result.error is None else f"{result.error:.1e}"
    growth = [f"{v:.0f}" if v is not None else "-" for v in (result.forward_mb, result.both_mb)]
    process = "-" if result.process_mb is None else f"{result.process_mb:.0f}"
    return f"| {result.engine} | {forward} | {both} | {error} | {' / '.join(growth)} | {process} |"


def table(results: list[Result]) -> str:
    """Return one table a case; times beside ratios to this package's."""
    lines = []
    for case in dict.fromkeys(r.case for r in results):
        rows = [r for r in results if r.case == case]
        one = rows[0]
        lines += [
            f"### {case}: {one.n_atoms:,} atoms, {one.n_reflections:,} reflections "
            f"to {one.d_min} Å",
            "",
            "| engine | F, ms | F and gradient, ms | error of F | growth, MB | process, MB |",
            "|---|---:|---:|---:|---:|---:|",
            *(row(r, rows[0]) for r in rows),
            "",
        ]
    return "\n".join(lines)


def growth_table(title: str, results: list[Result], label: str) -> str:
    """Return a table of one series: a line a case and engine."""
    lines = [
        f"### {title}",
        "",
        f"| {label} | engine | F, ms | F and gradient, ms | error of F |",
        "|---|---|---:|---:|---:|",
    ]
    lines += [
        f"| {r.case} | {r.engine} | {seconds(r.forward_s)} | {seconds(r.both_s)} | {r.error:.1e} |"
        for r in results
        if not r.note
    ]
    return "\n".join([*lines, ""])


HEAD = """# Structure factors and gradients beside other engines

Made by `make bench` (`python benchmarks/engines.py`). Models are not part of the package.

- *F*: F_calc of all unique reflections to the resolution. *F and gradient*: also the gradient of
  sum|F| by coordinates, B and occupancies (SFcalculator and cctbx as far as they offer them).
- Times are medians of {rounds} turns of twenty calls (1dur), of five (1g8a), or of three turns of
  one call (large model; a single call where it takes more than 10 s). All engines take turns in
  the same session, each in a process of its own with {threads} threads. In brackets: that time
  divided by ours.
- *error of F*: sqrt(sum|F - F_direct|^2 / sum|F_direct|^2) of {sample} reflections drawn at random,
  direct summation in float64 with the same form factors. *growth*: of the process at its
  peak above what it held before the call, F / F and gradient; memory that
  is kept from earlier calls (allocator, our grid) is given back first, so that it counts.
  *process*: at its peak, libraries, compiled code and model included.
- *multicopy float64*, *float32*: parameters of that precision, at the default accuracy of 1e-4;
  *accuracy 1e-3* asks for less, in float64. *multicopy torch-only* is the route of tensors that
  are not on the CPU, run on the CPU.
- gemmi, TorchRef and we have the same grid rate (1.5). *gemmi, no blur* is its default.
- Versions: {versions}

"""


def versions(peers: Path) -> str:
    names = ["torchref", "torchref-kernels", "sfcalculator-torch", "gemmi", "cctbx-base", "torch"]
    code = (
        f"import importlib.metadata as m; print(', '.join(n + ' ' + m.version(n) for n in {names}))"
    )
    return subprocess.check_output([peers, "-c", code], text=True).strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, required=True, help="python that has the others")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "engines.md")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    data = shared_data()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        g8a = data / "1g8a" / "model.pdb"
        large = tile(g8a, folder / "large.pdb", (5, 1, 2))
        cases = [
            make_case("1dur", plain(data / "1dur" / "model.pdb", folder / "1dur.pdb"), 2.02),
            make_case("1g8a", g8a, 1.23),
            make_case("1g8a tiled 5 x 1 x 2 in P 1", large, 2.0),
        ]
        common = {"peers": arguments.peers, "folder": folder}
        every, by_atoms, by_resolution, by_threads = [], [], [], []
        for case in cases:
            rounds = arguments.rounds if case.n_atoms < LARGE else 3
            every += compare(case, EVERY, threads=arguments.threads, rounds=rounds, **common)
        for n in (1, 2, 5, 10, 20):
            case = make_case(f"{n * 2853}", part(large, folder / f"{n}.pdb", n), 2.0)
            by_atoms += compare(case, SOME, threads=arguments.threads, rounds=3, **common)
        for d_min in (3.0, 2.5, 2.0, 1.5, 1.23):
            case = make_case(f"{d_min} Å", g8a, d_min)
            by_resolution += compare(case, SOME, threads=arguments.threads, rounds=5, **common)
        for threads in range(1, arguments.threads + 1):
            case = make_case(f"{threads}", g8a, 1.23)
            by_threads += compare(case, SOME, threads=threads, rounds=5, **common)
    text = HEAD.format(
        rounds=arguments.rounds, threads=arguments.threads, sample=SAMPLE,
        versions=versions(arguments.peers),
    )  # fmt: skip
    text += (
        table(every)
        + "\n"
        + "\n".join(
            growth_table(*arguments_)
            for arguments_ in (
                ("Atoms: parts of the tiled model in its cell, to 2.0 Å", by_atoms, "atoms"),
                ("Resolution: 1g8a", by_resolution, "resolution"),
                ("Threads: 1g8a to 1.23 Å", by_threads, "threads"),
            )
        )
    )
    arguments.out.write_text(text)
    record = {"models": every, "atoms": by_atoms, "resolution": by_resolution,
              "threads": by_threads}  # fmt: skip
    arguments.out.with_suffix(".json").write_text(
        json.dumps({k: [asdict(r) for r in v] for k, v in record.items()}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
