"""What a term of the geometry is: residuals of a state of the atoms, and their derivatives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
from scipy import sparse

from multicopy_refinement._typing import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class State:
    """Where the atoms are and how they are displaced.

    Attributes
    ----------
    xyz
        Cartesian coordinates in A, ``[n, 3]``.
    b_iso
        A^2, ``[n]``; counts for isotropic atoms.
    u_aniso
        U11 U22 U33 U12 U13 U23 in A^2, ``[n, 6]``; counts for anisotropic atoms.
    """

    xyz: FloatArray
    b_iso: FloatArray
    u_aniso: FloatArray


@dataclass(frozen=True)
class Columns:
    """Where each unknown of n atoms stands among 10 n: all x y z, then all B, then all U.

    >>> columns = Columns(5)
    >>> columns.xyz(np.array([1])).tolist(), columns.b_iso(np.array([1])).tolist()
    ([[3, 4, 5]], [16])
    """

    n: int

    @property
    def size(self) -> int:
        """Number of columns."""
        return 10 * self.n

    def xyz(self, atoms: IntArray) -> IntArray:
        """Return the columns of coordinates, one axis more than ``atoms`` has."""
        return np.asarray(3 * atoms[..., None] + np.arange(3))

    def b_iso(self, atoms: IntArray) -> IntArray:
        """Return the columns of B."""
        return np.asarray(3 * self.n + atoms)

    def u_aniso(self, atoms: IntArray) -> IntArray:
        """Return the columns of U11 U22 U33 U12 U13 U23, one axis more than ``atoms`` has."""
        return np.asarray(4 * self.n + 6 * atoms[..., None] + np.arange(6))


@dataclass(frozen=True, eq=False)
class Linear:
    """Residuals r, in units of sigma, and their derivatives J; -log p = r'r/2.

    Attributes
    ----------
    residuals
        ``[m]``.
    jacobian
        Sparse ``[m, 10 n]``, columns as in `Columns`.
    """

    residuals: FloatArray
    jacobian: sparse.csr_matrix

    def times(self, root: float) -> Linear:
        """Return it with the weight root^2."""
        if root == 1.0:
            return self
        return Linear(root * self.residuals, root * self.jacobian)

    @property
    def value(self) -> float:
        """r'r/2."""
        return half_square(self.residuals)

    @cached_property
    def gradient(self) -> FloatArray:
        """J'r, ``[10 n]``."""
        return np.asarray(self.jacobian.T @ self.residuals)

    @cached_property
    def gauss_newton(self) -> sparse.csr_matrix:
        """J'J, sparse ``[10 n, 10 n]``."""
        return (self.jacobian.T @ self.jacobian).tocsr()


def half_square(residuals: FloatArray) -> float:
    """Return r'r/2, infinite where a residual is no number (a U that is not positive definite)."""
    value = 0.5 * float(residuals @ residuals)
    return value if np.isfinite(value) else float("inf")


class Term(Protocol):
    """One kind of restraint."""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        ...

    def residuals(self, at: State) -> FloatArray:
        """Return the residuals in units of sigma, ``[m]``."""
        ...

    def linear(self, at: State) -> Linear:
        """Return residuals and derivatives."""
        ...


@dataclass(frozen=True, eq=False)
class Pairs(ABC):
    """Restraints that keep the displacements of two atoms each alike.

    Attributes
    ----------
    atoms
        Rows of the atom table, ``[m, 2]``.
    sigma
        ``[m]``, in the units of the class.
    """

    atoms: IntArray
    sigma: FloatArray
    name: ClassVar[str] = ""
    #: What a deviation is multiplied by for people, and the unit then.
    shown: ClassVar[tuple[float, str]] = (1.0, "")

    def __len__(self) -> int:
        return len(self.atoms)

    @abstractmethod
    def residuals(self, at: State) -> FloatArray:
        """Return as many residuals for each pair, in units of sigma."""

    @abstractmethod
    def linear(self, at: State) -> Linear:
        """Return residuals and derivatives."""


def rows_of(columns: IntArray, values: FloatArray, size: int) -> sparse.csr_matrix:
    """Return the sparse rows with ``values`` ``[m, k]`` in ``columns`` ``[m, k]``."""
    m, k = values.shape
    starts = np.arange(0, m * k + 1, k or 1, dtype=np.int32)
    starts = starts if k else np.zeros(m + 1, dtype=np.int32)
    parts = (values.ravel(), columns.ravel().astype(np.int32, copy=False), starts)
    return sparse.csr_matrix(parts, shape=(m, size))


def stacked(parts: list[Linear], size: int) -> Linear:
    """Return the residuals of several terms as one."""
    if not parts:
        return Linear(np.zeros(0), sparse.csr_matrix((0, size)))
    rows = sparse.vstack([part.jacobian for part in parts], format="csr")
    return Linear(np.concatenate([part.residuals for part in parts]), rows)


@dataclass(frozen=True, eq=False)
class Internal(ABC):
    """Restraints of one quantity v of k atoms each: r = (v - ideal)/sigma.

    Attributes
    ----------
    atoms
        Rows of the atom table, ``[m, k]``.
    ideal, sigma
        ``[m]``, in the units of the class (A, radian, A^3).
    """

    atoms: IntArray
    ideal: FloatArray
    sigma: FloatArray
    name: ClassVar[str] = ""
    #: What a value is multiplied by for people, and the unit then.
    shown: ClassVar[tuple[float, str]] = (1.0, "A")

    def __len__(self) -> int:
        return len(self.atoms)

    @abstractmethod
    def measure(self, places: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return v ``[m]`` and its derivatives ``[m, k, 3]`` at ``places`` ``[m, k, 3]``."""

    def deviation(self, measured: FloatArray) -> FloatArray:
        """Return v - ideal."""
        return np.asarray(measured - self.ideal)

    def in_sigmas(self, measured: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return r of v, and dr/dv, ``[m]`` each."""
        return self.deviation(measured) / self.sigma, 1 / self.sigma

    def deviations(self, xyz: FloatArray) -> FloatArray:
        """Return v - ideal of coordinates ``[n, 3]``."""
        return self.deviation(self.measure(xyz[self.atoms])[0])

    def residuals(self, at: State) -> FloatArray:
        """Return the residuals in units of sigma, ``[m]``."""
        return self.in_sigmas(self.measure(at.xyz[self.atoms])[0])[0]

    def linear(self, at: State) -> Linear:
        """Return residuals and derivatives."""
        measured, slopes = self.measure(at.xyz[self.atoms])
        residuals, scale = self.in_sigmas(measured)
        columns = Columns(len(at.xyz))
        shape = (len(self), 3 * self.atoms.shape[1])
        where = columns.xyz(self.atoms).reshape(shape)
        values = (slopes * scale[:, None, None]).reshape(shape)
        return Linear(residuals, rows_of(where, values, columns.size))


def unit(vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return unit vectors ``[..., 3]`` and lengths ``[...]``; a vector of length 0 stays 0."""
    length = np.sqrt(np.einsum("...i,...i->...", vectors, vectors))
    return vectors / np.where(length > 0, length, 1.0)[..., None], length


def cross(one: FloatArray, other: FloatArray) -> FloatArray:
    """Return vector products along the last axis (numpy's own is slower for many)."""
    ax, ay, az = one[..., 0], one[..., 1], one[..., 2]
    bx, by, bz = other[..., 0], other[..., 1], other[..., 2]
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)


def dot(one: FloatArray, other: FloatArray) -> Any:
    """Return scalar products along the last axis."""
    return np.einsum("...i,...i->...", one, other)
