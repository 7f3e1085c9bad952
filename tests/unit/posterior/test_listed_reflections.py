"""Reflections that are listed without an amplitude, a little beyond the others."""

from dataclasses import replace

import numpy as np
import pytest

from crystals import crystal
from demo_data import observe
from multicopy_refinement.posterior import Experiment


@pytest.mark.parametrize("d_min", [1.0, 1.1])
def test_the_solvent_is_known_at_all_that_is_listed(d_min, tmp_path):
    """To 1.05 times the resolution: the mask's grid must hold these indices, too."""
    model = crystal(tmp_path, (0.6, 0.4), shift=(0.0, 0.7))
    listed = observe(model, d_min / 1.05)
    beyond = listed.s_squared > 1 / d_min**2
    data = replace(
        listed.select(~beyond), unobserved_hkl=listed.hkl[beyond],
        unobserved_flags=listed.flags[beyond],
    )  # fmt: skip
    found = Experiment(model, data).f_mask_at(data.listed_hkl)
    assert np.isfinite(found).all()
    assert data.listed_d_min < data.d_min
