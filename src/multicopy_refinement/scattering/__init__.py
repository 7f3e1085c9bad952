"""Structure factors: direct summation, density and FFT, and the basis of occupancy groups."""

from multicopy_refinement.scattering.engine import Method, structure_factors

__all__ = ["Method", "structure_factors"]
