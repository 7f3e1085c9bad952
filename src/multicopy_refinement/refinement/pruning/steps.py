"""Pruning, step by step: what goes, and a refinement of what is left, until nothing does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray
from multicopy_refinement.model import Model
from multicopy_refinement.modes import Only, Parameter, Solver, UncertaintyKind
from multicopy_refinement.posterior.agreement import Statistics, r_factor
from multicopy_refinement.refinement.macrocycle import Progress, refine_to_maximum
from multicopy_refinement.refinement.maximum import Maximum
from multicopy_refinement.refinement.options import RefineOptions
from multicopy_refinement.refinement.pruning.absent import (
    Doubtful,
    doubtful_groups,
    may_go,
    next_to_go,
)
from multicopy_refinement.refinement.pruning.merging import compatible, possible_merges
from multicopy_refinement.refinement.pruning.subject import Subject
from multicopy_refinement.refinement.pruning.trial import Trial, trials
from multicopy_refinement.refinement.solution import Solution
from multicopy_refinement.reflections import ReflectionData
from multicopy_refinement.targets import Target
from multicopy_refinement.targets.difference import Difference


class Action(StrEnum):
    """What a step does."""

    START = "start"
    COINCIDENT = "coincident"
    ABSENT = "absent"
    MERGED = "merged"


@dataclass(frozen=True, eq=False)
class Step:
    """One step, and the model after it.

    Attributes
    ----------
    action
        What was done.
    removed, merged
        To what, and why.
    statistics
        Agreement after the refinement that follows, with the errors of the start.
    n_atoms, n_groups
        Atoms, and refined groups, that are left.
    """

    action: Action
    removed: tuple[Doubtful, ...]
    merged: tuple[Trial, ...]
    statistics: Statistics
    n_atoms: int
    n_groups: int


@dataclass(frozen=True, eq=False)
class Pruned:
    """A model that has been pruned.

    Attributes
    ----------
    model, solution
        It, refined as the run was.
    subject
        It before that.
    steps
        What was done; the first is the start.
    work, free
        Log-likelihood of the end less that of the start on one error model; the second None
        without a free set.
    left
        What is in doubt still, and is protected.
    undone
        Merges that passed one by one, and that the free set spoke against together.
    """

    model: Model
    solution: Solution
    subject: Subject
    steps: tuple[Step, ...]
    work: Difference
    free: Difference | None
    left: tuple[Doubtful, ...]
    undone: tuple[Trial, ...]


def prune(
    subject: Subject, data: ReflectionData, options: RefineOptions, protected: BoolArray, *,
    only: Only | None = None, progress: Callable[[Progress], None] | None = None,
) -> Pruned:  # fmt: skip
    """Return a model without what the data do not ask for.

    Conformers that coincide become one; groups that are not supported go one after the other, that
    with the largest p_absent first, and all is refined again after each (backward elimination);
    conformers that one with its own B explains become that; and groups are looked at again.

    Parameters
    ----------
    subject
        The model as it was refined.
    data
        Its reflections.
    options
        Those of the run: steps refine occupancies alone, the end as the run did.
    protected
        Atoms that stay as they are, ``[n_atoms]``.
    only
        Whether groups are removed, or conformers merged, alone.
    progress
        Called after every step of every refinement.
    """
    run = _Pruning(subject, data, options, protected, progress or (lambda _: None))
    if only is not Only.ABSENT:
        run.merge(Action.COINCIDENT)
    if only is not Only.MERGE:
        run.eliminate()
    if only is not Only.ABSENT:
        run.merge(Action.MERGED)
    if only is None:
        run.eliminate()
    return run.outcome()


@dataclass(frozen=True, eq=False)
class _Judged:
    """Agreement of models on the error model, and with the reflections, of the first."""

    target: Target
    data: ReflectionData

    def of(self, size: FloatArray) -> tuple[Statistics, FloatArray]:
        """Return agreement, and log-likelihood of each reflection, of an |F_model|."""
        data, each = self.data, np.asarray(self.target.values(size))
        some = bool(data.free.any())

        def r(rows: BoolArray) -> float:
            return r_factor(data.f_obs[rows], size[rows])

        return Statistics(
            r(data.work), r(data.free) if some else None, float(each[data.work].sum()),
            float(each[data.free].sum()) if some else None,
        ), each  # fmt: skip


@dataclass(eq=False)
class _Pruning:
    """A model on its way."""

    subject: Subject
    data: ReflectionData
    options: RefineOptions
    protected: BoolArray
    progress: Callable[[Progress], None]
    steps: list[Step] = field(default_factory=list)
    undone: list[Trial] = field(default_factory=list)
    model: Model = field(init=False)
    best: Maximum = field(init=False)

    def __post_init__(self) -> None:
        self.fast = self.options.model_copy(
            update={
                "parameters": (Parameter.OCCUPANCY,), "solver": Solver.GAUSS_NEWTON,
                "uncertainty": UncertaintyKind.CONDITIONAL,
            }
        )  # fmt: skip
        self.n_atoms = len(self.subject.origin)
        self._refine()
        self.judged = _Judged(self.best.posterior.data.target, self.best.solution.experiment.data)
        self.first = self._note(Action.START)

    # ------------------------------------------------------------------ steps

    def eliminate(self) -> None:
        """Remove what is not supported until nothing is left of it."""
        while doubtful := [d for d in doubtful_groups(self.best.solution) if self._may_go(d)]:
            going = next_to_go(doubtful, self.best)
            gone = [g for one in going for g in one.groups]
            self._take(self.subject.without(self.best.solution.occupancy, gone))
            self._note(Action.ABSENT, removed=tuple(going))

    def merge(self, action: Action) -> None:
        """Merge conformers until no merge passes, and the free set does not speak against it."""
        refused: set[str] = set()
        while found := [t for t in self._passing(action) if t.merge.name not in refused]:
            chosen = compatible([t.merge for t in found])
            round_ = [t for t in found if any(t.merge is one for one in chosen)]
            before = self.subject, self.model, self.best
            self._take(
                self.subject.without(self.best.solution.occupancy, [], [t.merge for t in round_])
            )
            self._note(action, merged=tuple(round_))
            if self._worse_free(before[2].size):
                self.subject, self.model, self.best = before
                self.steps.pop()
                costly = round_[len(round_) // 2 :]  # the cheaper half is tried again
                refused |= {t.merge.name for t in costly}
                self.undone += costly

    def _passing(self, action: Action) -> list[Trial]:
        """Return merges that pass, that which costs least of what it may first."""
        possible = possible_merges(
            self.best.solution.groups, self.best.solution.occupancy,
            self.best.solution.experiment.data.d_min, self._stays(),
        )  # fmt: skip
        if action is Action.COINCIDENT:
            possible = [one for one in possible if one.coincide]
        found = [t for t in trials(possible, self.model, self.best) if t.passes]
        return sorted(found, key=lambda t: (t.lost / t.allowed, t.merge.name))

    def _worse_free(self, before: FloatArray) -> bool:
        """Return whether the free set speaks against the last step."""
        if not self.judged.data.free.any():
            return False
        now, then = self.judged.of(self.best.size)[1], self.judged.of(before)[1]
        change = Difference.of(now, then, self.judged.data.free)
        return change.telling and change.value < 0

    def _may_go(self, one: Doubtful) -> bool:
        return may_go(one, self.best.solution.groups, self._stays())

    def _stays(self) -> BoolArray:
        """Return which of the atoms that are left are protected."""
        return np.asarray(self.protected[self.subject.origin])

    # ------------------------------------------------------------------ state

    def _take(self, subject: Subject) -> None:
        self.subject = subject
        self._refine()

    def _refine(self) -> None:
        self.model = self.subject.model()
        self.best = refine_to_maximum(self.model, self.data, self.fast, self.progress)

    def _note(
        self, action: Action, removed: tuple[Doubtful, ...] = (), merged: tuple[Trial, ...] = ()
    ) -> FloatArray:
        """Add a step; return the log-likelihood of each reflection after it."""
        statistics, each = self.judged.of(self.best.size)
        groups = self.best.solution.groups
        self.steps.append(
            Step(action, removed, merged, statistics, len(groups.table),
                 int(groups.refined.sum()))
        )  # fmt: skip
        return each

    def outcome(self) -> Pruned:
        """Refine as the run was, where that is another refinement than those of the steps."""
        doubtful = doubtful_groups(self.best.solution)
        left = tuple(one for one in doubtful if not self._may_go(one))
        solution, size = self.best.solution, self.best.size
        if self.options != self.fast:
            self.subject = self.subject.without(solution.occupancy, [])
            self.model = self.subject.model()
            end = refine_to_maximum(self.model, self.data, self.options, self.progress)
            solution, size = end.solution, end.size
        each, data = self.judged.of(size)[1], self.judged.data
        free = Difference.of(each, self.first, data.free) if data.free.any() else None
        return Pruned(
            self.model, solution, self.subject, tuple(self.steps),
            Difference.of(each, self.first, data.work), free, left, tuple(self.undone),
        )  # fmt: skip
