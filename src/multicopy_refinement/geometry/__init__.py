"""Restraints on coordinates and displacements: dictionaries, topology, terms, energy."""

from multicopy_refinement.geometry.geometry import Geometry, energy

__all__ = ["Geometry", "energy"]
