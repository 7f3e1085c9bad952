"""What the data of a series say of the presence of the state in each data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.posterior.blocks import Point
from multicopy_refinement.posterior.posterior import Posterior
from multicopy_refinement.refinement.decoys import FEWEST, Decoys
from multicopy_refinement.refinement.support import (
    CLEAR_GAIN,
    affordable,
    boundary_p,
    p_beside_decoys,
)
from multicopy_refinement.series.fraction import SetOfSeries
from multicopy_refinement.series.joint import Joint
from multicopy_refinement.solve.covariance import Covariance
from multicopy_refinement.solve.evidence import evidence

#: Decoy atoms of a data set that take a second.
_DECOY_ATOMS = 100_000
#: A (f/su)^2/2 that is too small to bring a gain to another.
_LITTLE = 1e-3


@dataclass(frozen=True, eq=False)
class Alone:
    """Evidence of the state in one data set by itself.

    Attributes
    ----------
    gain, gain_free
        Log-likelihood of work and free set that is lost without it.
    wald
        (f/su)^2/2.
    decoys
        z of decoys, ``[n_decoys]``.
    """

    gain: float
    gain_free: float
    wald: float
    decoys: FloatArray


@dataclass(frozen=True, eq=False)
class Evidence:
    """Evidence of the state in each data set of a series, ``[n_sets]``.

    Attributes
    ----------
    gain, gain_free
        Log-likelihood of work and free set that is lost without it.
    p_absent
        Probability of such a gain were it absent.
    n_decoys
        With which that was measured; 0 where it is that of theory alone.
    """

    gain: FloatArray
    gain_free: FloatArray
    p_absent: FloatArray
    n_decoys: IntArray

    @classmethod
    def of(cls, each: Sequence[Alone], joint: Joint, reference: int | None) -> Evidence:
        """Return the evidence of the fractions as all data sets together have them.

        Gains are brought from (f/su)^2/2 of each data set alone to that of the series, in which B
        of the crystal's own, errors that data sets share, and a reference count. Where model errors
        gain more by chance than theory says (decoys), that probability counts.
        """
        gain, gain_free, wald = (
            np.array([getattr(one, name) for one in each]) for name in ("gain", "gain_free", "wald")
        )
        half = np.maximum(joint.value, 0.0) ** 2 / np.maximum(2 * np.diag(joint.held), 1e-300)
        gain = np.where(wald > _LITTLE, gain * half / np.maximum(wald, _LITTLE), half)
        p = boundary_p(gain)
        for i, one in enumerate(each):
            if len(one.decoys):
                p[i] = p_beside_decoys(p[i], gain[i], one.decoys)
        if reference is not None:
            gain[reference], gain_free[reference], p[reference] = 0.0, 0.0, np.nan
        return cls(gain, gain_free, p, np.array([len(one.decoys) for one in each]))


def evidence_of(
    one: SetOfSeries, posterior: Posterior, at: Point, found: Covariance, n_decoys: int | None
) -> Alone:
    """Return the evidence of the state in one data set, at its maximum.

    What model errors gain by chance is measured with decoys of the group of the state that has the
    most atoms, where a gain is in doubt.
    """
    lost = evidence(posterior, at, found, [np.array([0])])
    atoms, scores = _largest(one), np.zeros(0)
    wanted = affordable([atoms], _DECOY_ATOMS) if n_decoys is None else n_decoys
    if lost.gain[0] < CLEAR_GAIN and wanted >= FEWEST:
        decoys = Decoys(one.experiment, posterior, at)
        decoys.prepare([atoms], wanted)
        scores = decoys.scores(atoms, float(found.information[0, 0]))
    wald = one.fraction**2 / (2 * max(float(found.matrix[0, 0]), 1e-300))
    return Alone(
        float(lost.gain[0]), float(lost.gain_free[0]), wald,
        scores if len(scores) >= FEWEST else np.zeros(0),
    )  # fmt: skip


def _largest(one: SetOfSeries) -> IntArray:
    """Return the atoms of the group of the state that has the most."""
    state = one.crystal.state
    groups = np.flatnonzero(state.slope > 0)
    sizes = [len(state.groups.members[g]) for g in groups.tolist()]
    return state.groups.members[int(groups[int(np.argmax(sizes))])]
