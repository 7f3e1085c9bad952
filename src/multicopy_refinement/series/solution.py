"""What a series is made of, how it is refined, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.crystal import Cell
from multicopy_refinement.modes import Parameter, TargetKind
from multicopy_refinement.notices import Notice
from multicopy_refinement.posterior.agreement import Statistics
from multicopy_refinement.refinement.found import Flag
from multicopy_refinement.reflections import ReflectionData
from multicopy_refinement.series.fits import Fit, fit_curves
from multicopy_refinement.series.fraction import Search
from multicopy_refinement.series.isomorphism import Isomorphism
from multicopy_refinement.series.regions import RegionTest
from multicopy_refinement.series.scores import OWN_B
from multicopy_refinement.series.state import SeriesState
from multicopy_refinement.series.support import Evidence
from multicopy_refinement.words import with_su


@dataclass(frozen=True, eq=False)
class SeriesData:
    """A data set of a series: its name, its reflections, and the variable."""

    name: str
    data: ReflectionData
    x: float


@dataclass(frozen=True)
class SeriesOptions:
    """How a series is refined.

    Attributes
    ----------
    reference
        Name of a data set whose fraction is 0.
    target
        As in `RefineOptions`.
    restraints, monomers, no_restraints
        What is known of the geometry of the shared model, for the su.
    decoys
        Of each data set's evidence; as many as take a second when left out, 0 for theory alone.
    parameters
        What is refined: ``occupancy``, and ``xyz`` and ``b_iso`` of the atoms of the state, of what
        it replaces and of all within 4 A, by all data sets together; or ``occupancy`` alone.
    own_b
        By which B of a residue differs from crystal to crystal beside what the scale takes, as a
        part of it; counted in the su.
    """

    reference: str | None = None
    target: TargetKind | None = None
    restraints: tuple[Path, ...] = ()
    monomers: Path | None = None
    no_restraints: bool = False
    decoys: int | None = None
    parameters: tuple[Parameter, ...] = (Parameter.OCCUPANCY, Parameter.XYZ, Parameter.B_ISO)
    own_b: float = OWN_B

    @property
    def moving(self) -> frozenset[Parameter]:
        """What moves beside the fractions."""
        return frozenset(self.parameters) - {Parameter.OCCUPANCY}


@dataclass(frozen=True, eq=False)
class SeriesSolution:
    """Fractions of a state in the data sets of a series.

    Attributes
    ----------
    names, x
        Of the data sets in the order given, and the variable ``[n_sets]``.
    state
        What was selected.
    fraction
        Between 0 and 1, ``[n_sets]``.
    unbounded
        Without these bounds: what curves are fitted to, ``[n_sets]``.
    covariance
        Of the latter, the shared model and errors that data sets share counted in, that of a
        reference 0, ``[n_sets, n_sets]``.
    su, su_conditional
        nan where the data do not determine the fraction, ``[n_sets]``. The second takes the shared
        model, scale and solvent as known.
    evidence
        Gains and probabilities.
    flags
        As of groups in a refinement.
    error_correlation
        Of what the model lacks in two data sets, as the fraction meets it, ``[n_sets, n_sets]``.
    regions
        Whether one fraction fits all regions; None with fewer than two that are determined.
    agreement, searches
        Of each data set.
    isomorphism
        Cells, amplitudes and crystal forms.
    reference
        Place of the data set whose fraction is 0, or None.
    crystals
        How many cells structure factors and masks were calculated in.
    moved
        How far the atoms near the state went from the file: rms in A, and of B as a part of it.
    filled
        How much of each hole beside the state solvent fills beside what the mask says, -1 to 1,
        ``[n_holes]``.
    misfit
        The su by the scatter of scores over that by information, ``[n_sets]``.
    data
        Reflections as they were used, outliers in neither set, in the cell of calculation.
    cells
        Of the data sets.
    notices
        What was noticed, with the data set that it is of, or "".
    seconds
        Wall time of the steps.
    """

    names: tuple[str, ...]
    x: FloatArray
    state: SeriesState
    fraction: FloatArray
    unbounded: FloatArray
    covariance: FloatArray
    su: FloatArray
    su_conditional: FloatArray
    evidence: Evidence
    flags: tuple[tuple[Flag, ...], ...]
    error_correlation: FloatArray
    regions: RegionTest | None
    agreement: tuple[Statistics, ...]
    searches: tuple[Search, ...]
    isomorphism: Isomorphism
    reference: int | None
    crystals: int
    moved: tuple[float, float]
    filled: FloatArray
    misfit: FloatArray
    data: tuple[ReflectionData, ...]
    cells: tuple[Cell, ...]
    notices: tuple[tuple[str, Notice], ...]
    seconds: dict[str, float]

    def fits(self, variable: str = "x") -> list[Fit]:
        """Return the curves of a variable, fitted to the fractions with their covariance."""
        return fit_curves(variable, self.x, self.unbounded, self.covariance)

    def __repr__(self) -> str:
        each = ", ".join(
            f"{name} {with_su(float(f), float(su))}"
            for name, f, su in zip(self.names, self.fraction, self.su, strict=True)
        )
        return f"SeriesSolution({self.state.name}: {each})"
