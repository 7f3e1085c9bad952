"""Whole-model refinement beside Servalcat: R factors, geometry and time from the same start.

    make whole-model

Both programs refine coordinates, B and occupancies of the same groups, by their commands, with
two threads, the same reflections and dictionaries. What both wrote is judged by one program: R by
this package's scale and solvent, rms Z of bonds by its geometry.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gemmi
import numpy as np

from multicopy_refinement import Model, ReflectionData, read_reflections
from multicopy_refinement.geometry import Geometry
from multicopy_refinement.io.columns import Quantity
from multicopy_refinement.posterior.experiment import Experiment

#: Model and data.
DATA_SETS = {
    "1g8a": ("model.pdb", "data.mtz"),
    "4cjl": ("model.pdb", "data.mtz"),
    "1aie": ("model.pdb", "data.mtz"),
    "mpro-x0107": ("model.pdb", "data.mtz"),
    "2xiu": ("model.pdb", "data.mtz"),
    "4hg7": ("model.pdb", "data-sf.cif"),
}
#: Options of Servalcat with which nothing but occupancies is refined.
ALONE = ("--unrestrained", "--fix_xyz", "--adp", "fix")
#: What no dictionary of the shared library describes is left out for both.
UNKNOWN = ("NUT", "LIG", "MTN", "9PA", "HED")
CYCLES, MACROCYCLES = 15, 8
OURS, THEIRS = "this package", "Servalcat"


@dataclass(frozen=True)
class Run:
    """What came of one data set in one program."""

    data_set: str
    program: str
    r_work: float
    r_free: float
    bond_z: float
    angle_z: float
    worst_sum: float
    seconds: float


def prepare(source: Path, names: tuple[str, str], folder: Path) -> ReflectionData:
    """Write start.pdb and return the amplitudes."""
    model_file, data_file = (source / name for name in names)
    structure = gemmi.read_structure(str(model_file))
    for model in structure:
        for chain in model:
            for i in reversed(range(len(chain))):
                if chain[i].name in UNKNOWN:
                    del chain[i]
    # both programs take an atom on an axis at 1/multiplicity as a full one
    structure.setup_cell_images()
    for site in structure[0].all():
        mates = structure.cell.is_special_position(site.atom.pos, 0.5)
        site.atom.occ = min(site.atom.occ, 1 / (mates + 1))
    structure.write_pdb(str(folder / "start.pdb"))
    return read_reflections(data_file, prefer=Quantity.AMPLITUDE)


def said(command: list[str], folder: Path) -> str:
    """Run a command on two threads and return what it says."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def timed(command: list[str], folder: Path) -> float:
    """Run a command on two threads and return its seconds."""
    begun = time.perf_counter()
    said(command, folder)
    return time.perf_counter() - begun


def servalcat(peer: str | Path, cycles: int, prefix: str, *options: str) -> list[str]:
    """Return the command that refines start.pdb with the groups of groups.txt by data.mtz."""
    return [
        str(peer), "-m", "servalcat", "refine_xtal_norefmac", "--model", "start.pdb", "--hklin",
        "data.mtz", "--labin", "F,SIGF,FreeR_flag", "--free", "0", "--source", "xray",
        "--keyword_file", "groups.txt", "--hydrogen", "no", "--ncycle", str(cycles),
        "--output_prefix", prefix, *options,
    ]  # fmt: skip


def write_data(path: Path, data: ReflectionData) -> None:
    """Write amplitudes and flags (0 free) that both programs read."""
    mtz = gemmi.Mtz(with_base=True)
    mtz.cell = data.cell.gemmi
    mtz.spacegroup = data.spacegroup.gemmi
    mtz.add_dataset("data")
    for label, kind in (("F", "F"), ("SIGF", "Q"), ("FreeR_flag", "I")):
        mtz.add_column(label, kind)
    free = np.where(data.free, 0.0, 1.0 + np.arange(len(data)) % 19)
    table = np.column_stack([data.hkl, data.f_obs, data.sigma, free])
    mtz.set_data(table.astype(np.float32))
    mtz.write_to_file(str(path))


def judged(name: str, program: str, path: Path, mtz: Path, seconds: float, start: Path) -> Run:
    """Return R factors and geometry of a model that a program wrote."""
    model = Model(path)
    data = read_reflections(mtz, cell=model.cell, spacegroup=model.spacegroup)
    groups = model.occupancy_groups
    # a set of at most 1 that ends near 1 would be taken for a complete one
    complete = {s.name for s in Model(start).occupancy_groups.sets if s.complete}
    sums = [
        abs(sum(float(groups.file_occupancy[g]) for g in s.groups) - s.total)
        for s in groups.sets if s.complete and s.name in complete
    ]  # fmt: skip
    statistics = Experiment(model, data).statistics()
    geometry = Geometry.of(model)
    found = geometry.statistics(geometry.state(model))
    return Run(
        name, program, statistics.r_work, statistics.r_free or float("nan"),
        found["bonds"].rms_z, found["angles"].rms_z, max(sums, default=0.0), seconds,
    )  # fmt: skip


def refined(name: str, source: Path, peer: str, folder: Path) -> list[Run]:
    """Refine one data set by both programs."""
    data = prepare(source, DATA_SETS[name], folder)
    write_data(folder / "data.mtz", data)
    ours = [sys.executable, "-m", "multicopy_refinement"]
    timed([*ours, "groups", "start.pdb", "--format", "refmac", "--output", "groups.txt"], folder)
    mine = timed(
        [*ours, "refine", "start.pdb", "data.mtz", "--parameters", "occupancy,xyz,b_iso",
         "--active", "all", "--no-report", "--quiet", "--out", "ours", "--overwrite",
         "--max-cycles", str(MACROCYCLES), "--monomers", str(source.parent / "monomers")], folder,
    )  # fmt: skip
    theirs = timed(
        servalcat(peer, CYCLES, "theirs", "--monlib", str(source.parent / "monomers")), folder
    )
    mtz, start = folder / "data.mtz", folder / "start.pdb"
    return [
        judged(name, "start", start, mtz, float("nan"), start),
        judged(name, OURS, folder / "ours" / "refined.cif", mtz, mine, start),
        judged(name, THEIRS, folder / "theirs.mmcif", mtz, theirs, start),
    ]


INTRODUCTION = """# Whole models, beside Servalcat

Made by `python benchmarks/whole_model.py --peer build/servalcat-venv/bin/python --out
docs/whole-model.md`, both programs on two threads, one after the other.

Coordinates, B and occupancies of the same groups are refined from the same start (hydrogens as in
the file for this package, none for Servalcat), amplitudes, free set and dictionaries;
ligands that the library does not describe are left out, and atoms on axes are at 1/multiplicity.
Servalcat 0.4.142 takes {cycles} cycles, this package ends by its own criterion or after
{macrocycles} macrocycles, and its time has the standard uncertainties and the evidence in it. R and
rms Z of both are by this package.

| data set | program | R-work | R-free | rms Z bonds | rms Z angles | worst sum of a set | seconds |
|---|---|---:|---:|---:|---:|---:|---:|
"""


def table(runs: list[Run]) -> str:
    """Return the rows of a table."""
    return "\n".join(
        f"| {r.data_set} | {r.program} | {r.r_work:.4f} | {r.r_free:.4f} | {r.bond_z:.2f} | "
        f"{r.angle_z:.2f} | {r.worst_sum:.3f} | "
        f"{'' if np.isnan(r.seconds) else f'{r.seconds:.0f}'} |"
        for r in runs
    )


def write_page(
    description: str, refined: Callable[[str, Path, str, Path], list[Any]],
    table: Callable[[list[Any]], str], introduction: Callable[[], str],
) -> None:  # fmt: skip
    """Refine all data sets, or those that are asked for, and write the page."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--peer", required=True, help="Python that has Servalcat")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs="*", default=list(DATA_SETS))
    arguments = parser.parse_args()
    shared = Path(os.environ.get("MULTICOPY_DATA", "../shared/data")).resolve()
    peer = str(Path(arguments.peer).absolute())
    runs: list[Any] = []
    for name in arguments.only:
        with tempfile.TemporaryDirectory() as folder:
            found = refined(name, shared / name, peer, Path(folder))
        runs += found
        print(table(found), flush=True)
    if arguments.out:
        arguments.out.write_text(introduction() + table(runs) + "\n")


def main() -> None:
    """Write the table."""
    write_page(
        __doc__, refined, table,
        lambda: INTRODUCTION.format(cycles=CYCLES, macrocycles=MACROCYCLES),
    )  # fmt: skip


if __name__ == "__main__":
    main()
