"""Structure factors by direct summation: the reference of every other engine."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from multicopy_refinement._typing import IntArray
from multicopy_refinement.scattering.atoms import ScatteringAtoms, symmetric_matrices

#: Elements of the largest temporary array.
_BLOCK = 4_000_000


def direct_sum(atoms: ScatteringAtoms, hkl: IntArray) -> Tensor:
    """Return F(h) = sum_j q_j f_j(s) sum_(R,t) T_j(R'h) exp(2 pi i h.(R x_j + t)).

    Every operation of the space group counts, also where it maps an atom onto itself: an atom on
    a special position needs an occupancy that is divided by its multiplicity, as files have it.

    Parameters
    ----------
    atoms
        State of the atoms; the result is differentiable in all of it.
    hkl
        Miller indices, ``[n, 3]``.

    Returns
    -------
    Tensor
        Complex ``[n]``, in electrons (X-rays), A (electrons) or fm (neutrons).
    """
    rows = max(1, _BLOCK // max(1, len(atoms)))
    parts = []
    for start in range(0, len(hkl), rows):
        block = hkl[start : start + rows]
        if atoms.differentiable:
            parts.append(checkpoint(_sum_block, atoms, block, use_reentrant=False))
        else:
            parts.append(_sum_block(atoms, block))
    if not parts:
        return atoms.xyz.new_zeros(0).to(_complex(atoms.xyz.dtype))
    return torch.cat(parts)


def _sum_block(atoms: ScatteringAtoms, hkl: IntArray) -> Tensor:
    dtype, device = atoms.xyz.dtype, atoms.xyz.device
    fractionalization = torch.as_tensor(atoms.cell.fractionalization, dtype=dtype, device=device)
    fractional = atoms.xyz @ fractionalization.T
    s_squared = torch.as_tensor(atoms.cell.inverse_d_squared(hkl), dtype=dtype, device=device)
    each = torch.as_tensor(atoms.factors.at(atoms.cell.inverse_d_squared(hkl)))
    factors = each.to(dtype=dtype, device=device)[atoms.element].T
    isotropic = torch.exp(-atoms.b_iso * s_squared[:, None] / 4)
    matrices = symmetric_matrices(atoms.u)
    some_anisotropic = bool(atoms.anisotropic.any())
    real = torch.zeros((len(hkl), len(atoms)), dtype=dtype, device=device)
    imaginary = torch.zeros_like(real)
    group = atoms.spacegroup
    for rotation, translation in zip(group.rotations, group.translations, strict=True):
        rotated = torch.as_tensor(hkl @ rotation, dtype=dtype, device=device)
        shift = torch.as_tensor(np.asarray(hkl @ translation), dtype=dtype, device=device)
        phase = 2 * math.pi * (rotated @ fractional.T + shift[:, None])
        displacement = isotropic
        if some_anisotropic:
            s = rotated @ fractionalization
            exponent = torch.einsum("hi,aij,hj->ha", s, matrices, s)
            anisotropic = torch.exp(-2 * math.pi**2 * exponent)
            displacement = torch.where(atoms.anisotropic, anisotropic, isotropic)
        real = real + displacement * torch.cos(phase)
        imaginary = imaginary + displacement * torch.sin(phase)
    weight = factors * atoms.occupancy
    centring = torch.as_tensor(group.centring_factor(hkl), dtype=dtype, device=device)
    return torch.complex((weight * real).sum(1) * centring, (weight * imaginary).sum(1) * centring)


def _complex(dtype: torch.dtype) -> torch.dtype:
    return torch.complex128 if dtype == torch.float64 else torch.complex64
