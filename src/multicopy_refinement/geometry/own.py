"""Restraints of atoms that no dictionary describes: they keep the geometry that they have."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations

import gemmi
import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.atoms.connections import BOND_TOLERANCE, WATERS, near_atoms
from multicopy_refinement.atoms.numbering import number_residues
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.geometry.graph import neighbours

#: Sigmas: of bonds in A, angles in degrees, planes in A, chiral volumes in A^3.
SIGMA_BOND, SIGMA_ANGLE, SIGMA_PLANE, SIGMA_VOLUME = 0.02, 3.0, 0.02, 0.2
#: No bond is longer, in A.
LONGEST = 3.2
#: Atoms this near to a plane, in A, are in it; three bonds span no volume below this, in A^3.
FLAT, FLAT_VOLUME = 0.05, 0.4
#: Two bonds of a carbon are wide where the cosine of their angle (116 degrees) is below this.
WIDE = -0.44
#: Rings of this many atoms may be flat.
_RINGS = (3, 4, 5, 6, 7)


@dataclass
class OwnGeometry:
    """Atoms of each restraint; the ideal values are those of the coordinates as they are."""

    bonds: list[tuple[int, int]] = field(default_factory=list)
    angles: list[tuple[int, int, int]] = field(default_factory=list)
    chirality: list[tuple[int, int, int, int]] = field(default_factory=list)
    planes: list[tuple[int, ...]] = field(default_factory=list)


def own_geometry(table: AtomTable, own: BoolArray, known: IntArray) -> OwnGeometry:
    """Return restraints that hold ``own`` atoms as they are.

    Bonds are pairs closer than their covalent radii and 0.3 A, within a residue or, metals and
    waters apart, between two, and links of the file; altlocs agree or one has none.

    Parameters
    ----------
    table
        The atoms.
    own
        Which atoms no dictionary describes, ``[n]``; hydrogens are left out.
    known
        Bonds that are restrained already, ``[m, 2]``.
    """
    made = OwnGeometry()
    heavy = own & ~table.hydrogen
    if not heavy.any():
        return made
    made.bonds = _bonds(table, heavy, {tuple(sorted(pair)) for pair in known.tolist()})
    bonds = [*made.bonds, *((int(a), int(b)) for a, b in known if not table.hydrogen[[a, b]].any())]
    partners: dict[int, set[int]] = {}
    for a, b in bonds:
        partners.setdefault(a, set()).add(b)
        partners.setdefault(b, set()).add(a)
    new = {frozenset(pair) for pair in made.bonds}
    around = {atom for atom in partners if heavy[atom] or any(heavy[b] for b in partners[atom])}
    for centre in sorted(around):
        ends = sorted(partners[centre])
        made.angles += [
            (a, centre, b)
            for a, b in combinations(ends, 2)
            if {frozenset((a, centre)), frozenset((b, centre))} & new and together(table, a, b)
        ]
        if heavy[centre]:
            _shape(table, centre, ends, made)
    made.planes += _flat_rings(table, partners, heavy)
    made.planes = _largest(made.planes)
    return made


def carbon_types(table: AtomTable, own: BoolArray, bonded: IntArray) -> dict[int, str]:
    """Return energy types of ``own`` carbons by their bonds ``[m, 2]`` to heavy atoms.

    Four bonds: no hydrogen; three: one hydrogen unless they are flat; two: one hydrogen if they are
    wide, as in rings of sp2 carbon, else two; one: three.
    """
    carbon = own & (table.element == b"C")
    starts, partners = neighbours(bonded, len(table))
    found = {}
    for atom in np.flatnonzero(carbon).tolist():
        ends = partners[starts[atom] : starts[atom + 1]].tolist()
        letter = _letters(table, [atom, *ends])[0]
        mine = [b for b in ends if table.altloc[b] in {b"", letter}]
        spans = table.xyz[mine] - table.xyz[atom]
        if len(mine) > 3:
            found[atom] = "CT"
        elif len(mine) == 3:
            found[atom] = "C" if abs(np.linalg.det(spans)) < FLAT_VOLUME else "CH1"
        elif len(mine) == 2:
            cosine = spans[0] @ spans[1] / np.linalg.norm(spans, axis=1).prod()
            found[atom] = "CR16" if cosine < WIDE else "CH2"
        else:
            found[atom] = "CH3"
    return found


def together(table: AtomTable, *atoms: int) -> bool:
    """Return whether atoms can be there at once: no two different letters, one MODEL."""
    letters = {table.altloc[atom] for atom in atoms} - {b""}
    return len(letters) < 2 and len({int(table.model[atom]) for atom in atoms}) == 1


def _bonds(
    table: AtomTable, heavy: BoolArray, known: set[tuple[int, ...]]
) -> list[tuple[int, int]]:
    atoms = np.flatnonzero(~table.hydrogen & ~np.isin(table.resname, WATERS))
    box_low, box_high = (f(table.xyz[heavy], axis=0) for f in (np.min, np.max))
    inside = (table.xyz[atoms] > box_low - LONGEST) & (table.xyz[atoms] < box_high + LONGEST)
    atoms = atoms[inside.all(axis=1)]
    pairs = near_atoms(table, atoms, LONGEST)
    pairs = pairs[heavy[pairs].any(axis=1)]
    symbols, place = np.unique(table.element, return_inverse=True)
    elements = [gemmi.Element(symbol.decode()) for symbol in symbols.tolist()]
    radius = np.array([e.covalent_r for e in elements])[place]
    metal = np.array([e.is_metal for e in elements])[place]
    residue = number_residues(table)
    distance = np.linalg.norm(table.xyz[pairs[:, 0]] - table.xyz[pairs[:, 1]], axis=1)
    near = distance < radius[pairs].sum(axis=1) + BOND_TOLERANCE
    inner = residue[pairs[:, 0]] == residue[pairs[:, 1]]
    inner |= ~metal[pairs].any(axis=1)
    found = {tuple(pair) for pair in np.sort(pairs[near & inner], axis=1).tolist()}
    found |= {tuple(sorted(link)) for link in table.links if heavy[list(link)].any()}
    links = np.array(sorted(found - known), dtype=np.int64).reshape(-1, 2)
    length = np.linalg.norm(table.xyz[links[:, 0]] - table.xyz[links[:, 1]], axis=1)
    sound = (length < LONGEST) & ~table.hydrogen[links].any(axis=1)
    return [(a, b) for a, b in links[sound].tolist() if together(table, a, b)]


def _shape(table: AtomTable, centre: int, ends: list[int], made: OwnGeometry) -> None:
    """Add the hand of a centre with three bonds or more, or its plane where it is flat."""
    for letter in _letters(table, [centre, *ends]):
        mine = [atom for atom in ends if table.altloc[atom] in {b"", letter}]
        if len(mine) < 3 or table.altloc[centre] not in {b"", letter}:
            continue
        a, b, c = mine[:3]
        spans = table.xyz[[a, b, c]] - table.xyz[centre]
        if abs(np.linalg.det(spans)) > FLAT_VOLUME:
            made.chirality.append((centre, a, b, c))
        elif len(mine) == 3 and _off_plane(table.xyz[[centre, *mine]]).max() < FLAT:
            made.planes.append(tuple(sorted((centre, *mine))))
    made.chirality = list(dict.fromkeys(made.chirality))


def _letters(table: AtomTable, atoms: list[int]) -> list[bytes]:
    """Return the letters among atoms, or the blank alone."""
    return sorted({table.altloc[atom] for atom in atoms} - {b""}) or [b""]


def _off_plane(points: FloatArray) -> FloatArray:
    """Return distances to the least-squares plane."""
    offsets = points - points.mean(axis=0)
    return np.asarray(np.abs(offsets @ np.linalg.svd(offsets)[2][-1]))


def _flat_rings(
    table: AtomTable, partners: dict[int, set[int]], heavy: BoolArray
) -> list[tuple[int, ...]]:
    """Return flat rings of own atoms, with what is bonded to them in their plane."""
    found = []
    for ring in _rings(table, partners, heavy):
        if _off_plane(table.xyz[list(ring)]).max() > FLAT:
            continue
        members = list(ring)
        beside = sorted({b for a in ring for b in partners[a]} - set(ring))
        for atom in beside:
            if together(table, *members, atom) and (
                _off_plane(table.xyz[[*members, atom]]).max() < FLAT
            ):
                members.append(atom)
        if len(members) > 3:
            found.append(tuple(sorted(members)))
    return found


def _rings(
    table: AtomTable, partners: dict[int, set[int]], heavy: BoolArray
) -> set[tuple[int, ...]]:
    """Return rings of up to seven own atoms that can be there at once, each once."""
    rings: set[tuple[int, ...]] = set()
    for start in sorted(partners):
        if not heavy[start]:
            continue
        paths: list[tuple[int, ...]] = [(start,)]
        for _ in range(max(_RINGS)):
            longer: list[tuple[int, ...]] = []
            for path in paths:
                for atom in partners[path[-1]]:
                    if atom == start and len(path) in _RINGS:
                        rings.add(tuple(sorted(path)))
                    elif (
                        atom > start
                        and atom not in path
                        and heavy[atom]
                        and together(table, *path, atom)
                    ):
                        longer.append((*path, atom))
            paths = longer
    return {r for r in rings if not any(set(s) < set(r) for s in rings)}


def _largest(planes: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return planes that are no part of another, each once."""
    unique = list(dict.fromkeys(planes))
    return [p for p in unique if not any(set(p) < set(q) for q in unique)]
