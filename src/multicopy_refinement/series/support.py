"""What the data of a series say of the presence of the state in each data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.posterior.blocks import Point
from multicopy_refinement.posterior.posterior import Posterior
from multicopy_refinement.refinement.decoys import FEWEST, Decoys, decoy_p
from multicopy_refinement.refinement.support import CLEAR_GAIN, DECOYS, boundary_p
from multicopy_refinement.series.fraction import SetOfSeries
from multicopy_refinement.series.joint import Joint
from multicopy_refinement.solve.covariance import Covariance
from multicopy_refinement.solve.evidence import evidence

#: Decoy atoms of a data set that take a second.
_DECOY_ATOMS = 100_000


@dataclass(frozen=True, eq=False)
class Evidence:
    """Evidence of the state in each data set, ``[n_sets]``.

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
    def joined(cls, each: Sequence[Evidence]) -> Evidence:
        """Return the evidence of several data sets."""
        return cls(
            np.concatenate([one.gain for one in each]),
            np.concatenate([one.gain_free for one in each]),
            np.concatenate([one.p_absent for one in each]),
            np.concatenate([one.n_decoys for one in each]),
        )

    def beside(self, plain: Joint, joint: Joint, reference: int) -> Evidence:
        """Return the evidence of what is more than in a reference.

        Gains are brought to what they are beside it: by the ratio of (f/su)^2 with what the
        reference tells of the others, and without.
        """
        before = np.diag(plain.held) / np.maximum(plain.value**2, 1e-300)
        z2 = np.maximum(joint.value, 0.0) ** 2 / np.maximum(np.diag(joint.held), 1e-300)
        gain = np.where(plain.value > 0, self.gain * before * z2, 0.5 * z2)
        p = np.maximum(boundary_p(gain), np.where(gain < self.gain, self.p_absent, 0.0))
        gain[reference], p[reference] = 0.0, np.nan
        return replace(self, gain=gain, p_absent=p)


def evidence_of(
    one: SetOfSeries, posterior: Posterior, at: Point, found: Covariance, n_decoys: int | None
) -> Evidence:
    """Return the evidence of the state in one data set, at its maximum.

    What model errors gain by chance is measured with decoys of the residue of the state that
    scatters most, where a gain is in doubt.
    """
    lost = evidence(posterior, at, found, [np.array([0])])
    p, count = boundary_p(lost.gain), np.zeros(1, dtype=np.int64)
    atoms = _largest(one)
    wanted = min(DECOYS, _DECOY_ATOMS // max(len(atoms), 1)) if n_decoys is None else n_decoys
    if lost.gain[0] < CLEAR_GAIN and wanted >= FEWEST:
        decoys = Decoys(one.experiment, posterior, at)
        decoys.prepare([atoms], wanted)
        scores = decoys.scores(atoms, float(found.information[0, 0]))
        if len(scores) >= FEWEST:
            count[0] = len(scores)
            z = float(np.sqrt(2 * max(float(lost.gain[0]), 0.0)))
            p = np.maximum(p, min(decoy_p(z, scores), 1.0))
    return Evidence(lost.gain, lost.gain_free, p, count)


def _largest(one: SetOfSeries) -> IntArray:
    """Return the atoms of the group of the state that has the most."""
    state = one.crystal.state
    groups = np.flatnonzero(state.slope > 0)
    sizes = [len(state.groups.members[g]) for g in groups.tolist()]
    return state.groups.members[int(groups[int(np.argmax(sizes))])]
