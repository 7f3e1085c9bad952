"""How all figures look."""

from __future__ import annotations

from bokeh.plotting import figure

#: Readable on light and on dark, and told apart without colour by place or mark as well.
INK, FIRST, SECOND, THIRD = "#808890", "#2f7ed8", "#d9822b", "#3a9d5d"
#: Altlocs, as in the 3D view (Okabe & Ito 2008); and others.
LETTERS = {
    "A": "#0072b2", "B": "#e69f00", "C": "#009e73", "D": "#cc79a7", "E": "#56b4e9", "F": "#d55e00",
}  # fmt: skip
OTHERS = ("#f0e442", "#999999", "#7b4fa3", "#a65628")
_TOOLS = "pan,wheel_zoom,box_zoom,reset,save"


def plain_figure(title: str, x: str, y: str, *, height: int = 300, **options: object) -> figure:
    """Return an empty figure that reads on light and on dark paper."""
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


def place_legend(made: figure) -> None:
    """Put the legend above a figure, where it covers nothing; a click hides what it names."""
    made.add_layout(made.legend[0], "above")
    made.legend.orientation = "horizontal"
    made.legend.padding, made.legend.margin = 2, 0
    made.legend.background_fill_alpha = 0.0
    made.legend.border_line_color = None
    made.legend.label_text_color = INK
    made.legend.click_policy = "hide"


def colour_of(letter: str) -> str:
    """Return the colour of an altloc, grey where there is none."""
    return LETTERS.get(letter) or (OTHERS[ord(letter[0]) % len(OTHERS)] if letter else INK)
