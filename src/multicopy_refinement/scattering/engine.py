"""Structure factors of a model, by the engine that is asked for."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from multicopy_refinement._typing import IntArray
from multicopy_refinement.scattering.atoms import AtomicModel, atoms_of
from multicopy_refinement.scattering.direct import direct_sum
from multicopy_refinement.scattering.plan import ACCURACY
from multicopy_refinement.scattering.splat import splat_structure_factors

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
    accuracy: float = ACCURACY,
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
        ``"fft"`` (density and FFT; gradients once), or ``"direct"`` (direct summation, the
        reference, differentiable any number of times).
    accuracy
        Relative error that is asked of ``"fft"``: sqrt(sum |F - F_direct|^2 / sum |F_direct|^2),
        1e-9 to 0.1. It sets grid spacing, blur and the reach of atoms; the grid is float32 down
        to 1e-5, float64 below.

    Returns
    -------
    Tensor
        Complex ``[n]``, in electrons (X-rays), A (electrons) or fm (neutrons).
    """
    indices: IntArray = np.asarray(hkl, dtype=np.int64).reshape(-1, 3)
    atoms = atoms_of(model)
    if Method(method) is Method.DIRECT:
        return direct_sum(atoms, indices)
    return splat_structure_factors(atoms, indices, d_min=d_min, accuracy=accuracy)
