"""Parameters as modules: refined in part, held in part, constraints kept by construction."""

from multicopy_refinement.parameters.groups import SetMembers, members_from_sums
from multicopy_refinement.parameters.mixed import MixedTensor
from multicopy_refinement.parameters.occupancy import OccupancyTensor
from multicopy_refinement.parameters.positive import PositiveMixedTensor

__all__ = [
    "MixedTensor",
    "OccupancyTensor",
    "PositiveMixedTensor",
    "SetMembers",
    "members_from_sums",
]
