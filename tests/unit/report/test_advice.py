"""Advice: what is said of which groups, and in which order."""

import numpy as np
import pytest

from helpers import atom_line, pdb_text, write_text
from multicopy_refinement.io.structure import read_structure
from multicopy_refinement.report.advice import Findings, advise
from multicopy_refinement.results.real_space import GroupDensity
from multicopy_refinement.results.record import RunRecord


@pytest.fixture
def table(tmp_path):
    """Return a serine with A and B 0.4 A apart (0, 1), a valine 2 A apart (2, 3), a water (4)."""
    lines = [
        atom_line("OG", "SER", 1, 0.5, altloc="A", xyz=(0, 0, 0)),
        atom_line("OG", "SER", 1, 0.5, altloc="B", xyz=(0.4, 0, 0)),
        atom_line("CB", "VAL", 2, 0.6, altloc="A", xyz=(9, 0, 0)),
        atom_line("CB", "VAL", 2, 0.4, altloc="B", xyz=(11, 0, 0)),
        atom_line("O", "HOH", 3, 0.5, xyz=(20, 0, 0)),
    ]
    return read_structure(write_text(tmp_path / "m.pdb", pdb_text(lines))).table


NAMES = ["A/1/SER:A", "A/1/SER:B", "A/2/VAL:A", "A/2/VAL:B", "A/3/HOH"]


def group(number, **changes):
    name = NAMES[number]
    return {
        "name": name, "n_atoms": 1, "atom_indices": [number], "initial": 0.5, "occupancy": 0.5,
        "su": 0.02, "refined": True, "set": name[:7] if ":" in name else None, "delta_b": None,
        "delta_b_su": None, "b_correlation": None, "delta_log_likelihood": 50.0, "flags": [],
        **changes,
    }  # fmt: skip


def ligand(**changes):
    return {
        "name": "A/9/LIG", "groups": ["A/9/LIG"], "atom_indices": [4], "beside": [],
        "refined": False, "initial": 1.0, "occupancy": 1.0, "su": None,
        "delta_log_likelihood": None, "delta_log_likelihood_free": None, "wald": None,
        "p_absent": None, "flags": [], "correlation": 0.9, "highest": 3.0, "lowest": -3.0,
        **changes,
    }  # fmt: skip


def record(
    changes=None, *, d_min=1.5, converged=True, r_free=(0.2, 0.19), warnings=(), ligands=(),
    command=None,
):  # fmt: skip
    agreement = [
        {"r_work": 0.2, "r_free": r, "log_likelihood": 0.0, "log_likelihood_free": 0.0}
        for r in r_free
    ]
    return RunRecord.model_validate(
        {
            "schema_": 1, "program": {},
            "inputs": {"model": "m.pdb", "data": "d.mtz", "labels": ["F"], "free_label": None,
                       "free_value": None, "options": {}},
            "data": {"n_work": 1, "n_free": 1, "d_min": d_min, "d_max": 20.0, "spacegroup": "P 1",
                     "cell": [40.0] * 3 + [90.0] * 3},
            "statistics": {"initial": agreement[0], "final": agreement[1]},
            "groups": [group(i, **(changes or {}).get(i, {})) for i in range(5)],
            "sets": [{"name": NAMES[i][:7], "groups": NAMES[i : i + 2], "total": 1.0,
                      "complete": True, "parent": None} for i in (0, 2)],
            "states": [], "restraints": [], "ligands": list(ligands),
            "provenance": command and {"command": command, "sha256": {}, "versions": {}},
            "warnings": [{"code": c, "message": m, "atoms": []} for c, m in warnings],
            "seconds": dict.fromkeys(("load", "scale", "refine", "report", "total"), 0.0),
            "status": {"converged": converged, "reason": "an occupancy still moved", "cycles": 8},
            "history": [], "correlations": None,
        }
    )  # fmt: skip


def said(table, made, density=None):
    usual = GroupDensity(0.9, 3.0, -3.0, 15.0, 15.0)
    found = dict.fromkeys(NAMES, usual) | (density or {})
    return advise(Findings(made, table, found))


def test_nothing_to_say(table):
    assert said(table, record(d_min=0.7)) == []


@pytest.mark.parametrize(
    ("options", "density", "title", "groups"),
    [
        ({"converged": False}, {}, "The refinement has not converged", ()),
        ({"warnings": [("r_free_rises", "R-free rises")]}, {}, "R-free has risen", ()),
        ({"warnings": [("set_sum", "sets scaled")]}, {},
         "Occupancies of the file that could not stay", ()),
        ({"warnings": [("outliers", "5 reflections are left out")]}, {},
         "Reflections that do not fit the others", ()),
        ({"changes": {4: {"flags": ["not_supported"]}}}, {},
         "Waters that are better explained as absent", (NAMES[4],)),
        ({"changes": {3: {"flags": ["not_supported", "indistinguishable_from_0"]}}}, {},
         "Conformers and ligands that the data do not ask for", (NAMES[3],)),
        ({"changes": {2: {"su": None, "flags": ["undetermined"], "delta_log_likelihood": 0.0}}}, {},
         "Groups that the data cannot see", (NAMES[2],)),
        ({"d_min": 1.5}, {}, "Conformers closer than the resolution can part", (NAMES[0],)),
        ({"changes": {2: {"occupancy": 1.0, "flags": ["at_bound"]}}}, {}, "Groups at a bound",
         (NAMES[2],)),
        ({}, {NAMES[4]: GroupDensity(0.9, 3.0, -3.0, 80.0, 80.0)}, "Atoms whose B runs away",
         (NAMES[4],)),
        ({"changes": {1: {"delta_b": 40.0}}}, {}, "Atoms whose B runs away", (NAMES[1],)),
        ({}, {NAMES[3]: GroupDensity(0.9, 6.5, -3.0, 15.0, 15.0)},
         "Difference density beside groups", (NAMES[3],)),
        ({}, {NAMES[3]: GroupDensity(0.9, 3.0, -7.0, 15.0, 15.0)},
         "Difference density beside groups", (NAMES[3],)),
        ({}, {NAMES[0]: GroupDensity(0.4, 3.0, -3.0, 15.0, 15.0)},
         "Groups that fit their density poorly", (NAMES[0],)),
        ({"changes": {1: {"flags": ["poor_fit"], "misfit": 1.7}}}, {},
         "Groups whose reflections fit worse than others", (NAMES[1],)),
        ({"changes": {1: {"flags": ["held_off"], "relaxed": 0.9}}}, {},
         "Groups whose held coordinates or B are off", (NAMES[1],)),
        ({"changes": {0: {"flags": ["correlated_with_b"]}}}, {},
         "Occupancies that are B factors as much", (NAMES[0],)),
    ],
)  # fmt: skip
def test_each_kind(table, options, density, title, groups):
    options = {"d_min": 0.7, **options}
    (one,) = said(table, record(**options), density)
    assert (one.title, one.groups) == (title, groups)
    assert one.text


def test_the_most_urgent_comes_first(table):
    made = record(
        {0: {"flags": ["correlated_with_b"]}, 4: {"flags": ["not_supported"]}},
        d_min=0.7, converged=False,
    )  # fmt: skip
    found = said(table, made)
    assert [a.serious for a in found] == [True, False, False]
    assert "absent" in found[1].title
    assert "B factors" in found[2].title


def test_groups_with_the_least_evidence_come_first(table):
    weak = {"flags": ["not_supported"]}
    made = record(
        {2: {"delta_log_likelihood": 1.5, **weak}, 3: {"delta_log_likelihood": -0.5, **weak}},
        d_min=0.7,
    )
    (one,) = said(table, made)
    assert one.groups == (NAMES[3], NAMES[2])


def test_what_is_undetermined_is_not_called_absent(table):
    changes = {"su": None, "flags": ["undetermined", "at_bound"], "occupancy": 0.0,
               "delta_log_likelihood": 0.0}  # fmt: skip
    titles = [a.title for a in said(table, record({1: changes}, d_min=0.7))]
    assert "Conformers and ligands that the data do not ask for" not in titles
    assert np.isin("Groups that the data cannot see", titles)


COMMAND = ["multicopy-refine", "refine", "m.pdb", "d.mtz", "--out", "run 1"]


def test_identical_conformers_are_to_be_merged(tmp_path):
    lines = [atom_line("CA", "GLY", 1, 0.5, altloc=c, xyz=(1, 2, 3)) for c in "AB"]
    lines += [atom_line("O", "HOH", n, 0.5, xyz=(9.0 * n, 0, 0)) for n in (2, 3, 4)]
    twice = read_structure(write_text(tmp_path / "m.pdb", pdb_text(lines))).table
    unseen = {"su": None, "flags": ["undetermined"]}
    made = record({0: unseen, 1: unseen}, command=COMMAND)
    (one,) = said(twice, made)
    assert one.title == "Conformers with identical coordinates"
    assert one.groups == (NAMES[0], NAMES[1])
    assert one.command == "multicopy-refine merge 'run 1' --out 'run 1-merged'"


def test_what_is_absent_has_the_command_that_removes_it(table):
    (one,) = said(table, record({4: {"flags": ["not_supported"]}}, d_min=0.7, command=COMMAND))
    assert one.command == "multicopy-refine prune 'run 1' --out 'run 1-pruned'"


def test_a_full_group_is_good_news(table):
    full = {"occupancy": 1.0, "flags": ["at_bound", "indistinguishable_from_1"]}
    (one,) = said(table, record({4: full}, d_min=0.7))
    assert (one.title, one.good, one.groups) == ("Fully occupied", True, (NAMES[4],))
    # in a set it means that the others could go
    (one,) = said(table, record({2: full}, d_min=0.7))
    assert (one.title, one.good) == ("Groups at a bound", False)


def test_held_ligands_are_named_and_looked_at(table):
    made = record(d_min=0.7, ligands=[ligand(highest=6.5, correlation=0.5)], command=COMMAND)
    peaks, poor, held = said(table, made)
    assert peaks.groups == poor.groups == held.groups == ("A/9/LIG",)
    assert "6.5 at A/9/LIG" in peaks.text
    assert held.command == "multicopy-refine refine m.pdb d.mtz --ligands --out 'run 1-ligands'"


def test_a_model_of_states_is_told_first(table):
    made = record(
        {4: {"flags": ["not_supported"]}}, d_min=0.7, command=COMMAND,
        warnings=[("states", "LIG has C, D of A, B, C, D: --grouping states refines one")],
    )  # fmt: skip
    first, second = said(table, made)
    assert first.title == "One model of several states"
    assert "--grouping states --out 'run 1-states'" in first.command
    assert "absent" in second.title


def test_an_su_that_hangs_on_coordinates_and_b_is_told(table):
    (one,) = said(table, record({2: {"su": 0.07, "su_conditional": 0.02}}, d_min=0.7))
    assert (one.title, one.groups) == ("Occupancies that hang on coordinates and B", (NAMES[2],))


def test_nothing_refined_says_what_to_do(table):
    made = record({i: {"refined": False} for i in range(5)}, d_min=0.7)
    (one,) = advise(Findings(made, table, {}))
    assert one.title == "Nothing was refined"
    assert one.command == "multicopy-refine groups m.pdb --all"
