"""Profile likelihood of one occupancy: the slow check of its standard uncertainty."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.posterior.problem import OccupancyProblem
from multicopy_refinement.solve.gauss_newton import maximise


def profile_likelihood(
    problem: OccupancyProblem, occupancy: FloatArray, group: int, values: FloatArray
) -> FloatArray:
    """Return the highest log-likelihood with one group held at each of some values.

    Parameters
    ----------
    problem
        Of the refined groups.
    occupancy
        Their refined occupancies, ``[n_groups]``; the searches start from them.
    group
        Index of the group among them.
    values
        Occupancies in [0, 1].

    Returns
    -------
    numpy.ndarray
        One log-likelihood a value. One su away from the maximum it is lower by 1/2.
    """
    found = np.empty(len(values))
    others = np.delete(np.arange(problem.n_groups), group)
    for i, value in enumerate(values):
        held = problem.holding(group, float(value))
        start = held.sums.restored(occupancy[others])
        if np.abs(held.sums.excess(start)).max(initial=0.0) > 1e-6:
            raise ValueError(f"group {group} cannot be held at {value:g}: its sums do not allow it")
        search = maximise(held, start)
        found[i] = search.point.objective
    return found
