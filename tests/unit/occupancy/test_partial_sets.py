"""Altlocs of what is no link of a polymer: a complete set, or at most 1."""

import numpy as np
import pytest

from helpers import pdb_text, write_text
from multicopy_refinement.model import Model

ELEMENT = {"CB": "C", "C1": "C", "O": "O", "N": "N", "C": "C", "P": "P", "ZN": "ZN"}


def residue(name, number, q, *, record="HETATM", atom="C1", chain="A", x=0.0):
    """Return one atom in two conformers."""
    return [
        f"{record:<6}{1:5d}  {atom:<3}{letter}{name:>3} {chain}{number:4d}    "
        f"{x + i:8.3f}{0.0:8.3f}{0.0:8.3f}{value:6.2f} 15.00          {ELEMENT[atom]:>2}"
        for i, (letter, value) in enumerate(zip("AB", q, strict=True))
    ]


def loaded(tmp_path, *blocks, **options):
    return Model().load(write_text(tmp_path / "m.pdb", pdb_text(*blocks)), **options)


@pytest.mark.parametrize(
    ("name", "atom", "record", "q", "complete"),
    [
        ("LIG", "C1", "HETATM", (0.32, 0.32), False),
        ("LIG", "C1", "ATOM", (0.32, 0.32), False),
        ("HOH", "O", "HETATM", (0.18, 0.18), False),
        ("ZN", "ZN", "HETATM", (0.50, 0.44), False),
        ("HOH", "O", "HETATM", (0.50, 0.45), True),
        ("LIG", "C1", "HETATM", (0.60, 0.40), True),
        ("LIG", "C1", "HETATM", (0.70, 0.50), True),
        ("SER", "CB", "ATOM", (0.32, 0.32), True),
        ("SER", "CB", "HETATM", (0.32, 0.32), False),  # an amino acid bound as a ligand
        ("DA", "P", "ATOM", (0.30, 0.30), True),
    ],
)
def test_what_may_be_absent_sums_to_at_most_1(tmp_path, name, atom, record, q, complete):
    model = loaded(tmp_path, residue(name, 1, q, record=record, atom=atom))
    (one,) = model.occupancy_groups.sets
    assert (one.total, one.complete) == (1.0, complete)
    scaled = np.array(q) / sum(q) if complete else q
    assert model.group_occupancies() == pytest.approx(scaled)
    off = complete and abs(sum(q) - 1) > 1e-9
    assert [n.code for n in model.notices] == (["set_sum"] if off else [])


def test_modified_residues_are_links_by_their_peptide_bond(tmp_path):
    alone = residue("XYZ", 2, (0.3, 0.3), atom="C")
    bonded = [*residue("SER", 1, (1.0, 0.0), record="ATOM", atom="N", x=1.4)[:1], *alone]
    assert not loaded(tmp_path, alone).occupancy_groups.sets[0].complete
    groups = loaded(tmp_path, bonded).occupancy_groups
    assert groups.sets[-1].complete


def test_networks_of_ligand_and_waters_are_partial_too(tmp_path):
    parts = residue("LIG", 1, (0.3, 0.3)), residue("HOH", 2, (0.3, 0.3), atom="O", x=0.3)
    (one,) = loaded(tmp_path, *parts, grouping="connected").occupancy_groups.sets
    assert not one.complete
    polymer = residue("SER", 3, (0.3, 0.3), record="ATOM", atom="CB", x=-0.3)
    (one,) = loaded(tmp_path, *parts, polymer, grouping="connected").occupancy_groups.sets
    assert one.complete


def test_the_reason_says_why(tmp_path):
    groups = loaded(tmp_path, residue("LIG", 1, (0.32, 0.32))).occupancy_groups
    assert groups.role(0) == (
        "refined: member of the set A/1/LIG, which sums to at most 1 (no link of a polymer, and "
        "0.64 in the file)"
    )


def test_on_an_axis_the_limit_is_the_sites_share(tmp_path):
    lines = residue("HOH", 1, (0.20, 0.20), atom="O")
    on_axis = [line[:30] + "   0.000" + f"{3.0 + 1.5 * i:8.3f}" + line[46:] for i, line in
               enumerate(lines)]  # fmt: skip
    cell = "CRYST1   22.000   12.000   14.000  90.00 104.00  90.00 C 1 2 1"
    text = "\n".join([cell, *on_axis, "END", ""])
    (one,) = Model().load(write_text(tmp_path / "m.pdb", text)).occupancy_groups.sets
    assert (one.total, one.complete) == (0.5, False)
