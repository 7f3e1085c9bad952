"""Occupancy groups: which atoms share one occupancy, which groups sum to 1, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.atoms.kinds import ligand_atoms
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.occupancy.sums import SumConstraints

#: A group is refined when its occupancy differs from 1 by more than this.
FULL_TOLERANCE = 0.001

#: Means are rounded off below this.
_LARGEST = 1e6


class Why(IntEnum):
    """The rule that made a group."""

    RESIDUE = 0
    ALTLOC = 1
    VALUE = 2
    COPY = 3
    SHARED = 4
    CONNECTED = 5
    HYDROGEN_PAIR = 6
    SEPARATED = 7
    DEFINED = 8
    STATE = 9


@dataclass(frozen=True)
class OccupancySet:
    """Groups whose occupancies are tied by a sum.

    Attributes
    ----------
    name
        For example ``A/10/ARG``.
    groups
        Indices of the member groups.
    total
        What they sum to, beside the parent.
    complete
        True for an equality, False for an upper bound.
    parent
        Group whose occupancy is added to the total, or None.
    """

    name: str
    groups: tuple[int, ...]
    total: float = 1.0
    complete: bool = True
    parent: int | None = None


@dataclass(frozen=True)
class ModelState:
    """A state of the whole model, of which the occupancy is the sum of those of groups.

    Attributes
    ----------
    name
        For example ``bound:C+D``.
    groups
        Indices of the groups, members of one set.
    """

    name: str
    groups: tuple[int, ...]


@dataclass(frozen=True)
class Restraint:
    """A Gaussian prior on a combination of occupancies: -log p = ((w'q - target)/sigma)^2 / 2.

    Attributes
    ----------
    groups, weights
        Which groups, and w of each.
    target, sigma
        Of the combination.
    name
        In words, for the record.
    """

    groups: tuple[int, ...]
    weights: tuple[float, ...]
    target: float
    sigma: float
    name: str = ""


@dataclass(frozen=True, eq=False)
class OccupancyGroups:
    """The groups of a model, by index; names and reasons are made when they are asked for.

    Attributes
    ----------
    table
        The atoms.
    index
        Group of each atom, ``[n_atoms]``, contiguous from 0 in the order of first appearance.
    occupancy
        What a model begins with: within [0, 1], sets scaled to their sums, ``[n_groups]``. What a
        model has now is its own.
    refined
        Whether the group is refinable, ``[n_groups]``.
    rule
        `Why` of each group, ``[n_groups]``.
    sums
        The sets that groups belong to, and what their members sum to.
    restraints
        Priors on occupancies.
    labels
        Names that a user gave to groups.
    set_labels
        Names of sets other than that of their first residue.
    details
        What a group's reason says beyond its rule.
    set_details
        Why a set is one, where it is not the altlocs of a residue.
    states
        States of the whole model.
    special
        Multiplicity of groups with atoms on special positions.
    """

    table: AtomTable
    index: IntArray
    occupancy: FloatArray
    refined: BoolArray
    rule: IntArray
    sums: SumConstraints
    restraints: tuple[Restraint, ...] = ()
    labels: Mapping[int, str] = field(default_factory=dict)
    set_labels: Mapping[int, str] = field(default_factory=dict)
    details: Mapping[int, str] = field(default_factory=dict)
    set_details: Mapping[int, str] = field(default_factory=dict)
    states: tuple[ModelState, ...] = ()
    special: Mapping[int, int] = field(default_factory=dict)

    @property
    def set_index(self) -> IntArray:
        """Set of each group or -1, ``[n_groups]``."""
        return self.sums.set_index

    def __len__(self) -> int:
        return len(self.occupancy)

    @cached_property
    def file_occupancy(self) -> FloatArray:
        """Mean of what the file says for the atoms of each group, ``[n_groups]``.

        Hydrogens follow the atom that they are bound to: they count where there is no other, and
        in a whole copy.
        """
        heavy = np.bincount(self.index[~self.table.hydrogen], minlength=len(self))
        counted = ~self.table.hydrogen | ((heavy == 0) | (self.rule == Why.COPY))[self.index]
        return group_means(self.table.occupancy, self.index, counted, len(self))

    @cached_property
    def first_atom(self) -> IntArray:
        """First atom of each group, ``[n_groups]``."""
        first = np.full(len(self), len(self.index))
        np.minimum.at(first, self.index, np.arange(len(self.index)))
        return first

    @cached_property
    def naming_atom(self) -> IntArray:
        """Atom that a group is named after, ``[n_groups]``: the first of a ligand, or the first."""
        found = self.first_atom.copy()
        joined = np.isin(self.rule, (Why.SHARED, Why.CONNECTED))[self.index]
        if joined.any():
            atoms = np.flatnonzero(ligand_atoms(self.table, joined))[::-1]
            found[self.index[atoms]] = atoms
        return found

    @cached_property
    def _atom_order(self) -> tuple[IntArray, IntArray]:
        order = np.argsort(self.index, kind="stable")
        return order, np.searchsorted(self.index[order], np.arange(len(self) + 1))

    def atoms(self, group: int) -> IntArray:
        """Return the atom indices of a group, counted from 0 in the order of the file."""
        order, start = self._atom_order
        return order[start[group] : start[group + 1]]

    @cached_property
    def members(self) -> tuple[IntArray, ...]:
        """Atom indices of every group."""
        return tuple(self.atoms(g) for g in range(len(self)))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Name of every group, no two alike: ``A/10/ARG:B``, ``A/10/ARG``, ``A/10/ARG=0.50``."""
        return tuple(unique_names([self.name(g) for g in range(len(self))]))

    def name(self, group: int) -> str:
        """Return the name of one group."""
        if group in self.labels:
            return self.labels[group]
        atom = int(self.naming_atom[group])
        rule = self.rule[group]
        if rule == Why.COPY:
            return f"model {self.table.model[atom]}"
        label = self.table.residue_label(atom)
        if rule == Why.HYDROGEN_PAIR:
            label = f"{label}/{self.table.name[atom].decode()}"
        altloc = self.table.altloc[atom].decode()
        if altloc:
            return f"{label}:{altloc}"
        if rule == Why.VALUE:
            return f"{label}={self.file_occupancy[group]:.2f}"
        return label

    def why(self, group: int) -> str:
        """Return in words why a group exists and whether it is refined."""
        return f"{self.reason(group)}; {self.role(group)}"

    def reason(self, group: int) -> str:
        """Return in words why a group exists."""
        atom = int(self.first_atom[group])
        value = self.file_occupancy[group]
        altloc = self.table.altloc[atom].decode()
        letter = f" with altloc {altloc}" if altloc else ""
        reason = {
            Why.RESIDUE: "one residue without altloc, equal within 0.01",
            Why.ALTLOC: f"one residue{letter}",
            Why.VALUE: f"one residue without altloc, its atoms at {value:.2f}",
            Why.COPY: f"all atoms of model {self.table.model[atom]}",
            Why.SHARED: "joined by a sharing rule",
            Why.CONNECTED: f"connected residues{letter}",
            Why.HYDROGEN_PAIR: "H and D at one site",
            Why.SEPARATED: f"taken out of its group by a rule{letter}",
            Why.DEFINED: "atoms that a rule names",
            Why.STATE: f"one state of the model{letter}",
        }[Why(int(self.rule[group]))]
        detail = self.details.get(group)
        return f"{reason} ({detail})" if detail else reason

    def role(self, group: int) -> str:
        """Return in words whether a group is refined, and under which sum."""
        number = int(self.set_index[group])
        if number < 0:
            if self.refined[group]:
                full = abs(self.occupancy[group] - 1) < FULL_TOLERANCE
                return "refined by a rule" if full else "refined: not 1"
            full = abs(self.occupancy[group] - 1) < FULL_TOLERANCE
            return "held: occupancy is 1" if full else f"held at {self.occupancy[group]:.3f}"
        role = "refined" if self.refined[group] else f"held at {self.occupancy[group]:.3f}"
        one = self.sets[number]
        if one.parent is not None:
            kind = "sums to" if one.complete else "sums to at most"
            tail = f"member of the set {one.name}, which {kind} {self.name(one.parent)}"
        elif one.complete:
            total = "" if one.total == 1 else f", which sums to {one.total:.3g}"
            tail = f"member of the complete set {one.name}{total}"
        elif len(one.groups) == 1:
            tail = f"at most {one.total:.3g}"
        else:
            tail = f"member of the set {one.name}, which sums to at most {one.total:.3g}"
        because = self.set_details.get(number)
        if because is None and not one.complete and one.parent is None and len(one.groups) > 1:
            written = float(self.file_occupancy[list(one.groups)].sum())
            because = f"no link of a polymer, and {written:.2f} in the file"
        return f"{role}: {tail}" + (f" ({because})" if because else "")

    @cached_property
    def sets(self) -> tuple[OccupancySet, ...]:
        """The sets."""
        sums = self.sums
        names = unique_names([self._set_name(number) for number in range(len(sums))])
        return tuple(
            OccupancySet(
                names[number], tuple(members.tolist()), float(sums.totals[number]),
                bool(sums.complete[number]),
                int(sums.parent[number]) if sums.parent[number] >= 0 else None,
            )
            for number, members in enumerate(sums.members)
        )  # fmt: skip

    def _set_name(self, number: int) -> str:
        if number in self.set_labels:
            return self.set_labels[number]
        first = int(self.sums.members[number][0])
        if self.rule[first] == Why.COPY:
            return "models"
        members = self.sums.members[number]
        named = members[self.naming_atom[members] != self.first_atom[members]]  # after a ligand
        label = self.table.residue_label(int(self.naming_atom[named[0] if len(named) else first]))
        if self.rule[first] == Why.HYDROGEN_PAIR:
            return f"{label}/{self.table.name[self.first_atom[first]].decode()}"
        return label

    def rounded(self, values: FloatArray, decimals: int) -> FloatArray:
        """Return group values rounded so that complete sets still sum to exactly their total.

        Members of a set are rounded down, and the missing units of the last decimal go to those
        that lost most (largest remainders); other groups are rounded to nearest.
        """
        scale = 10**decimals
        units = np.rint(values * scale)
        for number in self.sums.outermost_first.tolist():
            members = self.sums.members[number]
            wanted = self.sums.wanted(number, units / scale) * scale
            if not self.sums.complete[number]:
                if units[members].sum() > wanted + 1e-6:
                    units[members] = np.floor(values[members] * scale + 1e-6)
                continue
            exact = values[members] * scale
            down = np.floor(exact + 1e-6)
            missing = round(wanted - down.sum())
            while missing < 0 and (down > 0).any():  # the parent was rounded down
                down[np.argmin(np.where(down > 0, exact - down, np.inf))] -= 1
                missing += 1
            if not 0 <= missing <= len(members):
                continue  # the set is broken: its values are rounded like any others
            gain = np.argsort(-(exact - down), kind="stable")[:missing]
            down[gain] += 1
            units[members] = down
        return np.asarray(units / scale)


def unique_names(names: list[str]) -> list[str]:
    """Return names with #2, #3 and so on behind those that were there before.

    >>> unique_names(["a", "b", "a"])
    ['a', 'b', 'a#2']
    """
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return found


def group_means(
    values: FloatArray, group: IntArray, counted: BoolArray, n_groups: int
) -> FloatArray:
    """Return the mean over the counted atoms of each group, rounded off binary noise."""
    total = np.bincount(group[counted], values[counted], minlength=n_groups)
    mean = total / np.bincount(group[counted], minlength=n_groups)
    # what cannot be an occupancy is told as it stands: rounding it would overflow
    rounded = np.round(np.clip(mean, -_LARGEST, _LARGEST), 10)
    return np.where(np.abs(mean) < _LARGEST, rounded, mean)
