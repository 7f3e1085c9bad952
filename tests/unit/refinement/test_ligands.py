"""What a run is about: the occupancy of each ligand over its conformers, and its evidence."""

import numpy as np
import pytest

from boxes import load, waters
from demo_data import observe
from helpers import atom_line
from multicopy_refinement import RefineOptions, refine
from multicopy_refinement.refinement.found import Flag
from multicopy_refinement.refinement.ligands import ligand_sites

PLACES = {"A": (4.0, 5.0, 6.0), "B": (4.9, 6.2, 6.8), "": (4.0, 5.0, 6.0)}


def ligand(occupancies: dict[str, float], *, number: int = 201, name: str = "LIG") -> list[str]:
    """Return lines of a ring-like ligand of five atoms for each altloc."""
    return [
        atom_line(
            f"C{i}", name, number, q, altloc=letter, record="HETATM", element="C",
            xyz=tuple(np.array(PLACES[letter]) + 1.3 * np.array([np.cos(i), np.sin(i), 0])),
        )
        for letter, q in occupancies.items()
        for i in range(1, 6)
    ]  # fmt: skip


def solved(tmp_path, start: list[str], truth: list[str], **options):
    around = waters(60, seed=3)
    data = observe(load(tmp_path, around, truth), 1.8)
    return refine(load(tmp_path, around, start), data, RefineOptions(**options))


def test_conformers_add_up_to_the_ligand_with_an_su_of_the_sum(tmp_path):
    solution = solved(tmp_path, ligand({"A": 0.4, "B": 0.4}), ligand({"A": 0.25, "B": 0.35}))
    (found,) = solution.ligands
    assert found.name == "A/201/LIG"
    assert [solution.groups.names[g] for g in found.groups] == ["A/201/LIG:A", "A/201/LIG:B"]
    assert len(found.atoms) == 10
    assert found.beside == ()
    assert found.refined
    assert found.initial == pytest.approx(0.8)
    assert found.occupancy == pytest.approx(0.6, abs=4 * found.su)
    assert found.occupancy == pytest.approx(solution.occupancy[list(found.groups)].sum())
    single = solution.su[list(found.groups)]
    assert 0.002 < found.su < single.sum()
    assert found.p_absent < 1e-10
    best = solution.results.delta_log_likelihood[list(found.groups)].max()
    assert found.delta_log_likelihood > best  # both away is worse than one away
    assert found.flags == ()
    assert str(solution).startswith("A/201/LIG  0.6")
    assert "p absent" in str(solution)


def test_an_absent_ligand_is_not_supported(tmp_path):
    solution = solved(tmp_path, ligand({"": 0.5}), [])
    (found,) = solution.ligands
    assert found.flags == (Flag.NOT_SUPPORTED,)
    assert found.p_absent > 0.05
    (group,) = found.groups
    assert found.su == solution.su[group]  # one group: what is said of it is said once
    assert found.delta_log_likelihood == solution.results.delta_log_likelihood[group]


def test_a_full_ligand_is_listed_and_a_complete_set_has_no_error(tmp_path):
    start = ligand({"": 1.0}, number=202, name="GOL")
    here = ligand({"A": 0.6, "B": 0.4})
    shift = [line[:30] + f"{float(line[30:38]) + 6:8.3f}" + line[38:] for line in start]
    solution = solved(tmp_path, [*here, *shift], [*ligand({"A": 0.7, "B": 0.3}), *shift])
    both, full = solution.ligands
    assert both.occupancy == pytest.approx(1.0, abs=1e-9)
    assert both.su == pytest.approx(0.0, abs=1e-6)
    assert both.delta_log_likelihood > 50  # the model without both of them, not with one at 1
    assert not full.refined
    assert full.occupancy == 1
    assert np.isnan(full.su)
    assert "A/202/GOL  1.00  not refined" in str(solution)


def test_without_uncertainties_there_is_the_occupancy_alone(tmp_path):
    lines = ligand({"": 0.5})
    (found,) = solved(tmp_path, lines, lines, uncertainty="none").ligands
    assert found.occupancy == pytest.approx(0.5, abs=0.02)
    assert np.isnan([found.su, found.p_absent, found.wald]).all()


def test_waters_ions_and_chains_are_no_ligands(tmp_path):
    ion = [atom_line("NA", "NA", 301, 0.5, record="HETATM", element="NA", xyz=(9, 9, 9))]
    model = load(tmp_path, waters(3), ion, ligand({"": 0.5}))
    (site,) = ligand_sites(model.occupancy_groups)
    assert site.name == "A/201/LIG"
