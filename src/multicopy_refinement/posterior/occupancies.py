"""The posterior of occupancies, and of B shifts of groups, given one data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.posterior.bijvoet import BijvoetTerm
from multicopy_refinement.posterior.blocks import Block, Kind, Space
from multicopy_refinement.posterior.data_term import DataTerm
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.posterior.forward import GroupForward
from multicopy_refinement.posterior.posterior import Posterior
from multicopy_refinement.posterior.priors import BShiftPrior, OccupancyPrior
from multicopy_refinement.posterior.scale import ScaledMask
from multicopy_refinement.posterior.terms import Term
from multicopy_refinement.scattering.anomalous import AnomalousColumns
from multicopy_refinement.scattering.basis import GroupBasis
from multicopy_refinement.targets.bijvoet import BijvoetErrors


@dataclass(frozen=True, eq=False)
class BShifts:
    """B shifts of groups as unknowns.

    Attributes
    ----------
    lowest
        Below which a B factor of the group would fall under its floor, A^2, ``[n_groups]``.
    prior_sigma
        Of a Gaussian prior around no shift, A^2, ``[n_groups]``.
    """

    lowest: FloatArray
    prior_sigma: FloatArray


def occupancy_posterior(
    experiment: Experiment, basis: GroupBasis, sums: SumConstraints | IntArray, *,
    prior: OccupancyPrior | None = None, b_shifts: BShifts | None = None, with_scale: bool = False,
    bijvoet: tuple[AnomalousColumns, BijvoetErrors] | None = None,
) -> Posterior:  # fmt: skip
    """Return the posterior under the present mask, scale and error model.

    Parameters
    ----------
    experiment
        Data, scale, mask and errors.
    basis
        Structure factors of the groups; it may go on with reflections that were not observed.
    sums
        What the occupancies sum to, or the complete set of each group or -1, ``[n_groups]``.
    prior
        Restraints on occupancies.
    b_shifts
        Where they are unknowns, too.
    with_scale
        Whether scale and solvent move in a search; they count in every covariance in any case.
    bijvoet
        F'' of the same atoms and the errors of the Bijvoet differences, where these are data, too.
    """
    if not isinstance(sums, SumConstraints):
        sums = SumConstraints.complete_sets(sums)
    data, n_groups = experiment.data, basis.columns.n_groups
    displaced, f_mask = experiment.displaced(basis.groups)
    scaled = ScaledMask.of(experiment.scale, data.spacegroup, data.hkl, data.s_squared, f_mask)
    forward = GroupForward(
        basis.fixed[: len(data)], basis.columns, data.s_squared, scaled, displaced
    )
    blocks = [Block(Kind.OCCUPANCY, np.zeros(n_groups), np.ones(n_groups))]
    term = DataTerm(
        forward, experiment.target, data.work, renewal=experiment.renewal,
        observable=experiment.observable,
    )  # fmt: skip
    terms: list[Term] = [term]
    if bijvoet is not None and data.bijvoet is not None:
        observed = np.where(data.bijvoet.known, data.bijvoet.value, 0.0)
        terms.append(BijvoetTerm(forward, bijvoet[0], observed, bijvoet[1], data.work, data.free))
    if prior is not None and len(prior):
        terms.append(prior)
    if b_shifts is not None:
        blocks.append(Block(Kind.B_GROUP, b_shifts.lowest, np.full(n_groups, np.inf)))
        terms.append(BShiftPrior(b_shifts.prior_sigma))
    if not with_scale:
        return Posterior(Space(tuple(blocks)), tuple(terms), sums, term.fitted)
    space = Space((*blocks, *term.fitted.space.blocks))
    return Posterior(space, tuple(terms), sums, Space(()).point({}))
