"""Refinement of a model against data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multicopy_refinement._lazy import lazy_names

_HOME = {
    "RefineOptions": "multicopy_refinement.refinement.options",
    "Solution": "multicopy_refinement.refinement.solution",
    "Status": "multicopy_refinement.refinement.course",
    "refine": "multicopy_refinement.refinement.macrocycle",
}

__all__ = [*sorted(_HOME)]  # noqa: PLE0604

if TYPE_CHECKING:
    from multicopy_refinement.refinement.course import Status as Status
    from multicopy_refinement.refinement.macrocycle import refine as refine
    from multicopy_refinement.refinement.options import RefineOptions as RefineOptions
    from multicopy_refinement.refinement.solution import Solution as Solution

__getattr__ = lazy_names(__name__, _HOME)


def __dir__() -> list[str]:
    return [*globals(), *_HOME]
