"""What "before" is: the model as its file is written, also where refinement begins elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from multicopy_refinement._typing import ComplexArray, FloatArray, IntArray
from multicopy_refinement.crystal.twins import TwinLaw
from multicopy_refinement.model import Model
from multicopy_refinement.modes import TargetKind
from multicopy_refinement.notices import Notice
from multicopy_refinement.posterior.agreement import Statistics
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.reflections import ReflectionData
from multicopy_refinement.scattering.atoms import atoms_of
from multicopy_refinement.scattering.splat import splat_structure_factors

#: Occupancies that differ by no more than this are the same.
SAME = 1e-6
#: A loss of log-likelihood against the file that is said.
_WORSE = 2.0
#: A rise of R-free that four decimals show: models that are the same differ by less.
_RISE = 5e-5


@dataclass(frozen=True, eq=False)
class Before:
    """The file's model under a scale, solvent and errors of its own.

    Attributes
    ----------
    experiment
        Renewed at the occupancies that refinement begins with.
    f_calc, occupancy
        Of the file, complex ``[n]`` and ``[n_groups]``.
    statistics
        Agreement of the file's model.
    size
        What is measured of F_model of the file's model, ``[n]``.
    differs
        Whether refinement begins elsewhere.
    """

    experiment: Experiment
    f_calc: torch.Tensor
    occupancy: FloatArray
    statistics: Statistics
    size: FloatArray
    differs: bool

    @classmethod
    def of(
        cls, model: Model, data: ReflectionData, target: TargetKind | None,
        f_calc: Callable[[], ComplexArray], twin: tuple[TwinLaw, float] | None = None, *,
        extinction: bool = False,
    ) -> Before:  # fmt: skip
        """Return it for a model; ``f_calc`` makes F_calc of its present occupancies."""
        occupancy, change = as_written(model, data.hkl)
        made: list[torch.Tensor] = []

        def written() -> torch.Tensor:
            start = torch.as_tensor(f_calc())
            made[:] = start, start if change is None else start + torch.as_tensor(change)
            return made[1]

        experiment = Experiment(
            model, data, target=target, f_calc=written, occupancy=occupancy, twin=twin,
            extinction=extinction,
        )  # fmt: skip
        f_model = experiment.forward_of(made[1], occupancy)
        found = cls(
            experiment, made[1], occupancy, experiment.statistics(f_model),
            experiment.size(f_model), differs=change is not None,
        )  # fmt: skip
        if change is not None:
            experiment.renew(made[0])
        return found

    def beside_the_end(self, start: Statistics) -> Statistics:
        """Return the agreement of the file's model, to be compared with that of the end.

        The log-likelihoods are under the scale and the errors of the end; ``start`` has those of
        the occupancies that refinement began with.
        """
        if self.differs:
            f_model = self.experiment.forward_of(self.f_calc, self.occupancy)
            start = self.experiment.statistics(f_model)
        return replace(
            self.statistics,
            log_likelihood=start.log_likelihood,
            log_likelihood_free=start.log_likelihood_free,
        )

    def change_of_r_free(self, size: FloatArray) -> tuple[float, float] | None:
        """Return by how much another |F_model| changes R-free, and the su of that.

        With d = |F_obs - F_after| - |F_obs - F_before| of the n free reflections the change is
        sum d/sum F_obs, and its su sqrt(n) sd(d)/sum F_obs: both models meet the same errors, so
        that it is smaller than that of either R. None without a free set.
        """
        data = self.experiment.data
        free = data.free
        if not free.any():
            return None
        f_obs = data.f_obs[free]
        d = np.abs(f_obs - size[free]) - np.abs(f_obs - self.size[free])
        spread = float(np.std(d)) * np.sqrt(len(d))
        return float(d.sum() / f_obs.sum()), float(spread / f_obs.sum())


def worse_than_file(before: Before, initial: Statistics, final: Statistics) -> tuple[Notice, ...]:
    """Return a notice where the file as written fits better than what came of it."""
    lost = initial.log_likelihood - final.log_likelihood
    if not before.differs or lost < _WORSE:
        return ()
    return (
        Notice(
            "worse_than_file",
            f"the file as it is written fits better than the result, by {lost:.0f} in "
            "log-likelihood: occupancies that were clamped, averaged or scaled were better as they "
            "were. A rule can keep them apart (see the warnings that name them)",
        ),
    )


def rise_of_r_free(change: tuple[float, float] | None) -> tuple[Notice, ...]:
    """Return a notice where R-free rises by more than the error of the change."""
    if change is None or change[0] <= max(change[1], _RISE):
        return ()
    text = f"R-free rises by {change[0]:.4f}, with a standard uncertainty of {change[1]:.4f}"
    return (Notice("r_free_rises", f"{text}: the result is no better than the file"),)


def as_written(model: Model, hkl: IntArray) -> tuple[FloatArray, ComplexArray | None]:
    """Return the file's occupancies of groups, and what their F differs by from the model's.

    Loading clamps occupancies, shares them within groups and scales them to sums. Groups that
    were given another occupancy since count as they are. Of groups the mean of their atoms is
    returned, in [0, 1]; F counts every atom as it is written, and is None where nothing differs.
    """
    groups, now = model.occupancy_groups, model.group_occupancies()
    untouched = np.abs(now - groups.occupancy) <= SAME
    change = np.where(untouched[groups.index], model.table.occupancy - now[groups.index], 0.0)
    off = np.abs(change) > SAME
    if not off.any():
        return now, None
    f = np.zeros(len(hkl), dtype=np.complex128)
    with torch.no_grad():
        atoms = atoms_of(model)
        for sign in (1.0, -1.0):  # the reach of an atom on the grid goes by its occupancy
            part = sign * change > SAME
            if part.any():
                weight = torch.as_tensor(np.abs(change[part]), dtype=atoms.occupancy.dtype)
                some = replace(atoms.select(torch.as_tensor(part)), occupancy=weight)
                f += sign * splat_structure_factors(some, hkl).cpu().numpy()
    return np.where(untouched, np.clip(groups.file_occupancy, 0.0, 1.0), now), f
