"""Whether the data support a group: what is lost without it, and how often that is by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincc

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.occupancy.groups import OccupancyGroups
from multicopy_refinement.posterior.blocks import Kind, Point
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.posterior.posterior import Posterior
from multicopy_refinement.refinement.decoys import FEWEST, Decoys, decoy_p
from multicopy_refinement.refinement.discoveries import discoveries
from multicopy_refinement.solve.covariance import Covariance
from multicopy_refinement.solve.evidence import Evidence, evidence

#: Decoys of a group unless a number is asked for, and the decoy atoms of a run that take a second.
DECOYS, _DECOY_ATOMS = 300, 400_000
#: A gain in log-likelihood that needs no decoys: no model error makes it.
CLEAR_GAIN = 200.0
#: The smallest probability that is told.
_SMALLEST_P = 1e-300


@dataclass(frozen=True, eq=False)
class Support:
    """What the data say of the presence of groups, or of sums of groups, ``[n]``.

    Attributes
    ----------
    gain, gain_free
        Log-likelihood of work and free set that is lost without them.
    wald
        (q/su)^2/2: the gain by the curvature at the maximum alone.
    p_absent
        Probability of such a gain were they absent.
    supported
        Whether that passes at a false discovery rate of 5% over the run.
    n_decoys
        How many decoys the probability was measured with, 0 where it is that of theory alone.
    of_differences
        What of the gain is that of Bijvoet differences; nan where these are no data.
    """

    gain: FloatArray
    gain_free: FloatArray
    wald: FloatArray
    p_absent: FloatArray
    supported: BoolArray
    n_decoys: IntArray
    of_differences: FloatArray

    def split(self, n: int) -> tuple[Support, Support]:
        """Return the support of the first n, and of the others."""
        parts = [
            Support(
                self.gain[rows], self.gain_free[rows], self.wald[rows], self.p_absent[rows],
                self.supported[rows], self.n_decoys[rows], self.of_differences[rows],
            )
            for rows in (slice(None, n), slice(n, None))
        ]  # fmt: skip
        return parts[0], parts[1]


#: A gain that is less, of a group at its bound, is rounding: none.
_NOTHING = 1e-3


def boundary_p(gain: FloatArray, extra: IntArray | int = 0) -> FloatArray:
    """Return the probability of a gain in log-likelihood or a larger one, for an absent group.

    On the boundary q >= 0 twice the gain is distributed as 1/2 chi2_k + 1/2 chi2_(k+1), with k
    further unknowns of the group that mean nothing without it (Self & Liang 1987, J. Am. Stat.
    Assoc. 82, 605).
    """
    x = np.maximum(gain, 0.0)
    k = np.asarray(extra)
    p = 0.5 * np.where(k > 0, gammaincc(np.maximum(k, 1) / 2, x), 0.0) + 0.5 * gammaincc(
        (k + 1) / 2, x
    )
    return np.where(x > _NOTHING, np.maximum(p, _SMALLEST_P), 1.0)


@dataclass(frozen=True, eq=False)
class Candidates:
    """What is judged: each refined group alone, and then sums of several that leave together.

    Attributes
    ----------
    members
        Places among the refined groups.
    flat
        Standard deviation of each sum if nothing is known of it, None for that of its set.
    n_groups
        How many are groups alone.
    """

    members: Sequence[IntArray]
    flat: Sequence[float | None]
    n_groups: int

    def su(self, found: Covariance) -> FloatArray:
        """Return the su of each, nan where it is not determined, ``[n]``."""
        combination, of_sums = np.zeros(self.n_groups), []
        for own, flat in zip(self.members[self.n_groups :], self.flat, strict=True):
            combination[own] = 1.0
            of_sums.append(found.su_of(combination, flat))
            combination[own] = 0.0
        return np.concatenate([found.su, of_sums])


@dataclass(frozen=True, eq=False)
class Lost:
    """What the data lose without candidates, and how often that is by chance, ``[n]``."""

    occupancy: FloatArray
    evidence: Evidence
    p_absent: FloatArray
    n_decoys: IntArray

    def support(self, su: FloatArray) -> Support:
        """Return the support of the candidates whose su these are, nan where undetermined."""
        with np.errstate(divide="ignore", invalid="ignore"):
            wald = np.where(su > 0, 0.5 * (self.occupancy / su) ** 2, np.nan)
        lost, determined = self.evidence, np.isfinite(su)
        p = np.where(determined, self.p_absent, np.nan)
        apart = lost.of_differences
        apart = np.full(len(su), np.nan) if apart is None else apart
        n_decoys = np.where(determined, self.n_decoys, 0)
        return Support(lost.gain, lost.gain_free, wald, p, discoveries(p), n_decoys, apart)


def lost_without(
    candidates: Candidates, groups: OccupancyGroups, refined: IntArray, experiment: Experiment,
    posterior: Posterior, at: Point, found: Covariance, n_decoys: int | None = None, *,
    joint: bool = False,
) -> Lost:  # fmt: skip
    """Return what the data lose without candidates.

    Parameters
    ----------
    candidates
        Groups, and several that leave together.
    groups, refined
        All groups, and those that are refined.
    experiment, posterior, at, found
        The crystal, at its maximum, and the covariance there.
    n_decoys
        Of each candidate; as many as take a second at most when left out.
    joint
        Whether coordinates and B of the candidates were fitted to the data, too.
    """
    members = candidates.members
    lost = evidence(posterior, at, found, members)
    occupancy = np.array([at[Kind.OCCUPANCY][own].sum() for own in members])
    atoms = [groups.members[int(refined[own[0]])] for own in members]
    extra = np.full(len(members), int(Kind.B_GROUP in at.space))
    if joint:  # a place, and for several atoms an orientation, and a B
        extra = np.array([4 if len(own) == 1 else 7 for own in atoms], dtype=np.int64)
    p = boundary_p(lost.gain, extra)
    counts = np.zeros(len(members), dtype=np.int64)
    determined = np.isfinite(candidates.su(found))
    doubtful = np.flatnonzero(determined & (lost.gain < CLEAR_GAIN)).tolist()
    wanted = affordable([atoms[i] for i in doubtful]) if n_decoys is None else n_decoys
    if doubtful and wanted >= FEWEST:
        decoys = Decoys(experiment, posterior, at)
        decoys.prepare([atoms[i] for i in doubtful], wanted)
        for i in doubtful:
            first = members[i][0]
            scores = decoys.scores(atoms[i], float(found.information[first, first]))
            counts[i] = len(scores) if len(scores) >= FEWEST else 0
            p[i] = p_beside_decoys(p[i], lost.gain[i], scores)
    return Lost(occupancy, lost, p, counts)


def p_beside_decoys(p: float, gain: float, scores: FloatArray) -> float:
    """Return the larger of a probability by theory and that of a gain beside z of decoys."""
    z = float(np.sqrt(2 * max(float(gain), 0.0)))
    return max(float(p), min(decoy_p(z, scores), 1.0))


def affordable(atoms: Sequence[IntArray], most: int = _DECOY_ATOMS) -> int:
    """Return how many decoys of each of some groups have ``most`` atoms together."""
    total = sum(len(a) for a in atoms)
    return min(DECOYS, most // max(total, 1))
