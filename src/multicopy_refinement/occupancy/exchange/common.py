"""What the writers of group files share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import BoolArray, IntArray
from multicopy_refinement.atoms.numbering import number_addresses, number_residues
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.errors import RuleError
from multicopy_refinement.notices import listed
from multicopy_refinement.occupancy.groups import OccupancyGroups, OccupancySet, Restraint


@dataclass(frozen=True)
class Piece:
    """Atoms of one residue and altloc.

    Attributes
    ----------
    names
        Of the atoms; empty where all of this residue and altloc are meant.
    all_names
        Of the atoms, in any case.
    alone
        Whether the residue has no other altloc.
    shares_names
        Whether atoms of another altloc of the residue have some of the names.
    several_names
        Whether the number stands for residues of several names.
    namesakes
        Atoms under this chain, number and altloc that have a name of these, and are others.
    """

    model: int
    chain: str
    number: int
    icode: str
    resname: str
    altloc: str
    names: tuple[str, ...]
    all_names: tuple[str, ...]
    alone: bool
    shares_names: bool
    several_names: bool
    namesakes: tuple[int, ...]

    @property
    def seqid(self) -> str:
        """Number and insertion code."""
        return f"{self.number}{self.icode}"


@dataclass(frozen=True, eq=False)
class Pieces:
    """Cuts groups into pieces, by what other programs know residues by: chain and number.

    Attributes
    ----------
    address
        Number of the chain and residue number of each atom.
    whole
        Atoms of each (address, altloc).
    letters
        Altlocs of each (address, atom name), and of each address under an empty name.
    """

    table: AtomTable
    residue: IntArray
    address: IntArray
    whole: dict[tuple[int, bytes], list[int]]
    letters: dict[tuple[int, bytes], set[bytes]]

    @classmethod
    def of(cls, table: AtomTable) -> Pieces:
        """Gather the atoms of every residue and altloc."""
        residue, address = number_residues(table), number_addresses(table)
        whole: dict[tuple[int, bytes], list[int]] = {}
        letters: dict[tuple[int, bytes], set[bytes]] = {}
        columns = address.tolist(), table.altloc.tolist(), table.name.tolist()
        for atom, (number, altloc, name) in enumerate(zip(*columns, strict=True)):
            whole.setdefault((number, altloc), []).append(atom)
            letters.setdefault((number, name), set()).add(altloc)
            letters.setdefault((number, b""), set()).add(altloc)
        return cls(table, residue, address, whole, letters)

    def cut(self, atoms: IntArray) -> Iterator[Piece]:
        """Yield the pieces of some atoms."""
        table = self.table
        parts: dict[tuple[int, bytes, bytes], list[int]] = {}
        for atom in atoms.tolist():
            key = (int(self.residue[atom]), table.altloc[atom], table.resname[atom])
            parts.setdefault(key, []).append(atom)
        for (_, altloc, resname), members in parts.items():
            first = members[0]
            number = int(self.address[first])
            names = tuple(dict.fromkeys(table.name[a].decode() for a in members))
            beside = set(self.whole[number, altloc]) - set(members)
            yield Piece(
                int(table.model[first]), table.chain[first].decode(), int(table.resseq[first]),
                table.icode[first].decode(), resname.decode(), altloc.decode(),
                names if beside else (), names, len(self.letters[number, b""]) == 1,
                any(len(self.letters[number, n.encode()]) > 1 for n in names),
                any(
                    table.resname[a] != resname
                    for letter in self.letters[number, b""]
                    for a in self.whole[number, letter]
                ),
                tuple(a for a in sorted(beside) if table.name[a].decode() in names),
            )  # fmt: skip


def refuse_namesakes(
    table: AtomTable, piece: Piece, language: str, *, by_residue_name: bool
) -> None:
    """Raise where a language cannot tell the atoms of a piece from others.

    ``by_residue_name`` says whether it knows residues by their names, too.
    """
    others = [
        a for a in piece.namesakes
        if not by_residue_name or table.resname[a].decode() == piece.resname
    ]  # fmt: skip
    if others:
        raise RuleError(
            f"{table.label(others[0])} stands there twice, in several residues of one chain and "
            f"number, which {language} cannot tell apart: number them, or write toml"
        )


def places_of(atoms: BoolArray) -> tuple[int, ...]:
    """Return a mask as places in the file."""
    return tuple(np.flatnonzero(atoms).tolist())


def lone_groups(groups: OccupancyGroups) -> list[int]:
    """Return the refined groups that are in no set."""
    return np.flatnonzero(groups.refined & (groups.set_index < 0)).tolist()


def listed_sets(groups: OccupancyGroups) -> list[OccupancySet]:
    """Return the sets that have refined members."""
    return [s for s in groups.sets if groups.refined[list(s.groups)].any()]


def is_plain(one: OccupancySet) -> bool:
    """Return whether a set sums to 1, as every program knows it."""
    return one.complete and one.parent is None and one.total == 1.0


def restraint_in_words(groups: OccupancyGroups, restraint: Restraint) -> str:
    """Return a restraint as a sentence."""
    terms = [
        f"{'' if w == 1 else f'{w:g} '}{groups.names[g]}"
        for g, w in zip(restraint.groups, restraint.weights, strict=True)
    ]
    return f"{' + '.join(terms)} = {restraint.target:g} with sigma {restraint.sigma:g}"


def special_in_words(groups: OccupancyGroups, *, once: bool) -> list[str]:
    """Return what a full site on a special position is for a program, where there are any.

    ``once`` says that an atom there counts once for it, however many images it has.
    """
    if not groups.special:
        return []
    names = [f"{groups.names[g]} ({times})" for g, times in sorted(groups.special.items())]
    full = "1.00: multiply what stands in our files by it" if once else "1/multiplicity, as here"
    return [f"on special positions (multiplicity): {listed(names)}; a full site there is {full}"]


def set_in_words(groups: OccupancyGroups, one: OccupancySet) -> str:
    """Return a set as a sentence."""
    names = ", ".join(groups.names[g] for g in one.groups)
    kind = "sum to" if one.complete else "sum to at most"
    if len(one.groups) == 1 and not one.complete and one.parent is None:
        return f"{names} is at most {one.total:.4g}"
    total = groups.names[one.parent] if one.parent is not None else f"{one.total:.4g}"
    return f"{names} {kind} {total}"
