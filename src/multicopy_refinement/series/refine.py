"""Refinement of a series: one fraction of a state in each data set, everything else shared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.clock import Clock
from multicopy_refinement.errors import InputError
from multicopy_refinement.geometry import Geometry
from multicopy_refinement.model import Model
from multicopy_refinement.notices import Notice
from multicopy_refinement.parallel import one_thread_for_products
from multicopy_refinement.posterior.same_crystal import check_same_crystal
from multicopy_refinement.refinement.beam import settle_beam
from multicopy_refinement.refinement.discoveries import discoveries
from multicopy_refinement.refinement.found import Flag
from multicopy_refinement.refinement.options import RefineOptions
from multicopy_refinement.refinement.verdicts import flags_of
from multicopy_refinement.series.crystal import (
    Crystal,
    Regions,
    in_cell,
    shared_cells,
    union_of,
)
from multicopy_refinement.series.fraction import SetOfSeries
from multicopy_refinement.series.isomorphism import Isomorphism, isomorphism
from multicopy_refinement.series.joint import Joint, joint_of
from multicopy_refinement.series.regions import RegionTest, region_test
from multicopy_refinement.series.relax import B_TOLERANCE, XYZ_TOLERANCE, Relaxing, give
from multicopy_refinement.series.relax import state_of as state_of_atoms
from multicopy_refinement.series.scores import CommonErrors, Scores
from multicopy_refinement.series.shared import SharedModel, responses
from multicopy_refinement.series.solution import SeriesData, SeriesOptions, SeriesSolution
from multicopy_refinement.series.solvent import MasksOfCells
from multicopy_refinement.series.state import SeriesState, state_of
from multicopy_refinement.series.support import Evidence, evidence_of
from multicopy_refinement.solve.covariance import UNDETERMINED_SU

#: What is made of data sets at their fractions: scores, and how their errors are correlated.
_Judged = tuple[list[Scores], CommonErrors, FloatArray]
#: Moves of the shared model, at most.
MOST_MOVES = 8
#: A step that gains less is the last; one that does not gain is halved so many times.
_LITTLE_GAIN, _MOST_HALVINGS = 1.0, 3
#: Called with what begins, how many data sets are done with it, and of how many.
Tell = Callable[[str, int, int], None]
#: Fractions nearer to 0 or 1 than this are at a bound.
_BOUND = 5e-5


def refine_series(
    model: Model | str | Path, sets: Sequence[SeriesData], state: str,
    options: SeriesOptions | None = None, *, tell: Tell | None = None,
) -> SeriesSolution:  # fmt: skip
    """Refine one fraction of a state in each of several data sets of one model.

    The amplitudes of the mixture are refined, F = F_0 + f (F_state - F_others), each data set with
    its own scale, solvent and errors, in its own cell with the fractional coordinates of the model.

    Parameters
    ----------
    model
        Holds all states; it is left in the groups of the series.
    sets
        The data sets.
    state
        What is the state (`multicopy_refinement.series.state.state_of`).
    options
        `SeriesOptions`.
    tell
        Called as the work goes on.

    Raises
    ------
    InputError
        A state that cannot be; data of another crystal; an unknown reference.
    """
    options = options or SeriesOptions()
    model = model if isinstance(model, Model) else Model(model)
    settle_beam(model, RefineOptions(), _wavelength(sets))
    with one_thread_for_products():
        return _Series(model, tuple(sets), state, options, tell or (lambda *_: None)).solution()


def _wavelength(sets: Sequence[SeriesData]) -> float | None:
    """Return the wavelength that all data name, None where they differ: f' are the model's."""
    found = {one.data.wavelength for one in sets}
    return found.pop() if len(found) == 1 else None


@dataclass(eq=False)
class _Series:
    """One series, in the order of its steps."""

    model: Model
    sets: tuple[SeriesData, ...]
    selection: str
    options: SeriesOptions
    tell: Tell
    notices: list[tuple[str, Notice]] = field(default_factory=list)
    moved: tuple[float, float] = (0.0, 0.0)
    #: Of the atoms of the file, for all steps.
    masks: MasksOfCells = field(default_factory=MasksOfCells)

    def solution(self) -> SeriesSolution:
        clock, seconds = Clock(), {}
        reference = self._reference()
        atoms = state_of_atoms(self.model)
        state = state_of(self.model, self.selection)
        give(self.model, atoms)  # groups are of the file, atoms are where they were
        self.notices += [("", n) for n in state.notices]
        alike = self._compared()
        seconds["compare"] = clock.lap()
        regions = Regions.of(state)
        clock_of = Clock()
        work = self._crystals(state, regions, None)
        if not any(one.tells for one in work):
            raise InputError(
                f"--state {self.selection}: its atoms are where those are that it replaces, and "
                "data cannot tell how much of it there is"
            )
        seconds["structure_factors"] = clock_of.lap()
        self._search(work, reference)
        shared = SharedModel.of(self.model, state, work[0], self.geometry)
        self.notices += [("", n) for n in shared.notices]
        with_solvent = [one for one in work if one.experiment.scale.has_solvent]
        if with_solvent:
            self.masks.holes = with_solvent[0].find_holes()
        found = self._judged(work, alike)
        if self.options.moving or len(self.masks.holes):
            work, found = self._relaxed(state, regions, work, found, shared, alike, reference)
        for one in work:
            self.notices += [(one.name, n) for n in one.notices]
        start = np.array([one.fraction for one in work])
        scores, common, correlation = found
        seconds["refine"] = clock.lap() - seconds["structure_factors"]
        self.tell("standard uncertainties", 0, 0)
        of_one, of_regions = responses(shared, work, scores, correlation)
        plain = joint_of(start, scores, common, of_one, by_region=False)
        joint = plain if reference is None else plain.given(reference, 0.0)
        tested = region_test(
            regions.names, joint_of(start, scores, common, of_regions, by_region=True), len(work),
            reference,
        )  # fmt: skip
        seconds["uncertainties"] = clock.lap()
        evidence, conditional = self._evidence(work, joint, reference)
        seconds["evidence"] = clock.lap()
        seconds["total"] = clock.total
        crystals = len({id(one.crystal) for one in work})
        return self._made(
            state, work, plain, joint, evidence, conditional, scores, correlation, tested, alike,
            reference, crystals, seconds,
        )  # fmt: skip

    def _search(self, work: list[SetOfSeries], reference: int | None) -> None:
        for i, one in enumerate(work):
            self.tell("solving", i, len(work))
            one.refine(0.0 if i == reference else None)

    def _judged(self, work: list[SetOfSeries], alike: Isomorphism) -> _Judged:
        """Return the scores of data sets at their fractions, and their correlations."""
        everything = union_of([one.data.hkl for one in work])
        scores = [Scores.of(one, everything, self.options.own_b) for one in work]
        s_squared = self.model.cell.inverse_d_squared(everything)
        common = CommonErrors.of(scores, s_squared, alike.kin)
        return scores, common, common.mean(scores)

    def _relaxed(
        self, state: SeriesState, regions: Regions, work: list[SetOfSeries], found: _Judged,
        shared: SharedModel, alike: Isomorphism, reference: int | None,
    ) -> tuple[list[SetOfSeries], _Judged]:  # fmt: skip
        """Move the shared model, fill its holes, search again, while the posterior rises."""
        holes = self.masks.holes
        moving = Relaxing(shared, self.model, self.geometry, self.options.moving, holes)
        excess = responses(shared, work, found[0], found[2])[0].excess
        value = _log_likelihood(work) / excess + moving.log_prior
        for cycle in range(MOST_MOVES):
            self.tell("coordinates, B factors and solvent", cycle, MOST_MOVES)
            step = moving.step(work, found[0], excess)
            better = self._better(state, regions, work, moving, step, value, excess, reference)
            if better is None:
                break
            work, step, reached = better
            found = self._judged(work, alike)
            length, part = moving.size(step)
            little = reached - value < _LITTLE_GAIN
            value = reached
            if little or (length < XYZ_TOLERANCE and part < B_TOLERANCE):
                break
        self.moved = moving.size(moving.moved)
        return work, found

    def _better(
        self, state: SeriesState, regions: Regions, work: list[SetOfSeries], moving: Relaxing,
        step: FloatArray, value: float, excess: float, reference: int | None,
    ) -> tuple[list[SetOfSeries], FloatArray, float] | None:  # fmt: skip
        """Return the data sets after a step, or a part of it, that gains; None where none does."""
        before, at = state_of_atoms(self.model), moving.moved
        fractions = [one.fraction for one in work]
        for _ in range(_MOST_HALVINGS):
            moving.take(step)
            others = self._crystals(state, regions, fractions)
            self._search(others, reference)
            reached = _log_likelihood(others) / excess + moving.log_prior
            if reached > value:
                return others, step, reached
            give(self.model, before)
            moving.to(at)
            step = step / 2
        return None

    def _reference(self) -> int | None:
        """Return which data set is the reference."""
        names, wanted = [one.name for one in self.sets], self.options.reference
        if wanted is None:
            return None
        if wanted not in names:
            raise InputError(
                f"--reference {wanted}: no data set has this name; there are {', '.join(names)}"
            )
        return names.index(wanted)

    def _compared(self) -> Isomorphism:
        """Return how alike the data sets are; those of another crystal are refused."""
        for one in self.sets:
            try:
                check_same_crystal(self.model, one.data)
            except InputError as fault:
                raise InputError(f"data set {one.name}: {fault}") from None
        group = self.model.spacegroup
        data = [one.data.on_crystal(one.data.cell, group) for one in self.sets]
        alike = isomorphism([one.name for one in self.sets], data, group)
        self.notices += [("", n) for n in alike.notices]
        return alike

    def _crystals(
        self, state: SeriesState, regions: Regions, start: list[float] | None
    ) -> list[SetOfSeries]:
        """Return the data sets with the model in their cells; cells that are alike share one."""
        cells = [one.data.cell for one in self.sets]
        number = shared_cells(cells, self.model.cell)
        made: list[SetOfSeries | None] = [None] * len(self.sets)
        done = 0
        for n in dict.fromkeys(number):
            cell = self.model.cell if n == 0 else cells[n - 1]
            placed = in_cell(self.model, state, cell)
            # that whose data reach farthest comes first: its mask does for all
            mine = sorted(
                (i for i, own in enumerate(number) if own == n),
                key=lambda i: self.sets[i].data.listed_d_min,
            )
            data = {i: self.sets[i].data for i in mine}
            crystal = Crystal.of(placed, state, regions, union_of([d.hkl for d in data.values()]))
            first = None
            for i in mine:
                self.tell("structure factors, scale and solvent", done, len(made))
                made[i] = SetOfSeries(
                    self.sets[i].name, crystal, data[i].on_crystal(cell, placed.spacegroup),
                    self.options.target, _start(state) if start is None else start[i],
                    self.masks, first,
                )  # fmt: skip
                first, done = first or made[i], done + 1
        return [one for one in made if one is not None]

    @cached_property
    def geometry(self) -> Geometry | None:
        """Restraints of the model as it was read; None without."""
        options = self.options
        if options.no_restraints:
            return None
        found = Geometry.of(self.model, restraints=options.restraints, monomers=options.monomers)
        self.notices += [("", n) for n in found.notices]
        return found

    def _evidence(
        self, work: list[SetOfSeries], joint: Joint, reference: int | None
    ) -> tuple[Evidence, FloatArray]:
        """Return the evidence of each fraction, and the su with all else known."""
        conditional = np.full(len(work), np.nan)
        rows = []
        for i, one in enumerate(work):
            self.tell("evidence", i, len(work))
            posterior, at, found = one.covariance()
            conditional[i] = float(found.su_conditional[0])
            decoys = self.options.decoys if i != reference else 0
            rows.append(evidence_of(one, posterior, at, found, decoys))
        return Evidence.of(rows, joint, reference), conditional

    def _made(
        self, state: SeriesState, work: list[SetOfSeries], plain: Joint, joint: Joint,
        evidence: Evidence, conditional: FloatArray, scores: list[Scores], correlation: FloatArray,
        tested: RegionTest | None, alike: Isomorphism, reference: int | None, crystals: int,
        seconds: dict[str, float],
    ) -> SeriesSolution:  # fmt: skip
        known = plain.su <= UNDETERMINED_SU
        su = np.where(known, joint.su, np.nan)
        fraction = np.clip(joint.value, 0.0, 1.0)
        if reference is not None:
            su[reference] = conditional[reference] = 0.0
            known[reference] = True
            fraction[reference] = 0.0
        supported = discoveries(np.where(known, evidence.p_absent, np.nan))
        flags: list[tuple[Flag, ...]] = [
            () if i == reference else flags_of(
                float(fraction[i]), float(su[i]), 0.0, scores[i].misfit,
                bounded=bool(min(fraction[i], 1 - fraction[i]) < _BOUND),
                supported=bool(supported[i]),
            )
            for i in range(len(work))
        ]  # fmt: skip
        return SeriesSolution(
            names=tuple(one.name for one in work), x=np.array([one.x for one in self.sets]),
            state=state, fraction=fraction, unbounded=joint.value, covariance=joint.covariance,
            su=su, su_conditional=np.where(known, conditional, np.nan), evidence=evidence,
            flags=tuple(flags), error_correlation=correlation, regions=tested,
            agreement=tuple(one.statistics for one in work),
            searches=tuple(one.search for one in work), isomorphism=alike, reference=reference,
            crystals=crystals, moved=self.moved,
            filled=self.masks.holes.filled,
            misfit=np.array([one.misfit for one in scores]),
            data=tuple(one.data for one in work), cells=tuple(one.data.cell for one in self.sets),
            notices=tuple(self.notices), seconds=seconds,
        )  # fmt: skip


def _log_likelihood(work: list[SetOfSeries]) -> float:
    """Return that of all data sets, work and free sets, each under its own errors."""
    total = 0.0
    for one in work:
        found = one.statistics
        total += found.log_likelihood + (found.log_likelihood_free or 0.0)
    return total


def _start(state: SeriesState) -> float:
    """Return where a search begins: at the file's fraction, where that is inside."""
    return state.fraction if 0.02 < state.fraction < 0.98 else 0.3
