"""Log-likelihood that models lose which differ by a group or two, each with errors of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.linalg

from multicopy_refinement._typing import BoolArray, FloatArray
from multicopy_refinement.reflections.data import ReflectionData
from multicopy_refinement.targets.sigma_a import CurveProblem, ErrorCurve, ErrorModel

#: Part of a loss by which renewing the errors may lessen it before that is more than second order.
_LITTLE = 0.02


@dataclass(frozen=True, eq=False)
class _Profiled:
    """The log-likelihood of some reflections, maximised over the errors to second order.

    With x the errors of the present model, where g vanishes, L(F) = L(F; x) + c, c = g'H^-1 g/2.
    What is lost with x held, D, and what is left of it with its own errors, D - c + ..., go on
    beyond that as for one variance of n reflections that is fitted: n/2 ln(1 + 2 D/n), n = D^2/c.
    """

    rows: BoolArray
    curve: ErrorCurve
    problem: CurveProblem
    inverse: FloatArray
    value: float
    gradient: FloatArray

    @property
    def values(self) -> FloatArray:
        """Values of the curve at its knots."""
        return self.curve.values

    @classmethod
    def of(cls, curve: ErrorCurve, rows: BoolArray, size: FloatArray) -> _Profiled:
        place = np.flatnonzero(rows)
        fitted = replace(curve, rows=place).fitted(size)
        problem = CurveProblem.of(fitted, size)
        here = problem.at(fitted.values)
        values, vectors = scipy.linalg.eigh(here.hessian)
        sharp = vectors / np.sqrt(np.maximum(values, 1e-6 * values[-1]))
        return cls(rows, fitted, problem, sharp @ sharp.T, here.value, here.gradient)

    @cached_property
    def _judge(self) -> Callable[[FloatArray], tuple[float, FloatArray]]:
        return self.problem.judge(self.values)

    def lost(self, size: FloatArray) -> float:
        """Return the log-likelihood that another |F_model| loses against the present one."""
        there, gradient = self._judge(size[self.rows])
        asked = gradient - self.gradient  # some is left where a value is at its bound
        held, renewed = self.value - there, 0.5 * float(asked @ self.inverse @ asked)
        if held <= 0 or renewed < _LITTLE * held:
            return held - renewed
        n = held**2 / renewed
        return 0.5 * n * float(np.log1p(2 * held / n))


@dataclass(frozen=True, eq=False)
class Renewal:
    """What the work and the free set lose with an |F_model| near the present one.

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

    def lost(self, size: FloatArray) -> tuple[float, float]:
        """Return what work and free set lose, the second nan where there is no free set."""
        free = float("nan") if self.free is None else self.free.lost(size)
        return self.work.lost(size), free
