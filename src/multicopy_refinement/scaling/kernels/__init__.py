"""Compiled loops over the points of a mask."""
