"""Structure factors by density and FFT in torch alone: other devices, and the reference."""

from __future__ import annotations

import math
from collections.abc import Iterator

import gemmi
import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from multicopy_refinement._typing import IntArray
from multicopy_refinement.scattering.atoms import (
    ScatteringAtoms,
    symmetric_matrices,
)
from multicopy_refinement.scattering.plan import SplatPlan, levels_of_gaussians
from multicopy_refinement.units import EIGHT_PI_SQUARED

#: Grid points of atoms treated at once, and by how much the reach of such atoms may differ: on the
#: processor few points, for its caches; other devices have the memory, and every call costs them
#: more than its arithmetic.
_POINTS, _POINTS_ELSEWHERE = 2_000_000, 16_000_000
_ALIKE, _ALIKE_ELSEWHERE = 1.15, 1.3


def torch_structure_factors(atoms: ScatteringAtoms, hkl: IntArray, plan: SplatPlan) -> Tensor:
    """Return F of `direct_sum`, complex ``[n]``, once differentiable in bounded memory.

    As in the compiled loops the grid is of single precision where the plan says so, but for the
    processor, where this is their reference.
    """
    dtype = atoms.xyz.dtype
    if plan.single and atoms.xyz.device.type != "cpu":
        atoms = atoms.single()
    transform = torch.fft.rfftn(density(atoms, plan))
    f = _gather(transform, atoms, hkl, plan)
    return f.to(dtype.to_complex())


def density(atoms: ScatteringAtoms, plan: SplatPlan) -> Tensor:
    """Return the blurred density of the asymmetric unit's atoms, of the plan's size."""
    volume = math.prod(plan.size)
    grid = torch.zeros(volume, dtype=atoms.xyz.dtype, device=atoms.xyz.device)
    for kind in (False, True):
        chosen = atoms.anisotropic == kind
        if not bool(chosen.any()):
            continue
        part = atoms.select(chosen)
        radii = reach(part, plan)
        for block, half_widths in _blocks(radii, part, plan):
            piece = part.select(block)
            arguments = (piece, radii[block], half_widths, plan, kind)
            if atoms.differentiable:
                place, values = checkpoint(_splat_block, *arguments, use_reentrant=False)
            else:
                place, values = _splat_block(*arguments)
            grid = grid.index_add(0, place.reshape(-1), values.reshape(-1))
    return grid.reshape(plan.size)


def _gaussians(atoms: ScatteringAtoms, blur: float) -> tuple[Tensor, Tensor]:
    """Return heights ``[n, m]`` and inverse widths ``[n, m, 9]`` of anisotropic atoms."""
    identity = torch.eye(3, dtype=atoms.u.dtype, device=atoms.u.device)
    spread = ((atoms.b + blur) / EIGHT_PI_SQUARED)[:, :, None, None] * identity
    widened = symmetric_matrices(atoms.u)[:, None] + spread
    heights = atoms.a / torch.sqrt((2 * math.pi) ** 3 * torch.linalg.det(widened))
    return heights, torch.linalg.inv(widened).flatten(start_dim=2)


def reach(atoms: ScatteringAtoms, plan: SplatPlan) -> Tensor:
    """Return the radius in A at which each atom is cut off, ``[n]``."""
    with torch.no_grad():
        level = levels_of_gaussians(atoms.a.detach().double().cpu().numpy(), plan.level)
        u = atoms.b_iso / EIGHT_PI_SQUARED
        if bool(atoms.anisotropic.any()):
            principal = torch.linalg.eigvalsh(symmetric_matrices(atoms.u))[:, 2]
            u = torch.where(atoms.anisotropic, principal, u)
        widths = u[:, None] + (atoms.b + plan.blur) / EIGHT_PI_SQUARED
        squares = 2 * torch.as_tensor(level).to(widths) * widths
        return torch.sqrt(squares.amax(dim=1).clamp_min(0.0))


def _blocks(
    radii: Tensor, atoms: ScatteringAtoms, plan: SplatPlan
) -> Iterator[tuple[Tensor, tuple[int, int, int]]]:
    """Give blocks of atoms of like reach, and the half-widths of their boxes in grid points."""
    here = atoms.xyz.device.type == "cpu"
    most, alike = (_POINTS, _ALIKE) if here else (_POINTS_ELSEWHERE, _ALIKE_ELSEWHERE)
    order = torch.argsort(radii)
    steps = atoms.cell.reciprocal_lengths * np.array(plan.size)
    sorted_radii = radii[order].double().cpu().numpy()
    start = 0
    while start < len(order):
        # the box of the last atom of a block serves all of them
        stop = start + 1
        points = float(np.prod(2 * sorted_radii[start] * steps + 3))
        stop = min(len(order), start + max(1, int(most / points)))
        stop = start + int(
            np.searchsorted(sorted_radii[start:stop], alike * sorted_radii[start], side="right")
        )
        half = np.ceil(sorted_radii[stop - 1] * steps + 0.5).astype(int)
        yield order[start:stop], (int(half[0]), int(half[1]), int(half[2]))
        start = stop


def _splat_block(
    atoms: ScatteringAtoms, radii: Tensor, half: tuple[int, int, int], plan: SplatPlan,
    anisotropic: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return grid places and densities of a block of atoms, both ``[n, points]``."""
    dtype, device = atoms.xyz.dtype, atoms.xyz.device
    size = torch.tensor(plan.size, device=atoms.xyz.device)
    orthogonalization = torch.as_tensor(atoms.cell.orthogonalization, dtype=dtype, device=device)
    fractional = (
        atoms.xyz @ torch.as_tensor(atoms.cell.fractionalization, dtype=dtype, device=device).T
    )
    nearest = torch.round(fractional.detach() * size)
    centre = (nearest / size - fractional) @ orthogonalization.T
    offsets = _offsets(half, atoms, plan, float(radii.max()))
    steps = (offsets.to(atoms.xyz.dtype) / size) @ orthogonalization.T
    r_squared = _quadratic(centre, steps)
    inside = r_squared < (radii**2)[:, None]
    if anisotropic:
        values = _anisotropic_density(atoms, centre, steps, plan.blur)
    else:
        values = _isotropic_density(atoms, r_squared, plan.blur)
    values = torch.where(inside, values * atoms.occupancy[:, None], 0.0)
    axes = [
        torch.remainder(nearest[:, i, None].long() + offsets[:, i], plan.size[i]) for i in range(3)
    ]
    return (axes[0] * plan.size[1] + axes[1]) * plan.size[2] + axes[2], values


def _offsets(
    half: tuple[int, int, int], atoms: ScatteringAtoms, plan: SplatPlan, radius: float
) -> Tensor:
    """Return integer offsets ``[points, 3]`` of a box, those left out that no atom can reach."""
    like = atoms.xyz
    box = torch.cartesian_prod(*(torch.arange(-h, h + 1, device=like.device) for h in half))
    step = torch.as_tensor(atoms.cell.orthogonalization / np.array(plan.size)).T.to(like)
    distance = (box.to(like) @ step).norm(dim=1)
    diagonal = 0.5 * float(step.norm(dim=1).sum())  # an atom is at most this far from its point
    return box[distance < radius + diagonal]


def _quadratic(centre: Tensor, steps: Tensor) -> Tensor:
    """Return |centre + step|^2 for all pairs, ``[n, points]``."""
    return ((centre**2).sum(1)[:, None] + 2 * centre @ steps.T + (steps**2).sum(1)).clamp_min(0.0)


def _isotropic_density(atoms: ScatteringAtoms, r_squared: Tensor, blur: float) -> Tensor:
    """Return sum_i a_i (4 pi/B_i)^(3/2) exp(-4 pi^2 r^2/B_i), B_i = B + b_i + blur."""
    total = atoms.b_iso[:, None] + atoms.b + blur
    height = atoms.a * (4 * math.pi / total) ** 1.5
    rate = -4 * math.pi**2 / total
    values = height[:, 0, None] * torch.exp(rate[:, 0, None] * r_squared)
    for i in range(1, height.shape[1]):
        values = values + height[:, i, None] * torch.exp(rate[:, i, None] * r_squared)
    return values


def _anisotropic_density(
    atoms: ScatteringAtoms, centre: Tensor, steps: Tensor, blur: float
) -> Tensor:
    """Return sum_i a_i exp(-x'U_i^-1 x/2) / sqrt((2 pi)^3 det U_i), U_i = U + (b_i+blur)/8 pi^2."""
    heights, inverses = _gaussians(atoms, blur)
    products = torch.stack([steps[:, i] * steps[:, j] for i in range(3) for j in range(3)])
    values = torch.zeros((len(atoms), len(steps)), dtype=steps.dtype, device=steps.device)
    for i in range(heights.shape[1]):
        inverse, height = inverses[:, i].reshape(-1, 3, 3), heights[:, i]
        tilted = (inverse @ centre[:, :, None])[:, :, 0]
        exponent = (
            inverse.reshape(-1, 9) @ products
            + 2 * tilted @ steps.T
            + (tilted * centre).sum(1)[:, None]
        )
        values = values + height[:, None] * torch.exp(-0.5 * exponent)
    return values


def _gather(transform: Tensor, atoms: ScatteringAtoms, hkl: IntArray, plan: SplatPlan) -> Tensor:
    """Return F of the whole cell from the half transform of the asymmetric unit's density."""
    flat, like, group = transform.reshape(-1), atoms.xyz, atoms.spacegroup
    device, half = flat.device, plan.size[2] // 2 + 1
    den = gemmi.Op.DEN  # translations are whole numbers of this part of a cell edge
    size, indices = torch.tensor(plan.size, device=device), torch.as_tensor(hkl, device=device)
    total = flat.new_zeros(len(hkl))
    for rotation, translation in zip(group.rotations, group.translations, strict=True):
        turn = torch.as_tensor(rotation, device=device)
        rotated = (indices[:, :, None] * turn).sum(1)  # no device multiplies matrices of integers
        friedel = rotated[:, 2] < 0  # the half transform holds l >= 0 only
        stored = torch.remainder(torch.where(friedel[:, None], -rotated, rotated), size)
        picked = flat[(stored[:, 0] * plan.size[1] + stored[:, 1]) * half + stored[:, 2]]
        # torch transforms with exp(-2 pi i), crystallography with exp(+2 pi i)
        turned = torch.where(friedel, picked, picked.conj())
        steps = torch.as_tensor(np.rint(translation * den).astype(np.int64), device=device)
        angle = (indices * steps).sum(1).remainder(den).to(like) * (2 * math.pi / den)
        total = total + turned * torch.polar(torch.ones_like(angle), angle)
    fractionalization = torch.as_tensor(atoms.cell.fractionalization).to(like)
    s_squared = (indices.to(like) @ fractionalization).square().sum(1)
    centring = torch.as_tensor(group.centring_factor(hkl)).to(like)
    volume = atoms.cell.volume / math.prod(plan.size)
    return total * (volume * torch.exp(plan.blur * s_squared / 4) * centring)
