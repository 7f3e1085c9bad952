"""Structure factors by splatting the density of the asymmetric unit on a grid, and FFT."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from multicopy_refinement._typing import IntArray
from multicopy_refinement.scattering.atoms import ScatteringAtoms
from multicopy_refinement.scattering.plan import ACCURACY, SplatPlan, plan_splat
from multicopy_refinement.scattering.torch_splat import torch_structure_factors


def splat_structure_factors(
    atoms: ScatteringAtoms,
    hkl: IntArray,
    plan: SplatPlan | None = None,
    *,
    d_min: float | None = None,
    accuracy: float = ACCURACY,
) -> Tensor:
    """Return F of `direct_sum` by density and FFT, complex ``[n]``, once differentiable.

    With F_asu the transform of the asymmetric unit, F(h) = sum_(R,t) F_asu(R'h) exp(2 pi i h.t).
    Tensors of the CPU go through compiled loops, those of other devices through torch.

    Parameters
    ----------
    plan
        Grid and blur; when left out, for the accuracy and for ``d_min`` in A or the highest of
        ``hkl``, whichever is finer.

    Raises
    ------
    ValueError
        If the grid of a plan is too coarse for ``hkl``.
    """
    if plan is None:
        highest = float(atoms.cell.inverse_d_squared(hkl).max(initial=1e-4))
        finest = highest**-0.5 if d_min is None else min(d_min, highest**-0.5)
        plan = plan_splat(atoms, finest, accuracy=accuracy)
    elif (2 * _largest(atoms, hkl) >= np.array(plan.size)).any():
        raise ValueError(f"a grid of {plan.size} points is too coarse for these indices")
    if atoms.xyz.device.type == "cpu":
        from multicopy_refinement.scattering.compiled import compiled_structure_factors

        return compiled_structure_factors(atoms, hkl, plan)
    return torch_structure_factors(atoms, hkl, plan)


def _largest(atoms: ScatteringAtoms, hkl: IntArray) -> IntArray:
    """Return the largest index along each axis of the reflections and their equivalents."""
    images = [abs(hkl @ r).max(axis=0, initial=0) for r in atoms.spacegroup.rotations]
    return np.asarray(np.max(images, axis=0))
