"""Whether marginal su of surroundings are those of the whole crystal: a table of their ratio.

python benchmarks/audit.py --shared ../shared/data --out docs/audit.md
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from multicopy_refinement import Model, RefineOptions, read_reflections, refine

SETS = ("1g8a", "4cjl", "2xiu", "mpro-x0107")

INTRODUCTION = """# Marginal su beside an audit

Made by `python benchmarks/audit.py --out docs/audit.md`. The marginal su of `refine` count
coordinates and B of a set of groups and of what is within 4.5 A; `--uncertainty audit` counts every
unknown of the crystal, by conjugate gradients. The ratio of the first to the second, of all groups
that have an su (in mpro-x0107 only sums of groups have one); seconds are those of the uncertainties
alone. An audit takes the solvent that groups displace, and whether it gets into their holes, as
known: where the first counts these they are larger.

| data set | groups | ratio: lowest | 5% | median | 95% | highest | within 10% | seconds | audit |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|
"""


def found(folder: Path, kind: str) -> tuple[np.ndarray, float]:
    """Return su of all groups, and the seconds of the refinement."""
    model = Model(folder / "model.pdb")
    data = read_reflections(
        next(folder.glob("data*")), cell=model.cell, spacegroup=model.spacegroup
    )
    begun = time.perf_counter()
    options = RefineOptions(decoys=0, uncertainty=kind, monomers=folder.parent / "monomers")
    return refine(model, data, options).su, time.perf_counter() - begun


def row(folder: Path) -> str:
    """Return a line of the table."""
    none = found(folder, "none")[1]
    (cheap, seconds), (audit, longer) = (found(folder, kind) for kind in ("marginal", "audit"))
    ratio = (cheap / audit)[np.isfinite(cheap / audit)]
    if len(ratio) == 0:
        return f"| {folder.name} | 0 | | | | | | | {seconds - none:.1f} | {longer - none:.0f} |"
    low, five, half, most, high = np.percentile(ratio, [0, 5, 50, 95, 100])
    within = np.mean(np.abs(ratio - 1) < 0.1)
    return (
        f"| {folder.name} | {len(ratio)} | {low:.2f} | {five:.2f} | {half:.2f} | {most:.2f} | "
        f"{high:.2f} | {within:.0%} | {seconds - none:.1f} | {longer - none:.0f} |"
    )


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    parser.add_argument("--only", nargs="*", default=list(SETS))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    lines = []
    for name in given.only:
        lines.append(row(given.shared / name))
        print(lines[-1], flush=True)
    if given.out:
        given.out.write_text(INTRODUCTION + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
