"""Figures of how the model fits the data: against resolution, and from cycle to cycle."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from bokeh.models import BoxAnnotation, Label, Span
from bokeh.plotting import figure

from multicopy_refinement.report.plots.base import (
    FIRST,
    INK,
    SECOND,
    THIRD,
    place_legend,
    plain_figure,
)
from multicopy_refinement.results.real_space import Shell
from multicopy_refinement.results.record import RunRecord
from multicopy_refinement.targets.screening import ICE

#: Rings whose labels would be nearer than this part of the axis share one.
_CLOSE = 0.03


def resolution(shells: Sequence[Shell], record: RunRecord) -> figure:
    """Return R factors and completeness against resolution, with the rings of ice."""
    made = plain_figure("R factors and completeness against resolution", "resolution, A", "")
    x = [0.5 * (s.d_min**-2 + s.d_max**-2) for s in shells]
    made.line(x, [s.r_work for s in shells], color=FIRST, line_width=2, legend_label="R-work")
    made.scatter(x, [s.r_work for s in shells], color=FIRST, size=5)
    free = [(p, s.r_free) for p, s in zip(x, shells, strict=True) if s.r_free is not None]
    if free:
        made.line(
            [p for p, _ in free], [r for _, r in free], color=SECOND, line_width=2,
            line_dash="dashed", legend_label="R-free",
        )  # fmt: skip
        made.scatter(
            [p for p, _ in free], [r for _, r in free], color=SECOND, size=6, marker="triangle"
        )
    made.line(
        x, [s.completeness for s in shells], color=THIRD, line_width=2, line_dash="dotted",
        legend_label="completeness",
    )  # fmt: skip
    made.scatter(x, [s.completeness for s in shells], color=THIRD, size=5, marker="square")
    made.xaxis.ticker = x[:: max(1, len(x) // 7)]
    made.xaxis.major_label_overrides = {p: f"{p**-0.5:.2f}" for p in x[:: max(1, len(x) // 7)]}
    _mark_ice(made, shells, record)
    place_legend(made)
    return made


def _mark_ice(made: figure, shells: Sequence[Shell], record: RunRecord) -> None:
    """Draw the rings of ice, and shade the ranges in which reflections count less."""
    low, high = shells[0].d_max ** -2, shells[-1].d_min ** -2
    for d_max, d_min in _uneven_ranges(record):
        made.add_layout(
            BoxAnnotation(left=d_max**-2, right=d_min**-2, fill_color=SECOND, fill_alpha=0.2)
        )
    rings = sorted(d**-2 for d in ICE if low <= d**-2 <= high)
    for x in rings:
        made.add_layout(
            Span(location=x, dimension="height", line_color=INK, line_alpha=0.5, line_width=1)
        )
    together: list[list[float]] = [[rings[0]]] if rings else []
    for one, other in pairwise(rings):
        if other - one < _CLOSE * (high - low):
            together[-1].append(other)
        else:
            together.append([other])
    for some in together:
        text = f"ice {some[0] ** -0.5:.2f}" + (f"-{some[-1] ** -0.5:.2f}" if some[1:] else "")
        made.add_layout(
            Label(x=some[0], y=0.5, text=text, angle=90, angle_units="deg", x_offset=-2,
                  text_font_size="10px", text_color=INK)
        )  # fmt: skip


def _uneven_ranges(record: RunRecord) -> list[tuple[float, float]]:
    """Return the ranges of resolution that a warning of the run names, in A."""
    return [
        (float(d_max), float(d_min))
        for warning in record.warnings
        if warning.code == "uneven_resolution"
        for d_max, d_min in re.findall(r"([\d.]+) to ([\d.]+) A \(", warning.message)
    ]


def convergence(record: RunRecord) -> figure | None:
    """Return the largest change of an occupancy in each macrocycle, None where there is none."""
    cycles = [c for c in record.history if c.largest_change is not None]
    if not cycles:
        return None
    made = plain_figure(
        "Convergence", "cycle", "largest change of an occupancy", y_axis_type="log", height=260
    )
    x, y = [c.number for c in cycles], [max(c.largest_change or 0.0, 1e-7) for c in cycles]
    made.line(x, y, color=FIRST, line_width=2)
    made.scatter(x, y, color=FIRST, size=7)
    tolerance = float(record.inputs.options.get("tolerance", 0.001))
    made.line(
        [min(x), max(x) + 0.001], [tolerance] * 2, color=SECOND, line_dash="dashed",
        legend_label="converged below",
    )  # fmt: skip
    made.xaxis.ticker = x
    place_legend(made)
    return made
