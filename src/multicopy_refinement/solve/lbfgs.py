"""L-BFGS in logits: the torch route, which needs nothing of a posterior but its gradient."""

from __future__ import annotations

import torch

from multicopy_refinement.parameters import OccupancyTensor, members_from_sums
from multicopy_refinement.posterior.blocks import Kind, Point
from multicopy_refinement.posterior.posterior import Posterior
from multicopy_refinement.solve.gauss_newton import Search

#: Starts at 0 or 1 are moved inside by this, where the sigmoid is not flat.
START_MARGIN = 0.02


def maximise(posterior: Posterior, start: Point, *, max_iterations: int) -> Search:
    """Return occupancies with a log posterior not below that of the start.

    Parameters
    ----------
    posterior
        What to maximise, in occupancies alone.
    start
        Occupancies in [0, 1] that obey the sums.
    max_iterations
        L-BFGS iterations (Nocedal 1980, Math. Comput. 35, 773), strong Wolfe line search.
    """
    occupancy = _parameters(posterior, start)
    optimiser = torch.optim.LBFGS(
        [occupancy.refinable_params], max_iter=max_iterations, history_size=20,
        line_search_fn="strong_wolfe", tolerance_grad=1e-6, tolerance_change=1e-9,
    )  # fmt: skip

    def log_density(values: torch.Tensor) -> torch.Tensor:
        return posterior.log_density({Kind.OCCUPANCY: values})

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        cost = -log_density(occupancy())
        cost.backward()
        return cost

    optimiser.step(closure)
    with torch.no_grad():
        found = occupancy()
        before = float(log_density(torch.as_tensor(start[Kind.OCCUPANCY])))
        after = float(log_density(found))
    done = f"{max_iterations} iterations of L-BFGS at most"
    if not after > before:  # also when the search ended in nan
        return Search(start, before, 0, True, f"{done} did not improve the start")
    point = start.replacing(Kind.OCCUPANCY, found.numpy())
    return Search(point, after, max_iterations, True, done)


def _parameters(posterior: Posterior, start: Point) -> OccupancyTensor:
    occupancy = OccupancyTensor(
        torch.as_tensor(start[Kind.OCCUPANCY], dtype=torch.float64),
        altloc_groups=members_from_sums(posterior.sums),
    )
    occupancy.move_inside(START_MARGIN)
    return occupancy
