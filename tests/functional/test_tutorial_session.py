"""The session of the tutorial, from a model with faults to a decision in Coot, each step once."""

import json
import shlex

import gemmi
import pytest

from coot_stand_in import run_script
from multicopy_refinement.report.run_files import read_run
from multicopy_refinement.results.record import read_record
from pruning_case import ABSENT, TWICE, write_case

#: The ligand of the demo.
LIGAND = "A/201/GOL"
#: What the file says of a residue whose conformers sum to more than 1.
TOO_MUCH = {"A": 0.75, "B": 0.45}


def run(command, *words):
    called = command(*words)
    assert called.status == 0, called.err
    return called.out


@pytest.fixture(scope="module")
def session(demo, command, tmp_path_factory):
    """A folder in which the session went on until pruning, what it printed, and the truth."""
    folder = tmp_path_factory.mktemp("session")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        truth = write_case(folder / "model.pdb")
        model = gemmi.read_pdb("model.pdb")
        for atom in next(r for r in model[0]["A"] if r.seqid.num == 5):
            atom.occ = TOO_MUCH.get(atom.altloc, atom.occ)
        model.write_pdb("model.pdb")
        (folder / "data.mtz").write_bytes((demo / "2.5.mtz").read_bytes())
        printed = {}
        checked = command("check", "model.pdb", "data.mtz", "--fix", "mended.pdb")
        assert checked.status == 1
        printed["check"] = checked.out
        printed["refine"] = run(command, "mended.pdb", "data.mtz", "--out", "refined")
        removal = next(a for a in read_run(folder / "refined").advice if "prune" in a.command)
        words = shlex.split(removal.command)
        assert words == ["multicopy-refine", "prune", "refined", "--out", "refined-pruned"]
        printed["prune"] = run(command, *words[1:], "--protect", "ligands")
        printed["compare"] = run(command, "compare", "refined", "refined-pruned")
    return folder, printed, truth


def test_check_names_what_is_wrong_and_mends_it(session):
    folder, printed, _ = session
    assert "set_sum" in printed["check"]
    assert "A/5/GLN" in printed["check"]
    mended = gemmi.read_pdb(str(folder / "mended.pdb"))
    residue = next(r for r in mended[0]["A"] if r.seqid.num == 5)
    found = {atom.altloc: atom.occ for atom in residue if atom.altloc in TOO_MUCH}
    assert sum(found.values()) == pytest.approx(1.0, abs=0.011)
    assert found["A"] / found["B"] == pytest.approx(0.75 / 0.45, abs=0.1)


def test_the_first_screen_says_what_is_bound_how_much_and_what_now(session):
    folder, printed, truth = session
    lines = printed["refine"].splitlines()
    ligand = next(i for i, line in enumerate(lines) if "GOL A201" in line)
    todo = lines.index("What to do first")
    assert ligand < todo < 24
    assert "conformers" in "".join(lines[:todo])
    assert all(len(line) <= 80 and "\u2026" not in line for line in lines[:todo])
    found = read_record(folder / "refined" / "result.json").ligands[0]
    right = next(r for r in truth[0]["A"] if r.seqid.num == 201)[0].occ
    assert abs(found.occupancy - right) < 3 * found.su
    assert found.p_absent < 1e-6
    shown = "\n".join(lines[todo : todo + 16])
    for words in ("Waters that are better explained as absent", "Conformers with identical",
                  "multicopy-refine prune refined --out refined-pruned",
                  "multicopy-refine merge refined --out refined-merged"):  # fmt: skip
        assert words in shown


def test_advice_is_about_what_is_not_in_the_truth(session):
    advice = {a.title: a for a in read_run(session[0] / "refined").advice}
    absent = advice["Waters that are better explained as absent"].groups
    assert set(absent) & set(ABSENT)
    assert not {"W/8/HOH", "W/17/HOH"} & set(absent)
    identical = advice["Conformers with identical coordinates"].groups
    assert set(identical) == {f"A/17/GLU:{letter}" for letter in TWICE}


def test_pruning_takes_out_what_is_not_there_and_nothing_else(session):
    folder, printed, truth = session
    record = read_record(folder / "refined-pruned" / "result.json")
    names = {g.name for g in record.groups if g.refined}
    assert not {*ABSENT, "A/17/GLU:C"} & names
    assert {LIGAND, "W/8/HOH", "W/17/HOH"} <= names
    right = next(r for r in truth[0]["A"] if r.seqid.num == 201)[0].occ
    ligand = next(g for g in record.groups if g.name == LIGAND)
    assert abs(ligand.occupancy - right) < 3 * ligand.su
    before, after = (
        read_record(folder / name / "result.json").statistics.final
        for name in ("refined", "refined-pruned")
    )
    assert after.r_free < before.r_free + 0.002
    assert "pruned" in printed["compare"]


def test_from_pruning_to_coot_and_back(session, command, monkeypatch):
    folder, _, _ = session
    groups = json.loads((folder / "refined-pruned" / "coot_groups.json").read_text())["groups"]
    found = run_script(folder / "refined-pruned", monkeypatch)
    ((_, _, buttons, _),) = found.shown
    number = next(i for i, group in enumerate(groups) if group["name"] == "W/17/HOH")
    buttons[5 + number][1](None)
    assert found.coot.centre == tuple(groups[number]["centre"])
    dict(buttons)["Remove the atoms of the group"](None)
    monkeypatch.chdir(folder)
    found.coot.structure.write_pdb("from-coot.pdb")
    run(command, "from-coot.pdb", "data.mtz", "--out", "again", "--no-report")
    again = read_record(folder / "again" / "result.json")
    names = {g.name for g in again.groups}
    assert "W/17/HOH" not in names
    assert LIGAND in names
    # a water that was there is missed
    pruned = read_record(folder / "refined-pruned" / "result.json")
    assert again.statistics.final.log_likelihood < pruned.statistics.final.log_likelihood - 5
