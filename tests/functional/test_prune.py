"""Pruning of models whose truth is known, from files to files."""

import json

import gemmi
import numpy as np
import pytest

from multicopy_refinement.results.record import read_record
from pruning_case import ABSENT, SPLIT, TWICE, write_case


@pytest.fixture(scope="module")
def case(demo, command, tmp_path_factory):
    """A folder with a run of a model that has too much, and the truth."""
    folder = tmp_path_factory.mktemp("prune")
    truth = write_case(folder / "model.pdb")
    ended = command(
        "refine", folder / "model.pdb", demo / "2.5.mtz", "--out", folder / "run", "--no-report",
        "--quiet",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    return folder, truth


@pytest.fixture(scope="module")
def pruned(case, command):
    folder, _ = case
    ended = command(
        "prune", folder / "run", "--protect", ABSENT[2], "--out", folder / "pruned"
    )  # fmt: skip
    assert ended.status == 0, ended.err
    return folder / "pruned", ended.out


def _residue(structure, chain, number):
    return next(r for r in structure[0][chain] if r.seqid.num == number)


def test_absent_waters_go_and_present_ones_stay(pruned):
    record = read_record(pruned[0] / "result.json")
    names = {group.name for group in record.groups}
    assert not {*ABSENT[:2]} & names
    assert {"W/8/HOH", "W/17/HOH", "A/201/GOL", *ABSENT[2:]} <= names
    assert not [g.name for g in record.groups if "not_supported" in g.flags and g.name != ABSENT[2]]
    numbers = {r.seqid.num for r in gemmi.read_pdb(str(pruned[0] / "refined.pdb"))[0]["W"]}
    assert 93 in numbers
    assert not {91, 92} & numbers


def test_conformers_that_coincide_become_one(pruned, case):
    record = read_record(pruned[0] / "result.json")
    by_name = {group.name: group for group in record.groups}
    assert "A/17/GLU:C" not in by_name
    assert by_name["A/17/GLU:B"].occupancy == pytest.approx(sum(TWICE.values()), abs=0.02)
    assert by_name["A/17/GLU:B"].su is not None
    mine = _residue(gemmi.read_pdb(str(pruned[0] / "refined.pdb")), "A", 17)
    theirs = _residue(case[1], "A", 17)
    for atom in mine:
        same = next(a for a in theirs if (a.name, a.altloc) == (atom.name, atom.altloc))
        assert atom.pos.dist(same.pos) < 2e-3
        assert atom.b_iso == pytest.approx(same.b_iso, abs=0.02)


def test_what_one_conformer_explains_is_that_with_its_b(pruned, case):
    mine = _residue(gemmi.read_pdb(str(pruned[0] / "refined.pdb")), "A", SPLIT)
    theirs = _residue(case[1], "A", SPLIT)
    assert len(mine) == len(theirs)
    for atom in mine:
        same = theirs[atom.name][0]
        assert atom.altloc == "\0"
        assert atom.occ == 1.0
        assert atom.pos.dist(same.pos) < 0.05  # occupancies of the halves were refined
        assert atom.b_iso == pytest.approx(same.b_iso, abs=0.8)


def test_alternatives_that_are_there_are_left_alone(pruned):
    record = read_record(pruned[0] / "result.json")
    for residue in ("A/2/ASP", "A/5/GLN", "A/8/LYS", "A/12/ASN", "A/27/ARG"):
        letters = [g.name for g in record.groups if g.set == residue]
        assert len(letters) == (3 if residue == "A/2/ASP" else 2)


def test_sums_stay_exact(pruned):
    record = read_record(pruned[0] / "result.json")
    by_name = {group.name: group for group in record.groups}
    for one in record.sets:
        if one.complete:
            total = sum(by_name[name].occupancy for name in one.groups)
            assert total == pytest.approx(one.total, abs=1e-9)
    for name in ("refined.pdb", "refined.cif", "pruned.pdb"):
        structure = gemmi.read_structure(str(pruned[0] / name))
        for residue in structure[0]["A"]:
            letters = {a.altloc: a.occ for a in residue if a.altloc != "\0"}
            if letters:
                assert len(letters) > 1
                assert sum(letters.values()) == pytest.approx(1.0, abs=1e-6)


def test_all_of_it_is_told(pruned, case):
    folder, printed = pruned
    told = json.loads((folder / "prune.json").read_text())
    page = (folder / "prune.md").read_text()
    removed = [one["name"] for step in told["steps"] for one in step["removed"]]
    merged = [one["name"] for step in told["steps"] for one in step["merged"]]
    assert sorted(removed) == sorted(ABSENT[:2])
    assert merged == ["A/17/GLU:B+C", f"A/{SPLIT}/{_residue(case[1], 'A', SPLIT).name}:A+B"]
    assert [one["name"] for one in told["left"]] == [ABSENT[2]]
    assert told["protected"] == 1
    for text in (page, " ".join(printed.split())):
        for name in (*removed, *merged, ABSENT[2]):
            assert name in text
    first, last = told["steps"][0], told["steps"][-1]
    assert first["n_atoms"] - last["n_atoms"] == sum(
        one["n_atoms"] for step in told["steps"] for one in (*step["removed"], *step["merged"])
    )
    structure = gemmi.read_pdb(str(folder / "refined.pdb"))
    assert structure[0].count_atom_sites() == last["n_atoms"]
    # fewer parameters fit the data worse, as they fit noise, and the free set no worse
    assert told["free"]["value"] > -2 * told["free"]["su"]
    for one in (one for step in told["steps"] for one in step["merged"]):
        assert one["lost"] <= one["allowed"]
    assert (folder / "report.html").is_file()
    assert (folder / "coot_groups.json").is_file()


def test_the_result_is_a_run_that_is_read_again(pruned, case, command):
    folder, _ = pruned
    beside = command("compare", case[0] / "run", folder)
    assert beside.status == 0
    # atoms have other numbers where some before them are gone: groups are told by names
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in beside.out.splitlines()]
    cells = {row[0]: row[1:] for row in rows if len(row) == 3}
    before, after = (
        {g.name: g.occupancy for g in read_record(run / "result.json").groups}
        for run in (case[0] / "run", folder)
    )
    for name in ABSENT[:2]:
        assert before[name] < 0.005 or cells[name][1] == "absent"
    assert [row for row in cells.values() if row[1] == "absent"]
    for name in ("W/8/HOH", "W/17/HOH"):
        if name in cells:
            shown = [float(cell.partition("(")[0]) for cell in cells[name]]
            assert shown == pytest.approx([before[name], after[name]], abs=0.06)
    assert "A/1/SER" not in cells
    assert command("report", folder).status == 0
    again = command("prune", folder, "--protect", ABSENT[2], "--out", folder.parent / "again")
    assert again.status == 0, again.err
    assert "Nothing to remove or to merge" in again.out


def test_merging_alone_removes_nothing(case, command):
    out = case[0] / "merged"
    assert command("merge", case[0] / "run", "--out", out, "--no-report").status == 0
    names = {group.name for group in read_record(out / "result.json").groups}
    assert set(ABSENT) <= names
    assert "A/17/GLU:C" not in names
    out = case[0] / "only"
    ended = command(
        "prune", case[0] / "run", "--only", "absent", "--out", out, "--no-report",
        "--protect", "waters",
    )  # fmt: skip
    assert ended.status == 0
    names = {group.name for group in read_record(out / "result.json").groups}
    assert {*ABSENT, "A/17/GLU:C"} <= names


def test_what_rules_name_stays_unless_asked(case, demo, command, tmp_path):
    folder, _ = case
    rules = tmp_path / "rules.toml"
    rules.write_text(f'[[rule]]\nshare = ["{ABSENT[0]}", "{ABSENT[1]}"]\n')
    ended = command(
        "refine", folder / "model.pdb", demo / "2.5.mtz", "--rules", rules, "--no-report",
        "--quiet", "--out", tmp_path / "run",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    for options, gone in (((), {ABSENT[2]}), (("--ruled",), {*ABSENT})):
        out = tmp_path / f"out{len(options)}"
        ended = command("prune", tmp_path / "run", *options, "--out", out, "--no-report")
        assert ended.status == 0, ended.err
        told = json.loads((out / "prune.json").read_text())
        removed = {
            name for step in told["steps"] for one in step["removed"] for name in one["groups"]
        }
        waters = {r.seqid.num for r in gemmi.read_pdb(str(out / "refined.pdb"))[0]["W"]}
        assert waters & {91, 92, 93} == {91, 92, 93} - {int(n.split("/")[1]) for n in gone}
        assert removed <= gone
    rules.unlink()
    ended = command("prune", tmp_path / "run", "--out", tmp_path / "no", "--no-report")
    assert ended.status == 2
    assert "--rules FILE" in ended.err
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), "no such folder"),
        (("run", "--protect", "W/94/HOH"), "nearest"),
        (("run", "--data", "none.mtz"), "no such file"),
        (("run", "--only", "half"), "absent"),
    ],
)
def test_bad_input_is_one_line(case, command, monkeypatch, arguments, words):
    monkeypatch.chdir(case[0])
    ended = command("prune", *arguments, "--out", "bad")
    assert ended.status == 2
    assert words in ended.err
    assert ended.err.count("\n") == 1
    assert not (case[0] / "bad").exists()


def test_the_folder_of_the_run_is_not_written_to(case, command):
    ended = command("prune", case[0] / "run", "--out", case[0] / "run", "--overwrite")
    assert ended.status == 2
    assert "folder of the run" in ended.err


def test_mmcif_is_pruned_as_pdb_is(case, demo, command, tmp_path):
    folder, _ = case
    structure = gemmi.read_pdb(str(folder / "model.pdb"))
    structure.setup_entities()
    structure.make_mmcif_document().write_file(str(tmp_path / "model.cif"))
    common = ("--no-report",)
    assert command(
        "refine", tmp_path / "model.cif", demo / "2.5.mtz", "--out", tmp_path / "run", *common,
        "--quiet",
    ).status == 0  # fmt: skip
    ended = command("prune", tmp_path / "run", "--out", tmp_path / "out", *common)
    assert ended.status == 0, ended.err
    assert (tmp_path / "out" / "pruned.cif").is_file()
    mine = gemmi.read_structure(str(tmp_path / "out" / "refined.cif"))
    assert not {91, 92, 93} & {r.seqid.num for r in mine[0]["W"]}
    assert {a.altloc for a in _residue(mine, "A", SPLIT)} == {"\0"}
    assert {a.altloc for a in _residue(mine, "A", 17)} == {"\0", "A", "B"}
    q = [a.occ for a in _residue(mine, "A", 17) if a.altloc == "B"]
    np.testing.assert_allclose(q, sum(TWICE.values()), atol=0.02)
