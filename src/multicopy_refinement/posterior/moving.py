"""Coordinates and displacements of atoms as unknowns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.geometry.riding import Riding
from multicopy_refinement.geometry.terms.base import Columns, State
from multicopy_refinement.posterior.blocks import Block, Kind, Point
from multicopy_refinement.units import EIGHT_PI_SQUARED

#: An atom that is nearer than this to an image of itself stays on the symmetry element, in A.
SPECIAL = 0.1


@dataclass(frozen=True, eq=False)
class MovingAtoms:
    """Shifts of coordinates (XYZ) and of B or U (DISPLACEMENT) of some atoms.

    The state of all atoms is start + E p, p the shifts: of x, y, z in A, of atoms on symmetry
    elements along what these allow; of B in A^2, which for an anisotropic atom is the shift of U
    that has the same B, or of U's six elements. Riding hydrogens follow.

    Attributes
    ----------
    start
        State of all atoms without shifts.
    of_xyz, of_displacement
        E, sparse ``[10 n, size]``, rows in the order of `Columns`.
    riding
        Hydrogens that ride.
    """

    start: State
    of_xyz: sparse.csr_matrix
    of_displacement: sparse.csr_matrix
    riding: Riding

    @property
    def n_atoms(self) -> int:
        """Number of all atoms."""
        return len(self.start.xyz)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks of unknowns; those without any are left out."""
        sizes = {Kind.XYZ: self.of_xyz.shape[1], Kind.DISPLACEMENT: self.of_displacement.shape[1]}
        return tuple(Block.unbounded(kind, size) for kind, size in sizes.items() if size)

    @cached_property
    def matrix(self) -> sparse.csr_matrix:
        """E of both kinds beside one another."""
        return sparse.hstack([self.of_xyz, self.of_displacement], format="csr")

    @property
    def size(self) -> int:
        """Number of shifts."""
        return int(self.of_xyz.shape[1] + self.of_displacement.shape[1])

    def atom_of(self, kind: Kind) -> IntArray:
        """Return the atom of each shift of a kind."""
        matrix = self.of_xyz if kind is Kind.XYZ else self.of_displacement
        columns, n = matrix.tocsc(), self.n_atoms
        row = columns.indices[columns.indptr[:-1]].astype(np.int64)
        of_u = (row - 4 * n) // 6
        return np.asarray(np.where(row < 3 * n, row // 3, np.where(row < 4 * n, row - 3 * n, of_u)))

    def shifts(self, at: Point) -> FloatArray:
        """Return p of a point."""
        parts = [at.get(Kind.XYZ), at.get(Kind.DISPLACEMENT)]
        return np.concatenate([np.zeros(0), *(part for part in parts if part is not None)])

    def free_state(self, at: Point) -> State:
        """Return the state of all atoms, hydrogens where they were."""
        n = self.n_atoms
        moved = self.matrix @ self.shifts(at)
        return State(
            self.start.xyz + moved[: 3 * n].reshape(n, 3),
            self.start.b_iso + moved[3 * n : 4 * n],
            self.start.u_aniso + moved[4 * n :].reshape(n, 6),
        )

    def state(self, at: Point) -> State:
        """Return the state of all atoms, hydrogens where they ride."""
        return self.riding.placed(self.free_state(at))

    def slopes(self, at: Point) -> sparse.csr_matrix:
        """Return d(state)/dp with hydrogens riding, sparse ``[10 n, size]``."""
        if len(self.riding) == 0:
            return self.matrix
        return (self.riding.slopes(self.free_state(at)) @ self.matrix).tocsr()

    def atoms(self) -> BoolArray:
        """Return which atoms move with any shift, ``[n]``."""
        n = self.n_atoms
        if self.size == 0:
            return np.zeros(n, dtype=bool)
        at = replace(self.start)
        moves = self.matrix
        if len(self.riding):
            moves = (self.riding.slopes(at) @ moves).tocsr()
        rows = np.diff(moves.indptr) > 0
        return np.asarray(
            rows[: 3 * n].reshape(n, 3).any(axis=1) | rows[3 * n : 4 * n]
            | rows[4 * n :].reshape(n, 6).any(axis=1)
        )  # fmt: skip


def moving_atoms(
    start: State, anisotropic: BoolArray, cell: Cell, group: SpaceGroup, riding: Riding, *,
    xyz: IntArray, b: IntArray, u: IntArray, same: IntArray | None = None,
) -> MovingAtoms:  # fmt: skip
    """Return the shifts of atoms: ``xyz`` of coordinates, ``b`` of B, ``u`` of U, rows each.

    Riding hydrogens among them are left out, and so is U of isotropic atoms. Atoms that have a
    number in ``same``, -1 for none, share the shift of U with all others that have it.
    """
    columns = Columns(len(start.xyz))
    xyz, b, u = (np.setdiff1d(rows, riding.hydrogen) for rows in (xyz, b, u))
    u = u[anisotropic[u]]
    b = np.setdiff1d(b, u)
    of_xyz = _entries(columns, _allowed(start.xyz, xyz, cell, group, columns))
    plain, tensors = b[~anisotropic[b]], b[anisotropic[b]]
    parts = [(columns.b_iso(np.array([atom])), np.ones((1, 1))) for atom in plain.tolist()]
    third = np.array([[1.0], [1.0], [1.0]]) / EIGHT_PI_SQUARED
    for rows, elements, directions in ((tensors, 3, third), (u, 6, np.eye(6))):
        for shared in _together(rows, same):
            where = columns.u_aniso(shared)[:, :elements].ravel()
            parts.append((where, np.tile(directions, (len(shared), 1))))
    return MovingAtoms(start, of_xyz, _entries(columns, parts), riding)


def _together(rows: IntArray, same: IntArray | None) -> list[IntArray]:
    """Return atoms that share their shifts, each alone that shares none."""
    if same is None:
        return [np.array([row]) for row in rows.tolist()]
    number = np.where(same[rows] < 0, len(same) + rows, same[rows])
    _, first, place = np.unique(number, return_index=True, return_inverse=True)
    return [rows[place == place[i]] for i in np.sort(first).tolist()]


def _allowed(
    xyz: FloatArray, rows: IntArray, cell: Cell, group: SpaceGroup, columns: Columns
) -> list[tuple[IntArray, FloatArray]]:
    """Return the columns of each atom's coordinates and the directions that symmetry allows."""
    fractional = xyz[rows] @ cell.fractionalization.T
    stabilised = np.zeros((len(rows), 3, 3))
    count = np.zeros(len(rows))
    for rotation, translation in zip(group.rotations, group.translations, strict=True):
        cartesian = cell.orthogonalization @ rotation @ cell.fractionalization
        for centring in group.centrings:
            away = fractional @ rotation.T + translation + centring - fractional
            away -= np.round(away)
            near = np.linalg.norm(away @ cell.orthogonalization.T, axis=1) < SPECIAL
            stabilised[near] += cartesian
            count[near] += 1
    found = []
    for i, atom in enumerate(rows.tolist()):
        where = columns.xyz(np.array(atom))
        if count[i] <= 1:
            found.append((where, np.eye(3)))
            continue
        values, vectors = np.linalg.eigh((stabilised[i] + stabilised[i].T) / (2 * count[i]))
        found.append((where, vectors[:, values > 0.5]))
    return found


def _entries(columns: Columns, parts: list[tuple[IntArray, FloatArray]]) -> sparse.csr_matrix:
    row, column, value = [], [], []
    size = 0
    for where, directions in parts:
        width = directions.shape[1]
        row.append(np.repeat(where, width))
        column.append(np.tile(size + np.arange(width), len(where)))
        value.append(directions.ravel())
        size += width
    if size == 0:
        return sparse.csr_matrix((columns.size, 0))
    entries = np.concatenate(value), (np.concatenate(row), np.concatenate(column))
    return sparse.csr_matrix(entries, shape=(columns.size, size))
