"""The validation that groups allow."""

import pytest

from helpers import residue_lines
from multicopy_refinement.occupancy.summary import PartialResidue, summary_of


@pytest.fixture
def groups(load_lines):
    """The specification's first example, a water, and a lone letter: 24 atoms."""
    lines = [
        residue_lines("ALA", 1, ["N", "CA", "C", "O", "CB"]),
        residue_lines("GLY", 2, ["N", "CA", "C", "O"], [("", 0.8)]),
        residue_lines("VAL", 3, ["N", "CA", "C", "O", "CB"], [("A", 0.6), ("B", 0.4)]),
        residue_lines("HOH", 4, ["O"], [("", 0.5)]),
        residue_lines("SER", 5, ["CB", "OG"], [("C", 0.3)]),
        residue_lines("THR", 6, ["CB"], [("", 1.0)]),
    ]
    return load_lines(*lines).occupancy_groups


def test_counts(groups):
    found = summary_of(groups)
    assert (found.n_atoms, found.n_residues, found.n_groups) == (23, 6, 7)
    assert (found.n_refined, found.n_sets) == (5, 1)
    assert found.compression == pytest.approx(23 / 7)
    assert found.residues_by_altlocs == {2: 1, 1: 1}
    assert found.altloc_atoms == {"A": 5, "B": 5, "C": 2}
    assert found.off_sums == {}


def test_partial_residues_with_their_parts(groups):
    assert summary_of(groups).partial_residues == (
        PartialResidue("A/2/GLY", (("", 0.8),), None),
        PartialResidue("A/3/VAL", (("A", 0.6), ("B", 0.4)), 1.0),
        PartialResidue("A/4/HOH", (("", 0.5),), None),
        PartialResidue("A/5/SER", (("C", 0.3),), 0.3),
    )


def test_sums_that_are_off(groups):
    values = groups.occupancy.copy()
    values[groups.sets[0].groups[0]] = 0.9
    found = summary_of(groups, values)
    assert found.off_sums == {"A/3/VAL": 1.3}
    assert "Altlocs that do not sum to 1: A/3/VAL (1.30)." in found.in_words()


def test_words(groups):
    first, second = summary_of(groups).in_words().splitlines()
    assert first == (
        "23 atoms in 7 groups (3.3 atoms for each occupancy); 5 groups are refined, "
        "2 groups are held."
    )
    assert second == "4 of 6 residues are partly occupied; altlocs: 1 with 1, 1 with 2."
