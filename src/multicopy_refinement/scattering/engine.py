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

    Raises
    ------
    ValueError
        Indices that are not ``[n, 3]`` integers; a resolution that is not above 0.
    """
    indices, atoms = _miller_indices(hkl), atoms_of(model)
    if d_min is not None and not d_min > 0:
        raise ValueError(f"structure_factors: d_min is a resolution in A above 0, not {d_min}")
    if Method(method) is Method.DIRECT:
        return direct_sum(atoms, indices)
    return splat_structure_factors(atoms, indices, d_min=d_min, accuracy=accuracy)


def _miller_indices(hkl: ArrayLike) -> IntArray:
    """Return Miller indices as integers, ``[n, 3]``."""
    given = np.asarray(hkl)
    if given.ndim != 2 or given.shape[1] != 3:
        raise ValueError(
            f"structure_factors: Miller indices have the shape [n, 3], not {list(given.shape)}"
        )
    indices: IntArray = given.astype(np.int64)
    if not (indices == given).all():
        row = int(np.flatnonzero((indices != given).any(axis=1))[0])
        raise ValueError(
            "structure_factors: Miller indices are integers; those of row "
            f"{row} are {given[row].tolist()}"
        )
    return indices
