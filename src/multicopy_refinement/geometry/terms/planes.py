"""Planes: r = (distance of an atom to the least-squares plane of its group)/sigma."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.geometry.terms.base import Columns, Linear, State, rows_of, stacked

#: Groups whose smallest extents are as near as this (A^2) have no plane: its turn is not followed.
_NO_PLANE = 1e-9


@dataclass(frozen=True, eq=False)
class Planes:
    """Groups of atoms that lie in one plane each.

    The plane of k atoms goes through their centre, with the normal n of the smallest eigenvalue of
    A = sum y y', y = x - centre. It moves with the atoms:

        dn = sum_a v_a (v_a' dA n)/(lambda_0 - lambda_a),  dA n = sum_l dx_l (y_l'n) + y_l (dx_l'n)

    Attributes
    ----------
    groups
        Arrays ``[m, k]`` of atoms, one for each number k of atoms in a plane.
    sigmas
        In A, ``[m]`` for each array.
    """

    groups: tuple[IntArray, ...]
    sigmas: tuple[FloatArray, ...]
    name: ClassVar[str] = "planes"
    shown: ClassVar[tuple[float, str]] = (1.0, "A")

    def __len__(self) -> int:
        return sum(group.size for group in self.groups)

    @property
    def atoms(self) -> IntArray:
        """The atom of each residual, ``[residuals, 1]``."""
        flat = [group.reshape(-1, 1) for group in self.groups]
        return np.concatenate(flat) if flat else np.zeros((0, 1), dtype=np.int64)

    def deviations(self, xyz: FloatArray) -> FloatArray:
        """Return the distance of each atom to its plane, in A, of coordinates ``[n, 3]``."""
        found = [_distances(xyz[group])[0].ravel() for group in self.groups]
        return np.concatenate(found) if found else np.zeros(0)

    @property
    def sigma(self) -> FloatArray:
        """Sigma of each residual."""
        pairs = zip(self.groups, self.sigmas, strict=True)
        found = [np.repeat(sigma, group.shape[1]) for group, sigma in pairs]
        return np.concatenate(found) if found else np.zeros(0)

    def residuals(self, at: State) -> FloatArray:
        """Return the residuals in units of sigma."""
        return np.asarray(self.deviations(at.xyz) / self.sigma)

    def linear(self, at: State) -> Linear:
        """Return residuals and derivatives."""
        pairs = zip(self.groups, self.sigmas, strict=True)
        parts = [_linear(at.xyz, group, sigma) for group, sigma in pairs]
        return stacked(parts, Columns(len(at.xyz)).size)


def _distances(places: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return distances to the planes ``[m, k]``, y, eigenvalues and eigenvectors."""
    offsets = places - places.mean(axis=1, keepdims=True)
    scatter = np.einsum("mki,mkj->mij", offsets, offsets)
    values, vectors = np.linalg.eigh(scatter)
    return np.einsum("mki,mi->mk", offsets, vectors[:, :, 0]), offsets, values, vectors


def _linear(xyz: FloatArray, group: IntArray, sigma: FloatArray) -> Linear:
    m, k = group.shape
    distance, offsets, values, vectors = _distances(xyz[group])
    normal = vectors[:, :, 0]
    own = (np.eye(k) - 1 / k)[None, :, :, None] * normal[:, None, None, :]
    for a in (1, 2):
        axis = vectors[:, :, a]
        gap = values[:, 0] - values[:, a]
        inverse = np.where(np.abs(gap) > _NO_PLANE, 1 / np.where(gap == 0, -1.0, gap), 0.0)
        along = np.einsum("mki,mi->mk", offsets, axis)
        turn = (  # how the normal turns towards the axis, for each moved atom: [m, l, 3]
            distance[:, :, None] * axis[:, None, :] + along[:, :, None] * normal[:, None, :]
        )
        own = own + (inverse[:, None] * along)[:, :, None, None] * turn[:, None, :, :]
    slopes = (own / sigma[:, None, None, None]).reshape(m * k, 3 * k)
    columns = Columns(len(xyz))
    where = np.repeat(columns.xyz(group).reshape(m, 1, 3 * k), k, axis=1).reshape(m * k, 3 * k)
    return Linear((distance / sigma[:, None]).ravel(), rows_of(where, slopes, columns.size))
