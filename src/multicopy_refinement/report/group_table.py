"""The table of refined groups on the page: which columns it has, and what stands in them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from multicopy_refinement.report.findings import FULL
from multicopy_refinement.report.pages import FLAGS
from multicopy_refinement.results.real_space import GroupDensity
from multicopy_refinement.results.record import Group, RunRecord
from multicopy_refinement.words import probability

#: What asks for no attention.
_HARMLESS = {"indistinguishable_from_1"}


@dataclass(frozen=True)
class Column:
    """A column: its head, what it is, its value for sorting and as it is read."""

    label: str
    title: str
    value: Callable[[Group, GroupDensity | None], float | str | None]
    digits: int = 2
    signed: bool = False

    def cell(self, group: Group, density: GroupDensity | None) -> dict[str, Any]:
        """Return what stands in the column for a group."""
        value = self.value(group, density)
        if isinstance(value, str):
            return {"value": value, "text": value or "\u2013"}
        if value is None or math.isnan(value):
            return {"value": "", "text": "\u2013"}
        if self.label == "p":
            return {"value": value, "text": probability(value, none="\u2013")}
        shown = round(value, self.digits) + 0.0
        text = f"{shown:+.{self.digits}f}" if self.signed else f"{shown:.{self.digits}f}"
        return {"value": value, "text": text}


def columns(record: RunRecord) -> list[Column]:
    """Return the columns that say something, after name, occupancy, su and bar."""
    refined = [g for g in record.groups if g.refined]
    found = [
        Column("p", "Probability of such a gain were the group absent", lambda g, d: g.p_absent),
        Column("\u0394logL", "Log-likelihood of the work set that the best model without the group "
               "loses", lambda g, d: g.delta_log_likelihood, 1),
        Column("flags", "What to know of it", lambda g, d: ", ".join(words(g))),
        Column("change", "Refined less what the file had", lambda g, d: g.occupancy - g.initial,
               3, signed=True),
        Column("CC", "Correlation of 2mFo-DFc with the model density within 1.5 A",
               lambda g, d: None if d is None else d.correlation),
        Column("peak", "Highest of mFo-DFc within 2 A, in standard deviations",
               lambda g, d: None if d is None else d.highest, 1),
        Column("hole", "Lowest of mFo-DFc within 2 A, in standard deviations",
               lambda g, d: None if d is None else d.lowest, 1),
        Column("B", "Mean B of its atoms, A^2", lambda g, d: None if d is None else d.b_mean, 0),
    ]  # fmt: skip
    if any("held_off" in g.flags for g in refined):
        relaxed = Column("q, relaxed", "About what it would be were coordinates and B near it "
                         "refined with it (relaxed)", lambda g, d: g.relaxed, 2)  # fmt: skip
        found.insert(0, relaxed)
    if any(g.occupancy_anomalous is not None for g in refined):
        found += [
            Column("\u0394logL F(+)\u2212F(\u2212)",
                   "Part of Bijvoet differences in \u0394logL, of groups with f'' above 0.5 e",
                   lambda g, d: None if g.occupancy_anomalous is None
                   else g.delta_log_likelihood_anomalous, 1),
            Column("q F(+)\u2212F(\u2212)", "Occupancy by Bijvoet differences alone, all else held",
                   lambda g, d: g.occupancy_anomalous, 3),
            Column("su F(+)\u2212F(\u2212)", "Standard uncertainty of that",
                   lambda g, d: g.su_anomalous, 3),
        ]  # fmt: skip
    if any(g.delta_b is not None for g in refined):
        found += [
            Column("\u0394B", "Shift of B of all its atoms, A^2", lambda g, d: g.delta_b, 1,
                   signed=True),
            Column("su \u0394B", "Standard uncertainty of that shift, A^2",
                   lambda g, d: g.delta_b_su, 1),
            Column("q, B", "Correlation of occupancy and B shift: near -1 or 1 one could as well "
                   "be the other", lambda g, d: g.b_correlation),
        ]  # fmt: skip
    if record.geometry is not None:
        found += [
            Column("su xyz", "Mean standard uncertainty of a coordinate of its atoms, A",
                   lambda g, d: g.su_xyz, 3),
            Column("su B", "Mean standard uncertainty of B of its atoms, A^2",
                   lambda g, d: g.b_su, 1),
        ]  # fmt: skip
    found.append(Column("free", "\u0394logL of the free set",
                        lambda g, d: g.delta_log_likelihood_free, 1))  # fmt: skip
    if any(g.su_conditional is not None for g in refined):
        found.append(Column("su, atoms held", "Standard uncertainty with coordinates and B as "
                            "they are (su_conditional)",
                            lambda g, d: g.su_conditional, 3))  # fmt: skip
    found.append(Column("set", "What it sums with", lambda g, d: g.set or ""))
    return found


def words(group: Group) -> list[str]:
    """Return the flags of a group as they are read."""
    if group.set is None and group.occupancy >= FULL and "at_bound" in group.flags:
        return ["fully occupied", *(FLAGS.get(f, f) for f in group.flags if f in {"poor_fit"})]
    return [FLAGS.get(flag, flag) for flag in group.flags]


def rows(record: RunRecord, density: dict[str, GroupDensity]) -> list[dict[str, Any]]:
    """Return the refined groups in the order of the file."""
    shown = columns(record)
    return [
        _row(group, [one.cell(group, density.get(group.name)) for one in shown])
        for group in record.groups
        if group.refined
    ]


def _row(group: Group, cells: list[dict[str, Any]]) -> dict[str, Any]:
    su = group.su or 0.0
    low, high = max(0.0, group.occupancy - su), min(1.0, group.occupancy + su)
    full = words(group) == ["fully occupied"]
    return {
        "group": group, "cells": cells, "bar": 100 * min(group.occupancy, 1.0),
        "before": 100 * min(max(group.initial, 0.0), 1.0), "low": 100 * low, "high": 100 * high,
        "flagged": bool(set(group.flags) - _HARMLESS) and not full,
    }  # fmt: skip
