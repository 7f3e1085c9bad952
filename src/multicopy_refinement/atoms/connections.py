"""Which residues are joined by bonds, and which touch with atoms of one altloc."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gemmi
import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.atoms.neighbours import near_pairs
from multicopy_refinement.atoms.numbering import number_texts
from multicopy_refinement.atoms.table import AtomTable

#: Atoms are bonded when they are closer than their covalent radii and this, in A.
BOND_TOLERANCE = 0.3
#: No bond between atoms that are not metals is longer, in A.
LONGEST_BOND = 2.7
#: Atoms that join the links of a polymer, and how far apart they are at most, in A.
POLYMER_LINKS, LONGEST_LINK = ((b"C", b"N"), (b"O3'", b"P")), 2.0
WATERS = (b"HOH", b"DOD", b"WAT", b"H2O")


@dataclass(frozen=True, eq=False)
class ResiduePairs:
    """Pairs of residues, with the closest atoms of each.

    Attributes
    ----------
    residues
        ``[n, 2]``.
    atoms
        The two atoms, ``[n, 2]``.
    distance
        Between them in A, ``[n]``.
    """

    residues: IntArray
    atoms: IntArray
    distance: FloatArray

    def __len__(self) -> int:
        return len(self.distance)


def bonded_residues(table: AtomTable, residue: IntArray, chosen: BoolArray) -> ResiduePairs:
    """Return the residues among the chosen atoms that a bond joins.

    A bond is a link of the file, or two atoms of other residues that are closer than their
    covalent radii and 0.3 A; their altlocs agree or one has none. Metals, waters and hydrogens
    are bound by links of the file only.
    """
    known = chosen & ~table.hydrogen & ~np.isin(table.resname, WATERS)
    radius = _covalent_radii(table, known)
    atoms = np.flatnonzero(known & (radius > 0))
    pairs = near_atoms(table, atoms, LONGEST_BOND)
    one, other = pairs[:, 0], pairs[:, 1]
    distance = np.linalg.norm(table.xyz[one] - table.xyz[other], axis=1)
    agree = (
        (table.altloc[one] == table.altloc[other])
        | (table.altloc[one] == b"")
        | (table.altloc[other] == b"")
    )
    bound = (
        (residue[one] != residue[other])
        & agree
        & (distance < radius[one] + radius[other] + BOND_TOLERANCE)
    )
    links = np.array(table.links, dtype=np.int64).reshape(-1, 2)
    links = links[chosen[links].all(axis=1) & (residue[links[:, 0]] != residue[links[:, 1]])]
    pairs = np.concatenate([links, pairs[bound]])
    distance = np.linalg.norm(table.xyz[pairs[:, 0]] - table.xyz[pairs[:, 1]], axis=1)
    return _closest(residue, pairs, distance)


def touching_residues(
    table: AtomTable, residue: IntArray, chosen: BoolArray, reach: float
) -> ResiduePairs:
    """Return the residues that have chosen atoms of one altloc within a reach in A."""
    found = []
    altloc = table.altloc.view(np.uint8)
    heavy = chosen & ~table.hydrogen & (altloc > 0)
    for letter in np.unique(altloc[heavy]):
        pairs = near_atoms(table, np.flatnonzero(heavy & (altloc == letter)), reach)
        found.append(pairs[residue[pairs[:, 0]] != residue[pairs[:, 1]]])
    pairs = np.concatenate(found) if found else np.empty((0, 2), dtype=np.int64)
    distance = np.linalg.norm(table.xyz[pairs[:, 0]] - table.xyz[pairs[:, 1]], axis=1)
    return _closest(residue, pairs, distance)


def near_atoms(table: AtomTable, atoms: IntArray, reach: float) -> IntArray:
    """Return pairs of atoms of one MODEL within a reach, ``[n, 2]``."""
    if len(atoms) < 2:
        return np.empty((0, 2), dtype=np.int64)
    model = table.model[atoms].astype(np.float64)
    places = np.column_stack((table.xyz[atoms], 1e3 * reach * (model - model[0])))
    return np.asarray(atoms[near_pairs(places, reach)])


def _closest(residue: IntArray, pairs: IntArray, distance: FloatArray) -> ResiduePairs:
    """Return one pair of atoms for each pair of residues: the closest, lower residue first."""
    ends = residue[pairs]
    turned = ends[:, 0] > ends[:, 1]
    pairs = np.where(turned[:, None], pairs[:, ::-1], pairs)
    key = ends.min(axis=1, initial=np.iinfo(np.int64).max) * (int(residue.max(initial=0)) + 1)
    key += ends.max(axis=1, initial=0)
    order = np.lexsort((pairs[:, 1], pairs[:, 0], distance, key))
    _, first = np.unique(key[order], return_index=True)
    picked = order[first]
    return ResiduePairs(residue[pairs[picked]], pairs[picked], distance[picked])


def _covalent_radii(table: AtomTable, chosen: BoolArray) -> FloatArray:
    """Return the covalent radius of each chosen atom in A, 0 for metals and for other atoms."""
    symbols, inverse = np.unique(table.element[chosen], return_inverse=True)
    elements = [gemmi.Element(symbol.decode()) for symbol in symbols.tolist()]
    radii = np.array([0.0 if e.is_metal else e.covalent_r for e in elements])
    found = np.zeros(len(table))
    found[chosen] = radii[inverse] if len(radii) else 0.0
    return found


def is_polymer(names: np.ndarray) -> BoolArray:
    """Return which residue names are those of amino acids and nucleotides."""
    return told_by_name(names, lambda known: known.is_amino_acid() or known.is_nucleic_acid())


def told_by_name(names: np.ndarray, kind: Callable[[gemmi.ResidueInfo], bool]) -> BoolArray:
    """Return which residue names are of a kind, by what gemmi knows of each; ``S [n]``."""
    distinct, number = number_texts(names)
    told = [kind(gemmi.find_tabulated_residue(name.decode())) for name in distinct]
    return np.asarray(np.array(told, dtype=bool)[number])


def part_of_polymer(table: AtomTable, residue: IntArray, wanted: IntArray) -> BoolArray:
    """Return which residues are links of a polymer, bool of each one ``wanted``.

    A residue is one when its name is that of an amino acid or a nucleotide in ATOM records, or
    when a peptide or phosphodiester bond joins it to another: modified residues are, amino acids
    that are bound as a ligand are not.

    Parameters
    ----------
    table
        The atoms.
    residue
        Residue of each atom, ``[n_atoms]``.
    wanted
        Numbers of residues.
    """
    by_name = is_polymer(table.resname) & ~table.hetatm
    joined = np.zeros(int(residue.max(initial=0)) + 1, dtype=bool)
    joined[residue[by_name]] = True
    if joined[wanted].all():
        return joined[wanted]
    for one, other in POLYMER_LINKS:
        ends = np.flatnonzero((table.name == one) | (table.name == other))
        pairs = near_atoms(table, ends, LONGEST_LINK)
        between = (residue[pairs[:, 0]] != residue[pairs[:, 1]]) & (
            table.name[pairs[:, 0]] != table.name[pairs[:, 1]]
        )
        joined[residue[pairs[between]]] = True
    return joined[wanted]
