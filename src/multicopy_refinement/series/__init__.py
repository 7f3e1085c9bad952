"""Series: one model that holds all states, many data sets, one fraction of a state in each.

>>> from multicopy_refinement.series import SeriesData, refine_series, fit
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from multicopy_refinement._lazy import lazy_names

_HOME = {
    "SeriesData": "multicopy_refinement.series.solution",
    "SeriesJob": "multicopy_refinement.series.job",
    "SeriesOptions": "multicopy_refinement.series.solution",
    "SeriesSolution": "multicopy_refinement.series.solution",
    "fit": "multicopy_refinement.series.fits",
    "refine_series": "multicopy_refinement.series.refine",
    "run_series": "multicopy_refinement.series.job",
}

__all__ = [*sorted(_HOME)]  # noqa: PLE0604

if TYPE_CHECKING:
    from multicopy_refinement.series.fits import fit as fit
    from multicopy_refinement.series.job import SeriesJob as SeriesJob
    from multicopy_refinement.series.job import run_series as run_series
    from multicopy_refinement.series.refine import refine_series as refine_series
    from multicopy_refinement.series.solution import SeriesData as SeriesData
    from multicopy_refinement.series.solution import SeriesOptions as SeriesOptions
    from multicopy_refinement.series.solution import SeriesSolution as SeriesSolution

__getattr__ = lazy_names(__name__, _HOME)
