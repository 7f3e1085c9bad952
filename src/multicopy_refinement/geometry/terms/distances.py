"""Distances between atoms and atoms or their symmetry mates, with derivatives."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.geometry.images import Images
from multicopy_refinement.geometry.terms.base import unit


def distances(
    places: FloatArray, image: IntArray | None = None, images: Images | None = None
) -> tuple[FloatArray, FloatArray]:
    """Return |x1 - (R x2 + t)| ``[m]`` and its derivatives ``[m, 2, 3]``.

    Parameters
    ----------
    places
        Coordinates of both atoms, ``[m, 2, 3]``.
    image, images
        Number of the operation (R, t) of each second atom; the identity for all when left out.
    """
    first, second = places[:, 0], places[:, 1]
    if image is None or images is None or not image.any():
        direction, length = unit(first - second)
        return length, np.stack([direction, -direction], axis=1)
    direction, length = unit(first - images.place(image, second))
    back = -np.einsum("mji,mj->mi", images.rotation[image], direction)
    return length, np.stack([direction, back], axis=1)
