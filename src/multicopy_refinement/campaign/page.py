"""What the page of a campaign shows: hits by p, groups across data sets, failures, data sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from multicopy_refinement import __version__
from multicopy_refinement.campaign.collect import DATA_SETS, GROUPS, LIGANDS, Tables
from multicopy_refinement.campaign.plan import Plan
from multicopy_refinement.refinement.discoveries import DISCOVERY_RATE
from multicopy_refinement.report.campaign import make_campaign_page

#: Rows of a table of the page; files have all of them.
_MOST_HITS, _MOST_GROUPS = 3000, 500


def page_of(plan: Plan, tables: Tables) -> str:
    """Return ``campaign.html``."""
    found, what = hits(tables)
    sets = tables.data_sets
    failed = sets[sets["status"] == "failed"]
    return make_campaign_page({
        "title": plan.directory.name, "version": __version__, "what": what,
        "n_sets": len(plan.sets), "n_ended": len(sets), "n_failed": len(failed),
        "rate": DISCOVERY_RATE, "n_tests": sum(row["p_absent"] is not None for row in found),
        "n_supported": sum(row["supported"] for row in found),
        "hits": found[:_MOST_HITS], "n_hits": len(found),
        "groups": across(tables, _MOST_GROUPS),
        "failures": _plain(failed), "sets": _plain(sets[sets["status"] == "done"]),
        "files": (DATA_SETS, GROUPS, LIGANDS),
        "all_in": LIGANDS if what == "ligand" else GROUPS,
    })  # fmt: skip


def hits(tables: Tables) -> tuple[list[dict[str, Any]], str]:
    """Return refined ligands by p, or, where there is none, refined groups, and which they are.

    Each is a row of its table with ``what``, its name, and resolution, R-free and report of the
    data set.
    """
    what = "ligand" if (tables.ligands.get("refined", pd.Series(dtype=bool))).any() else "group"
    frame = tables.ligands if what == "ligand" else tables.groups
    if frame.empty:
        return [], what
    frame = frame[frame["refined"]].rename(columns={what: "what"})
    columns = ["name", "r_free", "d_min", "report"]
    known = tables.data_sets.reindex(columns=columns).set_index("name")
    frame = frame.join(known, on="name").reset_index(drop=True)
    frame["by"] = frame["p_absent"].fillna(np.inf)
    order = ["by", "delta_log_likelihood", "name", "what"]
    frame = frame.sort_values(order, ascending=[True, False, True, True], kind="stable")
    return _plain(frame.drop(columns="by")), what


def across(tables: Tables, most: int) -> list[dict[str, Any]]:
    """Return refined groups that several data sets have: how their occupancies scatter.

    ``chi2`` is that of the weighted mean by the su, for one degree of freedom: near 1 where one
    occupancy fits all data sets.
    """
    frame = tables.groups
    if frame.empty:
        return []
    found: list[dict[str, Any]] = []
    for name, one in frame[frame["refined"]].groupby("group", sort=True):
        if len(one) < 2:
            continue
        q, su = (one[column].to_numpy(dtype=np.float64) for column in ("occupancy", "su"))
        good = np.isfinite(su) & (su > 0)
        weight = 1 / su[good] ** 2
        mean = float(np.average(q[good], weights=weight)) if good.any() else None
        chi2 = None
        if mean is not None and good.sum() > 1:
            chi2 = float((weight * (q[good] - mean) ** 2).sum() / (good.sum() - 1))
        found.append({
            "group": str(name), "n": len(one), "supported": int(one["supported"].sum()),
            "mean": mean, "lowest": float(q.min()), "highest": float(q.max()), "chi2": chi2,
            "values": sorted({round(100 * v, 1) for v in q.tolist()}),
        })  # fmt: skip
    # what differs most from data set to data set is what a campaign is about
    return sorted(found, key=_by_scatter)[:most]


def _by_scatter(row: dict[str, Any]) -> tuple[float, str]:
    return -(row["chi2"] or 0.0), row["group"]


def _plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows whose missing values are None."""
    return [
        {str(key): None if isinstance(v, float) and np.isnan(v) else v for key, v in row.items()}
        for row in frame.to_dict("records")
    ]
