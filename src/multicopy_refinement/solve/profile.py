"""Profile likelihood of one unknown: the slow check of its standard uncertainty."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.posterior.blocks import Kind, Point
from multicopy_refinement.posterior.posterior import Posterior
from multicopy_refinement.solve.gauss_newton import maximise


def profile_likelihood(
    posterior: Posterior, at: Point, group: int, values: FloatArray
) -> FloatArray:
    """Return the highest log posterior with the occupancy of one group held at some values.

    Parameters
    ----------
    posterior
        Of the refined groups.
    at
        Its maximum; the searches start from it.
    group
        Index of the group among them.
    values
        Occupancies in [0, 1].

    Returns
    -------
    numpy.ndarray
        One log posterior a value. One su away from the maximum it is lower by 1/2.

    Raises
    ------
    ValueError
        A value that the sums do not allow.
    """
    found = np.empty(len(values))
    held = np.zeros(len(at[Kind.OCCUPANCY]), dtype=bool)
    held[group] = True
    for i, value in enumerate(values):
        occupancy = at[Kind.OCCUPANCY].copy()
        occupancy[group] = value
        occupancy = posterior.sums.restored(occupancy, held)
        if np.abs(posterior.sums.excess(occupancy)).max(initial=0.0) > 1e-6:
            raise ValueError(f"group {group} cannot be held at {value:g}: its sums do not allow it")
        start = at.replacing(Kind.OCCUPANCY, occupancy)
        search = maximise(posterior.holding(Kind.OCCUPANCY, group, float(value)), start)
        found[i] = search.value
    return found
