"""Pairs of points that are near each other."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.crystal import Cell, SpaceGroup

#: Points up to which all distances are quicker than importing a tree (0.3 s).
_FEW = 500


def near_pairs(points: FloatArray, reach: float) -> IntArray:
    """Return the pairs of points ``[n, 3 or more]`` within a reach, lower index first, ``[m, 2]``.

    >>> near_pairs(np.array([[0.0, 0, 0], [5, 0, 0], [0, 0, 1.4]]), 1.5).tolist()
    [[0, 2]]
    """
    if len(points) < 2:
        return np.empty((0, 2), dtype=np.int64)
    if len(points) <= _FEW:
        distance = np.linalg.norm(points[:, None] - points, axis=2)
        return np.argwhere(np.triu(distance <= reach, 1))
    from scipy.spatial import cKDTree

    return np.asarray(cKDTree(points).query_pairs(reach, output_type="ndarray"))


def near_in_crystal(
    xyz: FloatArray, centres: FloatArray, reach: float, cell: Cell, group: SpaceGroup
) -> tuple[list[IntArray], list[FloatArray]]:
    """Return which atoms have an image within a reach of each centre, and how far it is.

    Parameters
    ----------
    xyz, centres
        Cartesian coordinates in A, ``[n, 3]`` and ``[m, 3]``.
    reach
        In A.

    Returns
    -------
    tuple
        For each centre the atoms in ascending order, and the distances of their nearest images.
    """
    from scipy.spatial import cKDTree

    fractional = xyz @ cell.fractionalization.T
    images = group.images(fractional)
    images -= np.floor(images)
    atom = np.tile(np.arange(len(xyz)), len(images))
    images = images.reshape(-1, 3)
    for axis in range(3):  # what lies a little beyond the cell
        margin = reach * cell.reciprocal_lengths[axis]
        turns = int(np.ceil(margin))
        every, sources = [], []
        for turn in range(-turns, turns + 1):
            moved = images.copy()
            moved[:, axis] += turn
            inside = (moved[:, axis] >= -margin) & (moved[:, axis] <= 1 + margin)
            every.append(moved[inside])
            sources.append(atom[inside])
        images, atom = np.concatenate(every), np.concatenate(sources)
    inside = centres @ cell.fractionalization.T
    at = (inside - np.floor(inside)) @ cell.orthogonalization.T
    points = images @ cell.orthogonalization.T
    found, distances = [], []
    for centre, near in zip(at, cKDTree(points).query_ball_point(at, reach), strict=True):
        rows = np.asarray(near, dtype=np.int64)
        distance = np.linalg.norm(points[rows] - centre, axis=1)
        order = np.lexsort((distance, atom[rows]))
        which, first = np.unique(atom[rows][order], return_index=True)
        found.append(which)
        distances.append(distance[order][first])
    return found, distances


def on_elements(xyz: FloatArray, reach: float, cell: Cell, group: SpaceGroup) -> BoolArray:
    """Return which points are within a reach (A) of an image of themselves, ``[n]``."""
    fractional = xyz @ cell.fractionalization.T
    found = np.zeros(len(xyz), dtype=bool)
    for image in group.images(fractional)[1:]:
        away = image - fractional
        away -= np.round(away)
        found |= np.linalg.norm(away @ cell.orthogonalization.T, axis=1) < reach
    return found
