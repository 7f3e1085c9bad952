"""Figures of the occupancies: each with its su, in their sets, and how they depend on others."""

from __future__ import annotations

from math import pi

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

from multicopy_refinement.report.plots.base import (
    FIRST,
    INK,
    SECOND,
    colour_of,
    place_legend,
    plain_figure,
)
from multicopy_refinement.results.record import RunRecord

#: Names that an axis has room for.
_MOST_NAMES = 70


def occupancies(record: RunRecord) -> figure:
    """Return all refined occupancies with su, in the order of the file, beside their start."""
    refined = [g for g in record.groups if g.refined]
    place = {g.name: i for i, g in enumerate(refined)}
    made = plain_figure(
        "Refined occupancies with standard uncertainties", "", "occupancy", height=380,
        y_range=(-0.05, 1.08),
    )  # fmt: skip
    for label, mark, color, chosen in (
        ("determined", "circle", FIRST, [g for g in refined if g.su is not None]),
        ("not determined by the data", "x", SECOND, [g for g in refined if g.su is None]),
    ):
        if not chosen:
            continue
        source = ColumnDataSource(
            {
                "x": [place[g.name] for g in chosen], "q": [g.occupancy for g in chosen],
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
    step = -(-len(refined) // _MOST_NAMES)
    made.xaxis.ticker = list(range(0, len(refined), step))
    made.xaxis.major_label_overrides = {i: g.name for i, g in enumerate(refined)}
    made.xaxis.major_label_orientation = pi / 2.5
    made.xaxis.major_label_text_font_size = "9px" if len(refined) > 25 else "11px"
    place_legend(made)
    return made


def sets_as_bars(record: RunRecord, most: int = 80) -> figure:
    """Return the sets as stacked bars of their members' occupancies, coloured by altloc."""
    by_name = {g.name: g for g in record.groups}
    sets = [s for s in record.sets if any(by_name[n].refined for n in s.groups)][:most]
    names = [s.name for s in sets]
    made = plain_figure(
        "Sets: occupancies of their members", "", "occupancy", height=360, x_range=names
    )
    pieces: dict[str, list[tuple[str, str, float, float]]] = {}
    for one in sets:
        base = 0.0
        for name in one.groups:
            q = by_name[name].occupancy
            letter = name.rpartition(":")[2] if ":" in name else ""
            pieces.setdefault(letter, []).append((one.name, name, base, q))
            base += q
    for letter in sorted(pieces, key=lambda letter: letter or "~"):
        mine = pieces[letter]
        source = ColumnDataSource(
            {
                "set": [p[0] for p in mine], "name": [p[1] for p in mine],
                "bottom": [p[2] for p in mine], "top": [p[2] + p[3] for p in mine],
                "q": [p[3] for p in mine],
            }
        )  # fmt: skip
        bars = made.vbar(
            x="set", top="top", bottom="bottom", width=0.8, source=source, line_color="white",
            line_width=1, fill_color=colour_of(letter), legend_label=letter or "no altloc",
        )  # fmt: skip
        made.add_tools(
            HoverTool(renderers=[bars], tooltips=[("group", "@name"), ("occupancy", "@q{0.000}")])
        )
    made.xaxis.major_label_orientation = pi / 2.5
    made.xaxis.major_label_text_font_size = "8px" if len(sets) > 30 else "11px"
    place_legend(made)
    return made


def correlations_with_b(record: RunRecord) -> figure | None:
    """Return the correlation of each occupancy with its B shift, None where none was refined."""
    known = [g for g in record.groups if g.b_correlation is not None]
    if not known:
        return None
    made = plain_figure(
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


def correlation_matrix(record: RunRecord) -> figure | None:
    """Return the correlations of the occupancies that depend on each other most."""
    if record.correlations is None:
        return None
    names, matrix = record.correlations.groups, record.correlations.matrix
    made = plain_figure(
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
