"""The data's information on single atoms and on atoms that overlap, averaged over directions."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.atoms.neighbours import near_pairs
from multicopy_refinement.geometry.terms.base import Columns
from multicopy_refinement.scattering.atoms import ScatteringAtoms
from multicopy_refinement.units import EIGHT_PI_SQUARED

#: Bins in s.
_BINS = 64
#: Atoms that are farther apart than this many times d_min do not overlap.
_OVERLAP = 1.2


def local_information(
    atoms: ScatteringAtoms, rows: IntArray, n_atoms: int, s_squared: FloatArray, weight: FloatArray
) -> sparse.csr_matrix:
    """Return it by the coordinates, B and U of all atoms, sparse ``[10 n, 10 n]``.

    With W k^2 summed in bins of s, n operations, and centrings counted squared, two atoms at a
    distance r share

        w(s) = n/2 W k^2 q_i q_j f_i f_j T_i T_j,   phi(r) = sum w sin(2 pi s r)/(2 pi s r)

    and H_xx = -grad grad phi, H_BB = sum w s^4/16 sin(2 pi s r)/(2 pi s r); for one atom, r = 0,
    these are the diagonal sums of Steiner, Lebedev & Murshudov (2003, Acta Cryst. D59, 2114).
    What pairs share is multiplied by the function (1 - x)^4 (4 x + 1) of Wendland (1995, Adv.
    Comput. Math. 4, 389), x = r/r_max, which keeps the whole positive definite. U is there alone.

    Parameters
    ----------
    atoms
        Those that move.
    rows
        Their rows among all ``n_atoms``.
    s_squared, weight
        1/d^2 in 1/A^2, and W k^2, of each reflection ``[n]``.
    """
    s = np.sqrt(s_squared)
    edges = np.linspace(s.min(), s.max() * (1 + 1e-9), _BINS + 1)
    bins = np.clip(np.searchsorted(edges, s, side="right") - 1, 0, _BINS - 1)
    group = atoms.spacegroup
    images = len(group.rotations) * len(group.centrings) ** 2
    total = np.bincount(bins, weight, minlength=_BINS) * images / 2
    s = (edges[1:] + edges[:-1]) / 2
    amplitude = _amplitudes(atoms, s**2)
    alone = amplitude**2 * total
    columns = Columns(n_atoms)
    of_x, fourth = alone @ (4 * np.pi**2 * s**2 / 3), alone @ s**4
    row = [columns.xyz(rows).ravel(), columns.b_iso(rows), columns.u_aniso(rows).ravel()]
    shares = 4 * np.pi**4 * np.array([1 / 5] * 3 + [4 / 15] * 3)
    value = [np.repeat(of_x, 3), fourth / 16, np.outer(fourth, shares).ravel()]
    column = list(row)
    xyz = atoms.xyz.numpy()
    farthest = _OVERLAP / s.max()
    pairs = near_pairs(xyz, farthest)
    if len(pairs):
        one, other = pairs[:, 0], pairs[:, 1]
        apart = xyz[one] - xyz[other]
        r = np.linalg.norm(apart, axis=1)
        x = r / farthest
        taper = (1 - x) ** 4 * (4 * x + 1)
        shared = amplitude[one] * amplitude[other] * total * taper[:, None]
        along, across, of_b = _kernels(shared, s, r)
        direction = apart / np.maximum(r, 1e-9)[:, None]
        block = across[:, None, None] * np.eye(3) + (along - across)[:, None, None] * (
            direction[:, :, None] * direction[:, None, :]
        )
        i, j = rows[one], rows[other]
        first = np.repeat(columns.xyz(i)[:, :, None], 3, axis=2).ravel()
        second = np.repeat(columns.xyz(j)[:, None, :], 3, axis=1).ravel()
        for a, b, v in (
            (first, second, block.ravel()), (columns.b_iso(i), columns.b_iso(j), of_b),
        ):  # fmt: skip
            row += [a, b]
            column += [b, a]
            value += [v, v]
    entries = np.concatenate(value), (np.concatenate(row), np.concatenate(column))
    return sparse.csr_matrix(entries, shape=(columns.size, columns.size))


def _amplitudes(atoms: ScatteringAtoms, s_squared: FloatArray) -> FloatArray:
    """Return q f T of each atom, ``[n, n_bins]``; at least a little for what is hardly there."""
    f = atoms.factors.at(s_squared)[atoms.element.numpy()]
    b = atoms.b_iso.numpy().copy()
    anisotropic = atoms.anisotropic.numpy()
    b[anisotropic] = EIGHT_PI_SQUARED * atoms.u.numpy()[anisotropic, :3].mean(axis=1)
    q = np.maximum(atoms.occupancy.numpy(), 1e-3)
    return np.asarray(q[:, None] * f * np.exp(-b[:, None] * s_squared / 4))


def _kernels(
    shared: FloatArray, s: FloatArray, r: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return H_xx along and across the line between two atoms, and H_BB, ``[n_pairs]``."""
    k = 2 * np.pi * s
    t = np.maximum(k * r[:, None], 1e-3)
    sinc = np.sin(t) / t
    slope = (np.cos(t) - sinc) / t  # d(sinc)/dt
    second = -sinc - 2 * slope / t
    along, across = -(shared * k**2 * second).sum(1), -(shared * k**2 * slope / t).sum(1)
    return along, across, (shared * s**4 / 16 * sinc).sum(1)
