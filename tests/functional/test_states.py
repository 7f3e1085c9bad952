"""``--grouping states`` refined: one occupancy for the bound state of the whole model."""

import json

import numpy as np
import pytest

from crystals import CRYST1
from helpers import atom_line, write_text
from multicopy_refinement.results.record import read_record

ATOMS = ("N", "CA", "CB", "OG")


def conformers(name, number, at, parts):
    """Return a residue; parts are (letter, occupancy, shift along x)."""
    x, y, z = at
    return [
        atom_line(atom, name, number, q, altloc=letter, xyz=(x + shift, y + 1.4 * i, z),
                  record="HETATM" if name == "LIG" else "ATOM")
        for letter, q, shift in parts
        for i, atom in enumerate(ATOMS)
    ]  # fmt: skip


def model(bound, poses=None) -> str:
    """Return two residues that do not touch, and a ligand; poses have parts of the bound state."""
    ground = 1 - bound
    if poses is None:  # each state written twice
        parts = [("A", ground / 2, 0.0), ("B", ground / 2, 0.0),
                 ("C", bound / 2, 1.2), ("D", bound / 2, 1.2)]  # fmt: skip
        ligand = [("C", bound / 2, 0.0), ("D", bound / 2, 0.0)]
    else:
        parts = [("A", ground, 0.0), ("B", bound, 1.2)]
        ligand = [("B", bound * poses, 0.0), ("C", bound * (1 - poses), -1.3)]
    random = np.random.default_rng(3)
    lines = [
        *conformers("SER", 1, (3.0, 2.0, 4.0), parts),
        *conformers("SER", 2, (11.0, 9.0, 12.5), parts),
        *conformers("LIG", 201, (5.5, 2.0, 7.0), ligand),
        *(
            atom_line("O", "HOH", i, 1.0, chain="W", xyz=random.uniform(0, 15, 3), record="HETATM")
            for i in range(1, 41)
        ),
    ]
    return "\n".join([CRYST1, *lines, "END", ""])


@pytest.fixture
def refined(command, tmp_path):
    """Return a function: the record of a start refined against data of a truth."""

    def run(grouping, start, truth):
        write_text(tmp_path / "truth.pdb", truth)
        path = write_text(tmp_path / "start.pdb", start)
        simulated = ("--d-min", 1.8, "--out", tmp_path / "data.mtz", "--seed", 2)
        if not (tmp_path / "data.mtz").exists():
            assert command("simulate", tmp_path / "truth.pdb", *simulated).status == 0
        out = tmp_path / grouping
        called = command(
            "refine", path, tmp_path / "data.mtz", "--grouping", grouping, "--out", out,
            "--no-report",
        )  # fmt: skip
        assert called.status == 0, called.err
        return read_record(out / "result.json")

    return run


def test_the_bound_state_is_one_number_and_better_known_than_any_residue(refined, tmp_path):
    record = refined("states", model(0.5), model(0.66))
    by_name = {state.name: state for state in record.states}
    assert list(by_name) == ["ground:A+B", "bound:C+D"]
    bound = by_name["bound:C+D"]
    assert bound.initial == pytest.approx(0.5)
    assert bound.occupancy == pytest.approx(0.66, abs=4 * bound.su)
    assert bound.occupancy + by_name["ground:A+B"].occupancy == pytest.approx(1, abs=1e-6)
    assert 0 < bound.su_conditional <= bound.su < 0.03
    assert bound.p_absent < 1e-10
    assert bound.delta_log_likelihood > 50
    assert bound.flags == []
    apart = refined("residue", model(0.5), model(0.66))
    assert [w.code for w in apart.warnings].count("states") == 1
    others = [s.su for s in apart.states if s.name.endswith("C+D")]
    assert len(others) == 3
    assert bound.su < 0.9 * min(others)
    (notice,) = [w for w in record.warnings if w.code == "undetermined"]
    assert "sums that hold 4 of them are determined" in notice.message
    written = json.loads((tmp_path / "states" / "result.json").read_text())["states"][1]
    assert {"su", "su_conditional", "delta_log_likelihood", "delta_log_likelihood_free", "wald",
            "p_absent", "flags", "initial", "start"} < set(written)  # fmt: skip


def test_two_poses_have_parts_of_the_bound_state(refined):
    record = refined("states", model(0.5, 0.5), model(0.7, 0.4))
    by_name = {group.name: group for group in record.groups}
    bound = by_name["bound:B"]
    assert bound.occupancy == pytest.approx(0.7, abs=4 * bound.su)
    poses = [by_name["A/201/LIG:B"], by_name["A/201/LIG:C"]]
    assert sum(p.occupancy for p in poses) == pytest.approx(bound.occupancy, abs=2e-6)
    for pose, part in zip(poses, (0.28, 0.42), strict=True):
        assert pose.occupancy == pytest.approx(part, abs=4 * pose.su)
    state = next(s for s in record.states if s.name == "bound:B")
    assert (state.groups, state.occupancy) == (["bound:B"], pytest.approx(bound.occupancy))
    assert state.su == pytest.approx(bound.su, rel=1e-6)
    assert state.delta_log_likelihood == pytest.approx(bound.delta_log_likelihood, rel=1e-6)


def test_the_screen_hit_has_one_occupancy(shared_data, command, tmp_path):
    """Where its two sites have 0.59(6) and 0.68(5) with ``connected``."""
    folder = shared_data / "mpro-x0107"
    called = command(
        "refine", folder / "model.pdb", folder / "data.mtz", "--grouping", "states", "--out",
        tmp_path / "out", "--no-report",
    )  # fmt: skip
    assert called.status == 0, called.err
    record = read_record(tmp_path / "out" / "result.json")
    bound = next(state for state in record.states if state.name == "bound:C+D")
    assert bound.occupancy == pytest.approx(0.65, abs=0.04)
    assert 0.03 < bound.su < 0.05
    assert bound.p_absent < 1e-6


def test_states_that_cannot_be_told_are_one_line(command, demo, tmp_path):
    for verb in ("groups", "refine"):
        data = () if verb == "groups" else (demo / "2.5.mtz", "--out", tmp_path / "out")
        called = command(verb, demo / "start.pdb", *data, "--grouping", "states")
        assert (called.status, called.out, called.err.count("\n")) == (2, "", 1)
        assert "--grouping states: no states can be told" in called.err
    assert list(tmp_path.iterdir()) == []
