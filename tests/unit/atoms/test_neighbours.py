"""Near pairs by all distances and by a tree are the same."""

import numpy as np
import pytest

from multicopy_refinement.atoms import neighbours


@pytest.mark.parametrize("n", [0, 1, 2, 60, 400])
def test_both_routes_agree(n, monkeypatch):
    points = np.random.default_rng(n).uniform(0, 8, (n, 3))
    few = {tuple(sorted(pair)) for pair in neighbours.near_pairs(points, 1.5).tolist()}
    monkeypatch.setattr(neighbours, "_FEW", -1)
    many = {tuple(sorted(pair)) for pair in neighbours.near_pairs(points, 1.5).tolist()}
    assert few == many
    assert len(few) > n / 4 or n <= 2
