"""Figures of a series: fractions against the variable, what curves leave, regions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool, Span, Whisker
from bokeh.plotting import figure

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.report.plots import Shown
from multicopy_refinement.report.plots.base import (
    FIRST,
    INK,
    OTHERS,
    SECOND,
    THIRD,
    place_legend,
    plain_figure,
)
from multicopy_refinement.words import with_su

_COLOURS = (SECOND, THIRD, FIRST, *OTHERS)
_DASHES = ("solid", "dashed", "dotted", "dotdash")
Named = tuple[str, Callable[[FloatArray], FloatArray]]


def series_figures(record: Mapping[str, Any], curves: Sequence[Named]) -> dict[str, Shown]:
    """Return the figures of a series by name."""
    points = [one for one in record["data_sets"] if one["x"] is not None]
    if not points:
        return {}
    found = {
        "linear": Shown(
            _fractions(record, points, curves, log=False), f"Fraction against {record['variable']}",
            "Bars are one standard uncertainty. Errors of data sets of one model go together: "
            "differences are known better than the bars say.",
        )
    }  # fmt: skip
    positive = [one for one in points if one["x"] > 0]
    if len(positive) > 1:
        found["log"] = Shown(
            _fractions(record, positive, curves, log=True), "The same, on a logarithmic axis",
            "" if len(positive) == len(points) else "Data sets at 0 have no place on it.",
        )  # fmt: skip
    if record["fits"]:
        found["residuals"] = Shown(
            _residuals(record), "What the curves leave",
            "Fraction less curve, in standard uncertainties of the fraction.",
        )  # fmt: skip
    if record["regions"]:
        found["regions"] = Shown(
            _regions(record["regions"]), "Residues",
            "Mean deviation of each residue's own fraction from the common one, with its su; those "
            "that disagree are filled.",
        )  # fmt: skip
    return found


def _fractions(
    record: Mapping[str, Any], points: Sequence[Mapping[str, Any]], curves: Sequence[Named], *,
    log: bool,
) -> figure:  # fmt: skip
    made = plain_figure(
        f"Fraction of {record['state']}",
        record["variable"],
        "fraction",
        x_axis_type="log" if log else "linear",
    )
    x = np.array([one["x"] for one in points])
    low, high = float(x.min()), float(x.max())
    grid = np.geomspace(low, high, 200) if log else np.linspace(low, high, 200)
    for i, (name, function) in enumerate(curves):
        with np.errstate(all="ignore"):
            y = np.asarray(function(grid))
        made.line(
            grid, y, color=_COLOURS[i % len(_COLOURS)], line_width=2,
            line_dash=_DASHES[i % len(_DASHES)], legend_label=name,
        )  # fmt: skip
    known = [one for one in points if one["su"] is not None]
    source = ColumnDataSource({
        "x": [one["x"] for one in known], "y": [one["unbounded"] for one in known],
        "low": [one["unbounded"] - one["su"] for one in known],
        "high": [one["unbounded"] + one["su"] for one in known],
        "name": [one["name"] for one in known],
        "text": [with_su(one["unbounded"], one["su"]) for one in known],
    })  # fmt: skip
    _add_errors(made, source)
    drawn = made.scatter("x", "y", source=source, color=FIRST, size=9)
    made.add_tools(HoverTool(renderers=[drawn], tooltips=[("", "@name"), ("fraction", "@text")]))
    made.add_layout(Span(location=0, dimension="width", line_color=INK, line_alpha=0.6))
    if curves:
        place_legend(made)
    return made


def _residuals(record: Mapping[str, Any]) -> figure:
    made = plain_figure("Residuals", record["variable"], "(fraction - curve)/su", height=240)
    x = [one["x"] for one in record["data_sets"]]
    for i, fit in enumerate(record["fits"]):
        pairs = [
            (at, r) for at, r in zip(x, fit["residuals"], strict=True)
            if at is not None and r is not None
        ]  # fmt: skip
        made.scatter(
            [at for at, _ in pairs], [r for _, r in pairs], color=_COLOURS[i % len(_COLOURS)],
            size=8, legend_label=fit["name"],
        )  # fmt: skip
    for at in (-2, 0, 2):
        made.add_layout(
            Span(location=at, dimension="width", line_color=INK,
                 line_dash="solid" if at == 0 else "dashed", line_alpha=0.6)
        )  # fmt: skip
    place_legend(made)
    return made


def _regions(regions: Mapping[str, Any]) -> figure:
    each = regions["regions"]
    names = [one["name"] for one in each]
    made = plain_figure(
        "Deviation from the common fraction",
        "",
        "deviation",
        x_range=names,
        height=300 if len(names) < 20 else 360,
    )
    source = ColumnDataSource({
        "x": names, "y": [one["deviation"] for one in each],
        "low": [one["deviation"] - one["su"] for one in each],
        "high": [one["deviation"] + one["su"] for one in each],
        "fill": [1.0 if one["disagrees"] else 0.0 for one in each],
    })  # fmt: skip
    _add_errors(made, source)
    made.scatter("x", "y", source=source, line_color=SECOND, fill_color=SECOND, fill_alpha="fill",
                 size=9)  # fmt: skip
    made.add_layout(Span(location=0, dimension="width", line_color=INK, line_alpha=0.6))
    made.xaxis.major_label_orientation = 1.2
    return made


def _add_errors(made: figure, source: ColumnDataSource) -> None:
    """Add bars from low to high; a range goes by what is drawn, of which whiskers are not."""
    made.segment("x", "low", "x", "high", source=source, line_color=INK, line_width=1.5)
    made.add_layout(Whisker(base="x", lower="low", upper="high", source=source, line_color=INK))
