"""``_refine``, ``_software`` and the alternative conformations of an mmCIF block."""

from dataclasses import replace

import gemmi
import pytest

from helpers import FACTS
from multicopy_refinement.io.ensembles import AltEnsemble, write_ensembles
from multicopy_refinement.io.facts import RefinementFacts
from multicopy_refinement.io.provenance import refined_with
from multicopy_refinement.io.refine_categories import describe_refinement

EARLIER = """data_1ABC
_entry.id 1ABC
_exptl.method 'X-RAY DIFFRACTION'
_refine.entry_id 1ABC
_refine.pdbx_refine_id 'X-RAY DIFFRACTION'
_refine.ls_R_factor_R_free 0.266
_refine.ls_hydrogen_treatment riding
_refine.pdbx_starting_model 2XYZ
_refine.details 'by hand'
loop_
_refine_ls_shell.d_res_high
_refine_ls_shell.R_factor_R_work
1.5 0.3
1.7 0.2
_pdbx_refine_tls.id 1
loop_
_software.name
_software.classification
_software.version
_software.pdbx_ordinal
XDS 'data reduction' . 3
REFMAC refinement 5.8 7
"""


def block_of(text: str) -> gemmi.cif.Block:
    return gemmi.cif.read_string(text).sole_block()


def described(text: str, facts: RefinementFacts = FACTS) -> gemmi.cif.Block:
    block = block_of(text)
    describe_refinement(block, facts)
    return block_of(block.as_string())


def value(block: gemmi.cif.Block, tag: str) -> str | None:
    found = block.find_value(tag)
    return None if found is None else gemmi.cif.as_string(found)


def test_refine_is_of_this_run_and_that_of_the_input_is_kept():
    block = described(EARLIER)
    assert value(block, "_refine.ls_R_factor_R_free") == "0.2000"
    assert value(block, "_refine.ls_number_reflns_obs") == "1000"
    assert value(block, "_refine.solvent_model_param_ksol") == "0.3500"
    assert value(block, "_refine.pdbx_solvent_shrinkage_radii") == "0.53"
    assert "outliers: 4" in value(block, "_refine.details")
    assert value(block, "_refine.pdbx_starting_model") == "2XYZ"
    assert value(block, "_refine.ls_hydrogen_treatment") is None
    old = "_multicopy_input_refine"
    assert value(block, f"{old}.ls_R_factor_R_free") == "0.266"
    assert value(block, f"{old}.ls_hydrogen_treatment") == "riding"
    assert list(block.find_values(f"{old}_ls_shell.R_factor_R_work")) == ["0.3", "0.2"]
    assert not block.find_values("_refine_ls_shell.R_factor_R_work")
    assert value(block, "_pdbx_refine_tls.id") == "1"


def test_software_names_all_and_marks_what_came_before():
    table = described(EARLIER).find(
        "_software.", ["name", "classification", "version", "pdbx_ordinal", "description"]
    )
    assert [[gemmi.cif.as_string(v) for v in row] for row in table] == [
        ["XDS", "data reduction", "", "3", ""],
        ["REFMAC", "refinement", "5.8", "7", "of the input model"],
        ["multicopy_refinement", "refinement", "1.2", "8", "occupancies of groups"],
    ]


def test_a_second_refinement_replaces_ours_and_keeps_the_first_programs():
    first = described(EARLIER).as_string()
    second = described(first, replace(FACTS, r_free=0.18))
    assert value(second, "_refine.ls_R_factor_R_free") == "0.1800"
    assert value(second, "_multicopy_input_refine.ls_R_factor_R_free") == "0.266"
    assert [gemmi.cif.as_string(v) for v in second.find_values("_software.name")] == [
        "XDS", "REFMAC", "multicopy_refinement",
    ]  # fmt: skip


def test_a_block_that_says_nothing_gets_the_names():
    block = described("data_thing\n_cell.length_a 10\n", replace(FACTS, r_free=None))
    assert value(block, "_entry.id") == "thing"
    assert value(block, "_refine.entry_id") == "thing"
    assert value(block, "_refine.ls_R_factor_R_free") is None
    assert value(block, "_software.pdbx_ordinal") == "1"


def test_readers_find_it_and_the_convention_is_of_the_program_before():
    text = described(EARLIER).as_string()
    structure = gemmi.make_structure_from_block(block_of(text))
    assert structure.meta.software[-1].name == "multicopy_refinement"
    assert structure.resolution == pytest.approx(1.5)
    assert refined_with(structure, text.encode()) == "REFMAC"


ENSEMBLES = [
    AltEnsemble("A/10/ARG:A", ("A",), "occupancy 0.61(2)"),
    AltEnsemble("A/10/ARG:B", ("B", "C"), "occupancy 0.39(2)"),
]


def rows(block: gemmi.cif.Block, category: str) -> list[list[str]]:
    table = block.find_mmcif_category(category)
    return [[v if v == "." else gemmi.cif.as_string(v) for v in row] for row in table]


def test_ensembles_refer_to_letters_that_are_there():
    block = block_of("data_x\n")
    for _ in range(2):  # the second time they are replaced
        write_ensembles(block, ENSEMBLES)
    assert [row[0] for row in rows(block, "_atom_sites_alt.")] == [".", "A", "B", "C"]
    assert rows(block, "_atom_sites_alt_ens.") == [
        ["A/10/ARG:A", "multicopy_refinement: occupancy 0.61(2)"],
        ["A/10/ARG:B", "multicopy_refinement: occupancy 0.39(2)"],
    ]
    assert rows(block, "_atom_sites_alt_gen.") == [
        ["A/10/ARG:A", "."], ["A/10/ARG:A", "A"],
        ["A/10/ARG:B", "."], ["A/10/ARG:B", "B"], ["A/10/ARG:B", "C"],
    ]  # fmt: skip


def test_ensembles_of_the_depositor_are_kept():
    block = block_of(
        "data_x\nloop_\n_atom_sites_alt_ens.id\n_atom_sites_alt_ens.details\n'Ensemble 1' theirs\n"
        "loop_\n_atom_sites_alt_gen.ens_id\n_atom_sites_alt_gen.alt_id\n'Ensemble 1' A\n"
        "loop_\n_atom_sites_alt.id\n_atom_sites_alt.details\nA 'the first'\n"
    )
    write_ensembles(block, ENSEMBLES)
    assert rows(block, "_atom_sites_alt_ens.")[0] == ["Ensemble 1", "theirs"]
    assert rows(block, "_atom_sites_alt_gen.")[0] == ["Ensemble 1", "A"]
    assert ["A", "the first"] in rows(block, "_atom_sites_alt.")


def test_without_sets_nothing_is_written():
    block = block_of("data_x\n")
    write_ensembles(block, [])
    assert block.get_mmcif_category_names() == []
