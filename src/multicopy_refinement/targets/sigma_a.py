"""How much of F_obs the model explains, by resolution: alpha and beta of the likelihood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import i0e, i1e

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.notices import Notice
from multicopy_refinement.reflections.data import ReflectionData
from multicopy_refinement.targets.rice import RiceSlopes, bessel_table, rice_derivatives
from multicopy_refinement.targets.shells import make_shells

#: Reflections that a knot of the curves should have, and the smallest test set that is used at all.
PER_SHELL = 60
SMALLEST_FREE_SET = 100
#: Standard deviations of the second differences of log alpha and log beta between knots: a prior
#: that lets both curves bend, and lends a knot of few reflections what its neighbours know.
ROUGHNESS = (0.1, 0.5)
#: Largest variance of log beta that is believed: beyond it the mean of beta has no meaning.
_MOST_VARIANCE = 1.0
_MOST_STEPS, _CONVERGED = 50, 1e-6


@dataclass(frozen=True, eq=False)
class ErrorModel:
    """Parameters of the likelihood for each reflection.

    Attributes
    ----------
    alpha
        F_obs is expected at alpha F_model, ``[n]``.
    beta
        Variance of F_obs - alpha F_model for eps = 1, without measurement errors, ``[n]``.
    variance
        Sigma = eps beta + `ReflectionData.rice_noise`, ``[n]``.
    centre, shell_alpha
        1/d^2 of the knots and alpha there, ``[n_shells]``.
    notices
        What was used in place of a test set that is too small.
    curve
        What alpha and beta were interpolated from; None where they are somebody else's.
    """

    alpha: FloatArray
    beta: FloatArray
    variance: FloatArray
    centre: FloatArray
    shell_alpha: FloatArray
    notices: tuple[Notice, ...] = ()
    curve: ErrorCurve | None = None

    def alpha_at(self, s_squared: FloatArray) -> FloatArray:
        """Return alpha at any 1/d^2, ``[n]``."""
        return np.interp(s_squared, self.centre, self.shell_alpha)

    def figure_of_merit(
        self, f_obs: FloatArray, f_model: FloatArray, centric: BoolArray
    ) -> FloatArray:
        """Return m = I1(X)/I0(X) (acentric) or tanh(X/2) (centric), X = 2 alpha Fo F/Sigma."""
        x = 2 * self.alpha * f_obs * f_model / self.variance
        return np.asarray(np.where(centric, np.tanh(x / 2), i1e(x) / i0e(x)))


@dataclass(frozen=True, eq=False)
class ErrorCurve:
    """log alpha and log beta as functions of 1/d^2: lines between knots.

    Attributes
    ----------
    data
        The reflections.
    rows
        Which of them it is estimated from.
    inflation
        Of beta, for each reflection, ``[n]``.
    knots
        1/d^2, ``[k]``.
    values
        log alpha at the knots, then log beta, ``[2k]``.
    lower, upper
        Bounds of the values, ``[2k]``.
    mean
        Logarithm of the mean of beta at the knots, over what is not known of it, once estimated.
    """

    data: ReflectionData
    rows: np.ndarray
    inflation: FloatArray
    knots: FloatArray
    values: FloatArray
    lower: FloatArray
    upper: FloatArray
    mean: FloatArray | None = None

    def fitted(self, f_model: FloatArray, most_steps: int = _MOST_STEPS) -> ErrorCurve:
        """Return the curve that maximises the likelihood of its reflections and the prior.

        Projected Newton method from the present values (Bertsekas 1982, SIAM J. Control Optim. 20,
        221): values that would leave their bounds are held; directions of negative curvature go
        uphill by its size (absolute eigenvalues), and steps are shortened until the value rises.
        """
        problem = CurveProblem.of(self, f_model)
        x, here = self.values, problem.at(self.values)
        for _ in range(most_steps):
            step = self._step(x, here)
            for part in (1.0, 0.5, 0.25, 0.1, 0.01, 0.001):
                trial = np.clip(x + part * step, self.lower, self.upper)
                if float(np.abs(here.gradient @ (trial - x))) < part * _CONVERGED:
                    return replace(self, values=x, mean=None)
                there = problem.at(trial)
                if there.value > here.value:
                    break
            else:
                break
            x, here = trial, there
        return replace(self, values=x, mean=None)

    def _step(self, x: FloatArray, here: LocalCurve) -> FloatArray:
        """Return a Newton step of the values that their bounds do not hold, always uphill."""
        outward = ((x <= self.lower) & (here.gradient < 0)) | (
            (x >= self.upper) & (here.gradient > 0)
        )
        free, step = np.flatnonzero(~outward), np.zeros_like(x)
        values, vectors = np.linalg.eigh(here.hessian[np.ix_(free, free)])
        size = np.maximum(np.abs(values), 1e-6 * np.abs(values).max(initial=1e-300))
        step[free] = vectors @ np.clip((vectors.T @ here.gradient[free]) / size, -1.0, 1.0)
        return step

    def errors(self, f_model: FloatArray | None = None) -> ErrorModel:
        """Return the parameters of every reflection.

        beta is the mean of exp(log beta) over what is not known of it where ``f_model`` is given:
        exp(log beta + v/2), v its variance from the curvature of the likelihood.
        """
        k, s_squared = len(self.knots), self.data.s_squared
        log_alpha, log_beta = self.values[:k], self.values[k:]
        curve = self
        if f_model is not None:
            log_beta = log_beta + self._variance(f_model) / 2
            curve = replace(self, mean=log_beta)
        alpha = np.exp(np.interp(s_squared, self.knots, log_alpha))
        beta = np.exp(np.interp(s_squared, self.knots, log_beta)) * self.inflation
        variance = self.data.epsilon * beta + self.data.rice_noise
        return ErrorModel(
            alpha, beta, variance, self.knots, np.exp(log_alpha), curve=curve,
        )  # fmt: skip

    def errors_with(self, inflation: float) -> ErrorModel:
        """Return the parameters of every reflection with one inflation for all."""
        return replace(self, inflation=np.full(len(self.data), inflation)).errors()

    def with_alpha_of(self, rows: IntArray, f_model: FloatArray) -> ErrorModel:
        """Return the errors with beta as it is, and the alpha that some reflections ask for.

        k alpha is one parameter. Where that of the test set, with the noise of its thousand
        reflections, is held over the many of the work set, all that can stand for a scale runs
        after the difference: k, and B of all atoms.
        """
        k = len(self.knots)
        mean = self.values[k:] + self._variance(f_model) / 2 if self.mean is None else self.mean
        values = np.concatenate([self.values[:k], mean])
        low, high = self.lower.copy(), self.upper.copy()
        low[k:] = high[k:] = mean
        return (
            replace(self, rows=rows, values=values, lower=low, upper=high).fitted(f_model).errors()
        )

    def _variance(self, f_model: FloatArray) -> FloatArray:
        """Return the variance of log beta at the knots."""
        k = len(self.knots)
        curvature = CurveProblem.of(self, f_model).at(self.values).hessian
        values, vectors = np.linalg.eigh(curvature)
        sharp = vectors / np.sqrt(np.maximum(values, 1e-3))
        return np.asarray(np.minimum((sharp**2).sum(axis=1)[k:], _MOST_VARIANCE))


def estimate_errors(
    data: ReflectionData, f_model: FloatArray, *, use: BoolArray | None = None,
    inflation: FloatArray | None = None, start: ErrorModel | None = None,
) -> ErrorModel:  # fmt: skip
    """Return alpha and beta by maximum likelihood from the test set, as smooth curves.

    (Lunin & Skovoroda 1995, Acta Cryst. A51, 880, for the likelihood.) log alpha and log beta are
    lines between knots in 1/d^2 under a prior against bends, fitted to all reflections of the test
    set at once. The scale of ``f_model`` is that of a least squares fit and is never changed by
    the likelihood, since alpha and it are one parameter.

    Parameters
    ----------
    data, f_model
        The reflections, and |F_model| of each, ``[n]``.
    use
        Reflections that may be used, ``[n]``; all when left out.
    inflation
        By how much beta of each reflection is larger than the curve's, ``[n]``.
    start
        Of the search, where there is an estimate of before.
    """
    usable = np.ones(len(data), dtype=bool) if use is None else use
    estimating = data.free & usable
    notices: tuple[Notice, ...] = ()
    if int(estimating.sum()) < SMALLEST_FREE_SET:
        notices = (
            Notice(
                "sigma_a_from_work",
                f"the free set has {int(estimating.sum())} "
                f"reflections, fewer than {SMALLEST_FREE_SET}: sigmaA is estimated from "
                "the work set",
            ),
        )
        estimating = data.work & usable
    factor = np.ones(len(data)) if inflation is None else inflation
    curve = _first_curve(data, f_model, estimating, factor)
    if start is not None and start.curve is not None and len(start.curve.knots) == len(curve.knots):
        values = np.clip(start.curve.values, curve.lower, curve.upper)
        curve = ErrorCurve(data, curve.rows, factor, curve.knots, values, curve.lower, curve.upper)
    fitted = curve.fitted(f_model).errors(f_model)
    return ErrorModel(
        fitted.alpha, fitted.beta, fitted.variance, fitted.centre, fitted.shell_alpha, notices,
        fitted.curve,
    )  # fmt: skip


def _first_curve(
    data: ReflectionData, f_model: FloatArray, estimating: BoolArray, inflation: FloatArray
) -> ErrorCurve:
    """Return the curve to start from: least squares in shells, each with a knot at its centre."""
    shells = make_shells(data.s_squared, estimating, per_shell=PER_SHELL)
    rows = np.flatnonzero(estimating)
    n, shell = len(shells.centre), shells.number[rows]
    f_obs, f, epsilon = data.f_obs[rows], f_model[rows], data.epsilon[rows]

    def mean(values: FloatArray) -> FloatArray:
        count = np.maximum(np.bincount(shell, minlength=n), 1)
        return np.asarray(np.bincount(shell, values, minlength=n) / count)

    alpha = np.clip(mean(f_obs * f) / np.maximum(mean(f * f), 1e-300), 0.01, 10.0)
    power = mean(f_obs**2 / epsilon)
    smallest = np.maximum(1e-6 * power, 1e-12)
    squares = (f_obs - alpha[shell] * f) ** 2 / (epsilon * inflation[rows])
    spread = np.clip(mean(squares), smallest, 10 * power + smallest)
    lower = np.log(np.concatenate([np.full(n, 0.01), smallest]))
    upper = np.log(np.concatenate([np.full(n, 10.0), 10 * power + smallest]))
    start = np.log(np.concatenate([alpha, spread]))
    return ErrorCurve(data, rows, inflation, shells.centre, start, lower, upper)


@dataclass(frozen=True, eq=False)
class Hats:
    """Linear interpolation between knots as a sparse matrix, constant beyond the outer ones.

    Attributes
    ----------
    left
        The knot before each point, ``[n]``.
    part
        How far the point is on the way to the next, ``[n]``.
    n_knots
        Number of knots.
    """

    left: IntArray
    part: FloatArray
    n_knots: int

    @classmethod
    def of(cls, x: FloatArray, knots: FloatArray) -> Hats:
        """Return it for points and knots in ascending order."""
        k = len(knots)
        left = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, max(k - 2, 0))
        if k == 1:
            return cls(left, np.zeros(len(x)), 1)
        width = np.maximum(knots[left + 1] - knots[left], 1e-300)
        return cls(left, np.clip((x - knots[left]) / width, 0.0, 1.0), k)

    def at(self, values: FloatArray) -> FloatArray:
        """Return values of the points from those of the knots."""
        right = np.minimum(self.left + 1, self.n_knots - 1)
        return np.asarray(values[self.left] * (1 - self.part) + values[right] * self.part)

    def collected(self, weight: FloatArray) -> FloatArray:
        """Return H'w."""
        found = np.bincount(self.left, weight * (1 - self.part), minlength=self.n_knots + 1)
        found += np.bincount(self.left + 1, weight * self.part, minlength=self.n_knots + 1)
        return np.asarray(found[: self.n_knots], dtype=np.float64)

    def product(self, weight: FloatArray) -> FloatArray:
        """Return H'WH, tridiagonal, dense."""
        k, rest = self.n_knots, 1 - self.part
        here = np.bincount(self.left, weight * rest**2, minlength=k + 1)
        here += np.bincount(self.left + 1, weight * self.part**2, minlength=k + 1)
        beside = np.bincount(self.left, weight * rest * self.part, minlength=k)[: k - 1]
        found = np.diag(here[:k])
        rows = np.arange(k - 1)
        found[rows, rows + 1] = found[rows + 1, rows] = beside
        return np.asarray(found, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class LocalCurve:
    """Value, gradient, and minus the second derivatives, of log-likelihood and prior."""

    value: float
    gradient: FloatArray
    hessian: FloatArray


@dataclass(frozen=True, eq=False)
class CurveProblem:
    """The reflections that a curve is fitted to, and |F_model| of them."""

    f_obs: FloatArray
    f_model: FloatArray
    noise: FloatArray
    weight: FloatArray
    centric: BoolArray
    hats: Hats
    precision: FloatArray

    @classmethod
    def of(cls, curve: ErrorCurve, f_model: FloatArray) -> CurveProblem:
        """Return the problem of a curve's reflections; |F_model| is of all, ``[n]``."""
        data, rows, k = curve.data, curve.rows, len(curve.knots)
        bend = np.diff(np.eye(k), n=2, axis=0)
        blocks = [bend.T @ bend / roughness**2 for roughness in ROUGHNESS]
        precision = np.zeros((2 * k, 2 * k))
        precision[:k, :k], precision[k:, k:] = blocks
        return cls(
            data.rice_f[rows], f_model[rows], data.rice_noise[rows],
            data.epsilon[rows] * curve.inflation[rows], data.centric[rows],
            Hats.of(data.s_squared[rows], curve.knots), precision,
        )  # fmt: skip

    def judge(self, x: FloatArray) -> Callable[[FloatArray], tuple[float, FloatArray]]:
        """Return what gives value and gradient at knot values for an |F_model| of the rows."""
        from multicopy_refinement.targets.kernels.rice import rice_collected

        hats, k, pull = self.hats, self.hats.n_knots, self.precision @ x
        alpha, model_error = np.exp(hats.at(x[:k])), np.exp(hats.at(x[k:])) * self.weight
        table, prior = bessel_table(), 0.5 * float(x @ pull)
        left = np.ascontiguousarray(hats.left)

        def judged(size: FloatArray) -> tuple[float, FloatArray]:
            slope = np.zeros((2, k + 1))
            value = rice_collected(
                size, self.f_obs, alpha, model_error, self.noise, self.centric, left, hats.part,
                slope, table,
            )  # fmt: skip
            return value - prior, slope[:, :k].reshape(-1) - pull

        return judged

    def _parameters(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return alpha |F_model|, and eps beta."""
        hats, k = self.hats, self.hats.n_knots
        return np.exp(hats.at(x[:k])) * self.f_model, np.exp(hats.at(x[k:])) * self.weight

    def _with_prior(
        self, x: FloatArray, d: RiceSlopes, scaled: FloatArray, model_error: FloatArray
    ) -> tuple[float, FloatArray]:
        collected = self.hats.collected
        slope = np.concatenate([collected(d.d_a * scaled), collected(d.d_v * model_error)])
        pull = self.precision @ x
        return float(d.value.sum() - 0.5 * x @ pull), slope - pull

    def at(self, x: FloatArray) -> LocalCurve:
        """Return value, gradient and minus the second derivatives at knot values."""
        hats = self.hats
        scaled, model_error = self._parameters(x)
        d = rice_derivatives(self.f_obs, scaled, model_error + self.noise, self.centric)
        aa = -(d.d_aa * scaled + d.d_a) * scaled
        bb = -(d.d_vv * model_error + d.d_v) * model_error
        cross = hats.product(-d.d_av * scaled * model_error)
        hessian = np.block([[hats.product(aa), cross], [cross, hats.product(bb)]])
        value, gradient = self._with_prior(x, d, scaled, model_error)
        return LocalCurve(value, gradient, hessian + self.precision)
