"""Tables and page of a campaign, of runs that vary one record."""

import json
import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from campaign import area_under_roc, synthetic_runs
from demo_data import simulate_demo
from multicopy_refinement.campaign.collect import collect, write_tables
from multicopy_refinement.campaign.page import across, hits, page_of
from multicopy_refinement.campaign.plan import Ended, Outcome, Plan, write_outcome
from multicopy_refinement.refinement.discoveries import discoveries
from multicopy_refinement.results.record import OF_DIFFERENCES, Group
from multicopy_refinement.run.job import RefineJob, run


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    simulate_demo(folder / "data.mtz", 4.0, seed=1)
    model = Path(str(files("multicopy_refinement") / "demo" / "start.pdb"))
    run(RefineJob(model=model, data=folder / "data.mtz", out=folder / "run", decoys=0, threads=1))
    return json.loads((folder / "run" / "result.json").read_text())


@pytest.fixture(scope="module")
def plan(record, tmp_path_factory):
    return synthetic_runs(record, tmp_path_factory.mktemp("campaign"), 60)


@pytest.fixture(scope="module")
def tables(plan):
    return collect(plan)


def test_every_data_set_that_ended_is_a_row(plan, tables, record):
    sets = tables.data_sets
    assert sets["name"].tolist() == [one.name for one in plan.sets]
    failed = sets[sets["status"] == "failed"]
    assert failed["name"].tolist() == ["x0019", "x0039", "x0059"]
    assert set(failed["reason"]) == {"it took longer than 60 s, the limit"}
    done = sets[sets["status"] == "done"]
    assert (done["reason"] == "").all()
    assert np.allclose(done["r_free"], record["statistics"]["final"]["r_free"])
    assert done["n_refined"].iloc[0] == sum(group["refined"] for group in record["groups"])


def test_every_group_is_a_row_with_all_that_the_record_has(tables, record):
    groups = tables.groups
    assert len(groups) == 57 * len(record["groups"])
    assert set(groups.columns) == {*Group.model_fields, "group", "supported"} - OF_DIFFERENCES
    assert groups["group"].head(len(record["groups"])).tolist() == [
        group["name"] for group in record["groups"]
    ]


def test_files_read_back_as_they_were(plan, tables):
    write_tables(plan, tables, page_of(plan, tables))
    for name, frame in (
        ("datasets", tables.data_sets), ("campaign", tables.groups), ("ligands", tables.ligands),
    ):  # fmt: skip
        read = pd.read_parquet(plan.directory / f"{name}.parquet")
        assert list(read.columns) == list(frame.columns)
        for column in frame.columns:
            if frame[column].dtype.kind == "f":
                assert np.array_equal(read[column], frame[column], equal_nan=True)
        assert len(pd.read_csv(plan.directory / f"{name}.csv")) == len(frame)
    one = pd.read_parquet(plan.directory / "campaign.parquet").iloc[0]
    assert list(one["atom_indices"]) == tables.groups.iloc[0]["atom_indices"]


def test_support_counts_all_tests_of_the_campaign(tables):
    """One data set by itself passes what the campaign as a whole does not let pass."""
    p = tables.ligands["p_absent"].to_numpy()
    supported = tables.ligands["supported"].to_numpy()
    assert np.array_equal(supported, discoveries(p))
    alone = np.concatenate([discoveries(np.array([one])) for one in p])
    assert supported.sum() < alone.sum()
    worst = p[supported].max()
    assert worst <= 0.05 * supported.sum() / len(p)  # Benjamini and Hochberg's line


def test_hits_come_by_p_and_ligands_before_groups(tables):
    found, what = hits(tables)
    assert what == "ligand"
    p = [row["p_absent"] for row in found]
    assert p == sorted(p)
    assert len(found) == int(tables.ligands["refined"].sum())
    groups = type(tables)(tables.data_sets, tables.groups, tables.ligands.iloc[:0])
    assert hits(groups)[1] == "group"
    assert len(hits(groups)[0]) == int(tables.groups["refined"].sum())


def test_a_group_is_compared_across_data_sets(tables):
    rows = {row["group"]: row for row in across(tables, 500)}
    name = next(iter(rows))
    one = tables.groups[tables.groups["group"] == name]
    q, su = one["occupancy"].to_numpy(), one["su"].to_numpy()
    weight = su**-2
    mean = (weight * q).sum() / weight.sum()
    assert rows[name]["n"] == 57
    assert rows[name]["mean"] == pytest.approx(mean)
    assert rows[name]["chi2"] == pytest.approx((((q - mean) / su) ** 2).sum() / 56)
    assert list(rows) == sorted(rows, key=lambda n: -rows[n]["chi2"])


def test_the_page_has_hits_failures_and_escapes_what_it_shows(plan, tables):
    page = page_of(plan, tables)
    assert len(re.findall(r"<tr data-p=", page)) == int(tables.ligands["refined"].sum())
    assert "60 of 60 data sets have ended, 3 of them failed" in page
    assert not re.search(r"<(?:script|img|iframe)[^>]+src=", page)
    odd = tables.data_sets.copy()
    odd.loc[odd["status"] == "failed", "reason"] = "<script>alert(1)</script>"
    page = page_of(plan, type(tables)(odd, tables.groups, tables.ligands))
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_thousand_data_sets_make_a_page_that_opens(plan, tables):
    def often(frame):
        copies = [frame.assign(name=[f"{name}-{k}" for name in frame["name"]]) for k in range(20)]
        return pd.concat(copies, ignore_index=True)

    many = type(tables)(*map(often, (tables.data_sets, tables.groups, tables.ligands)))
    page = page_of(plan, many)
    assert len(many.data_sets) == 1200
    assert len(re.findall(r"<tr data-p=", page)) == 1140
    assert len(page.encode()) < 2e6


def test_a_campaign_of_failures_alone_has_tables(tmp_path, plan):
    one = Plan(tmp_path, plan.sets[:1])
    write_outcome(one.folder("x0000"), Outcome(ended=Ended.INPUT, reason="d.mtz: damaged"))
    made = collect(one)
    write_tables(one, made, page_of(one, made))
    assert pd.read_parquet(tmp_path / "datasets.parquet")["reason"].tolist() == ["d.mtz: damaged"]
    assert pd.read_parquet(tmp_path / "campaign.parquet").empty


def test_a_result_that_was_taken_away_is_a_failure(tmp_path, plan):
    one = Plan(tmp_path, plan.sets[:1])
    write_outcome(one.folder("x0000"), Outcome(ended=Ended.DONE))
    row = collect(one).data_sets.iloc[0]
    assert (row["status"], row["reason"]) == (
        "failed", "its result.json is not there, or cannot be read",
    )  # fmt: skip


def test_the_area_under_the_curve_is_that_of_pairs():
    score = np.array([3.0, 2.0, 2.0, 1.0])
    assert area_under_roc(score, np.array([True, True, False, False])) == 0.875
