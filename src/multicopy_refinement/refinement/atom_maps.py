"""Maps of what an atom would gain at every point, for many kinds of atoms from a few maps.

The gradient of the log-likelihood in the occupancy of an atom at x is the density of
c f exp(-Bs^2/4) there. Of all elements and B factors these differ by smooth functions of s alone:
three to five maps give a dozen.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from multicopy_refinement._typing import ComplexArray, FloatArray
from multicopy_refinement.parallel import in_threads

#: The most that a map is off, in units of its own rms.
_OFF = 2e-3

#: What an atom is, to its map.
_Kind = TypeVar("_Kind", bound=Hashable)


@dataclass(frozen=True, eq=False)
class AtomMaps(Generic[_Kind]):
    """Maps of several kinds of atoms, each a sum of a few.

    Attributes
    ----------
    maps
        Periodic, on grids of the cell.
    weights
        Of each of them in the map of a kind, ``[n_maps]``.
    """

    maps: tuple[FloatArray, ...]
    weights: dict[_Kind, FloatArray]

    @classmethod
    def of(
        cls, kinds: Sequence[_Kind], wanted: ComplexArray,
        density: Callable[[ComplexArray], FloatArray],
    ) -> AtomMaps[_Kind]:  # fmt: skip
        """Return the maps of coefficients, ``[n_kinds, n]``, that ``density`` makes maps of.

        With rows of unit norm, A = U S V', so many columns of U are kept that no row of
        A - U U' A is longer than what a map may be off; U' A are the coefficients of the few.
        """
        norm = np.sqrt((np.abs(wanted) ** 2).sum(axis=1))
        rows = wanted / np.maximum(norm, np.finfo(float).tiny)[:, None]
        values, vectors = np.linalg.eigh((rows @ rows.conj().T).real)
        parts = (vectors**2 * np.maximum(values, 0))[:, ::-1]  # of the square of each row
        left = 1 - np.cumsum(parts / np.maximum(parts.sum(axis=1), 1e-300)[:, None], axis=1)
        enough = (left < _OFF**2).all(axis=0)
        few = vectors[:, ::-1][:, : int(enough.argmax()) + 1]
        found: list[FloatArray] = [np.zeros(0)] * few.shape[1]

        def work(first: int, last: int) -> None:
            for i in range(first, last):
                found[i] = density(few[:, i] @ rows)

        in_threads(work, len(found), one_by_one=True)
        return cls(tuple(found), dict(zip(kinds, few * norm[:, None], strict=True)))

    def at(self, places: FloatArray, kinds: Sequence[_Kind]) -> FloatArray:
        """Return the sum over atoms of the maps of their kinds at fractional places.

        Parameters
        ----------
        places
            ``[n, n_atoms, 3]``.
        kinds
            Of each atom.
        """
        flat, weights = places.reshape(-1, 3), np.array([self.weights[kind] for kind in kinds])
        total = np.zeros(places.shape[:2])
        for i, map_ in enumerate(self.maps):
            total += read(map_, flat).reshape(total.shape) * weights[:, i]
        return np.asarray(total.sum(axis=1))


def read(map_: FloatArray, places: FloatArray) -> FloatArray:
    """Return a periodic map at fractional places, ``[n, 3]``, by linear interpolation."""
    from scipy.ndimage import map_coordinates

    index = (places % 1.0).T * np.array(map_.shape)[:, None]
    return np.asarray(map_coordinates(map_, index, order=1, mode="grid-wrap", output=np.float64))
