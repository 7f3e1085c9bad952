"""Occupancy parameters of phenix.refine: read from its parameter files, and written for it."""

from multicopy_refinement.occupancy.exchange.phenix.reader import read
from multicopy_refinement.occupancy.exchange.phenix.selections import select
from multicopy_refinement.occupancy.exchange.phenix.writer import write

__all__ = ["read", "select", "write"]
