"""Tables of a campaign, made from what its runs left on disk."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multicopy_refinement.campaign.plan import RUNS, Ended, Outcome, Plan
from multicopy_refinement.refinement.discoveries import discoveries
from multicopy_refinement.results.folder import placed_together

#: Files of a campaign: one row a data set; a data set and group; a data set and ligand.
DATA_SETS, GROUPS, LIGANDS, PAGE = "datasets", "campaign", "ligands", "campaign.html"
_CELL = ("a", "b", "c", "alpha", "beta", "gamma")
_LISTS = ("atom_indices", "flags", "groups", "beside")
_AGREEMENT = ("r_work", "r_free", "log_likelihood", "log_likelihood_free")


@dataclass(frozen=True, eq=False)
class Tables:
    """What came out of a campaign.

    ``data_sets`` has a row for each data set that has ended, ``groups`` for each of its groups, and
    ``ligands`` for each of its ligands; ``supported`` of the latter two says which pass at a false
    discovery rate of 5% over the campaign.
    """

    data_sets: pd.DataFrame
    groups: pd.DataFrame
    ligands: pd.DataFrame


def collect(plan: Plan) -> Tables:
    """Read the runs of a campaign."""
    data_sets, groups, ligands = [], [], []
    for one in plan.sets:
        outcome = plan.outcome(one.name)
        if outcome is None:
            continue
        record = _record(plan.folder(one.name)) if outcome.ended is Ended.DONE else None
        row = {
            "name": one.name,
            "status": "done" if record is not None else "failed",
            "reason": outcome.reason if record is not None or outcome.reason else _UNREADABLE,
            "model": str(one.job.model),
            "data": str(one.job.data),
            "options": json.dumps(one.job.options()),
        }
        data_sets.append({**row, **_statistics(record), **_cost(outcome, plan, one.name)})
        if record is not None:
            groups += [_named(one.name, "group", group) for group in record["groups"]]
            ligands += [_named(one.name, "ligand", each) for each in record["ligands"]]
    return Tables(
        pd.DataFrame(data_sets, columns=None if data_sets else ["name", "status", "reason"]),
        _with_support(groups, "group"),
        _with_support(ligands, "ligand"),
    )


_UNREADABLE = "its result.json is not there, or cannot be read"


def write_tables(plan: Plan, tables: Tables, page: str) -> None:
    """Write the tables as parquet and CSV, and the page, all of them or none."""
    frames = {DATA_SETS: tables.data_sets, GROUPS: tables.groups, LIGANDS: tables.ligands}
    with placed_together(plan.directory) as folder:
        for name, frame in frames.items():
            frame.to_parquet(folder / f"{name}.parquet", index=False)
            _flat(frame).to_csv(folder / f"{name}.csv", index=False)
        (folder / PAGE).write_text(page, encoding="utf-8")


def _record(folder: Path) -> dict[str, Any] | None:
    """Return the record of a run as plain data; validation would take most of the time."""
    try:
        content = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and "groups" in content else None


def _statistics(record: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a record says of a data set as a whole."""
    if record is None:
        return {}
    inputs, data, statistics = record["inputs"], record["data"], record["statistics"]
    change = statistics.get("r_free_change") or {}
    return {
        "labels": ",".join(inputs["labels"]), "free_label": inputs["free_label"],
        "free_value": inputs["free_value"],
        **{name: data[name] for name in ("target", "n_work", "n_free", "n_outliers", "d_min",
                                         "d_max", "spacegroup")},
        **dict(zip(_CELL, data["cell"], strict=True)),
        **{f"initial_{name}": statistics["initial"][name] for name in _AGREEMENT},
        **{name: statistics["final"][name] for name in _AGREEMENT},
        "r_free_change": change.get("value"), "r_free_change_su": change.get("su"),
        "n_groups": len(record["groups"]),
        "n_refined": sum(group["refined"] for group in record["groups"]),
        "converged": record["status"]["converged"], "cycles": record["status"]["cycles"],
        "warnings": ";".join(one["code"] for one in record["warnings"]),
        "version": record["program"]["version"],
    }  # fmt: skip


def _cost(outcome: Outcome, plan: Plan, name: str) -> dict[str, Any]:
    page = plan.folder(name) / "report.html"
    return {
        "seconds": outcome.seconds,
        "memory": outcome.memory,
        "report": f"{RUNS}/{name}/report.html" if page.is_file() else None,
    }


def _named(data_set: str, what: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a group or a ligand as a row: its own name makes room for that of the data set."""
    return {"name": data_set, what: fields["name"]} | {
        key: value for key, value in fields.items() if key != "name"
    }


def _with_support(rows: Iterable[dict[str, Any]], what: str) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows))
    if frame.empty:
        return pd.DataFrame(columns=["name", what, "occupancy", "su", "p_absent", "supported"])
    numbers = frame.select_dtypes("object").columns.difference(["name", what, "set", *_LISTS])
    for column in numbers:  # a column of which some, or all, are null
        frame[column] = pd.to_numeric(frame[column])
    frame["supported"] = discoveries(frame["p_absent"].to_numpy(dtype=np.float64))
    return frame


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose lists are text."""
    flat = frame.copy()
    for column in flat.columns.intersection(list(_LISTS)):
        flat[column] = [";".join(map(str, value)) for value in flat[column]]
    return flat
