"""Which letters of a model are which of its states: told by ligands, or by all sets alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from multicopy_refinement._typing import IntArray
from multicopy_refinement.atoms.kinds import ligand_atoms
from multicopy_refinement.atoms.numbering import number_residues
from multicopy_refinement.errors import RuleError
from multicopy_refinement.notices import listed
from multicopy_refinement.occupancy.groups import OccupancyGroups, Why

#: Conformers whose atoms are all closer to each other than this are one, in A.
SAME_PLACE = 0.1
#: So many connected residues with the same letters are states without a ligand.
SEVERAL = 3

Letters = frozenset[bytes]


@dataclass(frozen=True)
class LetteredState:
    """A state of the model: its name, and the letters of the conformers that it has."""

    name: str
    letters: Letters


@dataclass(frozen=True)
class Told:
    """The states of a model.

    Attributes
    ----------
    states
        In the order of the alphabet, the ground state first.
    by
        In words, what told them.
    ligands
        The residues that did, by number.
    """

    states: tuple[LetteredState, ...]
    by: str
    ligands: frozenset[int] = frozenset()

    @property
    def in_words(self) -> str:
        """Names and letters."""
        return " and ".join(f"{s.name} ({spelled(s.letters)})" for s in self.states)

    def spans(self, letters: Letters) -> bool:
        """Return whether letters are of all the states, and of nothing else."""
        known = frozenset().union(*(s.letters for s in self.states))
        return letters <= known and all(letters & s.letters for s in self.states)


@dataclass(frozen=True, eq=False)
class Conformers:
    """Residues with altlocs: the group of each letter.

    Attributes
    ----------
    groups
        Of the ``residue`` rule, or what came of them.
    """

    groups: OccupancyGroups

    @cached_property
    def residue(self) -> IntArray:
        """Number of the residue of each atom, ``[n_atoms]``."""
        return number_residues(self.groups.table)

    @cached_property
    def parts(self) -> dict[int, dict[bytes, int]]:
        """Group of each letter of each residue."""
        groups, found = self.groups, dict[int, dict[bytes, int]]()
        for group in np.flatnonzero(groups.rule == Why.ALTLOC).tolist():
            atom = int(groups.first_atom[group])
            letter = bytes(groups.table.altloc[atom])
            found.setdefault(int(self.residue[atom]), {})[letter] = group
        return found

    def letters(self, number: int) -> Letters:
        """Return the letters of a residue."""
        return frozenset(self.parts[number])

    def complete(self, number: int) -> bool:
        """Return whether the conformers of a residue are a complete set."""
        own = int(self.groups.set_index[next(iter(self.parts[number].values()))])
        return own >= 0 and bool(self.groups.sums.complete[own])

    def label(self, number: int) -> str:
        """Return the name of a residue."""
        first = next(iter(self.parts[number].values()))
        return self.groups.table.residue_label(int(self.groups.first_atom[first]))

    @cached_property
    def ligands(self) -> list[int]:
        """Numbers of the ligands with altlocs."""
        table = self.groups.table
        found = ligand_atoms(table, table.altloc != b"")
        if not found.any():
            return []
        return sorted(set(self.residue[found].tolist()) & set(self.parts))

    def coincide(self, number: int, one: bytes, other: bytes) -> bool:
        """Return whether two conformers of a residue have the same atoms at the same places."""
        table, sites = self.groups.table, []
        for letter in (one, other):
            atoms = self.groups.members[self.parts[number][letter]]
            atoms = atoms[~table.hydrogen[atoms]]
            sites.append(atoms[np.argsort(table.name[atoms], kind="stable")])
        if not np.array_equal(table.name[sites[0]], table.name[sites[1]]):
            return False
        apart = np.linalg.norm(table.xyz[sites[0]] - table.xyz[sites[1]], axis=1)
        return bool((apart < SAME_PLACE).all())

    def is_one(self, number: int, letters: Letters) -> bool:
        """Return whether the conformers of some letters, as far as there are any, coincide."""
        first, *others = sorted(letters & self.letters(number)) or [b""]
        return all(self.coincide(number, first, other) for other in others)

    def same_in_all(self, number: int, states: Iterable[LetteredState]) -> bool:
        """Return whether a residue has several conformers, and the same ones in all states."""
        mine = [s.letters & self.letters(number) for s in states]
        return not self.is_one(number, self.letters(number)) and all(
            any(self.coincide(number, letter, other) for other in there)
            for here in mine
            for there in mine
            for letter in here
        )


def told_by_ligands(conformers: Conformers) -> Told | None:
    """Return the states that ligands tell, or None.

    A ligand tells where it has some of the model's letters, and not all. The letters of such
    ligands are the bound state, all others the ground state. Where nothing is left for that, the
    letters of each ligand are a state, those that have a letter in common one.
    """
    everything = frozenset().union(*map(conformers.letters, conformers.parts))
    telling = [n for n in conformers.ligands if conformers.letters(n) < everything]
    if not telling:
        return None
    bound = frozenset().union(*map(conformers.letters, telling))
    states = [LetteredState("ground", everything - bound), LetteredState("bound", bound)]
    if bound == everything:
        states = _of_each_ligand(conformers, telling)
        if len(states) < 2:
            return None
    names = [f"{conformers.label(n)} has {spelled(conformers.letters(n))}" for n in telling]
    by = f"{listed(names, 3)} of {spelled(everything)}"
    return Told(tuple(states), by, frozenset(telling))


def _of_each_ligand(conformers: Conformers, telling: list[int]) -> list[LetteredState]:
    """Return the letters of ligands, those that have one in common together."""
    found: list[tuple[list[str], Letters]] = []
    for number in telling:
        name, letters = [conformers.label(number).rpartition("/")[2]], conformers.letters(number)
        for one in [f for f in found if f[1] & letters]:
            found.remove(one)
            name, letters = one[0] + name, one[1] | letters
        found.append((name, letters))
    found.sort(key=lambda one: sorted(one[1]))
    return [LetteredState("+".join(dict.fromkeys(names)), letters) for names, letters in found]


def told_by_letters(conformers: Conformers, networks: Mapping[int, int]) -> Told | None:
    """Return one state a letter, for the letters that all sets have, or None.

    Parameters
    ----------
    networks
        Of each residue, the number of its network of connected residues with the same letters.
    """
    sets = [n for n in conformers.parts if len(conformers.letters(n)) > 1]
    if not sets:
        return None
    shared = frozenset.intersection(*map(conformers.letters, sets))
    mine = [networks[n] for n in sets if conformers.letters(n) == shared]
    if len(shared) < 2 or max((mine.count(n) for n in set(mine)), default=0) < SEVERAL:
        return None
    states = tuple(LetteredState("state", frozenset([letter])) for letter in sorted(shared))
    return Told(states, f"all sets have {spelled(shared)}")


def nothing_tells(conformers: Conformers) -> RuleError:
    """Return an error that says why the states of a model cannot be told."""
    ligands = conformers.ligands
    why = "no ligand has altlocs"
    if ligands:
        names = [f"{conformers.label(n)} {spelled(conformers.letters(n))}" for n in ligands]
        why = f"ligands have all letters ({listed(names, 3)})"
    return RuleError(
        f"--grouping states: no states can be told: {why}, and there are no {SEVERAL} connected "
        "residues with letters that all sets share; take --grouping connected, or rules (share)"
    )


def spelled(letters: Letters) -> str:
    """Return letters as a list."""
    return ", ".join(letter.decode() for letter in sorted(letters))
