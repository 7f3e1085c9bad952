"""What atoms scatter: X-rays, electrons and neutrons, as sums of Gaussians."""

from multicopy_refinement.scattering.factors.gaussians import FormFactors
from multicopy_refinement.scattering.factors.tables import form_factors

__all__ = ["FormFactors", "form_factors"]
