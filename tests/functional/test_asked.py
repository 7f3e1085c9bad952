"""--refine, --hold, --ligands and --waters, and the table of all groups."""

import json

import pytest
import torch

from multicopy_refinement import Model, read_reflections, refine
from multicopy_refinement.results.record import read_record


def test_refine_takes_what_the_command_line_has(own_files):
    model = Model(dtype_float=torch.float64).load(own_files / "model.pdb")
    data = read_reflections(own_files / "data.mtz", d_min=3.0)
    solution = refine(
        model, data, refine="A/5/GLN:A", hold=["A/17/GLU"], waters=True,
        rules=[{"fix": "A/201/GOL", "value": 0.5}],
    )  # fmt: skip
    names = solution.groups.names
    free = {name for name, one in zip(names, solution.groups.refined, strict=True) if one}
    assert not free & {"A/17/GLU:A", "A/17/GLU:B", "A/201/GOL"}
    assert {name for name in names if name.endswith("HOH")} <= free
    assert solution.occupancy[names.index("A/201/GOL")] == 0.5


def test_a_run_says_what_it_was_asked_for(command, demo, tmp_path):
    called = command(
        "refine", demo / "start.pdb", demo / "2.5.mtz", "--out", tmp_path / "out", "--no-report",
        "--refine", "A/3", "--refine", "W/8/HOH", "--hold", "A/17/GLU", "--ligands",
    )  # fmt: skip
    assert called.status == 0, called.err
    record = read_record(tmp_path / "out" / "result.json")
    asked = record.inputs.options
    assert (asked["refine"], asked["hold"]) == (["A/3", "W/8/HOH"], ["A/17/GLU"])
    assert (asked["ligands"], asked["waters"]) == (True, False)
    words = " ".join(record.provenance.command)
    assert "--refine A/3 --refine W/8/HOH --hold A/17/GLU --ligands" in words
    by_name = {group.name: group for group in record.groups}
    (freed,) = [g for name, g in by_name.items() if name.startswith("A/3/")]
    assert freed.refined
    assert freed.su is not None
    for name in ("A/17/GLU:A", "A/17/GLU:B"):
        assert not by_name[name].refined
        assert by_name[name].occupancy == by_name[name].initial


def test_groups_show_what_is_asked_for(command, demo):
    options = ("--refine", "A/3", "--hold", "A/17/GLU")
    called = command("groups", demo / "start.pdb", *options, "--format", "json")
    assert (called.status, called.err) == (0, "")
    groups = json.loads(called.out)["groups"]
    (freed,) = [g for g in groups if g["name"].startswith("A/3/")]
    assert freed["refined"]
    assert "by --refine A/3" in freed["why"]
    assert {g["refined"] for g in groups if g["set"] == "A/17/GLU"} == {False}


@pytest.mark.parametrize("verb", ["refine", "groups"])
def test_what_is_not_there_is_one_line(command, demo, tmp_path, verb):
    data = () if verb == "groups" else (demo / "2.5.mtz", "--out", tmp_path / "out")
    called = command(verb, demo / "start.pdb", *data, "--refine", "A/201/GUL")
    assert (called.status, called.out, called.err.count("\n")) == (2, "", 1)
    assert "--refine A/201/GUL: 'A/201/GUL' selects no atom; nearest: A/201/GOL" in called.err
    assert list(tmp_path.iterdir()) == []


def test_the_table_says_what_is_held_and_how_it_is_freed(command, demo):
    called = command("groups", demo / "start.pdb")
    *_, last = called.out.splitlines()
    assert "residues are held at 1 (--all lists them)" in last
    held = int(last.split()[0])
    groups = json.loads(command("groups", demo / "start.pdb", "--format", "json").out)["groups"]
    by_residue = {}
    for group in groups:
        by_residue.setdefault(group["name"].split(":")[0].split("=")[0], []).append(group)
    full = [n for n, mine in by_residue.items() if {g["occupancy"] for g in mine} == {1.0}]
    assert held == len(full)
    everything = command("groups", demo / "start.pdb", "--all").out
    assert all(f" {name} " in everything for name in full)
    assert not any(f" {name} " in called.out.rpartition("\n")[0] for name in full[1:])
    offer = last.split("--refine ")[2].split(",")[0].rstrip(".")
    named = command("groups", demo / "start.pdb", "--refine", offer)
    assert named.out.splitlines()[-1].startswith(f"{held - 1} residues")
    free = command("groups", demo / "start.pdb", "--refine", "*")
    assert free.out.splitlines()[-1] == "No residue is held at 1."


def test_all_is_for_tables(command, demo):
    called = command("groups", demo / "start.pdb", "--all", "--format", "phenix")
    assert (called.status, called.out, called.err.count("\n")) == (2, "", 1)
    assert "--all" in called.err
    plain = command("groups", demo / "start.pdb", "--format", "json").out
    assert command("groups", demo / "start.pdb", "--all", "--format", "json").out == plain
