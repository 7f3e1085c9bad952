"""Models that are odd but usable, through the command line: what comes out, and what is said."""

import json

import gemmi
import pytest

from multicopy_refinement.io.structure import read_structure


@pytest.fixture
def refined(command, demo, tmp_path):
    """A function that refines a model and returns the folder and its record."""

    def run(model, *options):
        out = tmp_path / f"out-{model.stem}"
        called = command("refine", model, demo / "2.5.mtz", "--out", out, *options)
        assert called.status == 0, called.err
        return out, json.loads((out / "result.json").read_text()), called

    return run


def occupancies(record):
    return [group["occupancy"] for group in record["groups"]]


def test_chain_names_that_pdb_cannot_hold(refined, demo, tmp_path):
    structure = gemmi.read_structure(str(demo / "start.pdb"))
    for chain in structure[0]:
        chain.name = {"A": "AAA", "W": "solvent_water"}[chain.name]
    path = tmp_path / "long.cif"
    structure.make_mmcif_document().write_file(str(path))
    out, record, called = refined(path)
    assert not (out / "refined.pdb").exists()
    assert {w["code"] for w in record["warnings"]} >= {"pdb_cannot_hold"}
    assert "refined.pdb is left out: chain names have at most two" in called.err + called.out
    assert "refined.pdb," not in called.err + called.out
    assert (out / "report.html").is_file()
    _, usual, _ = refined(demo / "start.pdb", "--no-report")
    assert occupancies(record) == pytest.approx(occupancies(usual), abs=2e-3)
    chains = {label.split("/")[0] for label in (g["name"] for g in record["groups"])}
    assert chains == {"AAA", "solvent_water"}
    assert len(read_structure(out / "refined.cif").table) == structure[0].count_atom_sites()


def test_an_unknown_element_changes_nothing_else(refined, demo, tmp_path):
    text = (demo / "start.pdb").read_text()
    line = "HETATM  900  UNK UNX W 900       5.000   5.000   5.000  0.50 20.00           X  \n"
    path = tmp_path / "unx.pdb"
    path.write_text(text.replace("END", line + "END"))
    out, record, _ = refined(path, "--no-report")
    _, usual, _ = refined(demo / "start.pdb", "--no-report")
    assert occupancies(record)[:-1] == pytest.approx(occupancies(usual), abs=1e-6)
    unknown = record["groups"][-1]
    assert (unknown["name"], unknown["occupancy"], unknown["refined"]) == ("W/900/UNX", 0.5, False)
    assert "unknown_element" in [w["code"] for w in record["warnings"]]
    assert line[:66] in (out / "refined.pdb").read_text()


def test_groups_says_what_is_odd_in_the_file(command, demo, tmp_path):
    path = tmp_path / "joined.pdb"
    text = (demo / "start.pdb").read_text()
    ligand = [line for line in text.splitlines() if "GOL" in line]
    rest = [line for line in text.splitlines() if "GOL" not in line]
    path.write_text("\n".join([*rest, *ligand, "END", ""]))
    called = command("groups", path)
    assert "6 atom lines stand after a record END" in called.out
    assert "A/201/GOL" in called.out
    quiet = command("groups", path, "--format", "json")
    assert json.loads(quiet.out)
    assert "6 atom lines stand after a record END" in quiet.err
