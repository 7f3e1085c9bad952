"""Compiled inner loops over reflections (numba), cached on disk; see `scattering.kernels`."""
