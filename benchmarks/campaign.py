"""How well and how fast many data sets are refined: a simulated screen, and tables of 1,000 runs.

    python benchmarks/campaign.py --sets 200 --out docs/screen.md
    python benchmarks/campaign.py --tables 1000

The screen has one model, and data of truths in which the ligand is there in
part, in full, or not at all; truth has solvent where the ligand is not.
"""

import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from multicopy_refinement import Model
from multicopy_refinement.campaign.collect import collect, write_tables
from multicopy_refinement.campaign.page import page_of
from multicopy_refinement.campaign.plan import Ended, Outcome, Plan, write_outcome
from multicopy_refinement.campaign.table import DataSet
from multicopy_refinement.run.job import RefineJob, run
from multicopy_refinement.simulate import simulate, write_simulated

DEMO = files("multicopy_refinement") / "demo"
LIGAND, D_MIN, NOISE = "A/201/GOL", 2.0, 0.03
#: What counts as bound, and the part of the data sets without any ligand.
BOUND, EMPTY = 0.2, 0.4

HEAD = """# A simulated screen

Made by `{command}`. {n} data sets of the demonstration crystal to {d_min} A
with {noise:.0%} noise, a seed each; the ligand {ligand} has occupancy 0 in {empty} of them, and
uniformly 0 to 1 in the others. Truth has solvent where the ligand is not; the model that is refined
is the same for all.

| | |
|---|---|
"""


def truths(n: int, seed: int = 0) -> NDArray[np.float64]:
    """Return the ligand's occupancy in each data set."""
    rng = np.random.default_rng(seed)
    q = rng.uniform(0, 1, n)
    q[rng.permutation(n)[: round(EMPTY * n)]] = 0.0
    return q.round(3)


def make_screen(folder: Path, q: NDArray[np.float64]) -> Path:
    """Write model, data and table of a screen, and return the table."""
    text = (DEMO / "start.pdb").read_text()
    model = folder / "model.pdb"
    model.write_text(text)
    truth = Model(dtype_float=torch.float64).load(str(DEMO / "truth.pdb"))
    names = list(truth.occupancy_groups.names)
    ligand = [i for i, name in enumerate(names) if name.startswith(LIGAND)]
    members = np.concatenate([truth.occupancy_groups.members[i] for i in ligand])
    start = truth.occupancy().detach().numpy().copy()
    total = start[members].max()
    lines = ["name,model,data"]
    for k, value in enumerate(q.tolist()):
        occupancy = start.copy()
        occupancy[members] *= value / total
        one = _with_occupancies(folder, occupancy)
        write_simulated(simulate(one, D_MIN, seed=1000 + k, noise=NOISE), one, folder / f"{k}.mtz")
        lines.append(f"x{k:04d},model.pdb,{k}.mtz")
    table = folder / "screen.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


def _with_occupancies(folder: Path, occupancy: NDArray[np.float64]) -> Model:
    """Return the demo's truth with other occupancies."""
    lines, atom = [], 0
    for line in (DEMO / "truth.pdb").read_text().splitlines():
        if line.startswith(("ATOM", "HETATM")):
            line = f"{line[:54]}{occupancy[atom]:6.3f}"[:60] + line[60:]  # noqa: PLW2901
            atom += 1
        lines.append(line)
    path = folder / "truth.pdb"
    path.write_text("\n".join(lines) + "\n")
    return Model(dtype_float=torch.float64).load(path)


def run_campaign(table: Path, out: Path, workers: int) -> float:
    """Carry out a campaign as a user does, and return its seconds."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "multicopy_refinement", "campaign", table, "--out", out,
               "--workers", workers, "--ligands", "--threads", 1, "--quiet"]  # fmt: skip
    subprocess.run([str(word) for word in command], check=True)
    return time.perf_counter() - began


def one_by_one(table: Path, n: int) -> float:
    """Return the seconds of a data set by the command line alone, the mean of n."""
    began = time.perf_counter()
    for row in pd.read_csv(table).head(n).itertuples():
        command = [sys.executable, "-m", "multicopy_refinement", "refine", row.model, row.data,
                   "--out", f"alone-{row.name}", "--ligands", "--threads", "1", "-q"]  # fmt: skip
        subprocess.run(command, check=True, cwd=table.parent)
    return (time.perf_counter() - began) / n


def area_under_roc(score: NDArray[np.float64], true: NDArray[np.bool_]) -> float:
    """Return the probability that a true one scores above one that is not, ties counting half."""
    above = score[true][:, None] - score[~true][None, :]
    return float(((above > 0) + 0.5 * (above == 0)).mean())


def screen(n: int, command: str) -> str:
    """Return the page of a simulated screen."""
    q = truths(n)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = make_screen(folder, q)
        two = run_campaign(table, folder / "two", 2)
        one = run_campaign(table, folder / "one", 1)
        alone = one_by_one(table, min(n, 10))
        sets = pd.read_parquet(folder / "two" / "datasets.parquet")
        found = pd.read_parquet(folder / "two" / "ligands.parquet").set_index("name")
    found = found.reindex([f"x{k:04d}" for k in range(n)])
    error = (found["occupancy"].to_numpy() - q) / found["su"].to_numpy()
    known = np.isfinite(error)
    p = found["p_absent"].fillna(1.0).to_numpy(dtype=np.float64)
    gain = found["delta_log_likelihood"].to_numpy(dtype=np.float64)
    rank = np.lexsort((-gain, p)).argsort()  # p is told to 1e-300: beyond it the gain decides
    wrong = int(found["supported"].to_numpy(dtype=bool)[q == 0].sum())
    rows = {
        "data sets that finished": f"{(sets['status'] == 'done').sum()} of {n}",
        "occupancies with an su": f"{known.sum()}",
        "within 1, 2, 3 su": ", ".join(
            f"{(np.abs(error[known]) < k).mean():.0%}" for k in (1, 2, 3)
        ),
        "rms z": f"{np.sqrt((error[known] ** 2).mean()):.2f}",
        f"area under the ROC curve for {BOUND} or more bound, by p": (
            f"{area_under_roc(-rank.astype(float), q >= BOUND):.4f}"
        ),
        "absent ones that are supported (5% of all supported are to be expected)": (
            f"{wrong} of {int(found['supported'].sum())} supported"
        ),
        "seconds a data set: one worker, two workers, the command line": (
            f"{one / n:.2f}, {two / n:.2f}, {alone:.2f}"
        ),
        "throughput of two workers over one": f"{one / two:.2f} ({os.cpu_count()} cores)",
    }
    head = HEAD.format(command=command, n=n, d_min=D_MIN, noise=NOISE, ligand=LIGAND,
                       empty=int((q == 0).sum()))  # fmt: skip
    return head + "".join(f"| {name} | {value} |\n" for name, value in rows.items())


def synthetic_runs(record: Mapping[str, Any], directory: Path, n: int) -> Plan:
    """Write the outcomes of n runs that vary one record, every twentieth failed."""
    rng = np.random.default_rng(0)
    sets = []
    for k in range(n):
        name = f"x{k:04d}"
        job = RefineJob(model=Path("model.pdb"), data=Path(f"{name}.mtz"))
        sets.append(DataSet(name, job))
        folder = directory / "runs" / name
        if k % 20 == 19:
            reason = "it took longer than 60 s, the limit"
            write_outcome(folder, Outcome(ended=Ended.CIRCUMSTANCE, reason=reason, seconds=60.0))
            continue
        write_outcome(
            folder, Outcome(ended=Ended.DONE, seconds=rng.uniform(1, 9), memory=5 * 10**8)
        )
        (folder / "result.json").write_text(json.dumps(_varied(record, rng)))
    return Plan(directory, tuple(sets))


def _varied(record: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    made = copy.deepcopy(dict(record))
    for one in [*made["groups"], *made["ligands"]]:
        if one["refined"]:
            one["occupancy"] = round(float(rng.uniform(0, 1)), 6)
            one["p_absent"] = float(10 ** rng.uniform(-30, 0)) if rng.random() < 0.5 else (
                float(rng.uniform(0, 1)))  # fmt: skip
    return made


def tables(n: int) -> str:
    """Return how long tables and page of n runs take, and their sizes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        truth = Model(dtype_float=torch.float64).load(str(DEMO / "truth.pdb"))
        write_simulated(simulate(truth, 3.0, seed=1), truth, folder / "data.mtz")
        run(RefineJob(model=Path(str(DEMO / "start.pdb")), data=folder / "data.mtz",
                      out=folder / "run"))  # fmt: skip
        record = json.loads((folder / "run" / "result.json").read_text())
        plan = synthetic_runs(record, folder / "campaign", n)
        began = time.perf_counter()
        made = collect(plan)
        collected = time.perf_counter() - began
        page = page_of(plan, made)
        paged = time.perf_counter() - began - collected
        write_tables(plan, made, page)
        written = time.perf_counter() - began - collected - paged
        sizes = {p.name: p.stat().st_size / 1e6 for p in plan.directory.iterdir() if p.is_file()}
    listed = ", ".join(f"{name} {size:.1f} MB" for name, size in sorted(sizes.items()))
    return (
        f"{n} runs, {len(made.groups)} groups, {len(made.ligands)} ligands: "
        f"read {collected:.1f} s, page {paged:.1f} s, written {written:.1f} s; {listed}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sets", type=int, default=200)
    parser.add_argument("--tables", type=int, help="time the tables of so many runs instead")
    parser.add_argument("--out", type=Path, help="page to write")
    options = parser.parse_args()
    text = tables(options.tables) if options.tables else screen(
        options.sets, f"python benchmarks/campaign.py --sets {options.sets}")  # fmt: skip
    if options.out:
        options.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
