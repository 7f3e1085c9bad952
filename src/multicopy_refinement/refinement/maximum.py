"""Where a refinement has ended, with what it ended in."""

from __future__ import annotations

from dataclasses import dataclass

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.posterior.blocks import Point
from multicopy_refinement.posterior.posterior import Posterior
from multicopy_refinement.refinement.solution import Solution
from multicopy_refinement.solve.covariance import Covariance


@dataclass(frozen=True, eq=False)
class Maximum:
    """A solution as the maximum of a posterior.

    Attributes
    ----------
    solution
        What was found.
    refined
        The groups that the posterior is of.
    posterior, at
        The posterior, with data weighed as the covariance has them, and its maximum.
    covariance
        There; None without uncertainties.
    """

    solution: Solution
    refined: IntArray
    posterior: Posterior
    at: Point
    covariance: Covariance | None

    @property
    def size(self) -> FloatArray:
        """What is measured of F_model at the observed reflections, ``[n]``."""
        return self.posterior.data.size(self.at)
