"""Posteriors of the demo and of small crystals, and points in them, for tests."""

from dataclasses import replace

import numpy as np

from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.posterior import Kind, Point, Posterior
from multicopy_refinement.posterior.forward import GroupForward


def point(posterior: Posterior, occupancy, b_shift=None) -> Point:
    """Return a point of the search's space."""
    values = {Kind.OCCUPANCY: np.asarray(occupancy, dtype=np.float64)}
    if b_shift is not None:
        values[Kind.B_GROUP] = np.asarray(b_shift, dtype=np.float64)
    return posterior.space.point(values)


def forward(posterior: Posterior) -> GroupForward:
    """Return the forward model of the data."""
    return posterior.data.forward


def with_sums(posterior: Posterior, sums: SumConstraints) -> Posterior:
    """Return the posterior under other sums."""
    return replace(posterior, sums=sums)


def with_forward(posterior: Posterior, **changes) -> Posterior:
    """Return the posterior with another forward model of its data."""
    data = posterior.data
    changed = replace(data, forward=replace(data.forward, **changes))
    return replace(posterior, terms=(changed, *(t for t in posterior.terms if t is not data)))


def with_held_errors(posterior: Posterior) -> Posterior:
    """Return the posterior whose evidence is judged by the errors that it has."""
    data = replace(posterior.data, renewal=None)
    return replace(
        posterior, terms=(data, *(t for t in posterior.terms if t is not posterior.data))
    )


def with_held_solvent(posterior: Posterior, occupancy) -> Posterior:
    """Return the posterior with the solvent of some occupancies, whatever the occupancies are."""
    here = forward(posterior)
    f_mask = here.f_mask(np.asarray(occupancy))
    held = here.scaled.held[0], here.scaled.scale.solvent(here.s_squared) * f_mask
    scaled = replace(here.scaled, f_mask=f_mask, held=held)
    return with_forward(posterior, scaled=scaled, displaced=None)
