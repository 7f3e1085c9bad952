"""What a selection of a state means for the occupancies of groups."""

import numpy as np
import pytest

from helpers import atom_line, residue_lines
from multicopy_refinement.errors import RuleError
from multicopy_refinement.series.crystal import Regions
from multicopy_refinement.series.state import state_of

SIDE = ("N", "CA", "C", "O", "CB", "OG")


def water(number, altloc, q):
    return [atom_line("O", "HOH", number, q, altloc=altloc, xyz=(30.0, 3.0 * number, 9.0),
                      record="HETATM")]  # fmt: skip


def ligand(number, parts):
    return [
        atom_line(n, "LIG", number, q, altloc=a, xyz=(20.0, 3.0 * number, i), record="HETATM")
        for a, q in parts for i, n in enumerate(("C1", "C2", "O1"))
    ]  # fmt: skip


@pytest.fixture
def model(load_lines):
    """Bound state B (0.6) of two residues and a ligand, waters of the others, and disorder C/D."""
    return load_lines(
        residue_lines("SER", 1, SIDE, (("A", 0.4), ("B", 0.6))),
        residue_lines("SER", 2, SIDE, (("A", 0.2), ("B", 0.6), ("C", 0.2))),
        residue_lines("SER", 3, SIDE, (("C", 0.7), ("D", 0.3))),
        residue_lines("ALA", 4, SIDE[:5]),
        ligand(10, [("B", 0.6)]), water(20, "A", 0.4), water(21, "A", 0.2), water(22, "", 0.5),
    )  # fmt: skip


def occupancies(state, fraction):
    return dict(zip(state.groups.names, state.occupancy(fraction).round(6), strict=True))


def test_letters_take_all_that_go_with_them(model):
    state = state_of(model, "B")
    assert state.fraction == pytest.approx(0.6)
    q = occupancies(state, 0.1)
    assert q["A/1/SER:B"] == q["A/2/SER:B"] == q["A/10/LIG:B"] == pytest.approx(0.1)
    assert q["A/1/SER:A"] == pytest.approx(0.9)
    assert q["A/2/SER:A"] == q["A/2/SER:C"] == pytest.approx(0.45)  # half of the others each
    assert q["A/20/HOH:A"] == pytest.approx(0.9)  # there without the ligand, always
    assert q["A/21/HOH:A"] == pytest.approx(0.45)  # in half of what is without it
    assert (q["A/3/SER:C"], q["A/3/SER:D"], q["A/22/HOH"]) == (0.7, 0.3, 0.5)  # stay
    at_file = occupancies(state, state.fraction)
    for name, value in zip(state.groups.names, state.groups.file_occupancy, strict=True):
        assert at_file[name] == pytest.approx(value)


def test_a_group_alone(model):
    state = state_of(model, "A/10/LIG")
    q = occupancies(state, 0.25)
    assert q["A/10/LIG:B"] == 0.25
    assert [g for g in state.groups.names if q[g] != occupancies(state, 0.5)[g]] == ["A/10/LIG:B"]
    assert np.array_equal(state.groups.refined, state.slope != 0)
    assert set(state.groups.table.resname[state.atoms].tolist()) == {b"LIG"}


def test_two_letters_keep_their_ratio(model):
    q = occupancies(state_of(model, "B+C"), 0.4)
    assert q["A/2/SER:B"] == pytest.approx(0.3)
    assert q["A/2/SER:C"] == pytest.approx(0.1)
    assert q["A/2/SER:A"] == pytest.approx(0.6)


def test_what_has_no_other_conformer_is_held_and_named(model):
    state = state_of(model, "C+D+B")
    assert [n.code for n in state.notices] == ["state_held"]
    assert "A/3/SER:C" in state.notices[0].message
    assert occupancies(state, 0.9)["A/3/SER:C"] == 0.7
    with pytest.raises(RuleError, match="no other conformer"):
        state_of(model, "A/3/SER")


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        ("Q", "altlocs of the model: A B C D"),
        ("A/11/LIG", "nearest: A/10/LIG"),
        ("//A/1/OG:B", "selects 1 of the 6 atoms of group A/1/SER:B"),
        ("", "empty"),
    ],
)
def test_faults_name_what_is_there(model, selection, said):
    with pytest.raises(RuleError, match=said):
        state_of(model, selection)


def test_a_model_of_a_file(tmp_path, model):
    source = model.source.content.decode().replace("END", "").splitlines()
    atoms = [line for line in source if line.startswith(("ATOM", "HETATM"))]
    text = [source[0]]
    for number in (1, 2, 3):
        text += [f"MODEL     {number:4d}", *atoms, "ENDMDL"]
    path = tmp_path / "copies.pdb"
    path.write_text("\n".join([*text, "END", ""]))
    copies = type(model)().load(path)
    state = state_of(copies, "2")
    q = state.occupancy(0.5)
    assert len(q) == 3
    assert q[1] == 0.5
    assert q[0] == q[2] == pytest.approx(0.25)
    with pytest.raises(RuleError, match="no MODEL 7, but 1, 2, 3"):
        state_of(copies, "model 7")
    # conformers of a residue in all copies are one region, and a long state has few of them
    regions = Regions.of(state)
    assert regions.names[:2] == ("A/1/SER", "A/2/SER")
    assert len(Regions.of(state, most=3)) == 3
    assert (Regions.of(state, most=3).of_group == -1).all()
