"""Rules, groupings and the files of other programs on the command line."""

import json

import gemmi
import pytest

from helpers import write_text

RULES = """
[[rule]]
sum = ["W/8/HOH", "W/17/HOH"]
at_most = 0.9
name = "waters"

[[rule]]
sum = "A/201/GOL"
equal = "A/27/ARG:B"

[[rule]]
restrain = "A/12/ASN:A"
target = 0.6
sigma = 0.01

[[rule]]
fix = "A/17/GLU:B"
value = 0.2
"""


@pytest.fixture(scope="module")
def ruled(command, demo, tmp_path_factory):
    """The record of a run with rules."""
    folder = tmp_path_factory.mktemp("ruled")
    rules = write_text(folder / "groups.toml", RULES)
    called = command(
        "refine", demo / "start.pdb", demo / "2.5.mtz", "--rules", rules, "--out", folder / "out"
    )
    assert called.status == 0, called.err
    return json.loads((folder / "out" / "result.json").read_text()), folder, called


def value(record, name):
    (group,) = [g for g in record["groups"] if g["name"] == name]
    return group["occupancy"]


def test_sums_of_rules_hold_in_the_record(ruled):
    record, _, _ = ruled
    sets = {s["name"]: s for s in record["sets"]}
    assert sets["waters"] == {
        "name": "waters", "groups": ["W/8/HOH", "W/17/HOH"], "total": 0.9, "complete": False,
    }  # fmt: skip
    assert value(record, "W/8/HOH") + value(record, "W/17/HOH") <= 0.9 + 1e-6
    assert sets["A/201/GOL"]["parent"] == "A/27/ARG:B"
    assert value(record, "A/201/GOL") == pytest.approx(value(record, "A/27/ARG:B"), abs=2e-6)


def test_fixed_groups_and_restraints_are_in_the_record(ruled):
    record, _, _ = ruled
    assert value(record, "A/17/GLU:B") == 0.2
    assert value(record, "A/17/GLU:A") == pytest.approx(0.8)
    (restraint,) = record["restraints"]
    assert restraint["name"] == "A/12/ASN:A = 0.6 (0.01)"
    assert restraint["value"] == pytest.approx(value(record, "A/12/ASN:A"), abs=1e-5)
    assert abs(restraint["deviation"]) < 3
    assert record["inputs"]["options"]["rules"].endswith("groups.toml")


def test_written_models_obey_the_sums(ruled, command):
    record, folder, _ = ruled
    for name, digits in (("refined.pdb", 2), ("refined.cif", 4)):
        rules = folder / "groups.toml"
        called = command("groups", folder / "out" / name, "--rules", rules, "--format", "json")
        again = json.loads(called.out)
        parent = value(again, "A/27/ARG:B")
        assert value(again, "A/201/GOL") == pytest.approx(parent, abs=10**-digits / 2)
        assert parent == pytest.approx(value(record, "A/27/ARG:B"), abs=10**-digits)


def test_without_restraints_and_nesting_the_record_is_as_before(command, demo, tmp_path):
    out = tmp_path / "out"
    assert command("refine", demo / "start.pdb", demo / "2.5.mtz", "--out", out).status == 0
    record = json.loads((out / "result.json").read_text())
    assert "restraints" not in record
    assert all(set(s) == {"name", "groups", "total", "complete"} for s in record["sets"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[rule]]\nfix = "//Q"\n', "groups.toml, line 1: '//Q' selects no atom"),
        ("nothing that is known\n", "no rules for groups in it"),
        ("occupancy group id 1 chain Q\noccupancy refine\n", "there is no chain 'Q'"),
        ("occupancies { constrained_group { selection = chain Q } }", "'chain Q' selects no atom"),
    ],
)
@pytest.mark.parametrize("verb", ["groups", "refine"])
def test_bad_rules_are_one_line_and_leave_nothing(command, demo, tmp_path, verb, text, message):
    rules = write_text(tmp_path / "groups.toml", text)
    data = [demo / "2.5.mtz", "--out", tmp_path / "out"] if verb == "refine" else []
    called = command(verb, demo / "start.pdb", *data, "--rules", rules)
    assert called.status == 2
    assert message in called.err
    assert called.err.count("\n") == 1
    assert called.out == ""
    assert list(tmp_path.iterdir()) == [rules]


def test_a_rules_file_that_is_not_there(command, demo, tmp_path):
    called = command("groups", demo / "start.pdb", "--rules", tmp_path / "none.toml")
    assert called.status == 2
    assert "none.toml: cannot be read: No such file or directory" in called.err


def test_results_do_not_replace_the_rules(command, demo, tmp_path):
    rules = write_text(tmp_path / "run.log", RULES)
    called = command(
        "refine", demo / "start.pdb", demo / "2.5.mtz", "--rules", rules, "--out", tmp_path,
        "--overwrite",
    )  # fmt: skip
    assert called.status == 2
    assert "would replace this input" in called.err
    assert rules.read_text() == RULES


@pytest.mark.parametrize("form", ["toml", "phenix", "refmac", "shelx"])
def test_written_groups_are_read_again(command, demo, tmp_path, form):
    out = tmp_path / "groups.txt"
    called = command("groups", demo / "start.pdb", "--format", form, "--output", out)
    assert (called.status, called.out) == (0, "")
    printed = command("groups", demo / "start.pdb", "--format", form)
    assert printed.out == out.read_text()
    plain, again = (
        json.loads(command("groups", demo / "start.pdb", "--format", "json", *rules).out)
        for rules in ((), ("--rules", out))
    )
    refined = [
        sorted(g["atom_indices"] for g in found["groups"] if g["refined"])
        for found in (plain, again)
    ]
    assert refined[0] == refined[1]
    assert command("groups", demo / "start.pdb", "--format", form, "--output", out).status == 2


def test_connected_on_the_command_line(command, shared_data):
    model = shared_data / "1g8a" / "model.pdb"
    found = json.loads(command("groups", model, "--grouping", "connected", "--format", "json").out)
    assert sum(g["refined"] for g in found["groups"]) == 33
    assert all("connected residues" in g["why"] or "one residue" in g["why"]
               for g in found["groups"])  # fmt: skip
    near = command("groups", model, "--grouping", "connected", "--contact-distance", 1, "--format",
                   "json")  # fmt: skip
    assert sum(g["refined"] for g in json.loads(near.out)["groups"]) > 33


def test_connected_refinement_of_a_fragment(command, shared_data, tmp_path):
    """The ligand has one occupancy a pose, bound and ground state sum to 1, and it has an su."""
    folder = shared_data / "mpro-x0107"
    called = command(
        "refine", folder / "model.pdb", folder / "data.mtz", "--grouping", "connected", "--out",
        tmp_path / "out",
    )  # fmt: skip
    assert called.status == 0, called.err
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    states = {s["name"]: s for s in record["states"]}
    bound = states["A/1101/LIG:C+D"]
    assert bound["su"] < 0.07
    assert 0.4 < bound["occupancy"] < 0.9


def test_names_with_altlocs_are_printed_as_they_are(command, tmp_path):
    """No :A: becomes a picture."""
    text = """CRYST1   40.000   40.000   40.000  90.00  90.00  90.00 P 1
ATOM      1  CB APHE A   1       0.000   0.000   0.000  0.60 15.00           C
ATOM      2  CG APHE A   1       1.500   0.000   0.000  0.70 15.00           C
ATOM      3  CB BPHE A   1       3.000   0.000   0.000  0.35 15.00           C
END
"""
    called = command("groups", write_text(tmp_path / "m.pdb", text))
    assert "A/1/PHE:A: occupancies from 0.60 to 0.70" in called.out


def test_a_single_model_is_no_weight(command, demo, tmp_path):
    even = gemmi.read_structure(str(demo / "truth.pdb"))
    even.remove_alternative_conformations()
    for site in even[0].all():
        site.atom.occ = 1.0
    even.write_pdb(str(tmp_path / "even.pdb"))
    found = json.loads(
        command("groups", tmp_path / "even.pdb", "--grouping", "copies", "--format", "json").out
    )
    assert [g["refined"] for g in found["groups"]] == [False]


def test_a_single_model_does_not_lose_its_occupancies(command, demo, tmp_path):
    refine = "refine", demo / "start.pdb", demo / "2.5.mtz", "--out", tmp_path / "out"
    for words in (("groups", demo / "start.pdb"), refine):
        called = command(*words, "--grouping", "copies")
        assert called.status == 2
        assert called.err.count("\n") == 1
        assert "one MODEL" in called.err
    assert not (tmp_path / "out").exists()


def test_a_close_pair_of_waters_is_linked_on_demand(command, tmp_path):
    text = """CRYST1   40.000   40.000   40.000  90.00  90.00  90.00 P 1
HETATM    1  O   HOH A   1       0.000   0.000   0.000  0.50 15.00           O
HETATM    2  O   HOH A   2       1.200   0.000   0.000  0.50 15.00           O
END
"""
    model = write_text(tmp_path / "w.pdb", text)
    called = command("groups", model)
    assert "--link-close-waters ties them" in called.out
    linked = json.loads(command("groups", model, "--link-close-waters", "--format", "json").out)
    assert linked["sets"] == [
        {"name": "A/1/HOH", "groups": ["A/1/HOH", "A/2/HOH"], "total": 1.0, "complete": True}
    ]
