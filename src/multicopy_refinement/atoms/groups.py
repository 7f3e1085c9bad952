"""Occupancy groups: which atoms share one occupancy, which groups sum to 1, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.atoms.table import AtomTable


class Why(IntEnum):
    """The rule that made a group."""

    RESIDUE = 0
    ALTLOC = 1
    VALUE = 2
    COPY = 3
    SHARED = 4


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
        What they sum to.
    complete
        True for an equality, False for an upper bound.
    """

    name: str
    groups: tuple[int, ...]
    total: float = 1.0
    complete: bool = True


@dataclass(frozen=True, eq=False)
class OccupancyGroups:
    """The groups of a model, by index; names and reasons are made when they are asked for.

    Attributes
    ----------
    table
        The atoms.
    index
        Group of each atom, ``[n_atoms]``, contiguous from 0 in the order of first appearance.
    file_occupancy
        Mean of what the file says for the atoms of each group, ``[n_groups]``.
    occupancy
        What is used: within [0, 1], complete sets scaled to their sum, ``[n_groups]``.
    refined
        Whether the group is refinable, ``[n_groups]``.
    rule
        `Why` of each group, ``[n_groups]``.
    set_index
        Set of each group or -1, ``[n_groups]``.
    """

    table: AtomTable
    index: IntArray
    file_occupancy: FloatArray
    occupancy: FloatArray
    refined: BoolArray
    rule: IntArray
    set_index: IntArray

    def __len__(self) -> int:
        return len(self.occupancy)

    @cached_property
    def first_atom(self) -> IntArray:
        """First atom of each group, ``[n_groups]``."""
        first = np.full(len(self), len(self.index))
        np.minimum.at(first, self.index, np.arange(len(self.index)))
        return first

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
        """Name of every group: ``A/10/ARG:B``, ``A/10/ARG``, ``A/10/ARG=0.50``."""
        return tuple(self.name(g) for g in range(len(self)))

    def name(self, group: int) -> str:
        """Return the name of one group."""
        atom = int(self.first_atom[group])
        if self.rule[group] == Why.COPY:
            return f"model {self.table.model[atom]}"
        label = self.table.residue_label(atom)
        altloc = self.table.altloc[atom].decode()
        if altloc:
            return f"{label}:{altloc}"
        if self.rule[group] == Why.VALUE:
            return f"{label}={self.file_occupancy[group]:.2f}"
        return label

    def why(self, group: int) -> str:
        """Return in words why a group exists and whether it is refined."""
        atom = int(self.first_atom[group])
        value = self.file_occupancy[group]
        altloc = self.table.altloc[atom].decode()
        reason = {
            Why.RESIDUE: "atoms of one residue without altloc, occupancies agree within 0.01",
            Why.ALTLOC: f"atoms of one residue with altloc {altloc}",
            Why.VALUE: f"atoms of one residue without altloc and with occupancy {value:.2f}",
            Why.COPY: f"all atoms of model {self.table.model[atom]}",
            Why.SHARED: "joined by a sharing rule",
        }[Why(int(self.rule[group]))]
        if self.set_index[group] >= 0:
            name = self.sets[int(self.set_index[group])].name
            return f"{reason}; refined: member of the complete set {name}"
        return f"{reason}; {'refined: not 1' if self.refined[group] else 'held: occupancy is 1'}"

    @cached_property
    def sets(self) -> tuple[OccupancySet, ...]:
        """The complete sets."""
        members: dict[int, list[int]] = {}
        for group in np.flatnonzero(self.set_index >= 0).tolist():
            members.setdefault(int(self.set_index[group]), []).append(group)
        return tuple(
            OccupancySet(self._set_name(members[i]), tuple(members[i])) for i in sorted(members)
        )

    def _set_name(self, groups: list[int]) -> str:
        if self.rule[groups[0]] == Why.COPY:
            return "models"
        return self.table.residue_label(int(self.first_atom[groups[0]]))

    def rounded(self, values: FloatArray, decimals: int) -> FloatArray:
        """Return group values rounded so that complete sets still sum to exactly 1.

        Members of a set are rounded down, and the missing units of the last decimal go to those
        that lost most (largest remainders); other groups are rounded to nearest.
        """
        scale = 10**decimals
        units = np.rint(values * scale)
        for group_set in self.sets:
            members = np.array(group_set.groups)
            exact = values[members] * scale
            down = np.floor(exact + 1e-6)
            missing = round(group_set.total * scale - down.sum())
            if not 0 <= missing <= len(members):
                continue  # the set is broken: its values are rounded like any others
            gain = np.argsort(-(exact - down), kind="stable")[:missing]
            down[gain] += 1
            units[members] = down
        return np.asarray(units / scale)
