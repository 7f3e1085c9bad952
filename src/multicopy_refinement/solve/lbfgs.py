"""L-BFGS in logits: the torch route, which needs nothing of a target but its gradient."""

from __future__ import annotations

import torch

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.parameters import OccupancyTensor, members_from_sums
from multicopy_refinement.posterior.problem import OccupancyProblem

#: Starts at 0 or 1 are moved inside by this, where the sigmoid is not flat.
START_MARGIN = 0.02


def maximise(
    problem: OccupancyProblem, start: FloatArray, *, max_iterations: int
) -> tuple[FloatArray, float]:
    """Return occupancies with a log-likelihood not below that of the start, and its value.

    Parameters
    ----------
    problem
        What to maximise.
    start
        Occupancies, ``[n_groups]``, in [0, 1], that obey the sums.
    max_iterations
        L-BFGS iterations (Nocedal 1980, Math. Comput. 35, 773), strong Wolfe line search.
    """
    occupancy = _parameters(problem, start)
    optimiser = torch.optim.LBFGS(
        [occupancy.refinable_params], max_iter=max_iterations, history_size=20,
        line_search_fn="strong_wolfe", tolerance_grad=1e-6, tolerance_change=1e-9,
    )  # fmt: skip

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        cost = -problem.log_likelihood(occupancy())
        cost.backward()
        return cost

    optimiser.step(closure)
    with torch.no_grad():
        found = occupancy()
        before = float(problem.log_likelihood(torch.as_tensor(start)))
        after = float(problem.log_likelihood(found))
    if not after > before:  # also when the search ended in nan
        return start, before
    return found.numpy(), after


def _parameters(problem: OccupancyProblem, start: FloatArray) -> OccupancyTensor:
    occupancy = OccupancyTensor(
        torch.as_tensor(start, dtype=torch.float64),
        altloc_groups=members_from_sums(problem.sums),
    )
    occupancy.move_inside(START_MARGIN)
    return occupancy
