"""Interactive figures of a result (Bokeh), each from the record alone or with its shells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bokeh import __version__ as bokeh_version
from bokeh.document import Document
from bokeh.plotting import figure
from bokeh.resources import INLINE

from multicopy_refinement.report.plots.fit import convergence, resolution
from multicopy_refinement.report.plots.groups import (
    correlation_matrix,
    correlations_with_b,
    occupancies,
    sets_as_bars,
)
from multicopy_refinement.results.real_space import Shell
from multicopy_refinement.results.record import RunRecord

__all__ = [
    "Embedded", "Shown", "convergence", "correlation_matrix", "correlations_with_b", "embedded",
    "figures", "occupancies", "resolution", "sets_as_bars",
]  # fmt: skip

#: Occupancies that are correlated by less than this do not depend on each other much.
_DULL = 0.5


@dataclass(frozen=True)
class Shown:
    """A figure, its name and what it shows in words, and whether it is as it should be."""

    figure: figure
    title: str
    text: str
    dull: bool = False


def figures(record: RunRecord, shells: Sequence[Shell]) -> dict[str, Shown]:
    """Return all figures that a result has, by name."""
    refined = [g for g in record.groups if g.refined]
    known = [g for g in refined if g.su is not None]
    found: dict[str, Shown] = {}
    if refined:
        found["occupancies"] = Shown(
            occupancies(record), "Refined occupancies",
            f"{len(refined)} refined occupancies in the order of the file; bars are one su. "
            f"{len(known)} are determined by the data; crosses are not. Dashes: before.",
        )  # fmt: skip
    if any(set(s.groups) & {g.name for g in refined} for s in record.sets):
        found["sets"] = Shown(
            sets_as_bars(record), "Sets",
            "Each bar is a set, its pieces are its members, coloured by altloc as in the 3D view.",
        )  # fmt: skip
    of_b = correlations_with_b(record)
    if of_b is not None:
        found["b_correlation"] = Shown(
            of_b, "Occupancy and B", "Near -1 or 1 an occupancy could as well be a B factor."
        )
    if shells:
        found["resolution"] = Shown(
            resolution(shells, record), "R factors",
            "In shells of equal volume in reciprocal space. Grey lines: rings of ice; where "
            "reflections count less, the range is shaded.",
        )  # fmt: skip
    moves = convergence(record)
    if moves is not None:
        found["convergence"] = Shown(
            moves, "Convergence", "Cycles renew mask, scale and error model between refinements.",
            dull=record.status.converged,
        )  # fmt: skip
    matrix = correlation_matrix(record)
    if matrix is not None and record.correlations is not None:
        largest = max(
            (abs(c) for i, row in enumerate(record.correlations.matrix)
             for j, c in enumerate(row) if i != j), default=0.0,
        )  # fmt: skip
        found["correlations"] = Shown(
            matrix, f"Correlations of occupancies, at most {largest:.2f}",
            "Members of one set are left out of the choice: they are correlated by their sum.",
            dull=largest < _DULL,
        )  # fmt: skip
    return found


@dataclass(frozen=True)
class Embedded:
    """Figures as parts of a page.

    Attributes
    ----------
    library, version
        Of BokehJS.
    items
        What its ``embed_item`` takes, for each figure.
    divisions
        Where each figure stands, by its name.
    """

    library: str
    version: str
    items: list[dict[str, Any]]
    divisions: dict[str, str]


def embedded(made: Mapping[str, figure]) -> Embedded:
    """Return figures for a page that has no network."""
    items, divisions = [], {}
    for name, one in made.items():
        document, place = Document(), f"plot-{name}"
        document.add_root(one)
        items.append(
            {"target_id": place, "root_id": one.id, "doc": document.to_json(deferred=False)}
        )
        divisions[name] = (
            f'<div id="{place}" data-root-id="{one.id}" style="display: contents"></div>'
        )
    return Embedded(str(INLINE.js_raw[0]), bokeh_version, items, divisions)
