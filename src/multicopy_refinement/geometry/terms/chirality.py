"""Chirality: r = (V - V0)/sigma, V the signed volume that three neighbours span at the centre."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray
from multicopy_refinement.geometry.terms.base import Internal, cross, dot


@dataclass(frozen=True, eq=False)
class Chirality(Internal):
    """Volumes V = a . (b x c) in A^3, a, b, c from the centre (the first of four atoms).

    Attributes
    ----------
    either
        Where the dictionary allows both hands, |V| is restrained to |V0|, ``[m]``.
    """

    either: BoolArray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    name: ClassVar[str] = "chirality"
    shown: ClassVar[tuple[float, str]] = (1.0, "A^3")

    def measure(self, places: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return volumes and their derivatives."""
        a, b, c = (places[:, i] - places[:, 0] for i in (1, 2, 3))
        by_a, by_b, by_c = cross(b, c), cross(c, a), cross(a, b)
        volume = dot(a, by_a)
        slopes = np.stack([-by_a - by_b - by_c, by_a, by_b, by_c], axis=1)
        turned = np.where(self.either & (volume < 0), -1.0, 1.0)
        return volume * turned, slopes * turned[:, None, None]
