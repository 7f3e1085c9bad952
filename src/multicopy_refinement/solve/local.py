"""What one set of groups and the atoms near it know of one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.places import in_runs
from multicopy_refinement.scattering.atoms import ScatteringAtoms
from multicopy_refinement.solve.covariance import UNDETERMINED_SU, UNSEEN_SU, inverse_positive
from multicopy_refinement.solve.gauss_newton import null_space
from multicopy_refinement.units import EIGHT_PI_SQUARED

#: Part of the information on scale and solvent that products in single precision may lack.
_ROUNDING = 1e-6
#: and where there is none of it (B_sol of no solvent).
_NOTHING = 1e-12


class Stiffness(Protocol):
    """What is known of coordinates and displacements beside the data."""

    def of_atoms(self, atoms: IntArray, tensor: BoolArray) -> FloatArray:
        """Return its information on the unknowns of some atoms, as `atom_slopes` has them."""
        ...


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Atoms whose coordinates and displacements are not known for certain.

    Attributes
    ----------
    atoms
        All of the model.
    hkl
        Miller indices of the data, ``[n, 3]``.
    order
        The reflections by resolution, those of one resolution in an order of their own, ``[n]``.
    near
        For each set of groups that depend on one another the atoms of it and near it, its own
        and the nearest first.
    sets
        Refined groups of each.
    tensor
        Atoms with six displacements rather than one, ``[n_atoms]``.
    group_of_atom
        Refined group of each atom or -1.
    stiffness
        What is known beside the data.
    pull
        Derivatives of log p by coordinates and displacements of all atoms, one after the other as
        `unknowns_of_atoms` has them; None where they are at their best.
    """

    atoms: ScatteringAtoms
    hkl: IntArray
    order: IntArray
    near: tuple[IntArray, ...]
    sets: tuple[IntArray, ...]
    tensor: BoolArray
    group_of_atom: IntArray
    stiffness: Stiffness
    pull: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class Block:
    """Covariances of one set's occupancies, and su of its atoms.

    Attributes
    ----------
    held
        With atoms held, and solvent that they displace known.
    conditional
        With atoms held.
    moving
        With atoms moving.
    atoms, su_xyz, su_b
        Its atoms.
    change
        By how much its occupancies would change were all of it refined.
    """

    held: FloatArray
    conditional: FloatArray
    moving: FloatArray
    atoms: IntArray
    su_xyz: FloatArray
    su_b: FloatArray
    change: FloatArray


@dataclass(frozen=True, eq=False)
class Local:
    """The information of one set of groups and what is near it.

    ``every`` is where the unknowns of each atom of the model begin, ``gradients`` are those of the
    occupancies, and of scale and solvent; None without a pull on the atoms.
    """

    rows: FloatArray
    around: Surroundings
    of_groups: NDArray[np.float32]
    scale: NDArray[np.float32]
    displaced: NDArray[np.float32]
    pockets: NDArray[np.float32]
    of_atoms: NDArray[np.float32]
    place: IntArray
    offset: IntArray
    unsampled: float
    used: int
    every: IntArray
    gradients: tuple[FloatArray, FloatArray] | None

    def block(self, number: int) -> Block:
        """Return the covariance of a set with atoms held, and with them marginalised."""
        around, own, near = self.around, self.around.sets[number], self.around.near[number]
        of_near = around.group_of_atom[near]
        mine = np.isin(of_near, own)
        others = np.unique(of_near[(of_near >= 0) & ~mine])
        places = self.place[near]
        sizes = (self.offset[places + 1] - self.offset[places]).astype(np.int64)
        first = np.cumsum(sizes) - sizes  # where the unknowns of each atom begin among those near
        rows = in_runs(self.offset[places], sizes)
        both = np.concatenate([own, others])
        n_own, n_scale = len(own), len(self.scale)
        n_held = n_own + n_scale
        twice = np.append(both, both + len(self.of_groups))
        displaced, in_doubt = (
            slopes[of[slopes[of].any(axis=1)]]
            for slopes, of in ((self.displaced, both), (self.pockets, twice))
        )
        n_displaced = n_held + len(displaced) + len(in_doubt)
        n_known = n_displaced + len(others)
        columns = np.empty((n_known + len(rows), self.of_atoms.shape[1]), dtype=np.float32)
        columns[:n_own], columns[n_own:n_held] = self.of_groups[own], self.scale
        columns[n_held : n_held + len(displaced)] = displaced
        columns[n_held + len(displaced) : n_displaced] = in_doubt
        columns[n_displaced:n_known] = self.of_groups[others]
        columns[n_known:] = self.of_atoms[rows]
        h = (columns @ columns.T).astype(np.float64)
        said = np.zeros_like(h)
        # where there is hardly any solvent its unknowns differ by less than single precision tells
        of_scale = np.arange(n_own, n_held)
        said[of_scale, of_scale] = np.maximum(_ROUNDING * h[of_scale, of_scale], _NOTHING)
        of_solvent = np.arange(n_held, n_displaced)
        said[of_solvent, of_solvent] = 1.0
        # of an occupancy this much is known in any case
        some = np.arange(n_displaced, n_known)
        said[some, some] = UNDETERMINED_SU**-2
        said[n_known:, n_known:] = around.stiffness.of_atoms(near, around.tensor[near])
        stays = np.ix_(*[np.append(np.arange(n_held), some)] * 2)  # those that `found` counts
        lost, known = self.unsampled / self.used, slice(0, n_known)
        held = _schur(h[stays], said[stays], n_own)[0]
        conditional = _schur(h[known, known], said[known, known], n_own, lost)[0]
        moving, inverse, answer = _schur(h, said, n_own, lost)
        of_held, of_conditional, of_moving = self._seen(own, held, conditional, moving)
        variance = np.diag(inverse) + ((answer @ of_moving) * answer).sum(axis=1)
        variance = variance[n_known - n_own :]
        change = np.full(n_own, np.nan)
        if around.pull is not None and self.gradients is not None:
            by_groups, by_scale = self.gradients
            gradient = np.zeros(len(h))
            gradient[:n_own] = by_groups[own]
            gradient[n_known:] = around.pull[in_runs(self.every[near], sizes)]
            among = slice(n_own, n_held)
            gradient -= _followed(h[:, among], h[among, among], by_scale)
            change = of_moving @ (gradient[:n_own] - answer.T @ gradient[n_own:])
        su_xyz, su_b = self._su_of_atoms(near[mine], first[mine], variance)
        return Block(of_held, of_conditional, of_moving, near[mine], su_xyz, su_b, change)

    def _seen(self, own: IntArray, held: FloatArray, *others: FloatArray) -> list[FloatArray]:
        """Return the covariances of informations, within what the sums allow and the first sees."""
        free = null_space(self._rows(own), len(own))
        values, vectors = np.linalg.eigh(free.T @ held @ free)
        seen = free @ vectors[:, values > UNSEEN_SU**-2]
        least = UNSEEN_SU**-2 * np.eye(seen.shape[1])
        return [seen @ np.linalg.inv(seen.T @ m @ seen + least) @ seen.T for m in (held, *others)]

    def _su_of_atoms(
        self, atoms: IntArray, first: IntArray, variance: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return su of coordinates and of B from the variances of unknowns that begin at first."""
        xyz = np.sqrt(np.mean([variance[first + k] for k in range(3)], axis=0))
        b = np.sqrt(variance[first + 3])
        six = self.around.tensor[atoms]
        if six.any():  # as if the three were not correlated
            of_u = sum(variance[first[six] + 3 + k] for k in range(3))
            b[six] = EIGHT_PI_SQUARED / 3 * np.sqrt(of_u)
        return xyz, b

    def _rows(self, own: IntArray) -> FloatArray:
        rows = self.rows[:, own]
        return np.asarray(rows[rows.any(axis=1)])


def _followed(shared: FloatArray, own: FloatArray, gradient: FloatArray) -> FloatArray:
    """Return H u, u the step that scale and solvent alone would take.

    They are fitted by least squares, and the likelihood would have them elsewhere: what all
    else would do about that is not its own.
    """
    size = np.sqrt(np.maximum(np.diag(own), _NOTHING))  # B of the solvent has its own units
    step = np.linalg.lstsq(own / np.outer(size, size), gradient / size, rcond=1e-10)[0]
    return np.asarray(shared @ (step / size))


def _schur(
    h: FloatArray, said: FloatArray, n: int, lost: float = 0.0
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the information on the first n unknowns, the others marginalised.

    And (H_pp + R)^-1 of these, and (H_pp + R)^-1 H_pq. ``lost`` is what each determined one of
    them takes from the information beyond its due in a sample.
    """
    inverse = inverse_positive(h[n:, n:] + said[n:, n:])
    answer = inverse @ h[n:, :n]
    determined = float((inverse * h[n:, n:]).sum())
    left = (h[:n, :n] - h[:n, n:] @ answer) / max(1 - lost * determined, 0.2)
    return np.asarray(left), inverse, answer
