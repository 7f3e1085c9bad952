"""Runs of one data set side by side, on one error model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from multicopy_refinement._typing import BoolArray, FloatArray
from multicopy_refinement.crystal.beam import Beam
from multicopy_refinement.errors import InputError
from multicopy_refinement.io.reflections import read_reflections
from multicopy_refinement.model import Model
from multicopy_refinement.posterior.agreement import r_factor
from multicopy_refinement.posterior.experiment import MOST_SCREENINGS, Experiment
from multicopy_refinement.posterior.same_crystal import check_same_crystal
from multicopy_refinement.reflections import ReflectionData
from multicopy_refinement.results.files import refined_model
from multicopy_refinement.results.record import RunRecord, read_record
from multicopy_refinement.run.again import reflections_of
from multicopy_refinement.targets.difference import Difference


@dataclass(frozen=True, eq=False)
class Compared:
    """One run, or one model, among others.

    Attributes
    ----------
    name
        Folder of the run, or file of the model.
    record
        Of the run; None for a model without one.
    atoms
        Names of the atoms that its numbers stand for.
    n_parameters
        Occupancies less the sums that tie them, and B shifts.
    r_work, r_free, log_likelihood, log_likelihood_free
        With the errors that all have in common; None without a free set.
    work, free
        Log-likelihood less that of the first.
    """

    name: str
    record: RunRecord | None
    atoms: tuple[str, ...]
    n_parameters: int
    r_work: float
    r_free: float | None
    log_likelihood: float
    log_likelihood_free: float | None
    work: Difference
    free: Difference | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs side by side.

    Attributes
    ----------
    entries
        In the order in which they were named.
    errors_of
        The entry whose errors all are judged by: that with the best free set.
    n_work, n_free
        Reflections that count: those that no run leaves out.
    """

    entries: tuple[Compared, ...]
    errors_of: str
    n_work: int
    n_free: int

    @property
    def conclusion(self) -> str:
        """What the data say of them, in a sentence."""
        first, *others = self.entries
        return " ".join(_verdict(first, one) for one in others)


def compare(paths: Sequence[Path], data: Path | None = None) -> Comparison:
    """Return runs and models side by side.

    Every model has its own mask and scale. The errors, alpha and beta, are those of one of them,
    that with the highest log-likelihood of the free set: log-likelihoods under different errors
    cannot be subtracted. The standard error of a difference is sqrt(n) times the standard
    deviation of the differences of single reflections (Vuong 1989, Econometrica 57, 307).

    Parameters
    ----------
    paths
        Folders of runs, or model files.
    data
        The reflections, where no folder is among them or their data have moved.

    Raises
    ------
    InputError
        Fewer than two; what is no run and no model; runs of different data.
    """
    if len(paths) < 2:
        raise InputError("compare: name two folders of runs at least, or a folder and a model")
    records = [read_record(path / "result.json") if path.is_dir() else None for path in paths]
    beam = next((record.data.beam for record in records if record is not None), None)
    _refuse_what_is_not_f(paths, records)
    models = [_model(path, record, beam) for path, record in zip(paths, records, strict=True)]
    reflections = _reflections(paths, records, data, models[0])
    experiments = []
    for path, model in zip(paths, models, strict=True):
        try:
            check_same_crystal(model, reflections)
        except InputError as fault:
            raise InputError(f"{path}: {fault}; compare models of one crystal") from None
        experiments.append(Experiment(model, reflections))
        for _ in range(MOST_SCREENINGS - 1):  # outliers are found as a run finds them
            experiments[-1].renew()
    with torch.no_grad():
        sizes = [one.forward().abs().numpy() for one in experiments]
    left_out = np.any([one.data.left_out for one in experiments], axis=0)
    work, free = reflections.work & ~left_out, reflections.free & ~left_out
    judge = _judge(experiments, sizes, work, free)
    each = [experiments[judge].target.values(size) for size in sizes]
    entries = [
        _entry(path, record, model, reflections, size, mine, each[0], work, free)
        for path, record, model, size, mine in zip(
            paths, records, models, sizes, each, strict=True
        )
    ]  # fmt: skip
    return Comparison(tuple(entries), str(paths[judge]), int(work.sum()), int(free.sum()))


def _model(path: Path, record: RunRecord | None, beam: Beam | None) -> Model:
    """Return the refined model of a run, with four decimals, or that of a file.

    Without a run of its own it is measured with what the first run was.
    """
    whole = path / "refined.cif"
    if record is not None:
        beam = record.data.beam
        path = whole if whole.is_file() else refined_model(path, record)
    model = Model().load(path, radiation=None if beam is None else beam.radiation)
    if beam is not None:
        model.beam = beam
    return model


def _reflections(
    paths: Sequence[Path], records: Sequence[RunRecord | None], data: Path | None, model: Model
) -> ReflectionData:
    """Return the data that all runs have in common, or those that are named."""
    known = [(p, r) for p, r in zip(paths, records, strict=True) if r is not None]
    inputs = known[0][1].inputs if known else None
    if inputs is None and data is None:
        raise InputError("compare: models without a run need --data FILE")
    for path, record in known[1:]:
        first = known[0][1]
        mine, theirs = (
            (r.inputs.labels, r.inputs.free_label, r.inputs.free_value, _digest(r))
            for r in (first, record)
        )
        if mine != theirs:
            raise InputError(
                f"{path}: was refined against other data or another free set than {known[0][0]}"
            )
    if inputs is not None:
        return reflections_of(known[0][0], known[0][1], model, data)
    assert data is not None  # refused above
    return read_reflections(
        data, cell=model.cell, spacegroup=model.spacegroup, radiation=model.radiation
    )


def _digest(record: RunRecord) -> str | None:
    return None if record.provenance is None else record.provenance.sha256.get(record.inputs.data)


def _refuse_what_is_not_f(paths: Sequence[Path], records: Sequence[RunRecord | None]) -> None:
    """Refuse runs in which what was measured is not |F_model|."""
    for path, record in zip(paths, records, strict=True):
        options = {} if record is None else record.inputs.options
        for name, what in (("twin", "of a twin"), ("extinction", "with extinction")):
            if options.get(name):
                raise InputError(
                    f"{path}: a run {what} cannot be compared; look at the R factors of its report"
                )


def _judge(
    experiments: Sequence[Experiment], sizes: Sequence[FloatArray], work: BoolArray, free: BoolArray
) -> int:
    """Return whose errors explain their own free set best, or work set where nothing is free."""
    rows = free if free.any() else work
    own = [
        float(one.target.values(size)[rows].sum())
        for one, size in zip(experiments, sizes, strict=True)
    ]
    return int(np.argmax(own))


def _entry(
    path: Path, record: RunRecord | None, model: Model, data: ReflectionData, size: FloatArray,
    mine: FloatArray, first: FloatArray, work: BoolArray, free: BoolArray,
) -> Compared:  # fmt: skip
    some = bool(free.any())
    return Compared(
        str(path), record, model.table.labels(slice(None)), _n_parameters(model, record),
        r_factor(data.f_obs[work], size[work]),
        r_factor(data.f_obs[free], size[free]) if some else None,
        float(mine[work].sum()), float(mine[free].sum()) if some else None,
        Difference.of(mine, first, work), Difference.of(mine, first, free) if some else None,
    )  # fmt: skip


def _n_parameters(model: Model, record: RunRecord | None) -> int:
    """Return the number of free occupancies, and of B shifts where they were refined."""
    if record is None:
        groups = model.occupancy_groups
        refined = {n for n, yes in zip(groups.names, groups.refined, strict=True) if yes}
        sets = [([groups.names[g] for g in s.groups], s.complete) for s in groups.sets]
        shifts = 0
    else:
        refined = {g.name for g in record.groups if g.refined}
        sets = [(s.groups, s.complete) for s in record.sets]
        shifts = sum(g.refined and g.delta_b is not None for g in record.groups)
    tied = sum(complete and bool(refined & set(members)) for members, complete in sets)
    return len(refined) - tied + shifts


def _verdict(first: Compared, one: Compared) -> str:
    """Return what is to be said of one beside the first."""
    judged, where = (one.free, "free") if one.free is not None else (one.work, "work")
    more = one.n_parameters - first.n_parameters
    plural = "" if abs(more) == 1 else "s"
    count = f"{abs(more)} {'more' if more > 0 else 'fewer'} parameter{plural}"
    count = "as many parameters" if more == 0 else count
    told = (
        f"{one.name} has {count}, and a log-likelihood of the {where} set that is "
        f"{abs(judged.value):.1f} +- {judged.su:.1f} {'higher' if judged.value > 0 else 'lower'}"
    )
    if judged.telling:
        better = one if judged.value > 0 else first
        return f"{told}: the data prefer {better.name}."
    simpler = None if more == 0 else (first if more > 0 else one)
    gained = one.work.value if more > 0 else -one.work.value
    if simpler is not None and gained > 2 * abs(more) and one.work.telling:
        larger = one if simpler is first else first
        return (
            f"{told}: the {where} set does not tell them apart; the work set gains {gained:.1f} by "
            f"{abs(more)} parameters of {larger.name}, more than chance does."
        )
    keep = "" if simpler is None else f" Keep {simpler.name}, which has fewer parameters."
    return f"{told}: the data do not tell them apart.{keep}"
