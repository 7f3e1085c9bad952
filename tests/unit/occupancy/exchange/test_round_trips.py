"""Groups written for another program and read again are the same groups."""

import numpy as np
import pytest

from helpers import group_file, write_text
from multicopy_refinement.io.structure import StructureFile, read_structure
from multicopy_refinement.occupancy.exchange import (
    ExchangeFormat,
    parse_rules_text,
    recognise,
    write_groups,
)
from multicopy_refinement.occupancy.grouping import Grouping
from random_models import random_model

SHARED = [
    "1aie/model.pdb", "1dur/model.pdb", "1dur/model.cif", "1g8a/model.pdb",
    "1g8a/single-conformer.pdb", "2xiu/model.pdb", "4cjl/model.pdb", "4hg7/model.pdb",
    "5fjj/model.pdb.gz", "6mw0/model.cif", "6pgy/model.pdb", "mpro-x0107/model.pdb",
    "sh2185-cu/model.cif", "baz2b/x430/model.pdb",
]  # fmt: skip


def content(groups) -> tuple[set, set, dict]:
    """Return refined groups, sets and occupancies, independent of names and numbers."""
    members = [frozenset(m.tolist()) for m in groups.members]
    refined = {members[g] for g in range(len(groups)) if groups.refined[g]}
    sets = {
        (
            frozenset(members[g] for g in s.groups), round(s.total, 9), s.complete,
            None if s.parent is None else members[s.parent],
        )
        for s in groups.sets
    }  # fmt: skip
    values = {members[g]: round(float(groups.occupancy[g]), 6) for g in range(len(groups))}
    return refined, sets, {m: q for m, q in values.items() if m in refined}


def again(source: StructureFile, text: str, form: ExchangeFormat):
    """Return the groups of a model by the rules of a text."""
    assert recognise(text, "text") is form
    rules = parse_rules_text(text, source.table, "text")
    assert not rules.remarks
    return group_file(source, Grouping.RESIDUE, rules).groups


def check(source: StructureFile, form: ExchangeFormat, grouping: Grouping) -> None:
    groups = group_file(source, grouping).groups
    text = write_groups(groups, form, cell=source.cell, title="a model")
    if form is ExchangeFormat.SHELX and (source.table.icode != b"").any():
        assert "REM not expressed: insertion codes" in text
        return
    found, expected = content(again(source, text, form)), content(groups)
    assert found[0] == expected[0]
    if form is ExchangeFormat.TOML:
        assert found[2] == expected[2]
    if form is ExchangeFormat.SHELX:  # sums of three or more are restraints there
        kept = {s for s in expected[1] if len(s[0]) < 3 and (s[2] or len(s[0]) == 1)}
        assert kept == found[1]
        return
    kept = expected[1]
    if form is ExchangeFormat.PHENIX:  # knows no sums of at most 1; they are named
        kept = {s for s in expected[1] if s[2] or len(s[0]) == 1}
        assert text.count("sum to at most 1") == len(expected[1]) - len(kept)
    assert found[1] == kept


EXACT = [ExchangeFormat.TOML, ExchangeFormat.PHENIX, ExchangeFormat.REFMAC]


@pytest.mark.parametrize("grouping", [Grouping.RESIDUE, Grouping.CONNECTED])
@pytest.mark.parametrize("form", EXACT)
@pytest.mark.parametrize("name", SHARED)
def test_shared_models(shared_data, name, form, grouping):
    check(read_structure(shared_data / name), form, grouping)


@pytest.mark.parametrize("form", EXACT)
@pytest.mark.parametrize("name", ["1g8a/model.pdb", "mpro-x0107/model.pdb"])
def test_states_of_shared_models(shared_data, name, form):
    check(read_structure(shared_data / name), form, Grouping.STATES)


@pytest.mark.parametrize("name", ["1g8a/model.pdb", "2xiu/model.pdb", "mpro-x0107/model.pdb"])
def test_shared_models_through_shelxl(shared_data, name):
    check(read_structure(shared_data / name), ExchangeFormat.SHELX, Grouping.RESIDUE)


@pytest.mark.parametrize("grouping", [Grouping.RESIDUE, Grouping.CONNECTED])
@pytest.mark.parametrize("form", [*EXACT, ExchangeFormat.SHELX])
@pytest.mark.parametrize("seed", range(50))
def test_generated_models(seed, form, grouping, tmp_path):
    check(read_structure(write_text(tmp_path / "m.pdb", random_model(seed))), form, grouping)


MICROHETEROGENEITY = """CRYST1   40.000   40.000   40.000  90.00  90.00  90.00 P 1
ATOM      1  CA  SER A  12       0.000   0.000   0.000  0.60 15.00           C
ATOM      2  CA  THR A  12       0.100   0.000   0.000  0.40 15.00           C
END
"""


@pytest.mark.parametrize("form", [ExchangeFormat.TOML, ExchangeFormat.PHENIX])
def test_residues_of_two_names_and_one_number(form, tmp_path):
    check(
        read_structure(write_text(tmp_path / "m.pdb", MICROHETEROGENEITY)), form, Grouping.RESIDUE
    )


HYDROGENS = """CRYST1   40.000   40.000   40.000  90.00  90.00  90.00 P 1
ATOM      1  OG ASER A   1       0.000   0.000   0.000  0.60 15.00           O
ATOM      2  HG ASER A   1       0.900   0.000   0.000  0.20 15.00           H
ATOM      3  DG ASER A   1       0.900   0.000   0.000  0.40 15.00           D
ATOM      4  OG BSER A   1       0.000   3.000   0.000  0.40 15.00           O
END
"""


def test_pairs_of_hydrogens(tmp_path):
    source = read_structure(write_text(tmp_path / "m.pdb", HYDROGENS))
    check(source, ExchangeFormat.TOML, Grouping.RESIDUE)
    groups = group_file(source).groups
    for form in (ExchangeFormat.PHENIX, ExchangeFormat.REFMAC):  # their sum cannot be said
        text = write_groups(groups, form)
        assert "not expressed: A/1/SER/HG:A, A/1/SER/DG:A sum to A/1/SER:A" in text
        assert content(again(source, text, form))[0] == content(groups)[0]


def test_generated_models_are_of_many_kinds(tmp_path):
    kinds = set()
    for seed in range(50):
        source = read_structure(write_text(tmp_path / "m.pdb", random_model(seed)))
        groups = group_file(source).groups
        connected = group_file(source, Grouping.CONNECTED).groups
        kinds |= {len(s.groups) for s in groups.sets}
        kinds |= {"icode"} if (source.table.icode != b"").any() else set()
        kinds |= {"joined"} if len(connected) < len(groups) else set()
        kinds |= {"split"} if any("=" in name for name in groups.names) else set()
    assert kinds == {2, 3, 4, "icode", "joined", "split"}


def test_toml_keeps_rules_that_others_cannot(tmp_path):
    """Bounds, nested sets, fixed members, restraints and names."""
    source = read_structure(write_text(tmp_path / "m.pdb", random_model(3)))
    groups = group_file(source).groups
    pairs = [s for s in groups.sets if len(s.groups) >= 2]
    lone = [g for g in range(len(groups)) if groups.refined[g] and groups.set_index[g] < 0]
    names = groups.names
    held = np.flatnonzero(~groups.refined & (np.abs(groups.occupancy - 1) < 1e-6))
    full = int(groups.members[int(held[0])][0])
    rules = [
        {"sum": [names[lone[0]], names[lone[1]]], "at_most": names[pairs[0].groups[0]]},
        {"fix": names[pairs[1].groups[0]]},
        {"restrain": names[pairs[0].groups[1]], "target": 0.5, "sigma": 0.05},
        {"similar": [names[lone[0]], names[lone[1]]], "sigma": 0.1},
        {"group": "mine", "atoms": [[full]]},
    ]
    ruled = group_file(source, Grouping.RESIDUE, rules).groups
    back = again(source, write_groups(ruled, ExchangeFormat.TOML), ExchangeFormat.TOML)
    assert content(back) == content(ruled)
    assert back.names == ruled.names
    assert [(r.groups, r.weights, r.target, r.sigma) for r in back.restraints] == [
        (r.groups, r.weights, r.target, r.sigma) for r in ruled.restraints
    ]
    for form in (ExchangeFormat.PHENIX, ExchangeFormat.REFMAC):
        lost = [x for x in write_groups(ruled, form).splitlines() if "not expressed:" in x]
        assert any("sum to at most" in line for line in lost)
        assert any("with sigma 0.05" in line for line in lost)
        assert any("with sigma 0.1" in line for line in lost)
