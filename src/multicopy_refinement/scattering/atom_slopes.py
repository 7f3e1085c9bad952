"""Derivatives of amplitudes by the coordinates and displacements of single atoms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from multicopy_refinement._typing import BoolArray, ComplexArray, IntArray
from multicopy_refinement.parallel import in_threads
from multicopy_refinement.scattering.atoms import ScatteringAtoms
from multicopy_refinement.scattering.direct_tables import DirectTables

#: Unknowns of an atom with one B, and of one with a tensor U.
ISOTROPIC, TENSOR = 4, 9


def unknowns_of_atoms(tensor: BoolArray) -> IntArray:
    """Return where the unknowns of each atom begin, and their number at the end, ``[n + 1]``."""
    sizes = np.where(tensor, TENSOR, ISOTROPIC)
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def atom_slopes(
    atoms: ScatteringAtoms, hkl: IntArray, along: ComplexArray, tensor: BoolArray
) -> NDArray[np.float32]:
    """Return Re(conj(along) dF/dp), p of each atom one after the other, ``[n_unknowns, n]``.

    By direct summation, with F(h) = sum_j q_j f_j sum_(R,t) T_j(R'h) exp(2 pi i h.(R x_j + t)) and
    s = R'h in Cartesian axes:

        dF/dx = 2 pi i s F,   dF/dB = -(s^2/4) F,   dF/dU_ab = -2 pi^2 s_a s_b F

    under each operation. Atoms have x, y, z (per A) and then B (per A^2), which for an anisotropic
    atom is an isotropic shift of U, or where ``tensor`` is true the elements 11 22 33 12 13 23
    of U (per A^2); see `unknowns_of_atoms`.
    """
    from multicopy_refinement.scattering.kernels.atom_slopes import fill_atom_slopes

    offset = unknowns_of_atoms(tensor)
    out = np.empty((int(offset[-1]), len(hkl)), dtype=np.float32)
    if out.size == 0:
        return out
    cell, group = atoms.cell, atoms.spacegroup
    arguments: tuple[np.ndarray, ...] = (
        out, offset[:-1], np.asarray(tensor), atoms.occupancy.numpy(),
        along * group.centring_factor(hkl), cell.inverse_d_squared(hkl),
        np.ascontiguousarray(cell.fractionalization), np.ascontiguousarray(hkl),
        *DirectTables.of(cell, hkl).of_atoms(atoms), atoms.anisotropic.numpy(), group.rotations,
    )  # fmt: skip
    in_threads(lambda i, j: fill_atom_slopes(i, j, *arguments), len(atoms))
    return out
