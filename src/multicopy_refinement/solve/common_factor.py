"""The common factor of occupancies: where nothing of the model is held, the scale undoes it."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray
from multicopy_refinement.posterior.blocks import Kind, Point
from multicopy_refinement.posterior.posterior import Posterior

#: A common factor with a larger relative su than this is held, and said to be undetermined.
UNDETERMINED_FACTOR = 0.1


def common_factor(posterior: Posterior, at: Point) -> FloatArray | None:
    """Return the direction of occupancies that the scale can undo, ``[n_groups]``, or None.

    Occupancies of groups outside complete sets times 1 + t are, with the scale divided by it, the
    rest of the model divided by 1 + t: t is known as well as the rest R of F_calc shows in the
    data, beside scale and solvent,

        1/su(t)^2 = a'a - a'J (J'J)^-1 J'a,    a = sqrt(W) k Re(conj(u) R), u = F_model/|F_model|

    with J the derivatives in scale and solvent. Solvent does not count for it: how groups that
    overlap displace it is a convention, and would decide. A unit vector where su(t) exceeds 0.1
    and R scatters less than the rest.
    """
    q = at[Kind.OCCUPANCY]
    free = free_of_sums(posterior)
    if not (free & (q > 0)).any():
        return None
    whole = posterior.with_nuisance(at)
    if Kind.SCALE not in whole.space:
        return None
    if posterior.data.su_of_factor(whole, np.where(free, q, 0.0)) < UNDETERMINED_FACTOR:
        return None
    direction = np.where(free, q, 0.0)
    return np.asarray(direction / np.linalg.norm(direction))


def free_of_sums(posterior: Posterior) -> BoolArray:
    """Return which groups no complete set, or one nested in another, ties, ``[n_groups]``."""
    sums = posterior.sums
    index = sums.set_index
    tied = sums.complete | (sums.parent >= 0)
    return np.asarray((index < 0) | ~tied[index] if len(sums) else index < 0)
