"""Where an information in single precision says as much as one in double precision."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.solve.cholesky import positive_without

#: From so many unknowns on single precision is tried first.
MANY = 400
#: An occupancy whose su exceeds this is not moved: over the whole range from 0 to 1 the
#: log-likelihood changes along it by less than an eighth.
HELD_SU = 2.0
#: No combination may be nearer to that than this part of the information of its groups. Rounding
#: of single precision changes it by 3e-7 of them at random, which in a matrix of 5000 is no more
#: than 4e-5 in any direction.
_CLEAR = 2e-3


def clearly_determined(information: FloatArray) -> bool:
    """Return whether every combination of occupancies is known, whatever rounding does.

    H - 1/4 - 0.002 diag(H) is positive then: what is held, and what is not seen, is nothing, and
    the inverse is right to a few hundredths of a standard uncertainty in its worst direction.
    """
    diagonal = np.diag(information)
    if not (diagonal > 0).all():
        return False
    return positive_without(information, HELD_SU**-2 + _CLEAR * diagonal)
