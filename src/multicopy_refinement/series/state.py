"""The state of a series: which atoms are it, which are there without it, in what proportions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.errors import RuleError
from multicopy_refinement.model import Model
from multicopy_refinement.modes import Grouping
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.occupancy.groups import FULL_TOLERANCE, OccupancyGroups
from multicopy_refinement.occupancy.rules.selection import RuleSelection
from multicopy_refinement.words import counted

_LETTERS = re.compile(r"\w(?:[+, ]*\w)*")
_MODEL = re.compile(r"(?:model )?(\d+)", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class SeriesState:
    """Occupancies of a model's groups as functions of one fraction: q_g = offset_g + slope_g f.

    Attributes
    ----------
    groups
        All groups; ``refined`` are those that follow the fraction.
    offset, slope
        ``[n_groups]``.
    fraction
        That of the file.
    name
        As it was selected.
    notices
        What was decided on the way.
    """

    groups: OccupancyGroups
    offset: FloatArray
    slope: FloatArray
    fraction: float
    name: str
    notices: tuple[Notice, ...] = ()

    @property
    def tied(self) -> IntArray:
        """Groups that follow the fraction, in ascending order."""
        return np.flatnonzero(self.slope)

    @property
    def atoms(self) -> BoolArray:
        """Atoms of the state, ``[n_atoms]``."""
        return np.asarray(self.slope[self.groups.index] > 0)

    def occupancy(self, fraction: float) -> FloatArray:
        """Return the occupancies of all groups at a fraction, ``[n_groups]``."""
        return self.offset + self.slope * fraction


def state_of(model: Model, selection: str) -> SeriesState:
    """Return the state that a selection names.

    With f its fraction, in each set of groups of which some are in the state these sum to f and the
    others to 1 - f; groups that are in no such set, as a ligand, have f. Ratios stay as they are
    in the file. Where the state is selected by its letters, so do waters and ligands that have
    letters of the others alone and are partial: they are there without it.

    Parameters
    ----------
    model
        Holds all states. Of a file with several MODELs each is one group.
    selection
        Letters (``B``, ``C+D``), the number of a MODEL (``2``, ``model 2``), the name of a state,
        group, set or residue, ``ligands``, ``waters``, ``resname LIG``, or a CID expression.

    Raises
    ------
    RuleError
        A selection that selects nothing or a part of a group, or that has no other state.
    """
    if len(np.unique(model.table.model)) > 1:
        model.regroup(grouping=Grouping.COPIES)
    groups = model.occupancy_groups
    atoms, letters = _selected(groups, selection)
    inside = _whole(groups, atoms, selection)
    held = _without_other(groups, inside)
    chosen = inside & ~held
    if not chosen.any():
        raise RuleError(
            f"--state {selection}: {listed(_names(groups, inside))} have no other conformer: "
            "there is nothing from which the state differs"
        )
    ties = _Ties(groups, chosen)
    if letters:
        ties.without_state(letters)
    notices = []
    if held.any():
        notices.append(Notice(
            "state_held",
            f"{counted(int(held.sum()), 'group')} of the state {selection} without another "
            f"conformer in the set, held as in the file: {listed(_names(groups, held))}",
        ))  # fmt: skip
    tied = replace(groups, refined=ties.slope != 0)
    model.adopt(
        model.source, tied, tuple(n for n in model.notices if n not in model.source.notices)
    )
    return SeriesState(tied, ties.offset, ties.slope, ties.fraction, selection, tuple(notices))


def _selected(groups: OccupancyGroups, selection: str) -> tuple[BoolArray, frozenset[bytes]]:
    """Return the atoms of a selection, and its letters where it is one of letters."""
    table, text = groups.table, selection.strip()
    numbers, model = np.unique(table.model), _MODEL.fullmatch(text)
    if model and len(numbers) > 1:
        chosen = table.model == int(model[1])
        if not chosen.any():
            known = ", ".join(map(str, numbers.tolist()))
            raise RuleError(f"--state {selection}: there is no MODEL {model[1]}, but {known}")
        return chosen, frozenset()
    letters = frozenset(re.sub(r"[+, ]", "", text).encode("utf-8", "replace")[i : i + 1]
                        for i in range(len(re.sub(r"[+, ]", "", text))))  # fmt: skip
    known_letters = set(np.unique(table.altloc).tolist()) - {b""}
    if _LETTERS.fullmatch(text) and letters <= known_letters:
        return np.isin(table.altloc, list(letters)), letters
    for state in groups.states:
        if state.name == text:
            return np.isin(groups.index, state.groups), frozenset()
    chooser = RuleSelection(groups)
    chooser.where = "--state"
    try:
        return chooser.asked(selection), frozenset()
    except RuleError as fault:
        have = " ".join(sorted(letter.decode() for letter in known_letters))
        raise RuleError(f"{fault} (altlocs of the model: {have or 'none'})") from None


def _whole(groups: OccupancyGroups, atoms: BoolArray, selection: str) -> BoolArray:
    """Return the groups of atoms, ``[n_groups]``; a part of one is refused."""
    count = np.bincount(groups.index, atoms, minlength=len(groups))
    size = np.bincount(groups.index, minlength=len(groups))
    cut = np.flatnonzero((count > 0) & (count < size))
    if len(cut):
        g = int(cut[0])
        raise RuleError(
            f"--state {selection}: selects {int(count[g])} of the {int(size[g])} atoms of group "
            f"{groups.names[g]}; a state has whole groups"
        )
    return np.asarray(count > 0)


def _without_other(groups: OccupancyGroups, inside: BoolArray) -> BoolArray:
    """Return the groups of a state of whose complete set all are in it, ``[n_groups]``."""
    found = np.zeros(len(groups), dtype=bool)
    for number, members in enumerate(groups.sums.members):
        if not inside[members].any():
            continue
        if groups.sums.parent[number] >= 0:
            raise RuleError(
                f"--state: the set {groups.sets[number].name} sums to another group; "
                "a state cannot be a part of what is nested"
            )
        found[members] = groups.sums.complete[number] and inside[members].all()
    return found


def _names(groups: OccupancyGroups, chosen: BoolArray) -> list[str]:
    return [groups.names[g] for g in np.flatnonzero(chosen).tolist()]


class _Ties:
    """Offsets and slopes of all groups, while they are made."""

    def __init__(self, groups: OccupancyGroups, state: BoolArray) -> None:
        self.groups, self.state = groups, state
        self.offset, self.slope = groups.occupancy.copy(), np.zeros(len(groups))
        self.others = np.zeros(len(groups), dtype=bool)
        self.fraction = self._fraction()
        sums = groups.sums
        for number, members in enumerate(sums.members):
            mine = members[state[members]]
            if len(mine) == 0:
                continue
            total = float(sums.totals[number])
            self._tie(mine, total)
            rest = members[~state[members]]
            self.others[rest] = True
            self._tie_other(rest, total, complete=bool(sums.complete[number]))
        self._tie_each(np.flatnonzero(state & (sums.set_index < 0)))

    def _fraction(self) -> float:
        """Return the fraction of the file: of complete sets if any has others, or of the rest."""
        groups, sums = self.groups, self.groups.sums
        size = np.bincount(groups.index, minlength=len(groups))
        of_sets: list[tuple[float, int]] = []
        of_rest: list[tuple[float, int]] = []
        for number, members in enumerate(sums.members):
            mine = members[self.state[members]]
            if len(mine):
                found = of_sets if sums.complete[number] else of_rest
                found.append((float(groups.occupancy[mine].sum()), int(size[mine].sum())))
        alone = np.flatnonzero(self.state & (sums.set_index < 0)).tolist()
        of_rest += [(float(groups.occupancy[g]), int(size[g])) for g in alone]
        values, weights = np.array(of_sets or of_rest).T
        return float(np.average(values, weights=weights))

    def _shares(self, members: IntArray) -> FloatArray:
        """Return the parts of a sum that members have in the file."""
        q = self.groups.occupancy[members]
        return q / q.sum() if q.sum() > 0 else np.full(len(q), 1 / max(len(q), 1))

    def _tie(self, members: IntArray, total: float) -> None:
        self.slope[members] = total * self._shares(members)
        self.offset[members] = 0.0

    def _tie_each(self, members: IntArray) -> None:
        self.slope[members], self.offset[members] = 1.0, 0.0

    def _tie_other(self, members: IntArray, total: float, *, complete: bool) -> None:
        """Let members sum to 1 - f; to a part of it where they need not fill the site."""
        part = 1.0
        if not complete:
            sum_ = float(self.groups.occupancy[members].sum())
            part = min(1.0, sum_ / max(total * (1 - self.fraction), 1e-6))
        self.offset[members] = part * total * self._shares(members)
        self.slope[members] = -self.offset[members]

    def without_state(self, letters: Iterable[bytes]) -> None:
        """Let partial groups that have letters of the others alone be there with 1 - f."""
        groups, sums = self.groups, self.groups.sums
        letter = groups.table.altloc[groups.first_atom]
        ground = set(letter[self.others].tolist()) - set(letters) - {b""}
        wanted = np.isin(letter, list(ground)) & (self.slope == 0)
        wanted &= groups.occupancy < 1 - FULL_TOLERANCE
        for number, members in enumerate(sums.members):
            if not sums.complete[number] and wanted[members].all():
                self._tie_other(members, float(sums.totals[number]), complete=False)
        for g in np.flatnonzero(wanted & (sums.set_index < 0)).tolist():
            self._tie_other(np.array([g]), 1.0, complete=False)
