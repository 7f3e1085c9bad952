"""Results in a notebook: the figures of the report from a solution, and short tables."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import numpy as np

from multicopy_refinement.refinement import Solution
from multicopy_refinement.report.real_space import Amplitudes, Shell, shells
from multicopy_refinement.results.record import Inputs, RunRecord, Seconds, make_record

#: Rows of a table in a notebook.
MOST_ROWS = 12


def record_of(solution: Solution) -> RunRecord:
    """Return the record of a solution that was not made by the command line."""
    data = solution.experiment.data
    inputs = Inputs(
        model=str(solution.experiment.model.source.path), data="",
        labels=list(data.labels.observations), free_label=data.labels.free_label,
        free_value=data.labels.free_value, options=solution.options.model_dump(mode="json"),
    )  # fmt: skip
    seconds = Seconds(load=0.0, scale=0.0, refine=solution.seconds.get("refine", 0.0),
                      report=0.0, total=0.0)  # fmt: skip
    return make_record(solution, data, inputs, solution.notices, seconds)


def shells_of(solution: Solution) -> list[Shell]:
    """Return R and completeness in shells."""
    data = solution.experiment.data
    f_calc = solution.listed_f_calc[: len(data)]
    overall, solvent = solution.experiment.held_parts()
    f_model = np.abs(overall * (f_calc + solvent))
    return shells(Amplitudes(data.hkl, data.f_obs, f_model, data.free, data.cell, data.spacegroup))


def figure_of(solution: Solution, name: str) -> Any:
    """Return a figure of the report, of Bokeh; ``bokeh.io.show`` shows it.

    ``name`` is occupancies, sets, b_correlation, resolution, convergence or correlations.

    Raises
    ------
    ValueError
        A figure that this solution does not have.
    """
    from multicopy_refinement.report import plots

    record = record_of(solution)
    make: dict[str, Callable[[], Any]] = {
        "occupancies": lambda: plots.occupancies(record),
        "sets": lambda: plots.sets_as_bars(record),
        "b_correlation": lambda: plots.correlations_with_b(record),
        "resolution": lambda: plots.resolution(shells_of(solution)),
        "convergence": lambda: plots.convergence(record),
        "correlations": lambda: plots.correlation_matrix(record),
    }
    made = make[name]() if name in make else None
    if made is None:
        raise ValueError(f"this solution has no figure {name!r}")
    return made


def solution_as_html(solution: Solution) -> str:
    """Return the agreement and the largest changes as tables."""
    before, after = solution.initial, solution.final
    rows = [("R-work", before.r_work, after.r_work), ("R-free", before.r_free, after.r_free),
            ("log-likelihood", before.log_likelihood, after.log_likelihood)]  # fmt: skip
    agreement = "".join(
        f"<tr><th>{label}</th><td>{_number(a, d)}</td><td>{_number(b, d)}</td></tr>"
        for (label, a, b), d in zip(rows, (4, 4, 1), strict=True)
    )
    groups = solution.groups
    refined = np.flatnonzero(groups.refined)
    change = solution.occupancy - groups.file_occupancy
    order = refined[np.argsort(-np.abs(change[refined]), kind="stable")]
    changes = "".join(
        f"<tr><th>{escape(groups.names[g])}</th><td>{groups.file_occupancy[g]:.2f}</td>"
        f"<td>{solution.occupancy[g]:.3f}</td><td>{_number(solution.su[g], 3)}</td>"
        f"<td>{escape(', '.join(f.replace('_', ' ') for f in solution.results.flags[g]))}</td></tr>"
        for g in order[:MOST_ROWS].tolist()
    )
    more = f"<p>and {len(order) - MOST_ROWS} more</p>" if len(order) > MOST_ROWS else ""
    return (
        f"<p>{len(refined)} groups refined; {escape(solution.status.reason)}</p>"
        f"<table><tr><th></th><th>before</th><th>after</th></tr>{agreement}</table>"
        f"<table><tr><th>group</th><th>before</th><th>after</th><th>su</th><th>flags</th></tr>"
        f"{changes}</table>{more}"
    )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None or np.isnan(value) else f"{value:.{digits}f}"
