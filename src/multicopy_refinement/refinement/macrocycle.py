"""Refinement: occupancies, then mask, scale and errors anew, until nothing moves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.atoms.grouping import number_sets
from multicopy_refinement.experiment import Experiment, Statistics
from multicopy_refinement.model import Model
from multicopy_refinement.notices import Notice
from multicopy_refinement.parameters import MixedTensor
from multicopy_refinement.refinement.lbfgs import maximise
from multicopy_refinement.refinement.options import RefineOptions
from multicopy_refinement.refinement.problem import occupancy_problem
from multicopy_refinement.refinement.solution import Solution, Status
from multicopy_refinement.reflections import ReflectionData
from multicopy_refinement.scattering.basis import GroupBasis, group_basis


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
        A loaded model; coordinates and displacements are held.
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
    run = _Run(model, data, options or RefineOptions(), progress or (lambda _: None))
    return run.solution()


class _Run:
    """One refinement, in the order of its steps."""

    def __init__(
        self, model: Model, data: ReflectionData, options: RefineOptions,
        progress: Callable[[Progress], None],
    ) -> None:  # fmt: skip
        self.model, self.options, self.progress = model, options, progress
        self.seconds: dict[str, float] = {}
        started = time.perf_counter()
        self.experiment = Experiment(model, data, target=options.target)
        self.seconds["scale"] = time.perf_counter() - started
        self.groups = model.occupancy_groups
        self.refined = np.flatnonzero(self.groups.refined)
        self.set_index: IntArray = number_sets(self.groups.set_index[self.refined])
        self.start = model.group_occupancies()

    def solution(self) -> Solution:
        """Refine and return what came of it."""
        started = time.perf_counter()
        self._report("scale", 0)
        if len(self.refined):
            initial, final, status = self._macrocycles()
        else:
            initial = final = self.experiment.statistics()
            status = Status(True, "nothing to refine: all occupancies are 1", 0)
        self.seconds["refine"] = time.perf_counter() - started
        occupancy = self.start.copy()
        occupancy[self.refined] = self.occupancy if len(self.refined) else []
        return Solution(
            groups=self.groups, occupancy=occupancy, su=np.full(len(occupancy), np.nan),
            initial=initial, final=final, status=status, notices=self._notices(),
            seconds=self.seconds, experiment=self.experiment, options=self.options,
        )  # fmt: skip

    def _macrocycles(self) -> tuple[Statistics, Statistics, Status]:
        basis = group_basis(self.model, self.experiment.data.hkl, self.refined)
        self._report("basis", 0)
        start = self.start[self.refined]
        self._renew(basis, start)
        before = self.experiment(self._f_calc(basis, start)).detach()
        status = self._iterate(basis, start)
        after = self.experiment(self._f_calc(basis, self.occupancy)).detach()
        initial, final = self.experiment.statistics(before), self.experiment.statistics(after)
        if final.log_likelihood < initial.log_likelihood:
            self.occupancy = start
            self._assign(start)
            self._renew(basis, start)
            same = self.experiment.statistics(self.experiment(self._f_calc(basis, start)))
            reason = "the start could not be improved; it is kept"
            return same, same, Status(status.converged, reason, status.cycles)
        return initial, final, status

    def _iterate(self, basis: GroupBasis, start: FloatArray) -> Status:
        self.occupancy = start
        total = self.options.max_cycles
        for cycle in range(1, total + 1):
            problem = occupancy_problem(self.experiment, basis, self.set_index)
            found, _ = maximise(problem, self.occupancy, max_iterations=self.options.max_iterations)
            change = float(np.abs(found - self.occupancy).max())
            self.occupancy = found
            self._assign(found)
            self._renew(basis, found)
            self._report("occupancies", cycle, change)
            if change < self.options.tolerance:
                reason = f"no occupancy changed by more than {self.options.tolerance:g}"
                return Status(True, reason, cycle)
        return Status(False, f"an occupancy still changed by {change:.4f} in the last of "
                      f"{total} cycles", total)

    def _f_calc(self, basis: GroupBasis, occupancy: FloatArray) -> torch.Tensor:
        return torch.as_tensor(basis.f_calc(occupancy))

    def _renew(self, basis: GroupBasis, occupancy: FloatArray) -> None:
        self.experiment.renew(self._f_calc(basis, occupancy))

    def _assign(self, refined: FloatArray) -> None:
        occupancy = self.start.copy()
        occupancy[self.refined] = refined
        tensor = self.model.occupancy
        assert isinstance(tensor, MixedTensor)
        tensor.set_values(torch.as_tensor(occupancy[self.groups.index]).clamp(0.0, 1.0))

    def _notices(self) -> tuple[Notice, ...]:
        return tuple(self.experiment.notices) + self.experiment.errors.notices

    def _report(self, step: str, done: int, change: float | None = None) -> None:
        self.progress(Progress(step, done, self.options.max_cycles, change))
