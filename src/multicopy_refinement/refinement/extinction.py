"""Whether strong reflections look weakened by extinction, where it is not refined."""

from __future__ import annotations

import numpy as np
import torch

from multicopy_refinement.modes import Radiation
from multicopy_refinement.notices import Notice
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.posterior.extinction import ExtinguishedAmplitude
from multicopy_refinement.posterior.observable import AMPLITUDE
from multicopy_refinement.posterior.same_crystal import known_wavelength

#: Said where the coefficient would be this many su, and the strongest reflection weaker by so much.
_TELLING, _WEAKER = 6.0, 0.01


def extinction_hint(experiment: Experiment) -> tuple[Notice, ...]:
    """Return a notice where one step of the coefficient says that there is extinction.

    Of crystals without bulk solvent: the low orders of others depend on it.
    """
    data, radiation = experiment.data, experiment.model.radiation
    plain = experiment.observable is AMPLITUDE and not experiment.scale.has_solvent
    if not plain or radiation is Radiation.ELECTRON:
        return ()
    wavelength = known_wavelength(experiment.model, data)
    with torch.no_grad():
        f = experiment.forward().numpy()
    # without a wavelength the coefficient is in another unit; what it does is much the same
    none = ExtinguishedAmplitude.of(
        0.0, experiment.scale, data.hkl, data.s_squared, wavelength or 1.0
    )
    root = np.sqrt(experiment.target.derivatives(np.abs(f)).information * data.work)
    found = none.refitted(f, data.f_obs, root)
    su = none.su_of_coefficient(f, root)
    weakest = 1 - float(found.factor(f)[data.work].min())
    if found.coefficient < _TELLING * su or weakest < _WEAKER:
        return ()
    given = "" if wavelength else " and --wavelength"
    return (
        Notice(
            "extinction",
            f"strong reflections are weaker than calculated, the strongest by {weakest:.1%}, as "
            f"extinction makes them: refine it with --extinction{given}",
        ),
    )
