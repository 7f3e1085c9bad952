"""What the data lose when conformers become one, everything else at its best."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.stats import chi2

from multicopy_refinement._typing import ComplexArray, FloatArray
from multicopy_refinement.model import Model
from multicopy_refinement.posterior.blocks import Kind
from multicopy_refinement.refinement.maximum import Maximum
from multicopy_refinement.refinement.pruning.merging import Merge
from multicopy_refinement.scattering.atoms import ScatteringAtoms, atoms_of
from multicopy_refinement.scattering.basis import MEMORY_LIMIT
from multicopy_refinement.scattering.columns import make_columns
from multicopy_refinement.solve.covariance import Covariance
from multicopy_refinement.solve.evidence import Judge

#: Probability with which conformers that are one stay two.
LEVEL = 0.05
#: Occupancies that would follow by less than this part of their su stay.
_SMALLEST_MOVE = 0.02


@dataclass(frozen=True, eq=False)
class Trial:
    """A merge, and what it costs.

    Attributes
    ----------
    merge
        The conformers.
    lost
        Log-likelihood of the work set that is lost by it.
    """

    merge: Merge
    lost: float

    @property
    def allowed(self) -> float:
        """What one conformer is expected to lose at most, were it the truth.

        Twice what k parameters gain by chance is distributed as chi2_k (Wilks 1938, Ann. Math.
        Statist. 9, 60): half of its 95% quantile.
        """
        return float(chi2.ppf(1 - LEVEL, self.merge.n_parameters) / 2)

    @property
    def passes(self) -> bool:
        """Whether one conformer explains the data as well."""
        return self.lost <= self.allowed


def trials(merges: list[Merge], model: Model, best: Maximum) -> list[Trial]:
    """Return what merges cost, each alone, at the maximum of the model as it is.

    Position and B of the one conformer are the moments of the others; occupancies, scale and
    solvent are refined to second order around it, errors renewed. A better position and B could
    only lessen what is lost.
    """
    assert best.covariance is not None
    try_ = _Trials(best, best.covariance)
    changes = _changes(merges, model, best)
    return [Trial(one, try_.lost(one, f)) for one, f in zip(merges, changes, strict=True)]


def _changes(merges: list[Merge], model: Model, best: Maximum) -> Iterator[ComplexArray]:
    """Yield F of each one conformer less that of the others; all displace the same solvent."""
    if not merges:
        return
    with torch.no_grad():
        atoms = atoms_of(model)
        pieces: list[ScatteringAtoms] = []
        weights: list[float] = []
        owner: list[int] = []
        for number, one in enumerate(merges):
            others = [atoms.select(torch.as_tensor(column)) for column in one.atoms.T]
            q = [float(part.occupancy[0]) for part in others]
            now = replace(
                others[0], xyz=torch.as_tensor(one.xyz), b_iso=torch.as_tensor(one.b_iso),
                u=torch.as_tensor(one.u_aniso),
            )  # fmt: skip
            pieces += [now, *others]
            weights += [sum(q), *(-value for value in q)]
            owner += [number] * (1 + len(others))
        column = np.repeat(np.arange(len(pieces)), [len(p) for p in pieces])
        hkl = best.solution.experiment.data.hkl
        columns = make_columns(
            ScatteringAtoms.together(pieces), column, len(pieces), hkl, MEMORY_LIMIT
        )
    for number in range(len(merges)):
        mine = np.flatnonzero(np.array(owner) == number)
        real, imaginary = columns.members(mine)
        w = np.array(weights)[mine]
        yield w @ real + 1j * (w @ imaginary)


class _Trials:
    def __init__(self, best: Maximum, found: Covariance) -> None:
        self.best, self.found, self.forward = best, found, best.posterior.data.forward
        self.judge = Judge.of(best.posterior, best.at)
        self.present = self.forward.f_model(best.at)
        whole = best.posterior.with_nuisance(best.at)
        self.rescale = self.forward.rescaling(whole)
        self.jacobian = self.forward.jacobians(best.at)[Kind.OCCUPANCY]
        self.gradient = self._gradient(self.present)
        self.place = {group: i for i, group in enumerate(best.refined.tolist())}

    def lost(self, one: Merge, change: ComplexArray) -> float:
        """Return what is lost by a change of F_calc, with errors of the free set."""
        merged = self.present + self.forward.overall(self.best.at) * change
        losses = [self.judge.lost(np.abs(f))[0] for f in (merged, self._refined(one, merged))]
        members = [self.place[g] for g in one.groups]
        return float(min(losses) * self.judge.factor[members].mean())

    def _refined(self, one: Merge, merged: ComplexArray) -> ComplexArray:
        """Return F_model with everything else refined by one step; the conformers keep ratios.

        The step is C g with the gradient g of the log-likelihood, without what would move
        occupancy between conformers that are one.
        """
        q = self.best.at[Kind.OCCUPANCY]
        c = self._within(one, q)
        asked = c @ (self._gradient(merged) - self.gradient)
        asked[np.abs(asked) < _SMALLEST_MOVE * np.sqrt(np.maximum(np.diag(c), 0.0))] = 0.0
        sums = self.best.posterior.sums
        change = sums.restored(np.clip(q + asked, 0.0, 1.0), tolerance=1e-9) - q
        moved = np.flatnonzero(change)
        if len(moved) == 0:
            return merged
        f = merged + self.forward.change(self.best.at, moved, change[moved])
        return self.rescale(f, -(self.found.response @ change))

    def _within(self, one: Merge, q: FloatArray) -> FloatArray:
        """Return the covariance of occupancies with the ratios of some held."""
        c = self.found.matrix
        first, *others = (self.place[g] for g in one.groups)
        rows = np.zeros((len(others), len(q)))
        for row, other in zip(rows, others, strict=True):
            row[other], row[first] = max(q[first], 1e-6), -max(q[other], 1e-6)
        across = c @ rows.T
        inner = np.linalg.pinv(rows @ across, rcond=1e-9, hermitian=True)
        return np.asarray(c - across @ inner @ across.T)

    def _gradient(self, f_model: ComplexArray) -> FloatArray:
        data = self.best.posterior.data
        size = np.abs(f_model)
        slope = data.target.derivatives(size).slope * data.work / data.variance_factor
        along = self.forward.overall(self.best.at) * f_model / np.maximum(size, 1e-300)
        return self.jacobian.adjoint(along * slope)
