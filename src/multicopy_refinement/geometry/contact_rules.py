"""How near two atoms may come that no bonds join, and which of them cannot meet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.atoms.numbering import number_residues
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.geometry.energy_types import AtomTypes
from multicopy_refinement.geometry.graph import Separations, neighbours
from multicopy_refinement.geometry.images import Images
from multicopy_refinement.geometry.terms.bonds import Bonds
from multicopy_refinement.geometry.terms.planes import Planes
from multicopy_refinement.geometry.topology import Topology
from multicopy_refinement.occupancy.groups import OccupancyGroups

#: What is taken from the sum of radii, in A: of donor and acceptor; of each of two atoms that three
#: bonds separate.
HYDROGEN_BOND, TORSION = 0.3, 0.15
#: A donor's hydrogen may come as near to an acceptor as its radius and this, in A.
HYDROGEN_ACCEPTOR = 0.1
#: Parts whose occupancies sum to no more than this may exclude each other.
FULL = 1.01


@dataclass(frozen=True, eq=False)
class ContactRules:
    """What is known of pairs of atoms that may touch.

    Attributes
    ----------
    table
        The atoms.
    types
        Their radii and roles.
    radius
        Van der Waals radii in A, of an atom with its hydrogens where the file has none of them.
    polar
        Hydrogens that are bound to donors.
    separations
        Pairs that up to three bonds separate.
    planar
        Keys (lower row times n, and the higher) of pairs that are in one plane.
    mates
        Keys (image, row, row) of pairs that up to three bonds separate, one of them to a mate.
    fixed
        Atoms on special positions of each image, ``[k, n]``.
    part
        Occupancy group of each atom.
    exclusive
        Set of each group or -1: its members exclude each other.
    occupancy
        At the start, ``[n]``.
    residue
        Number of each atom's residue if no dictionary describes the atom, else -1.
    """

    table: AtomTable
    types: AtomTypes
    radius: FloatArray
    polar: BoolArray
    separations: Separations
    planar: IntArray
    mates: IntArray
    fixed: BoolArray
    part: IntArray
    exclusive: IntArray
    occupancy: FloatArray
    residue: IntArray

    def limits(self, pairs: IntArray, image: IntArray) -> FloatArray:
        """Return how near atoms ``[m, 2]`` may come in A, 0 for those that may come to any.

        The sum of their van der Waals radii; 0.3 A less for a donor and an acceptor; the acceptor's
        radius and 0.1 A for a donor's hydrogen; the sum of ionic radii for a metal and what is no
        carbon; bare radii less 0.15 A each where three bonds separate them. No limit is between
        atoms that one or two bonds separate, of one plane, of two metals, or that exclude each
        other: other letters, members of one sum, or partial atoms without a letter in common whose
        occupancies sum to no more than 1. Mates are met by whole atoms, and by partial ones that
        sum to more than 1. An image of an atom on a special position is that atom. Within a residue
        without a dictionary atoms may be as near as they are in the coordinates as read.

        Parameters
        ----------
        pairs
            Rows of the table, ``[m, 2]``.
        image
            Operation of the second atom, ``[m]``.
        """
        types, (one, other) = self.types, pairs.T
        limit = self.radius[pairs].sum(axis=1)
        donor, acceptor = types.donor[pairs], types.acceptor[pairs]
        bridged = (donor & acceptor[:, ::-1]).any(axis=1)
        limit = limit - HYDROGEN_BOND * bridged
        touching = self.polar[pairs] & acceptor[:, ::-1]
        reach = (touching[:, ::-1] * self.radius[pairs]).sum(axis=1) + HYDROGEN_ACCEPTOR
        limit = np.where(touching.any(axis=1), reach, limit)
        ionic = types.ionic[pairs].sum(axis=1)
        metal = types.metal[pairs]
        limit = np.where(metal.any(axis=1) & np.isfinite(ionic), ionic, limit)
        limit = np.where(metal.all(axis=1), 0.0, limit)
        steps = self._steps(pairs, image)
        short = types.radius[pairs].sum(axis=1) - 2 * TORSION
        limit = np.where(steps == 3, np.minimum(short, limit), limit)
        kept = (self.residue[one] >= 0) & (self.residue[one] == self.residue[other])
        between = np.linalg.norm(self.table.xyz[one] - self.table.xyz[other], axis=1)
        limit = np.where(kept & (image == 0), np.minimum(limit, between), limit)
        apart = (steps == 1) | (steps == 2) | self._excluded(one, other, image)
        return np.where(apart, 0.0, limit)

    def _steps(self, pairs: IntArray, image: IntArray) -> IntArray:
        """Return how many bonds separate each pair, 0 for more than three; 1 in one plane."""
        n = len(self.table)
        own = np.where(image == 0, pairs.min(axis=1) * n + pairs.max(axis=1), -1)
        keys = self.separations.pairs[:, 0] * n + self.separations.pairs[:, 1]
        steps = np.zeros(len(pairs), dtype=np.int64)
        order = np.argsort(keys)
        place = np.minimum(np.searchsorted(keys[order], own), max(len(keys) - 1, 0))
        if len(keys):
            hit = keys[order][place] == own
            steps[hit] = self.separations.bonds[order][place][hit]
        steps[(steps == 3) & np.isin(own, self.planar)] = 1
        joined = np.isin((image * n + pairs[:, 0]) * n + pairs[:, 1], self.mates)
        steps[joined & (image > 0)] = 2
        return steps

    def _excluded(self, one: IntArray, other: IntArray, image: IntArray) -> BoolArray:
        """Return which pairs cannot meet."""
        table = self.table
        letter = table.altloc.view(np.uint8)
        a, b = letter[one], letter[other]
        cannot = (table.model[one] != table.model[other]) | ((a != b) & (a > 0) & (b > 0))
        group, partner = self.part[one], self.part[other]
        known = self.exclusive[group]
        cannot |= (group != partner) & (known >= 0) & (known == self.exclusive[partner])
        partial = self.occupancy[one] + self.occupancy[other] <= FULL
        same = (image == 0) & ((group == partner) | ((a == b) & (a > 0)))
        cannot |= partial & ~same
        special = self.fixed[image, one] | self.fixed[image, other]
        return np.asarray(cannot | (special & (image > 0)))

    @classmethod
    def of(
        cls,
        table: AtomTable,
        groups: OccupancyGroups,
        topology: Topology,
        bonded: IntArray,
        images: Images,
    ) -> ContactRules:
        """Return the rules of a model.

        Parameters
        ----------
        table, groups
            Its atoms, and their occupancy groups.
        topology
            Its restraints, radii and roles of atoms.
        bonded
            Bonds within the asymmetric unit, hydrogens included, ``[m, 2]``.
        images
            Operations that bring mates near.
        """
        n, types = len(table), topology.types
        ends = np.concatenate([bonded, bonded[:, ::-1]])
        of_hydrogen = ends[table.hydrogen[ends[:, 0]] & ~table.hydrogen[ends[:, 1]]]
        bare = np.zeros(n, dtype=bool)
        bare[of_hydrogen[:, 1]] = True
        polar = np.zeros(n, dtype=bool)
        polar[of_hydrogen[:, 0]] = types.donor[of_hydrogen[:, 1]]
        fixed = images.fixed(table.xyz)
        return cls(
            table=table,
            types=types,
            radius=np.where(bare, types.radius, types.with_hydrogens),
            polar=polar,
            separations=Separations.of(bonded, n),
            planar=_in_one_plane(topology.planes, n),
            mates=_joined_mates(topology.bonds, bonded, images, fixed),
            fixed=fixed,
            part=groups.index,
            exclusive=groups.sums.set_index,
            occupancy=groups.occupancy[groups.index],
            residue=np.where(topology.described, -1, number_residues(table)),
        )


def _in_one_plane(planes: Planes, n: int) -> IntArray:
    """Return keys of the pairs that share a plane."""
    keys = [np.zeros(0, dtype=np.int64)]
    for group in planes.groups:
        first, second = np.triu_indices(group.shape[1], 1)
        low = np.minimum(group[:, first], group[:, second])
        keys.append((low * n + np.maximum(group[:, first], group[:, second])).ravel())
    return np.unique(np.concatenate(keys))


def _joined_mates(bonds: Bonds, bonded: IntArray, images: Images, fixed: BoolArray) -> IntArray:
    """Return keys of pairs that up to three bonds separate, by a bond to a mate.

    An atom on a special position is bonded to the mates of what it is bonded to.
    """
    n = fixed.shape[1]
    keys: set[int] = set()
    starts, partners = neighbours(bonded, n)

    def join(there: int, one: int, other: int, between: int) -> None:
        for a, steps in _around(one, starts, partners).items():
            for b, more in _around(other, starts, partners).items():
                if steps + between + more <= 3:
                    keys.add((there * n + a) * n + b)

    image = bonds.image if bonds.image is not None else np.zeros(len(bonds), dtype=np.int64)
    for row in np.flatnonzero(image).tolist():
        number, (one, other) = int(image[row]), bonds.atoms[row].tolist()
        undone = bonds.images.inverse
        there = _number_of(images, bonds.images.rotation[number], bonds.images.shift[number])
        back = _number_of(images, undone.rotation[number], undone.shift[number])
        join(there, one, other, 1)
        join(back, other, one, 1)
    for number, atom in np.argwhere(fixed).tolist():
        join(number, atom, atom, 0)
    return np.array(sorted(keys), dtype=np.int64)


def _number_of(images: Images, rotation: FloatArray, shift: FloatArray) -> int:
    """Return the number of an operation; that of none where it brings nothing near."""
    off = np.abs(images.rotation - rotation).max(axis=(1, 2)) + np.abs(images.shift - shift).max(1)
    best = int(np.argmin(off))
    return best if off[best] < 1e-3 else len(images)


def _around(atom: int, starts: IntArray, partners: IntArray) -> dict[int, int]:
    """Return the atoms within two bonds of one, and how many bonds."""
    found, edge = {atom: 0}, [atom]
    for steps in (1, 2):
        edge = [b for a in edge for b in partners[starts[a] : starts[a + 1]].tolist()]
        for b in edge:
            found.setdefault(b, steps)
    return found
