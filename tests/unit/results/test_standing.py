"""What is said of ligands and of uncertainties."""

from types import SimpleNamespace

import pytest

from multicopy_refinement.results.standing import about_su, standing


def ligand(**changes):
    values = {"refined": True, "flags": [], "occupancy": 0.6, "su": 0.05, "omit_peak": 9.0}
    return SimpleNamespace(**(values | changes))


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (ligand(), "there in a part of the molecules"),
        (ligand(flags=["at_bound"], occupancy=1.0), "there in all molecules"),
        (ligand(flags=["indistinguishable_from_1"], occupancy=0.93), "there in all molecules"),
        (ligand(flags=["not_supported", "indistinguishable_from_0"], occupancy=0.1),
         "not supported: an absent one gains as much by chance"),
        (ligand(flags=["undetermined", "at_bound"], su=None), "not determined by the data"),
        (ligand(su=0.0, occupancy=1.0), "there always: its conformers sum to that"),
        (ligand(refined=False), "held; seen in the omit map"),
        (ligand(refined=False, omit_peak=3.0), "held; hardly seen in the omit map"),
        (ligand(refined=False, omit_peak=None), "held"),
    ],
)  # fmt: skip
def test_standing(one, words):
    assert standing(one) == words


def record(known=(), **options):
    return SimpleNamespace(
        inputs=SimpleNamespace(options=options), conditional_on=list(known)
    )  # fmt: skip


def test_about_su():
    assert "data and restraints leave them open" in about_su(record())
    assert "as data leave them open" in about_su(record(no_restraints=True))
    text = about_su(record(["coordinates", "B factors"]))
    assert "takes coordinates and B factors as right" in text
    assert "No standard uncertainties" in about_su(record(uncertainty="none"))
