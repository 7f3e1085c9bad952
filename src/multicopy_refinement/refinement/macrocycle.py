"""Refinement: occupancies, then mask, scale and errors anew, until nothing moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from multicopy_refinement._typing import ComplexArray, FloatArray
from multicopy_refinement.clock import Clock
from multicopy_refinement.geometry import Geometry
from multicopy_refinement.io.reflections import read_reflections
from multicopy_refinement.model import Model
from multicopy_refinement.modes import (
    Active,
    Grouping,
    Parameter,
    Solver,
    Step,
    TargetKind,
    UncertaintyKind,
)
from multicopy_refinement.notices import Notice
from multicopy_refinement.occupancy.grouping import GroupingOptions, Rules, Selections
from multicopy_refinement.parallel import one_thread_for_products
from multicopy_refinement.posterior.agreement import Statistics
from multicopy_refinement.posterior.blocks import Kind, Point
from multicopy_refinement.posterior.occupancies import BShifts, occupancy_posterior
from multicopy_refinement.posterior.posterior import Posterior
from multicopy_refinement.posterior.priors import OccupancyPrior
from multicopy_refinement.posterior.same_crystal import check_same_crystal
from multicopy_refinement.refinement.anomalous import (
    AnomalousResults,
    AnomalousSignal,
    hint,
    other_elements,
)
from multicopy_refinement.refinement.b_groups import Displacements, assign_b, b_shift_limits
from multicopy_refinement.refinement.beam import radiation_of_run, settle_beam
from multicopy_refinement.refinement.before import Before, rise_of_r_free, worse_than_file
from multicopy_refinement.refinement.course import Cycle, Relaxation, Status
from multicopy_refinement.refinement.exchange import exchange_of
from multicopy_refinement.refinement.extinction import extinction_hint
from multicopy_refinement.refinement.found import (
    GroupResults,
    State,
)
from multicopy_refinement.refinement.joint import (
    DENSE,
    SHIFT_OVER_SU,
    JointRefinement,
    relaxation_of,
    small,
)
from multicopy_refinement.refinement.known import Ended, Known
from multicopy_refinement.refinement.maximum import Maximum
from multicopy_refinement.refinement.options import RefineOptions
from multicopy_refinement.refinement.solution import Extinction, Solution
from multicopy_refinement.refinement.twinning import RefinedTwin, Twinning, settle_twin
from multicopy_refinement.refinement.verdicts import (
    held_off_notice,
    notices_of_atoms,
    undetermined_notice,
)
from multicopy_refinement.reflections import ReflectionData
from multicopy_refinement.scattering.basis import group_basis
from multicopy_refinement.solve import gauss_newton, lbfgs, many
from multicopy_refinement.solve.covariance import Covariance, covariance
from multicopy_refinement.targets.choice import preferred

if TYPE_CHECKING:
    import gemmi
    import pandas as pd

#: B shifts have converged when none moves by more than this in a macrocycle, in A^2.
B_TOLERANCE = 0.05


@dataclass(frozen=True)
class Progress:
    """Where a run stands: the step that begins; of cycles how many are done, and the last's change.

    ``total`` is 0 for steps that have no cycles.
    """

    step: Step
    done: int = 0
    total: int = 0
    largest_change: float | None = None


def refine(
    model: Model | str | Path | gemmi.Structure,
    data: ReflectionData | str | Path | gemmi.Mtz | pd.DataFrame,
    options: RefineOptions | None = None,
    *,
    grouping: Grouping | GroupingOptions | None = None,
    rules: Rules | None = None,
    refine: Selections = (),
    hold: Selections = (),
    ligands: bool = False,
    waters: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Solution:
    """Refine the refinable occupancies of a model against data; the model takes the result.

    Parameters
    ----------
    model
        A loaded model, or what `Model` takes; coordinates are held, and displacements unless B
        shifts are asked for.
    data
        Its reflections, or what `read_reflections` takes.
    options
        `RefineOptions`.
    grouping, rules, refine, hold, ligands, waters
        Where one is given, the atoms are put into groups anew, from the occupancies of the file:
        see `Model.regroup`.
    progress
        Called when a step begins, and after every cycle.

    Returns
    -------
    Solution
        Not converging is a status of it, not an error.
    """
    options = options or RefineOptions()
    if not isinstance(model, Model):
        model = Model(model, radiation=options.radiation)
    if not isinstance(data, ReflectionData):
        data = read_reflections(
            data, cell=model.cell, spacegroup=model.spacegroup, prefer=preferred(options.target),
            radiation=radiation_of_run(model, options), anomalous=options.anomalous,
        )  # fmt: skip
    settle_beam(model, options, data.wavelength)
    check_same_crystal(model, data)
    if grouping or rules is not None or len(refine) or len(hold) or ligands or waters:
        model.regroup(
            grouping=grouping, rules=rules, refine=refine, hold=hold, ligands=ligands,
            waters=waters,
        )  # fmt: skip
    return _refined(model, data, options, progress)[1]


def refine_to_maximum(
    model: Model, data: ReflectionData, options: RefineOptions,
    progress: Callable[[Progress], None] | None = None,
) -> Maximum:  # fmt: skip
    """Refine, and return the solution with the posterior that it is the maximum of."""
    run, solution = _refined(model, data, options, progress)
    return Maximum(solution, run.refined, *run.maximum())


def _refined(
    model: Model, data: ReflectionData, options: RefineOptions,
    progress: Callable[[Progress], None] | None,
) -> tuple[_Run, Solution]:  # fmt: skip
    """Return a run that has ended, and what came of it."""
    with one_thread_for_products():
        run = _Run(model, data, options, progress or (lambda _: None))
        return run, run.solution()


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
        self.prior = everyone.restricted(self.refined, self.start)
        self.b_shifts: BShifts | None = None
        self.displacements = Displacements.of(model)
        if Parameter.B_GROUP in options.parameters:
            self.b_shifts = b_shift_limits(model, self.displacements, self.refined, options.b_prior)
        self.history: list[Cycle] = []
        self.twinning: Twinning | None = None
        self.relaxation: Relaxation | None = None
        self.covariance: Covariance | None = None
        self._made: Posterior | None = None
        #: That of the end, with data weighed as su count them.
        self._weighed: Posterior | None = None
        self._curvature: list[many.Curvature] = []
        clock = Clock()
        twin = None
        if options.twin is not None:
            self.twinning, twin, data = settle_twin(model, data, options)
        self.n_observed = len(data)
        self.seconds: dict[str, float] = {}
        self.progress(Progress(Step.STRUCTURE_FACTORS))
        self.before = Before.of(
            model, data, options.target, lambda: self._first_f_calc(data), twin,
            extinction=options.extinction,
        )  # fmt: skip
        self.experiment = self.before.experiment
        if twin is None:
            self.twinning = Twinning.of(self.experiment.data, self.before.size)
        self.anomalous: AnomalousSignal | None = None
        if options.anomalous:
            self.anomalous = AnomalousSignal(model, self.experiment.data, self.refined)
            start = self.start[self.refined]
            f_calc = torch.as_tensor(self.basis.f_calc(start)[: self.n_observed])
            self.anomalous.renew(self.experiment, f_calc, start, None)
        self.seconds["scale"] = clock.lap() - self.seconds["basis"]
        self.at = self._point(self.start[self.refined], np.zeros(len(self.refined)))

    def _first_f_calc(self, data: ReflectionData) -> ComplexArray:
        """Make the structure factors of the groups; return F_calc where refinement begins."""
        clock = Clock()
        self.basis = group_basis(self.model, data.listed_hkl, self.refined)
        self.seconds["basis"] = clock.lap()
        self.progress(Progress(Step.SCALE))
        return self.basis.f_calc(self.start[self.refined])[: self.n_observed]

    def solution(self) -> Solution:
        """Refine and return what came of it."""
        clock, start = Clock(), self.at
        known: Known | None = None
        if len(self.refined):
            initial, final, status = self._macrocycles()
            if self.options.joint:
                final, status = self._joint_cycles()
            wanted = self.options.uncertainty is not UncertaintyKind.NONE
            if self.options.solver is Solver.GAUSS_NEWTON and wanted:
                known = self._known()
                self.covariance = known.covariance
        else:
            final = self.experiment.statistics()
            initial = self.before.beside_the_end(final)
            status = Status(True, "nothing to refine: all occupancies are 1", 0)
        self.seconds["refine"] = clock.lap()
        occupancy = self._of_all_groups(self.at)
        if known is None:
            known = Known.nothing(self.groups, occupancy)
        results, states = known.results, known.states
        differences = None
        if self.anomalous is not None:
            differences = self.anomalous.results(
                self._posterior(), self._here(start), self.at, self.groups, self.refined,
                results.of_differences,
            )  # fmt: skip
        r_free_change = self._r_free_change()
        return Solution(
            groups=self.groups, occupancy=occupancy, results=results, states=states,
            initial=initial, final=final, status=status,
            notices=self._notices(results, states)
            + self._anomalous_notices(differences, occupancy, results.su)
            + rise_of_r_free(r_free_change)
            + worse_than_file(self.before, initial, final),
            ligands=known.ligands,
            r_free_change=r_free_change, conditional_on=self._conditional_on(),
            n_decoys=known.n_decoys, relaxation=self.relaxation, atom_su=known.atom_su,
            twinning=self.twinning, twin=self._twin(), extinction=self._extinction(),
            seconds=self.seconds, experiment=self.experiment,
            listed_f_calc=self._listed_f_calc(self.at), options=self.options,
            history=tuple(self.history), correlations=known.correlations,
            exchange=exchange_of(self.groups, occupancy, results), anomalous=differences,
        )  # fmt: skip

    def maximum(self) -> tuple[Posterior, Point, Covariance | None]:
        """Return the posterior that the covariance is of, where it has ended, and that."""
        return self._weighed or self._posterior(), self.at, self.covariance

    # ------------------------------------------------------------------ macrocycles

    def _macrocycles(self) -> tuple[Statistics, Statistics, Status]:
        start = self.at
        self.history = [Cycle(0, None, self.before.statistics)]
        status = self._iterate()
        self._curvature.clear()
        final = self.experiment.statistics(self._f_model(self.at))
        # the start under the scale and the errors of the end: likelihoods that can be compared
        posterior, start = self._posterior(), self._here(start)
        again = self.experiment.statistics(self._f_model(start))
        before = again.log_likelihood + posterior.log_prior(start)
        after = final.log_likelihood + posterior.log_prior(self.at)
        if after >= before:
            return self.before.beside_the_end(again), final, status
        self._take(start)
        same = self.experiment.statistics(self._f_model(self.at))
        reason = "the start could not be improved; it is kept"
        initial = self.before.beside_the_end(same)
        return initial, same, Status(status.converged, reason, status.cycles)

    def _iterate(self) -> Status:
        total = self.options.cycles
        self.progress(Progress(Step.SOLVING, 0, total))
        for cycle in range(1, total + 1):
            search = self._search(at_first=cycle == 1 < total)  # with the errors of the start
            moved = {
                kind: float(np.abs(search.point[kind] - self.at[kind]).max())
                for kind in (Kind.OCCUPANCY, Kind.B_GROUP)
                if kind in self.at.space
            }
            change = moved[Kind.OCCUPANCY]
            self._take(search.point, find_shrink=cycle == 1 < total)
            statistics = self.experiment.statistics(self._f_model(self.at))
            self.history.append(Cycle(cycle, change, statistics))
            self.progress(Progress(Step.SOLVING, cycle, total, change))
            if search.failed:
                return Status(False, search.status, cycle)
            small = change < self.options.tolerance and moved.get(Kind.B_GROUP, 0.0) < B_TOLERANCE
            if small and (cycle > 1 or total == 1):
                return Status(True, self._reason(), cycle)
        still = f"an occupancy still changed by {change:.4f}"
        if change < self.options.tolerance:
            still = f"a B still changed by {moved[Kind.B_GROUP]:.2f} A^2"
        return Status(False, f"{still} in the last of {total} cycles", total)

    def _reason(self) -> str:
        text = f"no occupancy changed by more than {self.options.tolerance:g}"
        if self.b_shifts is not None:
            text += f" and no B by more than {B_TOLERANCE:g} A^2"
        return f"{text} in the last cycle"

    def _search(self, *, at_first: bool) -> gauss_newton.Search:
        posterior = self._posterior()
        if self.options.solver is Solver.LBFGS:
            return lbfgs.maximise(posterior, self.at, max_iterations=self.options.max_iterations)
        return many.maximise(posterior, self.at, at_first=at_first, kept=self._curvature)

    @cached_property
    def geometry(self) -> Geometry:
        """Restraints of the model as it was read."""
        options = self.options
        found = Geometry.of(self.model, restraints=options.restraints, monomers=options.monomers)
        return replace(found, terms=()) if options.no_restraints else found

    def _joint_cycles(self) -> tuple[Statistics, Status]:
        """Refine everything that is asked for together, from where the occupancies ended."""
        options, total = self.options, self.options.joint_cycles
        start = self.geometry.state(self.model)
        posterior = self._posterior()
        dense = posterior.information_of(self.at, DENSE)
        joint = JointRefinement(
            self.model, self.geometry, self.experiment, self.refined, self.sums, self.prior,
            options.parameters, options.active, covariance(posterior, self.at).su,
        )  # fmt: skip
        occupancy, status = self.at[Kind.OCCUPANCY], None
        self.progress(Progress(Step.MOVING, 0, total))
        for cycle in range(1, total + 1):
            occupancy, f_model, moves = joint.macrocycle(occupancy, dense)
            statistics = self.experiment.statistics(f_model)
            self.history.append(Cycle(len(self.history), moves.occupancy, statistics, moves))
            self.progress(Progress(Step.MOVING, cycle, total, moves.occupancy))
            number = len(self.history) - 1
            if joint.leads_away(number, statistics.r_work, f_model, occupancy):
                best, occupancy = joint.go_back()
                status = Status(False, joint.why_away(best), cycle)
                break
            if moves.gain == 0:
                status = Status(False, "no step of coordinates and B raises the posterior", cycle)
                break
            if small(moves, options.tolerance) and joint.settled(moves):
                reason = (
                    f"no occupancy changed by more than {options.tolerance:g} or a fifth of its su "
                    f"in the last cycle, and all unknowns by {moves.shift:.2f} of their su (rms), "
                    f"less than {SHIFT_OVER_SU:g}"
                )
                status = Status(True, reason, cycle)
                break
        if status is None:
            text = (
                f"all unknowns still moved by {moves.shift:.2f} of their su (rms), "
                f"coordinates by {moves.xyz:.3f} A, B by {moves.b:.2f} A^2 and "
                f"an occupancy by {moves.occupancy:.4f} in the last of {total} cycles"
            )
            status = Status(False, text, total)
        self.basis = group_basis(self.model, self.basis.hkl, self.refined)
        self.relaxation = relaxation_of(joint.restraints, start, self.model, joint.same)
        self._made = None
        self.at = self._point(occupancy, None if self.b_shifts is None else self.at[Kind.B_GROUP])
        return self.experiment.statistics(self._f_model(self.at)), status

    def _known(self) -> Known:
        """Return what is known of the groups where the run has ended."""
        posterior, taken, spread = self._posterior(), 0.0, 1.0
        if self.relaxation is not None:
            spread = self.relaxation.spread
            if self.options.active is Active.ALL:  # what is held is off by what no covariance has
                target, taken = self.experiment.target_after_fit(posterior.data.size(self.at))
                posterior = posterior.with_target(target)
                self.relaxation = replace(self.relaxation, leverage=taken)
        if self.experiment.target_kind is TargetKind.LS:
            posterior = posterior.with_reduced_chi_square(self.at, taken)
        self._weighed = posterior
        ended = Ended(
            self.model, self.experiment, posterior, self.at, self.refined, self.options,
            lambda: replace(self.geometry, spread=spread),
        )  # fmt: skip
        return ended.known(self._of_all_groups(self.at), lambda *at: self.progress(Progress(*at)))

    # ------------------------------------------------------------------ state

    def _posterior(self) -> Posterior:
        """Return the posterior under the present solvent, scale and errors."""
        if self._made is None:
            self._made = occupancy_posterior(
                self.experiment, self.basis, self.sums, prior=self.prior,
                b_shifts=self.b_shifts,
                with_scale=self.options.solver is not Solver.LBFGS,
                bijvoet=None if self.anomalous is None
                else (self.anomalous.columns, self.anomalous.errors),
            )  # fmt: skip
        return self._made

    def _point(self, occupancy: FloatArray, b_shift: FloatArray | None) -> Point:
        """Return a point under the present scale and solvent."""
        posterior = self._posterior()
        values = {Kind.OCCUPANCY: occupancy, **posterior.data.fitted.values}
        if b_shift is not None:
            values[Kind.B_GROUP] = b_shift
        return posterior.space.point(values)

    def _here(self, at: Point) -> Point:
        """Return the occupancies and B shifts of a point under the present scale and solvent."""
        return self._point(at[Kind.OCCUPANCY], at.get(Kind.B_GROUP))

    def _listed_f_calc(self, at: Point) -> ComplexArray:
        """Return F_calc at all reflections that the data list."""
        return self.basis.f_calc(at[Kind.OCCUPANCY], at.get(Kind.B_GROUP))

    def _f_calc(self, at: Point) -> torch.Tensor:
        """Return F_calc at the observed reflections."""
        return torch.as_tensor(self._listed_f_calc(at)[: self.n_observed])

    def _f_model(self, at: Point) -> torch.Tensor:
        """Return F_model under the present scale and errors, with the solvent of the point."""
        return torch.as_tensor(self._posterior().data.forward.f_model(at))

    def _of_all_groups(self, at: Point) -> FloatArray:
        """Return the occupancies of all groups, ``[n_groups]``."""
        full = self.start.copy()
        full[self.refined] = at[Kind.OCCUPANCY]
        return full

    def _take(self, at: Point, *, find_shrink: bool = False) -> None:
        """Make a point that of the run and of the model; renew mask, scale and errors.

        Scale and solvent move with the occupancies, so that these do not run after them, and are
        then fitted by least squares: with alpha held the likelihood would let them drift.
        """
        self.model.assign_group_occupancies(self._of_all_groups(at))
        if Kind.B_GROUP in at.space:
            assign_b(self.model, self.displacements, self.refined, at[Kind.B_GROUP])
        fraction, f_calc = at.get(Kind.TWIN), self._f_calc(at)
        self.experiment.renew(
            f_calc,
            twin_fraction=None if fraction is None else float(fraction[0]),
            find_shrink=find_shrink, in_turn=True,
        )  # fmt: skip
        if self.anomalous is not None:
            self.anomalous.renew(self.experiment, f_calc, at[Kind.OCCUPANCY], at.get(Kind.B_GROUP))
        self._made = None
        self.at = self._here(at)

    def _conditional_on(self) -> tuple[str, ...]:
        if self.options.uncertainty is not UncertaintyKind.CONDITIONAL:
            return ()
        return ("coordinates", "B factors" if self.b_shifts is None else "B within groups")

    def _r_free_change(self) -> tuple[float, float] | None:
        size = self.before.size
        if len(self.refined):
            size = self.experiment.size(self._f_model(self.at))
        return self.before.change_of_r_free(size)

    def _twin(self) -> RefinedTwin | None:
        law = self.experiment.twin
        if law is None:
            return None
        beside = None if self.covariance is None else self.covariance.others.get(Kind.TWIN)
        su = float("nan") if beside is None else float(beside.su[0])
        return RefinedTwin(law, self.experiment.twin_fraction, su)

    def _extinction(self) -> Extinction | None:
        value = self.experiment.extinction
        if value is None:
            return None
        beside = None if self.covariance is None else self.covariance.others.get(Kind.EXTINCTION)
        return Extinction(value, float("nan") if beside is None else float(beside.su[0]))

    def _anomalous_notices(
        self, found: AnomalousResults | None, occupancy: FloatArray, su: FloatArray
    ) -> tuple[Notice, ...]:
        if self.anomalous is None or found is None:
            return hint(self.model, self.experiment.data)
        return (*self.anomalous.notices, *other_elements(found, self.groups, occupancy, su))

    def _geometry_notices(self) -> tuple[Notice, ...]:
        used = "geometry" in self.__dict__ and not self.options.no_restraints
        return tuple(self.geometry.notices) if used else ()

    def _notices(self, results: GroupResults, states: tuple[State, ...]) -> tuple[Notice, ...]:
        return (
            tuple(self.experiment.notices)
            + (() if self.twinning is None or self.options.twin else self.twinning.notices)
            + self._geometry_notices()
            + self.experiment.errors.notices
            + self.experiment.screening()
            + extinction_hint(self.experiment)
            + notices_of_atoms(self.groups.table, self.relaxation)
            + undetermined_notice(self.groups, results, states)
            + held_off_notice(self.groups, results)
        )
