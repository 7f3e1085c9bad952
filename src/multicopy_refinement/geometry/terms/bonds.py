"""Bond lengths: r = (d - d0)/sigma."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.geometry.images import Images
from multicopy_refinement.geometry.terms.base import Internal
from multicopy_refinement.geometry.terms.distances import distances


@dataclass(frozen=True, eq=False)
class Bonds(Internal):
    """Lengths in A; the second atom may be a symmetry mate's.

    Attributes
    ----------
    image
        Number of the operation of the second atom, ``[m]``; 0 is the identity.
    images
        The operations.
    """

    image: IntArray | None = None
    images: Images = field(default_factory=Images.identity)
    name: ClassVar[str] = "bonds"

    def measure(self, places: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return lengths and their derivatives."""
        return distances(places, self.image, self.images)
