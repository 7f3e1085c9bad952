"""Numbering: equal keys alike, and residues."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from multicopy_refinement._typing import IntArray
from multicopy_refinement.atoms.table import AtomTable

_ADDRESSES: WeakKeyDictionary[AtomTable, IntArray] = WeakKeyDictionary()
_RESIDUES: WeakKeyDictionary[AtomTable, IntArray] = WeakKeyDictionary()
#: Residues of other names at one number are one, in conformers, where they are this close, in A;
#: where they have altlocs in common, only if both cannot be there at once.
_ONE_SITE, _OVERLAP = 3.0, 1.0


def number_in_order(key: IntArray) -> IntArray:
    """Number equal keys alike, from 0 in the order of first appearance.

    >>> number_in_order(np.array([7, 7, 3, 7, 9])).tolist()
    [0, 0, 1, 0, 2]
    """
    if len(key) == 0:
        return np.empty(0, dtype=np.int64)
    change = np.empty(len(key), dtype=bool)
    change[0] = True
    np.not_equal(key[1:], key[:-1], out=change[1:])
    run = np.cumsum(change) - 1  # keys come in runs: only their heads need sorting
    _, first, inverse = np.unique(key[change], return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return np.asarray(rank[inverse][run])


def number_texts(texts: np.ndarray) -> tuple[list[bytes], IntArray]:
    """Return the distinct ones of ``S`` strings in order, and the number of each text among them.

    >>> names, number = number_texts(np.array([b"HOH", b"HOH", b"ALA"]))
    >>> names, number.tolist()
    ([b'HOH', b'ALA'], [0, 0, 1])
    """
    number = number_in_order(_code(texts))
    first = np.empty(int(number.max(initial=-1)) + 1, dtype=np.int64)
    first[number[::-1]] = np.arange(len(number))[::-1]
    return texts[first].tolist(), number


def number_addresses(table: AtomTable) -> IntArray:
    """Return the number of what each atom is under: model, chain, number and insertion code."""
    if table not in _ADDRESSES:
        _ADDRESSES[table] = _number_addresses(table)
    return _ADDRESSES[table]


def _number_addresses(table: AtomTable) -> IntArray:
    number = number_in_order(_code(table.chain))
    columns: list[np.ndarray] = [table.resseq, table.icode.view(np.int8), table.model]
    for column in columns:
        lowest, highest = int(column.min(initial=0)), int(column.max(initial=0))
        if highest > lowest:
            number = number * (highest - lowest + 1) + (column.astype(np.int64) - lowest)
    return number_in_order(number)


def number_residues(table: AtomTable) -> IntArray:
    """Return the number of each atom's residue.

    A residue is a model, a chain, a number and an insertion code. Where one of these stands for
    more than that, it is several residues: residues of other names that are not conformers at one
    site, and atoms that come again under one name and altloc.
    """
    if table not in _RESIDUES:
        _RESIDUES[table] = _number_residues(table)
    return _RESIDUES[table]


def _number_residues(table: AtomTable) -> IntArray:
    address = number_addresses(table)
    crowded = _crowded(table, address)
    if len(crowded) == 0:
        return address
    part = np.zeros(len(address), dtype=np.int64)
    for number in crowded.tolist():
        atoms = np.flatnonzero(address == number)
        part[atoms] = _apart(table, atoms)
    return number_in_order(address * (int(part.max()) + 1) + part)


def _code(texts: np.ndarray) -> IntArray:
    """Return a number of each text, the same for equal ones."""
    if texts.dtype.itemsize == 8:
        return np.asarray(texts.view(np.int64))
    return np.asarray(np.unique(texts, return_inverse=True)[1], dtype=np.int64)


def _crowded(table: AtomTable, address: IntArray) -> IntArray:
    """Return addresses that have several residue names, or an atom twice."""
    name, resname = (_code(column).view(np.uint64) for column in (table.name, table.resname))
    key = _mixed(_mixed(_mixed(address.astype(np.uint64)) + name) + resname)
    key = _mixed(key + table.altloc.view(np.uint8))
    again = np.empty(0, dtype=np.int64)
    ordered = np.sort(key)
    if (ordered[1:] == ordered[:-1]).any():  # looked at closely, should two keys fall together
        order = np.argsort(key, kind="stable")
        again = order[1:][key[order[1:]] == key[order[:-1]]]
    first = np.empty(int(address.max(initial=-1)) + 1, dtype=np.uint64)
    first[address[::-1]] = resname[::-1]
    other = resname != first[address]
    return np.unique(np.concatenate([address[again], address[other]]))


def _mixed(key: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return keys whose bits all depend on all of theirs."""
    key = (key ^ (key >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
    return np.asarray(key ^ (key >> np.uint64(29)))


def _apart(table: AtomTable, atoms: IntArray) -> IntArray:
    """Return the part of each of the atoms of one address, ``[n]``, from 0."""
    part = np.zeros(len(atoms), dtype=np.int64)
    beyond = 0
    for names in _names_of_residues(table, atoms):
        mine = np.isin(table.resname[atoms], names)
        part[mine] = beyond + _copies(table, atoms[mine])
        beyond = int(part[mine].max()) + 1
    return part


def _names_of_residues(table: AtomTable, atoms: IntArray) -> list[list[bytes]]:
    """Return the names of each residue: those of conformers of one are together."""
    residues: list[list[bytes]] = []
    for name in dict.fromkeys(table.resname[atoms].tolist()):
        mine = atoms[table.resname[atoms] == name]
        for names in residues:
            theirs = atoms[np.isin(table.resname[atoms], names)]
            shared = set(table.altloc[mine].tolist()) & set(table.altloc[theirs].tolist())
            apart = table.xyz[mine][:, None] - table.xyz[theirs][None]
            reach = _OVERLAP if shared else _ONE_SITE
            if np.linalg.norm(apart, axis=2).min() < reach:
                names.append(name)
                break
        else:
            residues.append([name])
    return residues


def _copies(table: AtomTable, atoms: IntArray) -> IntArray:
    """Return the copy of each atom: one that comes again is of another, with what is nearest."""
    copies: list[dict[tuple[bytes, bytes, bytes], int]] = []
    found = []
    for atom in atoms.tolist():
        key = (table.resname[atom], table.name[atom], table.altloc[atom])
        free = [i for i, copy in enumerate(copies) if key not in copy]
        if free:
            away = [
                np.linalg.norm(table.xyz[list(copies[i].values())] - table.xyz[atom], axis=1).min()
                for i in free
            ]
            place = free[int(np.argmin(away))]
        else:
            copies.append({})
            place = len(copies) - 1
        copies[place][key] = atom
        found.append(place)
    return np.array(found, dtype=np.int64)
