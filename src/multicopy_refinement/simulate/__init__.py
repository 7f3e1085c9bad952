"""Data of known truth."""

from multicopy_refinement.simulate.dataset import SimulatedData, simulate, write_simulated

__all__ = ["SimulatedData", "simulate", "write_simulated"]
