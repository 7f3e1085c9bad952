"""R factors before and after on every shared data set, with the error of F_calc.

    python benchmarks/data_sets.py --out docs/data-sets.md

The data are looked for in $MULTICOPY_DATA, or in ../shared/data beside the repository.
"""

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from multicopy_refinement import (
    Model,
    ReflectionData,
    Solution,
    read_reflections,
    refine,
    structure_factors,
)

ROOT = Path(__file__).resolve().parents[1]
HEAD = """# R factors of real data sets, before and after

Made by `make study` (`python benchmarks/data_sets.py --out docs/data-sets.md`) on one thread.
Models and data are not part of the package.

- *before* is the file as it is written, under a scale, solvent and errors of its own.
- *outliers*: reflections that are left out of both sets, named in a run's warnings.
- *F error*: sum|F - F_direct| / sum|F_direct| of the density-and-FFT engine at its default grid
  against direct summation in float64, over all reflections of the data set.
- *change of R-free* with its standard uncertainty: that both models meet the same errors is
  counted, so that it is smaller than that of either R.
- *log-likelihood* of the work set (what is gained) and of the free set (before, after), both ends
  evaluated with the scale and the errors of the end.
- *seconds* of CPU: scaling, refinement, su and evidence, without reading and
  writing.
- The file of 6mw0 fits better than the result, and a warning says so: residue 1002 has two values
  in one conformer (0.50 and 0.70), which share their mean unless a rule keeps them apart.
- The free set of 1dur was chosen after its refinement: its R-free means nothing. 6mw0 has none.

| data set | free set | groups refined | outliers | F error | R-work | R-free | change of R-free \
| log-likelihood gain | free log-likelihood | seconds |
|---|---|---:|---:|---:|---|---|---:|---:|---|---:|
"""


@dataclass(frozen=True)
class Row:
    """One data set."""

    name: str
    free: str
    f_error: float
    solution: Solution
    seconds: float

    def text(self) -> str:
        initial, final = self.solution.initial, self.solution.final
        change, n_outliers = self.solution.r_free_change, int(self._data.left_out.sum())
        moved = "-" if change is None else f"{change[0]:+.4f} ± {change[1]:.4f}"
        gain = final.log_likelihood - initial.log_likelihood
        free = _pair(initial.log_likelihood_free, final.log_likelihood_free, 1)
        return (
            f"| {self.name} | {self.free} | {int(self.solution.groups.refined.sum())} "
            f"| {n_outliers} | {self.f_error:.1e} | {_pair(initial.r_work, final.r_work, 4)} "
            f"| {_pair(initial.r_free, final.r_free, 4)} | {moved} | {gain:.1f} | {free} "
            f"| {self.seconds:.1f} |"
        )

    @property
    def _data(self) -> ReflectionData:
        return self.solution.experiment.data


def _pair(before: float | None, after: float | None, digits: int) -> str:
    """Return two values as text, a dash where there are none."""
    if before is None or after is None:
        return "-"
    return f"{before:.{digits}f} → {after:.{digits}f}"


def shared_data() -> Path:
    """Return the folder of the data sets."""
    folder = Path(os.environ.get("MULTICOPY_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        raise SystemExit(f"no data sets at {folder}; set MULTICOPY_DATA")
    return folder


def data_sets(folder: Path) -> list[tuple[str, Path, Path]]:
    """Return name, model and data of every data set; a model in two formats counts twice."""
    found = []
    for data in sorted([*folder.rglob("data.mtz"), *folder.rglob("data-sf.cif")]):
        models = sorted(p for p in data.parent.glob("model.*"))
        for model in models:
            name = str(data.parent.relative_to(folder))
            found.append((name if len(models) == 1 else f"{name} ({model.name})", model, data))
    return found


def study(name: str, model_path: Path, data_path: Path) -> Row:
    """Refine one data set."""
    model = Model(dtype_float=torch.float64).load(model_path)
    data = read_reflections(data_path)
    with torch.no_grad():
        reference = structure_factors(model, data.hkl, method="direct")
        error = (structure_factors(model, data.hkl) - reference).abs().sum()
    started = time.process_time()
    solution = refine(model, data)
    seconds = time.process_time() - started
    labels = data.labels
    free = "none" if labels.free_label is None else f"{labels.free_label} = {labels.free_value}"
    return Row(name, free, float(error / reference.abs().sum()), solution, seconds)


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="Markdown file; standard output when left out")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    for name, model, data in data_sets(shared_data()):
        row = study(name, model, data)
        print(row.text(), flush=True)
        lines.append(row.text())
    text = HEAD + "\n".join(lines) + "\n"
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
