"""The crystal model, and the parameters that it is made of."""

from multicopy_refinement.model.model import Model
from multicopy_refinement.parameters import MixedTensor, OccupancyTensor, PositiveMixedTensor

__all__ = ["MixedTensor", "Model", "OccupancyTensor", "PositiveMixedTensor"]
