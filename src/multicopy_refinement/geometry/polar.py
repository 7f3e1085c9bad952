"""Pairs of polar atoms that may share a hydrogen bond: what holds the B of waters and ligands.

In eight real models of 1.2 to 2 A ln(B1/B2) of such pairs has a mean of 0.27 and a deviation of
0.41 for waters and other atoms (1454 pairs), and deviations of 0.38 between waters (839) and 0.27
between others (1501). The mean over the contacts of a water has a deviation of 0.37, 0.29, 0.26,
0.26 and 0.24 for 1 to 5 of them; that over all contacts of a ligand or ion a mean of 0.48 and a
deviation of 0.40 (12 of them). It hardly falls with more contacts: B of a molecule that is no part
of a polymer is its own, and neighbours say no more of it together than one would. Were they counted
one by one, partial waters of large B would come out sharper, and less occupied, than they are.
"""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.atoms.connections import WATERS, part_of_polymer
from multicopy_refinement.atoms.neighbours import near_in_crystal, near_pairs
from multicopy_refinement.atoms.numbering import number_residues
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.crystal import Cell, SpaceGroup

#: Polar atoms share a hydrogen bond, or a metal, within this, in A.
REACH = 3.3
#: B of waters, and of ligands and ions, in units of that of an atom of a polymer that they are
#: bonded to so: exp(0.27) and exp(0.48).
WATER_TO_OTHERS, LIGAND_TO_OTHERS = 1.3, 1.6
#: Relative sigma of B of two polar atoms of polymers within a hydrogen bond; and of what is no part
#: of one by all its contacts together.
SIMILAR_POLAR, SIMILAR_ALONE = 0.5, 0.45
#: Neither make nor take hydrogen bonds.
_APOLAR = (b"H", b"D", b"C", b"P", b"B", b"SI", b"X")


def polar_pairs(
    table: AtomTable, cell: Cell | None, group: SpaceGroup | None
) -> tuple[IntArray, BoolArray, FloatArray, FloatArray]:
    """Return pairs of polar atoms near each other, mates included, lower atom first ``[m, 2]``.

    Also whether the image that is near is the atom of the file itself, ``[m]``, the expected
    B1/B2 and its relative sigma, ``[m]`` each. Bonds are not looked at.
    """
    pairs, here = _near(table, cell, group)
    residue = number_residues(table)
    water = np.isin(table.resname, WATERS)
    polymer = part_of_polymer(table, residue, np.arange(int(residue.max(initial=-1)) + 1))
    alone = water | ~polymer[residue]
    level = np.where(water, WATER_TO_OTHERS, np.where(alone, LIGAND_TO_OTHERS, 1.0))
    sigma = np.full(len(pairs), SIMILAR_POLAR)
    # all contacts of what stands alone together say as much of its B as one would
    beyond = residue[pairs[:, 0]] != residue[pairs[:, 1]]
    ends = np.where(alone[pairs] & beyond[:, None], residue[pairs], -1)
    count = np.bincount(ends[ends >= 0], minlength=len(polymer))
    most = np.where(ends >= 0, count[ends], 0).max(axis=1, initial=0)
    sigma[most > 0] = SIMILAR_ALONE * np.sqrt(most[most > 0])
    return pairs, here, level[pairs[:, 0]] / level[pairs[:, 1]], sigma


def _near(
    table: AtomTable, cell: Cell | None, group: SpaceGroup | None
) -> tuple[IntArray, BoolArray]:
    polar = np.flatnonzero(~np.isin(table.element, _APOLAR))
    if len(polar) == 0:
        return np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=bool)
    xyz = table.xyz[polar]
    if cell is None or group is None:
        pairs = np.sort(near_pairs(xyz, REACH), axis=1)
        return polar[pairs], np.ones(len(pairs), dtype=bool)
    found, distances = near_in_crystal(xyz, xyz, REACH, cell, group)
    one = np.repeat(np.arange(len(polar)), [len(f) for f in found])
    other, distance = np.concatenate(found), np.concatenate(distances)
    lower = one < other
    one, other, distance = one[lower], other[lower], distance[lower]
    here = np.linalg.norm(xyz[one] - xyz[other], axis=1) < distance + 1e-3
    return np.stack([polar[one], polar[other]], axis=1), here
