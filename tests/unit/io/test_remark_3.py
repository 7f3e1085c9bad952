"""REMARK 3 of a PDB file: ours is read, that of the input is kept and not read."""

from dataclasses import replace

import gemmi
import pytest

from helpers import CRYST1, FACTS, residue_lines
from multicopy_refinement.io.facts import RefinementFacts
from multicopy_refinement.io.provenance import refined_with
from multicopy_refinement.io.remark_3 import with_remark_3

ATOMS = [CRYST1, *residue_lines("SER", 1, ["CB", "OG"]), "END"]
REFMAC = [
    "REMARK   3",
    "REMARK   3 REFINEMENT.",
    "REMARK   3   PROGRAM     : REFMAC 5.8.0238",
    "REMARK   3   R VALUE            (WORKING SET) :  0.19913",
    "REMARK   3   FREE R VALUE                     :  0.26640",
    "REMARK   3  A LINE THAT GOES TO THE LAST COLUMN OF THE RECORD, AND CANNOT HAVE A BAR",
]
TLS = [
    "REMARK   3  TLS DETAILS",
    "REMARK   3   NUMBER OF TLS GROUPS  :    1",
    "REMARK   3",
    "REMARK   3   TLS GROUP :     1",
    "REMARK   3    ORIGIN FOR THE GROUP (A):   6.3650  12.1310   2.6880",
    "REMARK   3    T TENSOR",
    "REMARK   3      T11:   0.0114 T22:   0.0211",
]


def made(*lines: str, facts: RefinementFacts = FACTS) -> list[str]:
    return with_remark_3(("\n".join(lines) + "\n").encode(), facts).decode().split("\n")


def structure_of(lines: list[str]) -> gemmi.Structure:
    return gemmi.read_pdb_string("\n".join(lines))


def test_readers_find_this_refinement_and_no_other():
    structure = structure_of(made("HEADER    X", *REFMAC, "REMARK   4", *ATOMS))
    (found,) = structure.meta.refinement
    assert (found.r_all, found.r_work, found.r_free) == (0.171, 0.17, 0.2)
    assert (found.reflection_count, found.rfree_set_count) == (1000, 50)
    assert (found.resolution_high, found.resolution_low) == (1.5, 30.0)
    assert (found.completeness, found.mean_b) == (97.5, 21.5)
    assert found.dpi_cruickshank_rfree == 0.12
    assert found.aniso_b.elements_pdb() == list(FACTS.b_scale)
    assert [(s.name, s.version) for s in structure.meta.software] == [
        ("MULTICOPY_REFINEMENT", "1.2")
    ]


def test_lines_of_the_input_stand_below_behind_a_bar():
    lines = made("HEADER    X", *REFMAC, "REMARK   4", *ATOMS)
    place = lines.index("REMARK   3  OF THE INPUT, BY EARLIER PROGRAMS:".ljust(80))
    kept = [line.rstrip() for line in lines[place + 1 :] if line.startswith("REMARK   3")]
    assert all(line.startswith("REMARK   3  |") for line in kept)
    assert all(len(line) <= 80 for line in lines)
    words = " ".join(line.removeprefix("REMARK   3  |") for line in kept).split()
    assert words == " ".join(line.removeprefix("REMARK   3") for line in REFMAC).split()
    assert lines[-len(ATOMS) - 2].rstrip() == "REMARK   4"


def test_a_second_refinement_replaces_ours_and_keeps_the_first_programs():
    first = made("HEADER    X", *REFMAC, *TLS, *ATOMS)
    second = made(*first[:-1], facts=replace(FACTS, r_free=0.18))
    assert [line for line in second if "0.1800" not in line] == [
        line for line in first if "0.2000" not in line
    ]


def test_tls_groups_are_still_read():
    lines = made(*REFMAC, *TLS, *ATOMS)
    (found,) = structure_of(lines).meta.refinement
    assert [group.id for group in found.tls_groups] == ["1"]
    assert found.tls_groups[0].T.u11 == pytest.approx(0.0114)
    assert [line.rstrip() for line in lines if "TLS" in line] == [
        line for line in TLS if "TLS" in line
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((), ()),
        (("HEADER    X", "TITLE     Y", "REMARK   2"), ("REMARK   4",)),
        (("TITLE     Y",), ("REMARK 100 Z", "SEQRES   1 A    1  SER")),
        ((), ("REMARK 999 NO HEADER",)),
        ((), ("REMARK PLAIN WORDS OF ANOTHER PROGRAM",)),
    ],
)
def test_it_is_put_between_its_neighbours(before, after):
    lines = made(*before, *after, *ATOMS)
    ours = [line.startswith("REMARK   3") for line in lines]
    assert ours.index(True) == len(before)
    assert [line for line in lines if not line.startswith("REMARK   3")] == [
        *before, *after, *ATOMS, "",
    ]  # fmt: skip


def test_line_breaks_are_those_of_the_file():
    content = "\r\n".join(["HEADER    X", *REFMAC, *ATOMS, ""]).encode()
    found = with_remark_3(content, FACTS)
    assert found.count(b"\n") == found.count(b"\r\n")


def test_without_a_free_set_nothing_is_made_up():
    facts = replace(FACTS, r_free=None, dpi_free=None, n_free=0, free_set=None)
    lines = made(*ATOMS, facts=facts)
    (found,) = structure_of(lines).meta.refinement
    assert found.r_free != found.r_free  # nan
    assert found.rfree_set_count == -1
    assert any("CROSS-VALIDATION METHOD          : NONE" in line for line in lines)


def test_the_convention_is_that_of_the_program_before_ours():
    content = "\n".join(made(*REFMAC, *ATOMS)).encode()
    assert refined_with(gemmi.read_pdb_string(content), content) == "REFMAC 5.8.0238"
    content = "\n".join(made(*ATOMS)).encode()
    assert refined_with(gemmi.read_pdb_string(content), content) == ""
