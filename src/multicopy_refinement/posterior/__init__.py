"""The likelihood and its priors over named blocks of unknowns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multicopy_refinement._lazy import lazy_names

_HOME = {
    "Block": "multicopy_refinement.posterior.blocks",
    "DataTerm": "multicopy_refinement.posterior.data_term",
    "Experiment": "multicopy_refinement.posterior.experiment",
    "Kind": "multicopy_refinement.posterior.blocks",
    "Normal": "multicopy_refinement.posterior.terms",
    "Point": "multicopy_refinement.posterior.blocks",
    "Posterior": "multicopy_refinement.posterior.posterior",
    "Space": "multicopy_refinement.posterior.blocks",
    "Term": "multicopy_refinement.posterior.terms",
    "occupancy_posterior": "multicopy_refinement.posterior.occupancies",
}

__all__ = [*sorted(_HOME)]  # noqa: PLE0604

if TYPE_CHECKING:
    from multicopy_refinement.posterior.blocks import Block as Block
    from multicopy_refinement.posterior.blocks import Kind as Kind
    from multicopy_refinement.posterior.blocks import Point as Point
    from multicopy_refinement.posterior.blocks import Space as Space
    from multicopy_refinement.posterior.data_term import DataTerm as DataTerm
    from multicopy_refinement.posterior.experiment import Experiment as Experiment
    from multicopy_refinement.posterior.occupancies import (
        occupancy_posterior as occupancy_posterior,
    )
    from multicopy_refinement.posterior.posterior import Posterior as Posterior
    from multicopy_refinement.posterior.terms import Normal as Normal
    from multicopy_refinement.posterior.terms import Term as Term

__getattr__ = lazy_names(__name__, _HOME)


def __dir__() -> list[str]:
    return [*globals(), *_HOME]
