"""The record of a series as JSON, and its table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.notices import rank
from multicopy_refinement.results.base import Record
from multicopy_refinement.results.record import Program
from multicopy_refinement.series.fits import Fit, best_supported
from multicopy_refinement.series.regions import RegionTest
from multicopy_refinement.series.solution import SeriesSolution

#: Fields of a data set in the table, after its name and the variable.
COLUMNS = (
    "fraction", "su", "su_conditional", "p_absent", "r_work", "r_free", "flags", "unbounded",
    "delta_log_likelihood", "misfit", "converged",
)  # fmt: skip


class SetRecord(Record):
    """One data set; ``x`` is the variable, null of a reference for which it was left empty.

    ``fraction`` is within 0 and 1, ``unbounded`` what the covariance is of and curves are fitted
    to; ``su`` null where the data do not determine the fraction. ``crystal_form`` is a number.
    """

    name: str
    data: str
    x: float | None
    fraction: float
    su: float | None
    su_conditional: float | None
    p_absent: float | None
    unbounded: float
    delta_log_likelihood: float
    delta_log_likelihood_free: float | None
    n_decoys: int
    misfit: float
    flags: list[str]
    r_work: float
    r_free: float | None
    log_likelihood: float
    n_work: int
    n_free: int
    n_outliers: int
    d_min: float
    cell: list[float]
    crystal_form: int
    converged: bool
    cycles: int
    reason: str


class RegionRecord(Record):
    """A residue: its mean deviation from the common fraction, and whether it disagrees."""

    name: str
    deviation: float
    su: float
    chi_square: float
    p: float
    disagrees: bool
    fractions: list[float]
    fraction_su: list[float]


class RegionsRecord(Record):
    """Whether one fraction fits all residues: in each data set, and over all of them."""

    data_sets: list[str]
    chi_square: list[float]
    degrees_of_freedom: int
    p: list[float]
    total_chi_square: float
    total_degrees_of_freedom: int
    total_p: float
    regions: list[RegionRecord]


class ParameterRecord(Record):
    """A parameter of a curve; ``su`` null where the data do not determine it."""

    name: str
    unit: str
    value: float
    su: float | None


class FitRecord(Record):
    """A curve; ``aicc`` null where points are too few to compare it."""

    name: str
    formula: str
    parameters: list[ParameterRecord]
    derived: list[ParameterRecord]
    covariance: list[list[float]]
    chi_square: float
    degrees_of_freedom: int
    p: float | None
    aicc: float | None
    residuals: list[float | None]


class SharedRecord(Record):
    """The shared model: how far atoms near the state went (rms), in A and of B as a part.

    ``holes`` is in how many holes beside the state it is in doubt whether solvent gets into them,
    ``filled`` in how many the data say otherwise than the mask, by a half or more.
    """

    moved_xyz: float
    moved_b: float
    cells: int
    holes: int
    filled: int


class WarningRecord(Record):
    """What was noticed; of all data sets where ``data_set`` is empty."""

    data_set: str
    code: str
    message: str


class SeriesRecord(Record):
    """All that a series found; matrices are over ``data_sets`` in their order."""

    schema_: int = 1
    program: Program = Program()
    model: str
    table: str
    options: dict[str, Any]
    state: str
    state_groups: list[str]
    file_fraction: float
    variable: str
    reference: str | None
    data_sets: list[SetRecord]
    covariance: list[list[float]]
    error_correlation: list[list[float]]
    amplitude_correlation: list[list[float]]
    regions: RegionsRecord | None
    fits: list[FitRecord]
    best: str | None
    shared: SharedRecord
    warnings: list[WarningRecord]
    seconds: dict[str, float]

    def to_json(self) -> str:
        """Return the record as JSON text."""
        text = self.model_dump_json(indent=1)
        return text.replace('"schema_"', '"schema"', 1) + "\n"

    def table_of_sets(self) -> pd.DataFrame:
        """Return a row for each data set: the file ``series.csv``."""
        rows = [
            {"name": one.name, self.variable: one.x}
            | {column: getattr(one, column) for column in COLUMNS}
            for one in self.data_sets
        ]
        frame = pd.DataFrame(rows)
        numbers = frame.columns.difference(["name", "flags", "converged"])
        frame[numbers] = frame[numbers].apply(pd.to_numeric)
        return frame


def make_record(
    found: SeriesSolution, variable: str, fits: Sequence[Fit], *, model: Path, table: Path,
    data: Sequence[Path], options: Mapping[str, Any],
) -> SeriesRecord:  # fmt: skip
    """Return the record of a series."""
    groups = found.state.groups
    inside = np.flatnonzero(found.state.slope > 0).tolist()
    best = best_supported(fits)
    return SeriesRecord(
        model=str(model), table=str(table), options=dict(options), state=found.state.name,
        state_groups=[groups.names[g] for g in inside], file_fraction=found.state.fraction,
        variable=variable,
        reference=None if found.reference is None else found.names[found.reference],
        data_sets=[_set(found, i, str(path)) for i, path in enumerate(data)],
        covariance=_matrix(found.covariance), error_correlation=_matrix(found.error_correlation),
        amplitude_correlation=_matrix(found.isomorphism.correlation),
        regions=None if found.regions is None else _regions(found, found.regions),
        fits=[_fit(one) for one in fits],
        best=None if best is None else best.name,
        shared=SharedRecord(
            moved_xyz=found.moved[0], moved_b=found.moved[1], cells=found.crystals,
            holes=len(found.filled), filled=int((np.abs(found.filled) >= 0.5).sum()),
        ),
        warnings=[
            WarningRecord(data_set=name, code=notice.code, message=notice.message)
            for name, notice in sorted(found.notices, key=lambda one: rank(one[1]))
        ],
        seconds={name: round(value, 2) for name, value in found.seconds.items()},
    )  # fmt: skip


def _set(found: SeriesSolution, i: int, path: str) -> SetRecord:
    agreement, data, search = found.agreement[i], found.data[i], found.searches[i]
    evidence = found.evidence
    return SetRecord(
        name=found.names[i], data=path, x=_known(found.x[i]),
        fraction=_figures(found.fraction[i]), su=_known(found.su[i]),
        su_conditional=_known(found.su_conditional[i]), p_absent=_probability(evidence.p_absent[i]),
        unbounded=_figures(found.unbounded[i]), delta_log_likelihood=_figures(evidence.gain[i]),
        delta_log_likelihood_free=_known(evidence.gain_free[i]),
        n_decoys=int(evidence.n_decoys[i]), misfit=_figures(found.misfit[i]),
        flags=[str(flag) for flag in found.flags[i]],
        r_work=agreement.r_work, r_free=agreement.r_free,
        log_likelihood=agreement.log_likelihood, n_work=int(data.work.sum()),
        n_free=int(data.free.sum()), n_outliers=data.n_outliers, d_min=data.d_min,
        cell=list(found.cells[i].parameters), crystal_form=int(found.isomorphism.form[i]) + 1,
        converged=search.converged, cycles=search.cycles, reason=search.reason,
    )  # fmt: skip


def _regions(found: SeriesSolution, test: RegionTest) -> RegionsRecord:
    names = [name for i, name in enumerate(found.names) if i != found.reference]
    return RegionsRecord(
        data_sets=names, chi_square=test.chi_square.tolist(), degrees_of_freedom=test.freedom,
        p=test.p.tolist(), total_chi_square=test.total[0],
        total_degrees_of_freedom=test.total[1], total_p=test.total[2],
        regions=[
            RegionRecord(
                name=name, deviation=float(test.deviation[r]), su=float(test.deviation_su[r]),
                chi_square=float(test.region_chi_square[r]), p=float(test.region_p[r]),
                disagrees=bool(test.disagrees[r]), fractions=test.fraction[:, r].tolist(),
                fraction_su=test.su[:, r].tolist(),
            )
            for r, name in enumerate(test.names)
        ],
    )  # fmt: skip


def _fit(one: Fit) -> FitRecord:
    return FitRecord(
        name=one.name, formula=one.formula,
        parameters=[
            ParameterRecord(name=name, unit=unit, value=float(value), su=_known(su))
            for name, unit, value, su in zip(
                one.parameters, one.units, one.value, one.su, strict=True
            )
        ],
        derived=[
            ParameterRecord(name=name, unit=unit, value=value, su=_known(su))
            for name, unit, value, su in one.derived if math.isfinite(value)
        ],
        covariance=_matrix(one.covariance), chi_square=one.chi_square,
        degrees_of_freedom=one.freedom, p=_known(one.p), aicc=_known(one.aicc),
        residuals=[_known(value) for value in one.residual],
    )  # fmt: skip


def _matrix(values: FloatArray) -> list[list[float]]:
    return [[float(f"{value:.6g}") for value in row] for row in values.tolist()]


def _known(value: float) -> float | None:
    return _figures(value) if math.isfinite(value) else None


def _probability(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _figures(value: float) -> float:
    """Return a value to seven figures, and what is nothing as 0."""
    return float(f"{value:.7g}") if abs(value) > 1e-12 or value == 0 else 0.0
