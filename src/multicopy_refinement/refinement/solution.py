"""What a refinement returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.atoms.groups import OccupancyGroups
from multicopy_refinement.experiment import Statistics
from multicopy_refinement.notices import Notice

if TYPE_CHECKING:
    from multicopy_refinement.experiment import Experiment
    from multicopy_refinement.refinement.options import RefineOptions


@dataclass(frozen=True)
class Status:
    """How the refinement ended, in words."""

    converged: bool
    reason: str
    cycles: int


@dataclass(frozen=True, eq=False)
class Solution:
    """Refined occupancies with their agreement to the data.

    Attributes
    ----------
    groups
        The occupancy groups.
    occupancy
        Of each group, ``[n_groups]``.
    su
        Standard uncertainty of each, nan where there is none, ``[n_groups]``.
    initial, final
        Agreement before and after. Both log-likelihoods are evaluated with the error model of the
        end, so that they can be compared; the R factors have each its own scale.
    status
        How it ended.
    notices
        What was noticed on the way.
    seconds
        Wall time of ``scale`` (mask, scale, errors of the start) and of ``refine``.
    experiment
        The forward model in its final state.
    options
        What was asked for.
    """

    groups: OccupancyGroups
    occupancy: FloatArray
    su: FloatArray
    initial: Statistics
    final: Statistics
    status: Status
    notices: tuple[Notice, ...]
    seconds: dict[str, float]
    experiment: Experiment
    options: RefineOptions

    def __repr__(self) -> str:
        free = (self.initial.r_free, self.final.r_free)
        r_free = "" if None in free else f", R-free {free[0]:.4f} -> {free[1]:.4f}"
        return (f"Solution({int(self.groups.refined.sum())} groups refined, R-work "
                f"{self.initial.r_work:.4f} -> {self.final.r_work:.4f}{r_free}, "
                f"{self.status.reason})")
