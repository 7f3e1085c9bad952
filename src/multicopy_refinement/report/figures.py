"""Figures of the report from a solution, in Bokeh: ``bokeh.io.show`` shows them in a notebook."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from multicopy_refinement.refinement import Solution
from multicopy_refinement.results.real_space import Amplitudes, Shell, shells
from multicopy_refinement.results.record import Inputs, RunRecord, Seconds, make_record


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
    f_model = solution.experiment.observable.size(overall * (f_calc + solvent))
    seen = data.observed
    return shells(
        Amplitudes(
            data.hkl[seen], data.f_obs[seen], f_model[seen], data.free[seen], data.cell,
            data.spacegroup,
        )
    )  # fmt: skip


def occupancies(solution: Solution) -> Any:
    """Return all refined occupancies with su, in the order of the file."""
    return figure(solution, "occupancies")


def sets(solution: Solution) -> Any:
    """Return the sets as stacked bars."""
    return figure(solution, "sets")


def b_correlation(solution: Solution) -> Any:
    """Return the correlation of each occupancy with its B shift."""
    return figure(solution, "b_correlation")


def resolution(solution: Solution) -> Any:
    """Return R factors and completeness against resolution."""
    return figure(solution, "resolution")


def convergence(solution: Solution) -> Any:
    """Return the largest change of an occupancy in each cycle."""
    return figure(solution, "convergence")


def correlations(solution: Solution) -> Any:
    """Return the correlations of the occupancies that depend on each other most."""
    return figure(solution, "correlations")


def figure(solution: Solution, name: str) -> Any:
    """Return a figure of the report by its name: that of a function of this module.

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
        "resolution": lambda: plots.resolution(shells_of(solution), record),
        "convergence": lambda: plots.convergence(record),
        "correlations": lambda: plots.correlation_matrix(record),
    }
    made = make[name]() if name in make else None
    if made is None:
        raise ValueError(f"this solution has no figure {name!r}")
    return made
