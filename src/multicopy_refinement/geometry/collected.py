"""Restraints as they are gathered from gemmi's topology, before they are arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import compress
from math import isfinite, radians
from typing import Any

import gemmi
import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.geometry.images import Images
from multicopy_refinement.geometry.own import (
    SIGMA_ANGLE,
    SIGMA_BOND,
    SIGMA_PLANE,
    SIGMA_VOLUME,
    OwnGeometry,
)
from multicopy_refinement.geometry.terms.angles import STRAIGHT, Angles, StraightAngles
from multicopy_refinement.geometry.terms.bonds import Bonds
from multicopy_refinement.geometry.terms.chirality import Chirality
from multicopy_refinement.geometry.terms.planes import Planes
from multicopy_refinement.geometry.terms.torsions import Torsions

#: Torsions that are restrained: those of peptides and about double bonds, and of side chains
#: (proline's ring, which puckers either way, apart). Others (phi, psi, single bonds of ligands)
#: have minima that a crystal does not have to obey.
TORSIONS, SIDE_CHAIN = ("omega", "sp2_sp2"), "chi"


@dataclass
class _Rows:
    """Restraints of one kind: atoms, ideal value, sigma, and one number more."""

    atoms: list[tuple[int, ...]] = field(default_factory=list)
    ideal: list[float] = field(default_factory=list)
    sigma: list[float] = field(default_factory=list)
    extra: list[int] = field(default_factory=list)

    def add(self, atoms: tuple[int, ...], ideal: float, sigma: float, extra: int = 0) -> None:
        if sigma > 0 and isfinite(ideal) and isfinite(sigma):
            self.atoms.append(atoms)
            self.ideal.append(ideal)
            self.sigma.append(sigma)
            self.extra.append(extra)

    def without(self, left_out: BoolArray) -> None:
        out = set(np.flatnonzero(left_out).tolist())
        keep = [out.isdisjoint(atoms) for atoms in self.atoms]
        self.atoms = list(compress(self.atoms, keep))
        self.ideal = list(compress(self.ideal, keep))
        self.sigma = list(compress(self.sigma, keep))
        self.extra = list(compress(self.extra, keep))

    def arrays(self, size: int) -> tuple[IntArray, FloatArray, FloatArray]:
        """Return atoms ``[m, size]``, ideal values and sigmas."""
        atoms = np.array(self.atoms, dtype=np.int64).reshape(-1, size)
        return atoms, np.array(self.ideal), np.array(self.sigma)


class Collected:
    """Restraints on the rows of a table of n atoms."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.images = Images.identity()
        self._bonds, self._angles, self._torsions, self._volumes = (
            _Rows(),
            _Rows(),
            _Rows(),
            _Rows(),
        )
        self._planes: list[tuple[tuple[int, ...], float]] = []
        self._skipped: dict[gemmi.RKind, set[int]] = {}

    # ------------------------------------------------------------------ gathering

    def skip_rules(self, link: gemmi.Topo.Link) -> None:
        """Leave out what a link of the topology that is taken next says."""
        for rule in link.link_rules:
            self._skipped.setdefault(rule.rkind, set()).add(rule.index)

    def add_bond(self, atoms: list[int], ideal: float, sigma: float, image: Images) -> None:
        """Add a bond to a symmetry mate."""
        number = len(self.images)
        self.images = self.images.joined(image)
        self._bonds.add(tuple(atoms), ideal, sigma, number)

    def take(self, topo: gemmi.Topo, own: set[int], amino_acids: BoolArray) -> None:
        """Add what a topology says; what is about atoms of ``own`` alone is left out.

        Side-chain torsions are taken of ``amino_acids``, bool ``[n]``.

        The dictionary gives no sigma for volumes: that of V = abc sqrt(1 - cos^2 alpha - cos^2 beta
        - cos^2 gamma + 2 cos alpha cos beta cos gamma) follows from those of bonds and angles.
        """

        def rows(kind: gemmi.RKind, restraints: list[Any]) -> list[tuple[tuple[int, ...], Any]]:
            skipped = self._skipped.get(kind, set())
            found = [
                (tuple([atom.serial for atom in r.atoms]), r)
                for i, r in enumerate(restraints)
                if i not in skipped
            ]
            return [f for f in found if own.isdisjoint(f[0]) or not own.issuperset(f[0])]

        lengths: dict[frozenset[int], tuple[float, float]] = {}
        for atoms, bond in rows(gemmi.RKind.Bond, list(topo.bonds)):
            value, esd = bond.restr.value, bond.restr.esd
            esd = esd if esd > 0 else SIGMA_BOND  # a link that no library has
            self._bonds.add(atoms, value, esd)
            lengths[frozenset(atoms)] = value, esd
        bends: dict[tuple[int, frozenset[int]], tuple[float, float]] = {}
        for atoms, angle in rows(gemmi.RKind.Angle, list(topo.angles)):
            value, esd = radians(angle.restr.value), radians(angle.restr.esd)
            self._angles.add(atoms, value, esd)
            bends[atoms[1], frozenset((atoms[0], atoms[2]))] = value, esd
        for atoms, torsion in rows(gemmi.RKind.Torsion, list(topo.torsions)):
            given = torsion.restr
            if given.label.startswith(TORSIONS) or (
                given.label.startswith(SIDE_CHAIN) and amino_acids[atoms[1]]
            ):
                value, esd = radians(given.value), radians(given.esd)
                self._torsions.add(atoms, value, esd, max(given.period, 1))
        for atoms, chirality in rows(gemmi.RKind.Chirality, list(topo.chirs)):
            volume = topo.ideal_chiral_abs_volume(chirality)
            sign = chirality.restr.sign
            either = sign == gemmi.ChiralityType.Both
            signed = -volume if sign == gemmi.ChiralityType.Negative else volume
            self._volumes.add(atoms, signed, _volume_sigma(atoms, lengths, bends), int(either))
        for atoms, plane in rows(gemmi.RKind.Plane, list(topo.planes)):
            self._planes.append((atoms, plane.restr.esd))
        self._skipped.clear()

    def add_own(self, xyz: FloatArray, found: OwnGeometry) -> None:
        """Add restraints to values as they are in ``xyz``."""
        for term, rows, atoms, sigma in (
            (Bonds, self._bonds, found.bonds, SIGMA_BOND),
            (Angles, self._angles, found.angles, np.radians(SIGMA_ANGLE)),
            (_either_hand, self._volumes, found.chirality, SIGMA_VOLUME),
        ):
            if atoms:
                index = np.array(atoms, dtype=np.int64)
                nothing = np.zeros(len(index))
                values = term(index, nothing, nothing).measure(xyz[index])[0]
                for these, value in zip(atoms, values.tolist(), strict=True):
                    rows.add(these, value, sigma)
        self._planes += [(atoms, SIGMA_PLANE) for atoms in found.planes]

    def bonded(self) -> IntArray:
        """Return the bonds within the asymmetric unit, ``[m, 2]``."""
        atoms, _, _ = self._bonds.arrays(2)
        return np.asarray(atoms[np.array(self._bonds.extra, dtype=np.int64) == 0])

    def without(self, left_out: BoolArray) -> None:
        """Drop what is about atoms that are left out; planes go on without them."""
        for rows in (self._bonds, self._angles, self._torsions, self._volumes):
            rows.without(left_out)
        kept = [(tuple(a for a in atoms if not left_out[a]), esd) for atoms, esd in self._planes]
        self._planes = [(atoms, esd) for atoms, esd in kept if len(atoms) > 3 and esd > 0]

    # ------------------------------------------------------------------ arrays

    def bonds(self) -> Bonds:
        """Return the bonds."""
        image = np.array(self._bonds.extra, dtype=np.int64)
        return Bonds(*self._bonds.arrays(2), image, self.images)

    def angles(self) -> Angles:
        """Return the angles that are not straight."""
        atoms, ideal, sigma = self._angles.arrays(3)
        bent = ideal <= STRAIGHT
        return Angles(atoms[bent], ideal[bent], sigma[bent])

    def straight_angles(self) -> StraightAngles:
        """Return the straight angles."""
        atoms, ideal, sigma = self._angles.arrays(3)
        straight = ideal > STRAIGHT
        return StraightAngles(atoms[straight], np.full(int(straight.sum()), np.pi), sigma[straight])

    def torsions(self) -> Torsions:
        """Return the torsions."""
        period = np.array(self._torsions.extra, dtype=np.int64)
        return Torsions(*self._torsions.arrays(4), period)

    def chirality(self) -> Chirality:
        """Return the chiral volumes."""
        either = np.array(self._volumes.extra, dtype=bool)
        return Chirality(*self._volumes.arrays(4), either)

    def planes(self) -> Planes:
        """Return the planes, those with as many atoms together."""
        sizes = sorted({len(atoms) for atoms, _ in self._planes})
        alike = [[p for p in self._planes if len(p[0]) == size] for size in sizes]
        return Planes(
            tuple(np.array([atoms for atoms, _ in some], dtype=np.int64) for some in alike),
            tuple(np.array([esd for _, esd in some]) for some in alike),
        )


def _either_hand(atoms: IntArray, ideal: FloatArray, sigma: FloatArray) -> Chirality:
    return Chirality(atoms, ideal, sigma, np.zeros(len(atoms), dtype=bool))


def _volume_sigma(
    atoms: tuple[int, ...],
    lengths: dict[frozenset[int], tuple[float, float]],
    bends: dict[tuple[int, frozenset[int]], tuple[float, float]],
) -> float:
    """Return the sigma of a volume by propagation, 0.2 A^3 where a bond or angle is unknown."""
    centre, *ends = atoms
    try:
        bonds = np.array([lengths[frozenset((centre, end))] for end in ends])
        pairs = ((1, 2), (0, 2), (0, 1))
        angles = np.array([bends[centre, frozenset((ends[i], ends[j]))] for i, j in pairs])
    except KeyError:
        return SIGMA_VOLUME
    cosine, sine = np.cos(angles[:, 0]), np.sin(angles[:, 0])
    inside = 1 - (cosine**2).sum() + 2 * cosine.prod()
    if inside <= 1e-4:
        return SIGMA_VOLUME
    others = np.array([cosine[1] * cosine[2], cosine[0] * cosine[2], cosine[0] * cosine[1]])
    product = bonds[:, 0].prod()
    by_angle = product / np.sqrt(inside) * (cosine - others) * sine
    by_bond = product * np.sqrt(inside) / bonds[:, 0]
    return float(np.sqrt(((by_angle * angles[:, 1]) ** 2 + (by_bond * bonds[:, 1]) ** 2).sum()))
