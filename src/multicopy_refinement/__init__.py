"""Refinement of occupancies in crystal structures, inside PyTorch.

The names below are imported when they are first used, so that importing the package is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from multicopy_refinement._lazy import lazy_names

__version__ = "0.1.0"

_HOME = {
    "MixedTensor": "multicopy_refinement.parameters",
    "Model": "multicopy_refinement.model",
    "OccupancyTensor": "multicopy_refinement.parameters",
    "PositiveMixedTensor": "multicopy_refinement.parameters",
    "ReflectionData": "multicopy_refinement.reflections",
    "RefineOptions": "multicopy_refinement.refinement",
    "Solution": "multicopy_refinement.refinement",
    "read_reflections": "multicopy_refinement.io.reflections",
    "refine": "multicopy_refinement.refinement",
    "structure_factors": "multicopy_refinement.scattering",
}

__all__ = [*sorted(_HOME), "__version__"]  # noqa: PLE0604

if TYPE_CHECKING:
    from multicopy_refinement.io.reflections import read_reflections as read_reflections
    from multicopy_refinement.model import Model as Model
    from multicopy_refinement.parameters import (
        MixedTensor as MixedTensor,
    )
    from multicopy_refinement.parameters import (
        OccupancyTensor as OccupancyTensor,
    )
    from multicopy_refinement.parameters import (
        PositiveMixedTensor as PositiveMixedTensor,
    )
    from multicopy_refinement.refinement import RefineOptions as RefineOptions
    from multicopy_refinement.refinement import Solution as Solution
    from multicopy_refinement.refinement import refine as refine
    from multicopy_refinement.reflections import ReflectionData as ReflectionData
    from multicopy_refinement.scattering import structure_factors as structure_factors


__getattr__ = lazy_names(__name__, _HOME)


def __dir__() -> list[str]:
    return [*globals(), *_HOME]
