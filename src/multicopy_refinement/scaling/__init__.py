"""Bulk solvent, overall and anisotropic scale between F_calc and the data."""

from multicopy_refinement.scaling.scaler import Scale, fit_scale

__all__ = ["Scale", "fit_scale"]
