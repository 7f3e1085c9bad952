"""Log-likelihoods of models that differ by a group or two, errors at their own optimum for each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg

from multicopy_refinement._typing import BoolArray, FloatArray
from multicopy_refinement.reflections.data import ReflectionData
from multicopy_refinement.targets.sigma_a import CurveProblem, ErrorCurve, ErrorModel

#: Steps of log alpha and log beta that the quadratic model is good for.
_SMALL_STEP = 0.25


@dataclass(frozen=True, eq=False)
class _Profiled:
    """The log-likelihood of some reflections, maximised over the errors to second order.

    L(F) = L(F; x) + g'H^-1 g/2 with x the errors of the present model, where g vanishes. Where
    log alpha or log beta would move by more than a quarter, they are fitted.
    """

    rows: BoolArray
    curve: ErrorCurve
    problem: CurveProblem
    inverse: FloatArray

    @property
    def values(self) -> FloatArray:
        """Values of the curve at its knots."""
        return self.curve.values

    @classmethod
    def of(cls, curve: ErrorCurve, rows: BoolArray, size: FloatArray) -> _Profiled:
        place = np.flatnonzero(rows)
        fitted = replace(curve, rows=place).fitted(size)
        problem = CurveProblem.of(fitted, size)
        values, vectors = scipy.linalg.eigh(problem.at(fitted.values).hessian)
        sharp = vectors / np.sqrt(np.maximum(values, 1e-6 * values[-1]))
        return cls(rows, fitted, problem, sharp @ sharp.T)

    def value(self, size: FloatArray) -> float:
        problem = replace(self.problem, f_model=size[self.rows])
        here, gradient = problem.slope_at(self.values)
        step = self.inverse @ gradient
        if np.abs(step).max(initial=0.0) < _SMALL_STEP:
            return here + 0.5 * float(gradient @ step)
        return problem.slope_at(self.curve.fitted(size).values)[0]


@dataclass(frozen=True, eq=False)
class Renewal:
    """Log-likelihoods of the work and of the free set for any |F_model| near the present one.

    Each set has errors of its own, at their optimum for each model. With the errors of the free
    set the likelihood of the work set is not at an optimum in them where the model is fitted
    better to it, so that the noise of a thousand free reflections would be multiplied by the
    number of all others: it decided about groups. `errors` are those of the work set; what is
    gained with them is to be brought to the errors of the free set by the ratio of informations.
    """

    work: _Profiled
    free: _Profiled | None
    errors: ErrorModel

    @classmethod
    def of(cls, data: ReflectionData, curve: ErrorCurve, size: FloatArray) -> Renewal:
        """Return it for the present |F_model|, ``[n]``."""
        work = _Profiled.of(curve, data.work, size)
        free = _Profiled.of(curve, data.free, size) if data.free.any() else None
        errors = replace(curve, rows=np.flatnonzero(data.work), values=work.values).errors()
        return cls(work, free, errors)

    def likelihoods(self, size: FloatArray) -> tuple[float, float]:
        """Return the log-likelihoods of work and free set, the second nan where there is none."""
        free = float("nan") if self.free is None else self.free.value(size)
        return self.work.value(size), free
