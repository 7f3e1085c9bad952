"""Refinement of a model against data."""

from multicopy_refinement.refinement.macrocycle import refine
from multicopy_refinement.refinement.options import RefineOptions
from multicopy_refinement.refinement.solution import Solution, Status

__all__ = ["RefineOptions", "Solution", "Status", "refine"]
