"""Refinement: occupancies, then mask, scale and errors anew, until nothing moves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.model import Model
from multicopy_refinement.modes import Parameter, Solver, TargetKind, UncertaintyKind
from multicopy_refinement.notices import Notice
from multicopy_refinement.posterior.experiment import Experiment, Statistics, check_same_crystal
from multicopy_refinement.posterior.priors import OccupancyPrior
from multicopy_refinement.posterior.problem import OccupancyProblem, occupancy_problem
from multicopy_refinement.refinement.b_groups import assign_b, b_shift_limits
from multicopy_refinement.refinement.options import RefineOptions
from multicopy_refinement.refinement.solution import (
    Correlations,
    Cycle,
    GroupResults,
    Solution,
    State,
    Status,
)
from multicopy_refinement.refinement.verdicts import (
    determined_states,
    group_results,
    undetermined_notice,
    worst_correlations,
)
from multicopy_refinement.reflections import ReflectionData
from multicopy_refinement.scattering.basis import group_basis
from multicopy_refinement.solve import gauss_newton, lbfgs
from multicopy_refinement.solve.gauss_newton import BShifts
from multicopy_refinement.solve.uncertainty import at_bound, evidence, uncertainty

#: B shifts have converged when none moves by more than this in a macrocycle, in A^2.
B_TOLERANCE = 0.05


@dataclass(frozen=True)
class Progress:
    """Where a refinement stands: what was done, of how much, and the largest change."""

    step: str
    done: int
    total: int
    largest_change: float | None = None


def refine(
    model: Model,
    data: ReflectionData,
    options: RefineOptions | None = None,
    *,
    progress: Callable[[Progress], None] | None = None,
) -> Solution:
    """Refine the refinable occupancies of a model against data; the model takes the result.

    Parameters
    ----------
    model
        A loaded model; coordinates are held, and displacements unless B shifts are asked for.
    data
        Its reflections.
    options
        `RefineOptions`.
    progress
        Called after every step.

    Returns
    -------
    Solution
        Not converging is a status of it, not an error.
    """
    check_same_crystal(model, data)
    run = _Run(model, data, options or RefineOptions(), progress or (lambda _: None))
    return run.solution()


class _Run:
    """One refinement, in the order of its steps."""

    def __init__(
        self, model: Model, data: ReflectionData, options: RefineOptions,
        progress: Callable[[Progress], None],
    ) -> None:  # fmt: skip
        self.model, self.options, self.progress = model, options, progress
        self.groups = model.occupancy_groups
        self.refined = np.flatnonzero(self.groups.refined)
        self.start = model.group_occupancies()
        self.sums = self.groups.sums.restricted(self.refined, self.start)
        everyone = OccupancyPrior.of(self.groups.restraints, len(self.groups))
        prior = everyone.restricted(self.refined, self.start)
        self.prior = prior if len(prior) else None
        self.occupancy: FloatArray = self.start[self.refined]
        self.b_shifts: BShifts | None = None
        if Parameter.B_GROUP in options.parameters:
            self.b_shifts = b_shift_limits(model, self.refined, options.b_prior)
        self.b_shift = None if self.b_shifts is None else self.b_shifts.start
        self.history: list[Cycle] = []
        clock = _Clock()
        self.n_observed = len(data)
        self.basis = group_basis(model, data.listed_hkl, self.refined)
        self._report("basis", 0)
        basis_seconds = clock.lap()
        self.experiment = Experiment(model, data, target=options.target, f_calc=self._f_calc())
        self._report("scale", 0)
        self.seconds = {"basis": basis_seconds, "scale": clock.lap()}

    def solution(self) -> Solution:
        """Refine and return what came of it."""
        clock = _Clock()
        results = GroupResults.nothing(len(self.groups))
        correlations = None
        states: tuple[State, ...] = ()
        if len(self.refined):
            initial, final, status = self._macrocycles()
            wanted = self.options.uncertainty is not UncertaintyKind.NONE
            if self.options.solver is Solver.GAUSS_NEWTON and wanted:
                results, states, correlations = self._uncertainties()
        else:
            initial = final = self.experiment.statistics()
            status = Status(True, "nothing to refine: all occupancies are 1", 0)
        self.seconds["refine"] = clock.lap()
        occupancy = self.start.copy()
        occupancy[self.refined] = self.occupancy
        return Solution(
            groups=self.groups, occupancy=occupancy, results=results, states=states,
            initial=initial, final=final, status=status, notices=self._notices(results),
            seconds=self.seconds, experiment=self.experiment,
            listed_f_calc=self.basis.f_calc(self.occupancy, self.b_shift), options=self.options,
            history=tuple(self.history), correlations=correlations,
        )  # fmt: skip

    # ------------------------------------------------------------------ macrocycles

    def _macrocycles(self) -> tuple[Statistics, Statistics, Status]:
        start, b_start = self.occupancy, self.b_shift
        first = self.experiment.statistics(self._f_model(start, b_start))
        self.history = [Cycle(0, None, first)]
        status = self._iterate()
        final = self.experiment.statistics(self._now())
        # the start under the scale and the errors of the end: likelihoods that can be compared
        again = self.experiment.statistics(self._f_model(start, b_start))
        initial = replace(
            first,
            log_likelihood=again.log_likelihood,
            log_likelihood_free=again.log_likelihood_free,
        )
        before, after = (
            side.log_likelihood + (0.0 if self.prior is None else self.prior.value(occupancy))
            for side, occupancy in ((initial, start), (final, self.occupancy))
        )
        if after >= before:
            return initial, final, status
        self._take(start, b_start)
        self.experiment.renew(self._f_calc())
        same = self.experiment.statistics(self._f_model(start, b_start))
        reason = "the start could not be improved; it is kept"
        return same, same, Status(status.converged, reason, status.cycles)

    def _iterate(self) -> Status:
        total = self.options.max_cycles
        for cycle in range(1, total + 1):
            # the first cycle has the errors of the start: to go to its very end would be waste
            gain = 0.1 if cycle == 1 else gauss_newton.SMALLEST_GAIN
            occupancy, b_shift = self._solve(self._problem(), gain)
            change = float(np.abs(occupancy - self.occupancy).max())
            b_change = 0.0
            if b_shift is not None and self.b_shift is not None:
                b_change = float(np.abs(b_shift - self.b_shift).max())
            self._take(occupancy, b_shift)
            self.experiment.renew(self._f_calc())
            self.history.append(Cycle(cycle, change, self.experiment.statistics(self._now())))
            self._report("occupancies", cycle, change)
            if cycle > 1 and change < self.options.tolerance and b_change < B_TOLERANCE:
                return Status(True, self._reason(), cycle)
        moved = f"an occupancy still changed by {change:.4f}"
        return Status(False, f"{moved} in the last of {total} cycles", total)

    def _reason(self) -> str:
        text = f"no occupancy changed by more than {self.options.tolerance:g}"
        if self.b_shifts is not None:
            text += f" and no B by more than {B_TOLERANCE:g} A^2"
        return f"{text} in the last cycle"

    def _solve(
        self, problem: OccupancyProblem, gain: float
    ) -> tuple[FloatArray, FloatArray | None]:
        if self.options.solver is Solver.LBFGS:
            found, _ = lbfgs.maximise(
                problem, self.occupancy, max_iterations=self.options.max_iterations
            )
            return found, None
        shifts = self.b_shifts
        if shifts is not None and self.b_shift is not None:
            shifts = BShifts(self.b_shift, shifts.lowest, shifts.prior_sigma)
        point = gauss_newton.maximise(problem, self.occupancy, shifts, smallest_gain=gain).point
        return point.occupancy, point.b_shift

    def _uncertainties(
        self,
    ) -> tuple[GroupResults, tuple[State, ...], Correlations | None]:
        problem = self._problem()
        factor = 1.0
        if self.options.target is TargetKind.LS:
            factor = problem.reduced_chi_square(self.occupancy, self.b_shift)
        found = uncertainty(problem, self.occupancy, self.b_shift, self.b_shifts, factor=factor)
        gains = evidence(problem, self.occupancy, self.b_shift, found.information)
        results = group_results(
            self.groups,
            self.refined,
            self.occupancy,
            found,
            gains,
            self.b_shift,
            at_bound(self.sums, self.occupancy),
        )
        states = determined_states(self.groups, self.refined, self.occupancy, problem, found)
        correlations = worst_correlations(found, self.refined, problem.sums)
        return results, states, correlations

    # ------------------------------------------------------------------ state

    def _problem(self) -> OccupancyProblem:
        return occupancy_problem(self.experiment, self.basis, self.sums, self.prior)

    def _f_calc(self) -> torch.Tensor:
        """Return F_calc at the observed reflections."""
        return torch.as_tensor(self.basis.f_calc(self.occupancy, self.b_shift)[: self.n_observed])

    def _now(self) -> torch.Tensor:
        return self._f_model(self.occupancy, self.b_shift)

    def _f_model(self, occupancy: FloatArray, b_shift: FloatArray | None) -> torch.Tensor:
        """Return F_model under the present mask, scale and errors."""
        f_calc = self.basis.f_calc(occupancy, b_shift)[: self.n_observed]
        with torch.no_grad():
            return self.experiment.forward(torch.as_tensor(f_calc))

    def _take(self, occupancy: FloatArray, b_shift: FloatArray | None) -> None:
        """Make occupancies and B shifts those of the run and of the model."""
        self.occupancy, self.b_shift = occupancy, b_shift
        full = self.start.copy()
        full[self.refined] = occupancy
        self.model.assign_group_occupancies(full)
        if b_shift is not None:
            assign_b(self.model, self.refined, b_shift)

    def _notices(self, results: GroupResults) -> tuple[Notice, ...]:
        return (
            tuple(self.experiment.notices)
            + self.experiment.errors.notices
            + undetermined_notice(self.groups, results)
        )

    def _report(self, step: str, done: int, change: float | None = None) -> None:
        self.progress(Progress(step, done, self.options.max_cycles, change))


class _Clock:
    """Wall time between laps."""

    def __init__(self) -> None:
        self.last = time.perf_counter()

    def lap(self) -> float:
        """Return the seconds since the last lap."""
        now = time.perf_counter()
        passed, self.last = now - self.last, now
        return passed
