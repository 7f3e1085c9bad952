"""What is maximised: the likelihood of intensities or amplitudes, or least squares as one."""

from multicopy_refinement.targets.base import Derivatives, Target
from multicopy_refinement.targets.least_squares import LeastSquares
from multicopy_refinement.targets.ml_amplitude import MLAmplitude
from multicopy_refinement.targets.ml_intensity import MLIntensity

__all__ = ["Derivatives", "LeastSquares", "MLAmplitude", "MLIntensity", "Target"]
