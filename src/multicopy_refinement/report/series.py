"""The page of a series."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.report.pages import FLAGS, as_json, carried, template

#: A curve by its name.
Named = tuple[str, Callable[[FloatArray], FloatArray]]


def make_series_page(record: Mapping[str, Any], curves: Sequence[Named]) -> str:
    """Return the page of a series: its record as plain data, and the curves that were fitted."""
    from multicopy_refinement.report.plots import embedded
    from multicopy_refinement.report.plots.series import series_figures

    figures = series_figures(record, curves)
    plots = embedded({name: one.figure for name, one in figures.items()})
    return template("series.html.j2").render(
        record=record, flags=FLAGS, figure_data=as_json(plots.items),
        library=carried("figures", plots.library),
        figures={name: (one, plots.divisions[name]) for name, one in figures.items()},
    )  # fmt: skip
