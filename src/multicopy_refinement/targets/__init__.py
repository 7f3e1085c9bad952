"""What is maximised: the likelihood of amplitudes, or least squares written as one."""

from multicopy_refinement.targets.base import Derivatives, Target
from multicopy_refinement.targets.least_squares import LeastSquares
from multicopy_refinement.targets.ml_amplitude import MLAmplitude

__all__ = ["Derivatives", "LeastSquares", "MLAmplitude", "Target"]
