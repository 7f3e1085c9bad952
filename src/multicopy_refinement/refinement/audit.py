"""Uncertainties with every unknown of the crystal counted in, to audit those of surroundings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.geometry import Geometry
from multicopy_refinement.model import Model
from multicopy_refinement.modes import Active, Parameter
from multicopy_refinement.posterior.blocks import Kind, Point
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.posterior.posterior import Posterior
from multicopy_refinement.posterior.priors import OccupancyPrior
from multicopy_refinement.refinement.joint import DENSE, JointRefinement
from multicopy_refinement.refinement.surroundings import B_SIGMA, XYZ_SIGMA
from multicopy_refinement.solve.conjugate import audited_su
from multicopy_refinement.solve.covariance import Covariance
from multicopy_refinement.solve.marginal import dependent_sets
from multicopy_refinement.targets import LeastSquares


def audited(
    model: Model, geometry: Geometry, experiment: Experiment, refined: IntArray,
    posterior: Posterior, at: Point, found: Covariance, progress: Callable[[int, int], None],
) -> Covariance:  # fmt: skip
    """Return a covariance with the su of all determined occupancies by `audited_su`.

    Coordinates and B of all atoms, scale and solvent are unknowns, each known beside data and
    restraints to 0.3 A or half of its B; how much solvent groups displace is taken as known. Sets
    keep their correlations.
    """
    data = posterior.data
    if isinstance(data.target, LeastSquares):
        posterior = posterior.with_target(data.target.with_variance_times(data.variance_factor))
    prior = next(
        (t for t in posterior.terms if isinstance(t, OccupancyPrior)),
        OccupancyPrior.of((), len(refined)),
    )
    joint = JointRefinement(
        model, geometry, experiment, refined, posterior.sums, prior,
        (Parameter.OCCUPANCY, Parameter.XYZ, Parameter.B_ISO), Active.ALL,
        found.su,
    )  # fmt: skip
    whole, start = joint.posterior(at[Kind.OCCUPANCY])
    whole.target = posterior.data.target
    dense = posterior.information_of(at, DENSE)
    known = joint.known(whole, XYZ_SIGMA, B_SIGMA, float("inf"))
    wanted = _one_of_each_pair(posterior, found.su)
    su = audited_su(whole, start, dense, known, wanted, lambda done: progress(done, len(wanted)))
    ratio = np.ones(len(refined))
    for own in dependent_sets(posterior.sums):
        mine = [i for i, g in enumerate(wanted.tolist()) if g in own and np.isfinite(su[i])]
        if mine:
            each = su[mine] / found.su[wanted[mine]]
            ratio[own] = each.mean()
            ratio[wanted[mine]] = each if len(own) > 2 else each.mean()
    return replace(found, matrix=found.matrix * np.outer(ratio, ratio))


def _one_of_each_pair(posterior: Posterior, su: FloatArray) -> IntArray:
    """Return the determined groups, of two that sum to something the first alone."""
    skipped = {
        int(members[1])
        for number, members in enumerate(posterior.sums.members)
        if len(members) == 2 and posterior.sums.complete[number]
    }
    return np.array([g for g in np.flatnonzero(np.isfinite(su)) if g not in skipped], dtype=int)
