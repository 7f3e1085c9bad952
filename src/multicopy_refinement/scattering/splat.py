"""Structure factors by splatting the density of the asymmetric unit on a grid, and FFT."""

from __future__ import annotations

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
    accuracy: float = ACCURACY,
) -> Tensor:
    """Return F of `direct_sum` by density and FFT, complex ``[n]``, once differentiable.

    With F_asu the transform of the asymmetric unit, F(h) = sum_(R,t) F_asu(R'h) exp(2 pi i h.t).
    Tensors of the CPU go through compiled loops, those of other devices through torch.

    Parameters
    ----------
    plan
        Grid and blur; for the highest of ``hkl`` and the accuracy when left out.

    Raises
    ------
    ValueError
        If the grid of a plan is too coarse for ``hkl``.
    """
    if plan is None:
        highest = float(atoms.cell.inverse_d_squared(hkl).max(initial=1e-4))
        plan = plan_splat(atoms, highest**-0.5, accuracy=accuracy)
    for axis, size in enumerate(plan.size):
        if len(hkl) and 2 * max(_largest(atoms, hkl, axis), 0) >= size:
            raise ValueError(f"a grid of {plan.size} points is too coarse for these indices")
    if atoms.xyz.device.type == "cpu":
        from multicopy_refinement.scattering.compiled import compiled_structure_factors

        return compiled_structure_factors(atoms, hkl, plan)
    return torch_structure_factors(atoms, hkl, plan)


def _largest(atoms: ScatteringAtoms, hkl: IntArray, axis: int) -> int:
    """Return the largest index along an axis of the reflections and their equivalents."""
    return max(int(abs(hkl @ r[:, axis]).max()) for r in atoms.spacegroup.rotations)
