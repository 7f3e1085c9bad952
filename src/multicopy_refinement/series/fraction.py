"""The fraction of a state in one data set: its posterior, its maximum, and its evidence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray

from multicopy_refinement._typing import ComplexArray, FloatArray, IntArray
from multicopy_refinement.modes import TargetKind
from multicopy_refinement.notices import Notice
from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.posterior.agreement import Statistics
from multicopy_refinement.posterior.blocks import Block, Kind, Point, Space
from multicopy_refinement.posterior.data_term import DataTerm
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.posterior.forward import GroupForward
from multicopy_refinement.posterior.posterior import Posterior
from multicopy_refinement.posterior.scale import ScaledMask
from multicopy_refinement.refinement.twinning import Twinning, lawless
from multicopy_refinement.reflections import ReflectionData
from multicopy_refinement.scaling.displaced import FAINT
from multicopy_refinement.scaling.solvent import Displaced
from multicopy_refinement.scattering.columns import StoredColumns
from multicopy_refinement.series.crystal import Crystal
from multicopy_refinement.series.holes import Holes
from multicopy_refinement.series.solvent import MasksOfCells, SolventOfStates
from multicopy_refinement.solve import gauss_newton
from multicopy_refinement.solve.covariance import Covariance, covariance

#: Converged when the fraction changes by less than this in a cycle, or by this part of its su.
TOLERANCE, PART_OF_SU = 0.001, 0.05
#: What a twin means for a series, which refines against one domain.
_TWIN = (
    "its fraction is biased, and the shared model; leave it out, or refine it by itself with "
    "--twin={law}"
)
#: Points of the mask's grid are no further apart, in A. With 0.53 A B of the state's atoms and its
#: fraction take up what the mask lacks: by 0.003 where the su is 0.003; with 0.5 to 0.27 A alike.
_COARSEST = 0.5
#: A state that changes F by less than this part of the largest changes nothing.
_NOTHING = 1e-5
#: Cycles of fraction, mask, scale and errors.
MOST_CYCLES = 10


@dataclass(frozen=True)
class Search:
    """How the search of a fraction ended."""

    converged: bool
    cycles: int
    reason: str


class SetOfSeries:
    """One data set with its scale, solvent, errors, and its fraction.

    Parameters
    ----------
    name
        Of the data set.
    crystal
        The model in its cell.
    data
        Its reflections.
    target
        As in a refinement.
    start
        Fraction to begin with.
    masks
        Of the model, shared by its cells.
    like
        Another data set of the crystal, whose mask is taken.
    """

    def __init__(
        self, name: str, crystal: Crystal, data: ReflectionData, target: TargetKind | None,
        start: float, masks: MasksOfCells, like: SetOfSeries | None = None,
    ) -> None:  # fmt: skip
        self.name, self.crystal, self.fraction = name, crystal, start
        rows = crystal.rows(data.hkl)
        self.before = np.ascontiguousarray(crystal.before[:, rows])
        self.added = np.ascontiguousarray(crystal.added[:, rows])
        self.without: ComplexArray = crystal.held[rows] + self.before.sum(0, dtype=np.complex128)
        self.experiment: Experiment = Experiment(
            crystal.model, data, target=target, f_calc=self._f_calc(start),
            occupancy=crystal.state.occupancy(start),
            like=None if like is None else like.experiment,
            solvent=partial(SolventOfStates.of, crystal.state, masks), shrink=masks.shrink,
            mask_spacing=_COARSEST,
        )  # fmt: skip
        masks.shrink = self.experiment.grid.shrink
        self.search = Search(False, 0, "not begun")

    def _f_calc(self, fraction: float) -> torch.Tensor:
        return torch.as_tensor(self.without + fraction * self._total)

    @property
    def tells(self) -> bool:
        """Whether F differs with and without the state at all."""
        return bool(np.abs(self._total).max() > _NOTHING * np.abs(self.without).max())

    @cached_property
    def _total(self) -> ComplexArray:
        return np.asarray(self.added.sum(axis=0, dtype=np.complex128))

    @property
    def data(self) -> ReflectionData:
        """The reflections, on the model's crystal; outliers are in neither set."""
        return self.experiment.data

    @property
    def f_model(self) -> torch.Tensor:
        """F_model at the present fraction, complex ``[n]``; occupancies of the model stay."""
        return self.experiment.at_renewal(self._f_calc(self.fraction))

    @property
    def statistics(self) -> Statistics:
        """R factors and log-likelihoods at the present fraction."""
        return self.experiment.statistics(self.f_model)

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What is to be said of the data: of a twin, of another cell, of what was left out."""
        f_model = self.f_model
        seen = Twinning.of(self.data, self.experiment.size(f_model))
        twin = lawless(self.data) if seen is None else seen.said(_TWIN)
        of_data = (*self.experiment.notices, *self.experiment.errors.notices)
        return (*twin, *of_data, *self.experiment.screening(f_model))

    def posterior(self, *, by_region: bool = False) -> Posterior:
        """Return that of the fraction, scale and solvent; or of the fractions of all regions.

        What groups with atoms of several regions displace follows the common fraction.
        """
        experiment, data, state = self.experiment, self.data, self.crystal.state
        regions, tied = self.crystal.regions, state.tied
        n = len(regions) if by_region else 1
        displaced, f_mask = experiment.displaced(tied)
        if displaced is not None:
            of = regions.of_group[tied] if by_region else np.zeros(len(tied), dtype=np.int64)
            columns = np.zeros((n, len(displaced.low)), dtype=np.complex64)
            np.add.at(
                columns, of[of >= 0],
                (displaced.columns * state.slope[tied, None].astype(np.float32))[of >= 0],
            )  # fmt: skip
            held = state.offset[tied] + np.where(of < 0, self.fraction * state.slope[tied], 0.0)
            f_mask = f_mask.copy()
            f_mask[displaced.low] -= held @ displaced.columns
            displaced = Displaced(displaced.low, columns)
        scaled = ScaledMask.of(experiment.scale, data.spacegroup, data.hkl, data.s_squared, f_mask)
        added = self.added if by_region else self._total[None].astype(np.complex64)
        forward = GroupForward(
            self.without, StoredColumns(added.real.copy(), added.imag.copy()), data.s_squared,
            scaled, displaced,
        )  # fmt: skip
        block = Block(Kind.OCCUPANCY, np.zeros(n), np.ones(n))
        term = DataTerm(forward, experiment.target, data.work, renewal=experiment.renewal)
        posterior = Posterior(
            Space((block, *scaled.point.space.blocks)), (term,),
            SumConstraints.complete_sets(np.full(n, -1)), Space(()).point({}),
        )  # fmt: skip
        if experiment.target_kind is TargetKind.LS:
            posterior = posterior.with_reduced_chi_square(self.at(posterior))
        return posterior

    @property
    def _solvent(self) -> SolventOfStates:
        solvent = self.experiment.solvent
        assert isinstance(solvent, SolventOfStates)  # it was given to the experiment
        return solvent

    @property
    def holes(self) -> Holes:
        """Those of the model that it is in doubt whether solvent gets into."""
        return self._solvent.masks.holes

    def find_holes(self) -> Holes:
        """Return the holes beside the state that it is in doubt whether solvent gets into."""
        of_atom = self.crystal.regions.of_atom
        follows = of_atom >= 0
        xyz = self.crystal.model.xyz().detach().double().cpu().numpy()[follows]
        return self._solvent.holes(xyz, of_atom[follows])

    def hole_slopes(self, along: ComplexArray, rows: IntArray) -> NDArray[np.float32]:
        """Return Re(conj(along) S F_hole) of each hole in doubt, ``[n_holes, n_rows]``.

        F of a hole is (1 - f) F_without + f F_with; 0 where solvent does not matter.
        """
        holes, data, scale = self.holes, self.data, self.experiment.scale
        found = np.zeros((len(holes), len(rows)), dtype=np.float32)
        if not len(holes) or not scale.has_solvent:
            return found
        here = data.s_squared[rows] < scale.solvent_limit(FAINT)
        low = rows[here]
        without, with_ = holes.f(data.hkl[low], data.cell.volume)
        f = without + np.float32(self.fraction) * (with_ - without)
        found[:, here] = (f * (along[here].conj() * scale.solvent(data.s_squared[low]))).real
        return found

    def at(self, posterior: Posterior) -> Point:
        """Return the point of the present fraction in all regions."""
        values = posterior.data.forward.fitted.values
        n = posterior.space.blocks[0].size
        return posterior.space.point({Kind.OCCUPANCY: np.full(n, self.fraction), **values})

    def refine(self, hold: float | None = None) -> None:
        """Find the most probable fraction, or scale, solvent and errors for one that is held."""
        if hold is not None:
            self._take(hold)
        for cycle in range(1, MOST_CYCLES + 1):
            posterior = self.posterior()
            if hold is not None:
                posterior = posterior.holding(Kind.OCCUPANCY, 0, hold)
            before = self.fraction
            gain = 0.1 if cycle == 1 else gauss_newton.SMALLEST_GAIN
            at = self.at(posterior)
            found = gauss_newton.maximise(posterior, at, smallest_gain=gain)
            now = float(np.clip(found.point[Kind.OCCUPANCY][0], 0.0, 1.0))
            self._take(now)
            if found.failed:
                self.search = Search(False, cycle, found.status)
                return
            known = 1.0 if hold is not None else float(posterior.normal(at).information[0, 0])
            su = max(known, 1.0) ** -0.5
            if abs(now - before) < max(TOLERANCE, PART_OF_SU * su) and cycle > 1:
                self.search = Search(True, cycle, "the fraction does not change")
                return
        reason = f"the fraction still changed by {abs(now - before):.4f} in the last cycle"
        self.search = Search(False, MOST_CYCLES, reason)

    def _take(self, fraction: float) -> None:
        self.fraction = fraction
        self.experiment.renew(self._f_calc(fraction), self.crystal.state.occupancy(fraction))

    def covariance(self) -> tuple[Posterior, Point, Covariance]:
        """Return the posterior, the point, and the covariance with scale and solvent counted."""
        posterior = self.posterior()
        at = self.at(posterior)
        return posterior, at, covariance(posterior, at)

    def atoms_occupancy(self) -> FloatArray:
        """Return the occupancy of each atom at the present fraction, ``[n_atoms]``."""
        state = self.crystal.state
        return np.asarray(state.occupancy(self.fraction)[state.groups.index])
