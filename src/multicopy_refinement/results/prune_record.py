"""What was done to prune a model, and why: as a record, and as text."""

from __future__ import annotations

import json
from typing import Any

from multicopy_refinement.refinement.pruning.absent import Doubtful
from multicopy_refinement.refinement.pruning.steps import Action, Pruned, Step
from multicopy_refinement.refinement.pruning.trial import Trial
from multicopy_refinement.results.base import Record
from multicopy_refinement.results.record import SCHEMA, Agreement, Change, Program, agreement
from multicopy_refinement.words import counted, probability, with_su

#: A log-likelihood that is nothing.
_NOTHING = 0.05
#: What steps do, in words.
_WORDS = {
    Action.START: "the model of the run",
    Action.COINCIDENT: "conformers that coincide are one",
    Action.ABSENT: "not supported, removed",
    Action.MERGED: "conformers that one explains are one",
}


class Removed(Record):
    """A group that was removed, with what was found of it before."""

    name: str
    groups: list[str]
    n_atoms: int
    occupancy: float
    su: float | None
    p_absent: float
    delta_log_likelihood: float
    delta_log_likelihood_free: float | None


class Merged(Record):
    """Conformers that became one.

    ``apart`` is how far their atoms were apart at most, in A; ``lost`` the log-likelihood that it
    cost, and ``allowed`` what it may, with so many parameters fewer (``n_parameters``).
    """

    name: str
    groups: list[str]
    n_atoms: int
    always: bool
    apart: float
    lost: float
    allowed: float
    n_parameters: int


class StepRecord(Record):
    """One step; the agreement after it is that of the errors of the start."""

    number: int
    action: Action
    removed: list[Removed]
    merged: list[Merged]
    agreement: Agreement
    n_atoms: int
    n_groups: int

    @property
    def what(self) -> str:
        """What the step did, in words."""
        return _WORDS[self.action]


class Doubt(Record):
    """A group that is in doubt, and stays because it is protected."""

    name: str
    occupancy: float
    su: float | None
    p_absent: float


class PruneRecord(Record):
    """What was done.

    ``protected`` counts the atoms that were not to be touched; ``work`` and ``free`` are the
    log-likelihood of the end less that of the start with their standard errors, on one error
    model; ``undone`` are merges that the free set spoke against.
    """

    schema_: int = SCHEMA
    program: Program = Program()
    run: str
    options: dict[str, Any]
    protected: int
    steps: list[StepRecord]
    work: Change
    free: Change | None
    left: list[Doubt]
    undone: list[Merged]

    def to_json(self) -> str:
        """Return the record as JSON text."""
        content = self.model_dump(mode="json")
        return (
            json.dumps({"schema": content.pop("schema_"), **content}, indent=1, allow_nan=False)
            + "\n"
        )

    @property
    def conclusion(self) -> str:
        """What came of it, in a few sentences."""
        first, last = self.steps[0], self.steps[-1]
        n_removed = sum(len(step.removed) for step in self.steps)
        n_merged = sum(len(step.merged) for step in self.steps)
        if n_removed + n_merged == 0:
            text = "Nothing to remove or to merge: the data ask for all that is there."
        else:
            done = [f"{counted(n_removed, 'group')} removed"] if n_removed else []
            done += [counted(n_merged, "merge")] if n_merged else []
            text = (
                f"{', '.join(done)}: "
                f"{counted(first.n_atoms - last.n_atoms, 'atom')} fewer "
                f"({first.n_atoms} to {last.n_atoms})."
            )
            where, change = ("free", self.free) if self.free else ("work", self.work)
            text += (
                f" The log-likelihood of the {where} set is {abs(change.value):.1f} +- "
                f"{change.su:.1f} {'higher' if change.value > 0 else 'lower'}."
            )
        if self.left:
            names = ", ".join(one.name for one in self.left)
            text += f" In doubt, and protected: {names}."
        return text


def make_prune_record(
    pruned: Pruned, run: str, options: dict[str, Any], protected: int
) -> PruneRecord:
    """Return the record of what was done to the model of a run."""
    free = pruned.free
    return PruneRecord(
        run=run, options=options, protected=protected,
        steps=[_step(number, one) for number, one in enumerate(pruned.steps)],
        work=Change(value=pruned.work.value, su=pruned.work.su),
        free=None if free is None else Change(value=free.value, su=free.su),
        left=[
            Doubt(name=one.name, occupancy=one.occupancy, su=_known(one.su), p_absent=one.p_absent)
            for one in pruned.left
        ],
        undone=[_merged(one) for one in pruned.undone],
    )  # fmt: skip


def _step(number: int, one: Step) -> StepRecord:
    return StepRecord(
        number=number, action=one.action, removed=[_removed(d) for d in one.removed],
        merged=[_merged(t) for t in one.merged], agreement=agreement(one.statistics),
        n_atoms=one.n_atoms, n_groups=one.n_groups,
    )  # fmt: skip


def _removed(one: Doubtful) -> Removed:
    return Removed(
        name=one.name, groups=list(one.members), n_atoms=one.n_atoms, occupancy=one.occupancy,
        su=_known(one.su), p_absent=one.p_absent, delta_log_likelihood=one.gain,
        delta_log_likelihood_free=_known(one.gain_free),
    )  # fmt: skip


def _merged(one: Trial) -> Merged:
    merge = one.merge
    return Merged(
        name=merge.name, groups=list(merge.members), n_atoms=merge.atoms[:, 1:].size,
        always=merge.always, apart=round(merge.apart, 4), lost=one.lost, allowed=one.allowed,
        n_parameters=merge.n_parameters,
    )  # fmt: skip


def _known(value: float) -> float | None:
    return None if value != value else float(value)  # noqa: PLR0124


def reasons(step: StepRecord) -> list[str]:
    """Return what a step did to what, and why, a line each."""
    lines = [
        f"{one.name}: removed ({counted(one.n_atoms, 'atom')}): occupancy "
        f"{with_su(one.occupancy, one.su)}, and an absent group gains as much with "
        f"p {probability(one.p_absent)} (log-likelihood {_signed(-one.delta_log_likelihood)})"
        for one in step.removed
    ]
    for one in step.merged:
        what = f"{one.name}: one conformer ({counted(one.n_atoms, 'atom')} fewer): "
        if one.lost < _NOTHING and step.action is Action.COINCIDENT:
            lines.append(f"{what}all atoms at one place, and nothing is lost")
            continue
        lines.append(
            f"{what}no atom more than {one.apart:.2f} A apart, log-likelihood "
            f"{_signed(-one.lost)}; {counted(one.n_parameters, 'parameter')} more gain up to "
            f"{one.allowed:.1f} by chance"
        )
    return lines


def _signed(change: float) -> str:
    return f"{round(change, 1) + 0.0:+.1f}"


def as_markdown(record: PruneRecord) -> str:
    """Return the record as a page that can be read."""
    lines = [
        f"# {record.run}, pruned", "", record.conclusion, "",
        "| step | what | R-work | R-free | logL | logL free | atoms | groups |",
        "|---|---|---|---|---|---|---|---|",
        *(f"| {' | '.join(step_row(step, record.steps[0]))} |" for step in record.steps), "",
        "logL: log-likelihood less that of the start, with the errors of the start for all.", "",
    ]  # fmt: skip
    for step in record.steps[1:]:
        lines += [f"## Step {step.number}: {step.what}", "", *(f"- {r}" for r in reasons(step)), ""]
    if record.undone:
        lines += ["## Not merged: the free set spoke against it", ""]
        lines += [f"- {one.name}" for one in record.undone] + [""]
    if record.left:
        lines += ["## In doubt, and protected", ""]
        lines += [
            f"- {one.name}: occupancy {with_su(one.occupancy, one.su)}, p "
            f"{probability(one.p_absent)}"
            for one in record.left
        ] + [""]
    return "\n".join(lines)


def step_row(step: StepRecord, first: StepRecord) -> list[str]:
    """Return a row of the table of steps; log-likelihoods are less those of the first."""
    mine, start = step.agreement, first.agreement
    free = "-"
    if mine.log_likelihood_free is not None and start.log_likelihood_free is not None:
        free = _signed(mine.log_likelihood_free - start.log_likelihood_free)
    n = len(step.removed) + len(step.merged)
    what = f"{step.what}: {n}" if n else step.what
    return [
        str(step.number), f"{step.removed[0].name} removed" if len(step.removed) == 1 else what,
        f"{mine.r_work:.4f}", "-" if mine.r_free is None else f"{mine.r_free:.4f}",
        _signed(mine.log_likelihood - start.log_likelihood), free,
        str(step.n_atoms), str(step.n_groups),
    ]  # fmt: skip
