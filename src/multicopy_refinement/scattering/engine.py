"""Structure factors of a model, by the engine that is asked for."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from multicopy_refinement._typing import IntArray
from multicopy_refinement.scattering.atoms import AtomicModel, atoms_of
from multicopy_refinement.scattering.direct import direct_sum
from multicopy_refinement.scattering.splat import plan_splat, splat_structure_factors

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class Method(StrEnum):
    """How structure factors are computed."""

    FFT = "fft"
    DIRECT = "direct"


def structure_factors(
    model: AtomicModel,
    hkl: ArrayLike,
    *,
    d_min: float | None = None,
    method: str | Method = Method.FFT,
) -> Tensor:
    """Return F_calc of a model, without bulk solvent.

    Parameters
    ----------
    model
        The result is differentiable in every parameter of it.
    hkl
        Miller indices, ``[n, 3]``.
    d_min
        Resolution in A that sets the grid; that of the highest index when left out.
    method
        ``"fft"`` (density and FFT), or ``"direct"`` (direct summation, the reference).

    Returns
    -------
    Tensor
        Complex ``[n]``, electrons.
    """
    indices: IntArray = np.asarray(hkl, dtype=np.int64).reshape(-1, 3)
    atoms = atoms_of(model)
    if Method(method) is Method.DIRECT:
        return direct_sum(atoms, indices)
    highest = float(atoms.cell.inverse_d_squared(indices).max(initial=1e-4))
    finest = highest**-0.5 if d_min is None else min(d_min, highest**-0.5)
    return splat_structure_factors(atoms, indices, plan_splat(atoms, finest))
