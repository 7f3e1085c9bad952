"""Everything refined: the common factor is held and named, ratios are found."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from demo_data import observe
from helpers import atom_line, write_text
from multicopy_refinement import Model, RefineOptions, refine
from multicopy_refinement.posterior import Kind
from multicopy_refinement.refinement.found import Flag
from multicopy_refinement.refinement.macrocycle import refine_to_maximum

CELL = (15.0, 16.0, 17.0)


def waters(tmp_path, occupancies) -> Model:
    """Return 60 waters anywhere in a cell of symmetry P 1."""
    random = np.random.default_rng(5)
    lines = [
        atom_line("O", "HOH", i + 1, q, chain="W", xyz=random.uniform(0, CELL, 3), record="HETATM")
        for i, q in enumerate(occupancies)
    ]
    a, b, c = CELL
    head = f"CRYST1{a:9.3f}{b:9.3f}{c:9.3f}  90.00  90.00  90.00 P 1"
    path = write_text(tmp_path / "model.pdb", "\n".join([head, *lines, "END", ""]))
    return Model(dtype_float=torch.float64).load(path)


TRUE = np.random.default_rng(1).uniform(0.3, 0.9, 60).round(2)


def test_ratios_are_found_and_the_common_factor_is_named(tmp_path):
    data = observe(waters(tmp_path, TRUE), 1.6)
    solution = refine(waters(tmp_path, np.full(60, 0.5)), data, RefineOptions(decoys=0))
    assert solution.status.converged
    assert solution.status.cycles <= 6
    ratio = solution.occupancy / TRUE
    assert np.std(ratio) < 0.05 * ratio.mean()
    assert all(Flag.UNDETERMINED in flags for flags in solution.results.flags)
    assert np.isfinite(solution.results.su_conditional).all()
    codes = {notice.code: notice for notice in solution.notices}
    assert "60 groups are known up to a common factor" in codes["common_factor"].message
    assert "undetermined" not in codes


def test_what_is_held_tells_the_factor(tmp_path):
    true = TRUE.copy()
    true[:36] = 1.0
    start = np.where(true == 1, 1.0, 0.5)
    data = observe(waters(tmp_path, true), 1.6)
    solution = refine(waters(tmp_path, start), data, RefineOptions(decoys=0))
    assert solution.status.converged
    assert "common_factor" not in {notice.code for notice in solution.notices}
    refined = solution.groups.refined
    assert refined.sum() == 24
    error = (solution.occupancy - true)[refined]
    assert np.sqrt(np.mean((error / solution.su[refined]) ** 2)) < 1.6
    assert error.mean() == pytest.approx(0, abs=0.01)


def test_the_su_of_the_factor_does_not_hang_on_sigmas_in_least_squares(tmp_path):
    true = TRUE.copy()
    true[:12] = 1.0
    start, found = np.where(true == 1, 1.0, 0.5), []
    for sigmas in (1.0, 3.0):
        data = observe(waters(tmp_path, true), 1.6)
        data = replace(data, sigma=sigmas * data.sigma)
        options = RefineOptions(decoys=0, target="ls")
        maximum = refine_to_maximum(waters(tmp_path, start), data, options)
        whole = maximum.posterior.with_nuisance(maximum.at)
        found.append(maximum.posterior.data.su_of_factor(whole, whole[Kind.OCCUPANCY]))
    assert found[0] > 0
    assert found[1] == pytest.approx(found[0], rel=0.2)
