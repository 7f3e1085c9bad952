"""Interactive figures of a result (Bokeh), each from the record alone or with its shells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import pi

from bokeh import __version__ as bokeh_version
from bokeh.embed import components
from bokeh.models import (
    BasicTicker,
    ColorBar,
    ColumnDataSource,
    HoverTool,
    LinearColorMapper,
    TeeHead,
    Whisker,
)
from bokeh.plotting import figure
from bokeh.resources import INLINE

from multicopy_refinement.results.real_space import Shell
from multicopy_refinement.results.record import Group, RunRecord

#: Readable on light and on dark, and told apart without colour by place or mark as well.
INK, FIRST, SECOND, THIRD = "#808890", "#2f7ed8", "#d9822b", "#3a9d5d"
#: Members of a set, in order (Okabe & Ito, 2008).
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999")
_TOOLS = "pan,wheel_zoom,box_zoom,reset,save"


def _figure(title: str, x: str, y: str, *, height: int = 300, **options: object) -> figure:
    made = figure(
        title=title, height=height, sizing_mode="stretch_width", tools=_TOOLS, x_axis_label=x,
        y_axis_label=y, background_fill_color=None, border_fill_color=None,
        outline_line_color=None, **options,
    )  # fmt: skip
    made.title.text_color = INK
    made.toolbar.logo = None
    made.toolbar.autohide = True
    for axis in (*made.xaxis, *made.yaxis):
        axis.axis_label_text_color = axis.major_label_text_color = INK
        axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = INK
        axis.axis_label_text_font_style = "normal"
    for grid in (*made.xgrid, *made.ygrid):
        grid.grid_line_color, grid.grid_line_alpha = INK, 0.2
    return made


def _legend(made: figure, place: str = "top_left") -> None:
    made.legend.location = place
    made.legend.background_fill_alpha = 0.0
    made.legend.border_line_color = None
    made.legend.label_text_color = INK
    made.legend.click_policy = "hide"


def occupancies(record: RunRecord) -> figure:
    """Return all refined occupancies with su, in the order of the file, beside their start."""
    refined = [g for g in record.groups if g.refined]
    made = _figure(
        "Refined occupancies with standard uncertainties", "refined group, in file order",
        "occupancy", height=340, y_range=(-0.05, 1.08),
    )  # fmt: skip
    for label, mark, color, chosen in (
        ("determined", "circle", FIRST, [g for g in refined if g.su is not None]),
        ("not determined by the data", "x", SECOND, [g for g in refined if g.su is None]),
    ):
        if not chosen:
            continue
        source = ColumnDataSource(
            {
                "x": [refined.index(g) for g in chosen], "q": [g.occupancy for g in chosen],
                "name": [g.name for g in chosen], "initial": [g.initial for g in chosen],
                "su": [g.su or 0.0 for g in chosen],
                "high": [g.occupancy + (g.su or 0.0) for g in chosen],
                "low": [g.occupancy - (g.su or 0.0) for g in chosen],
            }
        )  # fmt: skip
        points = made.scatter(
            "x", "q", source=source, marker=mark, size=7, color=color, legend_label=label
        )
        made.add_tools(
            HoverTool(
                renderers=[points],
                tooltips=[("group", "@name"), ("occupancy", "@q{0.000} (@su{0.000})"),
                          ("before", "@initial{0.00}")],
            )
        )  # fmt: skip
        if label == "determined":
            made.add_layout(
                Whisker(
                    base="x",
                    upper="high",
                    lower="low",
                    source=source,
                    line_color=color,
                    upper_head=TeeHead(line_color=color, size=8),
                    lower_head=TeeHead(line_color=color, size=8),
                )
            )
    made.scatter(
        list(range(len(refined))), [g.initial for g in refined], marker="dash", size=9, color=INK,
        legend_label="before",
    )  # fmt: skip
    _legend(made)
    return made


def sets_as_bars(record: RunRecord, most: int = 80) -> figure:
    """Return the sets as stacked bars of their members' occupancies."""
    by_name = {g.name: g for g in record.groups}
    sets = [s for s in record.sets if any(by_name[n].refined for n in s.groups)][:most]
    names = [s.name for s in sets]
    made = _figure("Sets: occupancies of their members", "", "occupancy", height=340, x_range=names)
    base = [0.0] * len(sets)
    for place in range(max((len(s.groups) for s in sets), default=0)):
        members = [by_name[s.groups[place]] if place < len(s.groups) else None for s in sets]
        source = ColumnDataSource(
            {
                "set": names, "bottom": list(base),
                "top": [b + (m.occupancy if m else 0) for b, m in zip(base, members, strict=True)],
                "name": [m.name if m else "" for m in members],
                "q": [m.occupancy if m else 0.0 for m in members],
            }
        )  # fmt: skip
        base = list(source.data["top"])
        bars = made.vbar(
            x="set", top="top", bottom="bottom", width=0.8, source=source, line_color="white",
            line_width=1, fill_color=PALETTE[place % len(PALETTE)],
        )  # fmt: skip
        made.add_tools(
            HoverTool(renderers=[bars], tooltips=[("group", "@name"), ("occupancy", "@q{0.000}")])
        )
    made.xaxis.major_label_orientation = pi / 2.5
    made.xaxis.major_label_text_font_size = "8px" if len(sets) > 30 else "11px"
    return made


def correlations_with_b(record: RunRecord) -> figure | None:
    """Return the correlation of each occupancy with its B shift, None where none was refined."""
    known = [g for g in record.groups if g.b_correlation is not None]
    if not known:
        return None
    made = _figure(
        "Occupancy and B: correlation of each group", "occupancy", "correlation with its B shift",
        y_range=(-1.05, 1.05),
    )  # fmt: skip
    source = ColumnDataSource(
        {"q": [g.occupancy for g in known], "c": [g.b_correlation for g in known],
         "name": [g.name for g in known], "b": [g.delta_b or 0.0 for g in known]}
    )  # fmt: skip
    points = made.scatter("q", "c", source=source, size=7, color=FIRST)
    made.add_tools(
        HoverTool(
            renderers=[points],
            tooltips=[("group", "@name"), ("correlation", "@c{0.00}"), ("B shift", "@b{0.0} A^2")],
        )
    )
    return made


def resolution(shells: Sequence[Shell]) -> figure:
    """Return R factors and completeness against resolution."""
    made = _figure("R factors and completeness against resolution", "resolution, A", "")
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
    _legend(made, "center_left")
    return made


def convergence(record: RunRecord) -> figure | None:
    """Return the largest change of an occupancy in each macrocycle, None where there is none."""
    cycles = [c for c in record.history if c.largest_change is not None]
    if not cycles:
        return None
    made = _figure(
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
    _legend(made, "top_right")
    return made


def correlation_matrix(record: RunRecord) -> figure | None:
    """Return the correlations of the occupancies that depend on each other most."""
    if record.correlations is None:
        return None
    names, matrix = record.correlations.groups, record.correlations.matrix
    made = _figure(
        "Correlations of the occupancies that depend on each other most", "", "", height=420,
        x_range=names, y_range=names[::-1],
    )  # fmt: skip
    source = ColumnDataSource(
        {
            "x": [n for n in names for _ in names], "y": names * len(names),
            "c": [c for row in matrix for c in row],
            "text": ["" if i == j else f"{c:.2f}" for i, row in enumerate(matrix)
                     for j, c in enumerate(row)],
        }
    )  # fmt: skip
    mapper = LinearColorMapper(
        ["#2166ac", "#67a9cf", "#d1e5f0", "#f7f7f7", "#fddbc7", "#ef8a62", "#b2182b"],
        low=-1, high=1,
    )  # fmt: skip
    cells = made.rect(
        "x", "y", 1, 1, source=source, fill_color={"field": "c", "transform": mapper},
        line_color=None,
    )  # fmt: skip
    made.text(
        "x", "y", text="text", source=source, text_align="center", text_baseline="middle",
        text_font_size="9px", text_color="#222222",
    )  # fmt: skip
    made.add_tools(
        HoverTool(renderers=[cells], tooltips=[("", "@x, @y"), ("correlation", "@c{0.000}")])
    )
    made.add_layout(
        ColorBar(
            color_mapper=mapper, ticker=BasicTicker(desired_num_ticks=5), width=10,
            background_fill_color=None, major_label_text_color=INK,
        ),
        "right",
    )  # fmt: skip
    made.xaxis.major_label_orientation = pi / 3
    made.grid.grid_line_color = None
    return made


def figures(record: RunRecord, shells: Sequence[Shell]) -> dict[str, tuple[figure, str]]:
    """Return all figures that a result has, by name, each with what it shows in words."""
    refined: list[Group] = [g for g in record.groups if g.refined]
    known = [g for g in refined if g.su is not None]
    made: dict[str, tuple[figure | None, str]] = {}
    if refined:
        made["occupancies"] = (
            occupancies(record),
            f"{len(refined)} refined occupancies in the order of the file; bars are one su. "
            f"{len(known)} are determined by the data; crosses are not. Dashes: before.",
        )
    if any(set(s.groups) & {g.name for g in refined} for s in record.sets):
        made["sets"] = (
            sets_as_bars(record),
            "Each bar is a set, its pieces are its members in the order of their altlocs.",
        )
    made["b_correlation"] = (
        correlations_with_b(record),
        "Near -1 or 1 an occupancy could as well be a B factor.",
    )
    if shells:
        made["resolution"] = (resolution(shells), "In shells of equal volume in reciprocal space.")
    made["convergence"] = (
        convergence(record), "Cycles renew mask, scale and error model between refinements."
    )  # fmt: skip
    made["correlations"] = (
        correlation_matrix(record),
        "Members of one set are left out of the choice: they are correlated by their sum.",
    )
    return {name: (fig, text) for name, (fig, text) in made.items() if fig is not None}


@dataclass(frozen=True)
class Embedded:
    """Figures as parts of a page: the library and its version, what draws them, and where."""

    library: str
    version: str
    script: str
    divisions: dict[str, str]


def embedded(made: Mapping[str, figure]) -> Embedded:
    """Return figures for a page that has no network."""
    script, divisions = components(dict(made)) if made else ("", {})
    return Embedded(str(INLINE.js_raw[0]), bokeh_version, script, divisions)
