"""Pairs of polar atoms that may share a hydrogen bond: what holds the B of waters and ligands.

In eight real models of 1.2 to 2 A ln(B1/B2) of such pairs has a mean of 0.27 and a deviation of
0.41 for waters and other atoms (1454 pairs), and deviations of 0.38 between waters (839) and 0.27
between others (1501).
"""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.atoms.connections import WATERS
from multicopy_refinement.atoms.neighbours import near_in_crystal, near_pairs
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.crystal import Cell, SpaceGroup

#: Polar atoms share a hydrogen bond, or a metal, within this, in A.
REACH = 3.3
#: B of a water in units of that of an atom of another kind that it is bonded to so: exp(0.27).
WATER_TO_OTHERS = 1.3
#: Neither make nor take hydrogen bonds.
_APOLAR = (b"H", b"D", b"C", b"P", b"B", b"SI", b"X")


def polar_pairs(
    table: AtomTable, cell: Cell | None, group: SpaceGroup | None
) -> tuple[IntArray, BoolArray, FloatArray]:
    """Return pairs of polar atoms near each other, mates included, lower atom first ``[m, 2]``.

    Also whether the image that is near is the atom of the file itself, ``[m]``, and the expected
    B1/B2, ``[m]``. Bonds are not looked at.
    """
    pairs, here = _near(table, cell, group)
    water = np.isin(table.resname, WATERS)[pairs]
    return pairs, here, WATER_TO_OTHERS ** (water[:, 0].astype(float) - water[:, 1])


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
