"""How much of a narrower and a wider probe the data say, of truths whose solvent gemmi made."""

from dataclasses import replace

import gemmi
import numpy as np
import pytest

from demo_data import DEMO, observe
from multicopy_refinement import Model
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.scaling.displaced import DOUBT
from multicopy_refinement.scaling.mask import (
    MaskGrid,
    density_structure_factors,
    mask_by_gemmi,
)


@pytest.fixture(scope="module")
def crystal():
    """The demo's first conformers, all there, and its data to 2 A, which give flags and errors."""
    structure = gemmi.read_structure(str(DEMO / "truth.pdb"))
    structure.remove_alternative_conformations()
    for site in structure[0].all():
        site.atom.occ = 1.0
    model = Model(structure)
    return model, observe(model, 2.0)


def solvent_of_probes(model, hkl, probes):
    """Return F of the mean of gemmi's masks with probes that are so much wider than 1 A."""
    grid = MaskGrid.of(model.cell, model.spacegroup, 2.0)
    there = np.ones(len(model.table), dtype=bool)
    masks = [
        mask_by_gemmi(grid.with_probe(wider), model.table, there, model.table.xyz)
        for wider in probes
    ]
    return density_structure_factors(np.mean(masks, axis=0), model.cell, model.spacegroup, hkl)


@pytest.mark.parametrize(
    ("probes", "blend"),
    [((0.0,), 0.0), ((-DOUBT, 0.0, 0.0, DOUBT), 0.25), ((-DOUBT, DOUBT), 0.5)],
)
def test_the_data_say_how_often_solvent_gets_through_bottlenecks(crystal, probes, blend):
    model, data = crystal
    first = Experiment(model, data)
    fall = 0.35 * np.exp(-46 * data.s_squared / 4)
    f = first.f_calc().detach().numpy() + fall * solvent_of_probes(model, data.hkl, probes)
    noise = np.random.default_rng(1).standard_normal(len(f))
    made = replace(data, f_obs=np.abs(np.abs(f) + data.sigma * noise))
    found = Experiment(model, made)
    assert found.grid.blend == blend
    right = solvent_of_probes(model, data.hkl, probes)
    off = np.linalg.norm((found.f_mask - right) * fall) / np.linalg.norm(right * fall)
    assert off < 0.1
    one = found.solvent.regrown(found.grid.with_blend(0.0)).f_mask(np.zeros(0), data.hkl)
    alone = np.linalg.norm((one - right) * fall) / np.linalg.norm(right * fall)
    assert alone > 2 * off if len(probes) > 1 else alone < 0.1
