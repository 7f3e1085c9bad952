"""Hydrogens that ride: where they are, and how they move, by the atoms they are bound to."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.atoms.connections import near_atoms
from multicopy_refinement.atoms.hydrogen_pairs import BOUND
from multicopy_refinement.atoms.numbering import number_residues
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.geometry.graph import neighbours
from multicopy_refinement.geometry.terms.base import Columns, State, cross, unit
from multicopy_refinement.units import EIGHT_PI_SQUARED

#: Directions that span less than this volume fix no place.
_FLAT = 0.05


@dataclass(frozen=True, eq=False)
class Riding:
    """Hydrogens that keep their place among the bonds of their parents.

    x = x_p + L e, e = s/|s|, s = sum_k a_k v_k; v_1, v_2, v_3 are the unit vectors along bonds of
    the parent (or, where it has one, along that and the next bond), or v_3 = v_1 x v_2 where there
    are two. a_k and L are those of the coordinates as read. A hydrogen of a parent without bonds
    moves as it does. B rides in proportion to that of the parent.

    Attributes
    ----------
    hydrogen, parent
        Rows of the table, ``[h]``.
    tails, heads
        Ends of the vectors v_k, ``[h, 3]``.
    crossed
        Where v_3 is v_1 x v_2, ``[h]``.
    shares
        a_k, ``[h, 3]``; zeros for a hydrogen that moves as its parent does.
    offset
        x - x_p at the start in A, ``[h, 3]``.
    relative_b
        B by that of the parent, ``[h]``.
    anisotropic
        Which of all atoms are, ``[n]``.
    """

    hydrogen: IntArray
    parent: IntArray
    tails: IntArray
    heads: IntArray
    crossed: BoolArray
    shares: FloatArray
    offset: FloatArray
    relative_b: FloatArray
    anisotropic: BoolArray

    def __len__(self) -> int:
        return len(self.hydrogen)

    def placed(self, at: State) -> State:
        """Return a state with the hydrogens where they ride."""
        if len(self) == 0:
            return at
        xyz, b_iso = at.xyz.copy(), at.b_iso.copy()
        xyz[self.hydrogen] = at.xyz[self.parent] + self._away(at.xyz)
        b_iso[self.hydrogen] = self.relative_b * self._parent_b(at)
        return replace(at, xyz=xyz, b_iso=b_iso)

    def slopes(self, at: State) -> sparse.csr_matrix:
        """Return d(all)/d(free), ``[10 n, 10 n]`` in the order of `Columns`.

        The identity but for riding hydrogens: their rows have the derivatives by the atoms that
        place them, their columns are empty.
        """
        columns = Columns(len(at.xyz))
        own = np.ones(columns.size)
        own[columns.xyz(self.hydrogen)] = 0.0
        own[columns.b_iso(self.hydrogen)] = 0.0
        parts = [(np.arange(columns.size), np.arange(columns.size), own)]
        parts += self._by_xyz(at.xyz, columns) + self._by_b(columns)
        row, column, value = (np.concatenate(part) for part in zip(*parts, strict=True))
        found = value != 0
        entries = (value[found], (row[found], column[found]))
        return sparse.csr_matrix(entries, shape=(columns.size, columns.size))

    # ------------------------------------------------------------------ places

    def _vectors(self, xyz: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return v ``[h, 3, 3]`` and the lengths that they had, ``[h, 3]``."""
        vectors, lengths = unit(xyz[self.heads] - xyz[self.tails])
        vectors[self.crossed, 2] = cross(vectors[:, 0], vectors[:, 1])[self.crossed]
        return vectors, lengths

    def _away(self, xyz: FloatArray) -> FloatArray:
        """Return x - x_p, ``[h, 3]``."""
        vectors, _ = self._vectors(xyz)
        direction, size = unit(np.einsum("hk,hki->hi", self.shares, vectors))
        length = np.linalg.norm(self.offset, axis=1)
        return np.where((size > 0)[:, None], length[:, None] * direction, self.offset)

    def _by_xyz(
        self, xyz: FloatArray, columns: Columns
    ) -> list[tuple[IntArray, IntArray, FloatArray]]:
        """Return entries of the derivatives of places."""
        vectors, lengths = self._vectors(xyz)
        direction, size = unit(np.einsum("hk,hki->hi", self.shares, vectors))
        turns = size > 0
        length = np.linalg.norm(self.offset, axis=1)
        across = np.eye(3) - direction[:, :, None] * direction[:, None, :]
        across *= (length / np.where(turns, size, 1.0) * turns)[:, None, None]
        a, third = self.shares, self.shares[:, 2] * self.crossed
        by_vector = [
            a[:, 0, None, None] * np.eye(3) - third[:, None, None] * _cross_matrix(vectors[:, 1]),
            a[:, 1, None, None] * np.eye(3) + third[:, None, None] * _cross_matrix(vectors[:, 0]),
            (a[:, 2] - third)[:, None, None] * np.eye(3),
        ]
        every = np.broadcast_to(np.eye(3), (len(self), 3, 3))
        parts = [_entries(columns.xyz(self.hydrogen), columns.xyz(self.parent), every)]
        for k, by in enumerate(by_vector):
            v = vectors[:, k] if k < 2 else unit(xyz[self.heads[:, 2]] - xyz[self.tails[:, 2]])[0]
            safe = np.where(lengths[:, k] > 0, lengths[:, k], 1.0)[:, None, None]
            turn = (np.eye(3) - v[:, :, None] * v[:, None, :]) / safe
            slope = across @ by @ turn
            for ends, sign in ((self.heads, 1.0), (self.tails, -1.0)):
                parts.append(
                    _entries(columns.xyz(self.hydrogen), columns.xyz(ends[:, k]), sign * slope)
                )
        return parts

    # ------------------------------------------------------------------ displacements

    def _parent_b(self, at: State) -> FloatArray:
        mean_u = at.u_aniso[self.parent, :3].mean(axis=1)
        own = self.anisotropic[self.parent]
        return np.where(own, EIGHT_PI_SQUARED * mean_u, at.b_iso[self.parent])

    def _by_b(self, columns: Columns) -> list[tuple[IntArray, IntArray, FloatArray]]:
        own = self.anisotropic[self.parent]
        place = columns.b_iso(self.hydrogen)
        plain = (place[~own], columns.b_iso(self.parent[~own]), self.relative_b[~own])
        u = columns.u_aniso(self.parent[own])[:, :3]
        factor = np.repeat(self.relative_b[own] * EIGHT_PI_SQUARED / 3, 3)
        return [plain, (np.repeat(place[own], 3), u.ravel(), factor)]

    # ------------------------------------------------------------------ making

    @classmethod
    def of(cls, table: AtomTable, bonded: IntArray) -> Riding:
        """Return how a table's hydrogens ride on bonds ``[m, 2]`` between heavy atoms.

        One rides on the nearest heavy atom of its residue, within 1.5 A, with its letter or none;
        one that has no such atom, or is anisotropic, does not ride.
        """
        hydrogen, parent = parents(table)
        free = table.anisotropic[hydrogen]
        hydrogen, parent = hydrogen[~free], parent[~free]
        starts, partners = neighbours(bonded, len(table))

        def bound(atom: int, letter: bytes, *apart: int) -> list[int]:
            """Return one conformer of each atom that is bonded to one."""
            found: dict[tuple[bytes, int], int] = {}
            for b in partners[starts[atom] : starts[atom + 1]].tolist():
                if b not in apart and table.altloc[b] in {b"", letter or table.altloc[b]}:
                    found.setdefault((table.name[b], int(table.resseq[b])), b)
            return list(found.values())

        h = len(hydrogen)
        tails, heads = np.tile(parent[:, None], 3), np.tile(parent[:, None], 3)
        crossed = np.zeros(h, dtype=bool)
        for i, (atom, base) in enumerate(zip(hydrogen.tolist(), parent.tolist(), strict=True)):
            letter = bytes(table.altloc[atom] or table.altloc[base])
            ends = bound(base, letter)
            crossed[i] = len(ends) < 3
            heads[i, : min(len(ends), 3)] = ends[:3]
            if len(ends) == 1:  # the next bond fixes the turn about the one that there is
                beyond = bound(ends[0], letter or bytes(table.altloc[ends[0]]), base)
                tails[i, 1], heads[i, 1] = ends[0], beyond[0] if beyond else ends[0]
        b = np.where(table.anisotropic[parent],
                     EIGHT_PI_SQUARED * table.u_aniso[parent, :3].mean(axis=1),
                     table.b_iso[parent])  # fmt: skip
        relative = np.where(b > 0, table.b_iso[hydrogen] / np.where(b > 0, b, 1.0), 1.0)
        offset = table.xyz[hydrogen] - table.xyz[parent]
        made = cls(
            hydrogen, parent, tails, heads, crossed, np.zeros((h, 3)), offset, relative,
            table.anisotropic,
        )  # fmt: skip
        return made._settled(table.xyz)

    def _settled(self, xyz: FloatArray) -> Riding:
        """Return the same with the shares of its vectors, crossed where three are in a plane."""
        flat = ~self.crossed & (np.abs(np.linalg.det(self._vectors(xyz)[0])) < _FLAT)
        made = replace(self, crossed=self.crossed | flat)
        vectors = made._vectors(xyz)[0]
        sound = np.abs(np.linalg.det(vectors)) > _FLAT
        shares = np.zeros((len(self), 3))
        direction = unit(self.offset)[0]
        basis = vectors[sound].transpose(0, 2, 1)
        shares[sound] = np.linalg.solve(basis, direction[sound][..., None])[..., 0]
        return replace(made, shares=shares)


def parents(table: AtomTable) -> tuple[IntArray, IntArray]:
    """Return hydrogens and the heavy atoms that they are bound to, ``[h]`` each."""
    hydrogen = np.flatnonzero(table.hydrogen)
    if len(hydrogen) == 0:
        return hydrogen, hydrogen
    pairs = near_atoms(table, np.arange(len(table)), BOUND)
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    one, other = pairs[table.hydrogen[pairs[:, 0]] & ~table.hydrogen[pairs[:, 1]]].T
    residue = number_residues(table)
    letter = table.altloc.view(np.uint8)
    agree = (letter[one] == letter[other]) | (letter[one] == 0) | (letter[other] == 0)
    agree &= residue[one] == residue[other]
    one, other = one[agree], other[agree]
    distance = np.linalg.norm(table.xyz[one] - table.xyz[other], axis=1)
    order = np.lexsort((other, distance, one))
    _, first = np.unique(one[order], return_index=True)
    return one[order][first], other[order][first]


def _cross_matrix(vectors: FloatArray) -> FloatArray:
    """Return M with M w = v x w, ``[h, 3, 3]``."""
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    rows = [zero, -z, y, z, zero, -x, -y, x, zero]
    return np.stack(rows, axis=1).reshape(-1, 3, 3)


def _entries(
    rows: IntArray, columns: IntArray, values: FloatArray
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return entries of blocks ``[h, 3, 3]`` with their rows and columns ``[h, 3]``."""
    shape = values.shape
    row = np.broadcast_to(rows[:, :, None], shape)
    column = np.broadcast_to(columns[:, None, :], shape)
    return row.ravel(), column.ravel(), np.asarray(values).ravel()
