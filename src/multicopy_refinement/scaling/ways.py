"""At which occupancies ways of the solvent are judged in a search."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import FloatArray

#: Occupancies that have come back are followed again when they have gone so far, but no more when
#: they have so often.
_AWAY, _MOST_TURNS = 0.25, 3


class Judged:
    """Occupancies of all groups that say how often ways of the solvent are open.

    They follow those of a search. A way that is open more often may call for the occupancy that
    shuts it, and so on for ever: one that comes back is judged between where it was and where it
    went, and in the end stays there.

    Attributes
    ----------
    about
        The occupancies, ``[n_groups]``; none before the first.
    """

    def __init__(self) -> None:
        self.about: FloatArray = np.zeros(0)
        self.search()

    def search(self) -> None:
        """Forget the way here: what comes next is where a search begins."""
        self._turns = self._way_there = np.zeros(len(self.about))

    def off(self, occupancy: FloatArray) -> float:
        """Return by how much the occupancy that has moved most differs from what it is judged at.

        Those that came back count only where they go on.
        """
        return float(np.abs(self._further(occupancy)).max(initial=0.0))

    def follow(self, occupancy: FloatArray) -> FloatArray:
        """Judge at these occupancies from now on; return what they are judged at."""
        if len(self.about) == 0:
            self.about = occupancy
            self.search()
            return self.about
        step = self._further(occupancy)
        back = step * self._way_there < 0
        self._turns = self._turns + back
        self.about = self.about + np.where(back, step / (1 + self._turns), step)
        self._way_there = np.where(step == 0, self._way_there, step)
        return self.about

    def _further(self, occupancy: FloatArray) -> FloatArray:
        step = occupancy - self.about
        near = (self._turns > 0) & (np.abs(step) < _AWAY)
        return np.where(near | (self._turns >= _MOST_TURNS), 0.0, step)
