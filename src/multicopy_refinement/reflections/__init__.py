"""Observed reflections, their free set and their preparation."""

from multicopy_refinement.reflections.data import ReflectionData

__all__ = ["ReflectionData"]
