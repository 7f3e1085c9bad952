"""How much of F_obs the model explains, by resolution: alpha and beta of the likelihood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import i0e, i1e

from multicopy_refinement._typing import BoolArray, FloatArray
from multicopy_refinement.notices import Notice
from multicopy_refinement.reflections.data import ReflectionData
from multicopy_refinement.targets.shells import make_shells

#: Reflections that a shell should have, and the smallest test set that is used at all.
PER_SHELL = 60
SMALLEST_FREE_SET = 100


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
        Sigma = eps beta + 2 sigma^2 (acentric), eps beta + sigma^2 (centric), ``[n]``.
    centre, shell_alpha
        1/d^2 of the shells and their alpha, ``[n_shells]``.
    notices
        What was used in place of a test set that is too small.
    """

    alpha: FloatArray
    beta: FloatArray
    variance: FloatArray
    centre: FloatArray
    shell_alpha: FloatArray
    notices: tuple[Notice, ...] = ()

    def alpha_at(self, s_squared: FloatArray) -> FloatArray:
        """Return alpha at any 1/d^2, ``[n]``."""
        return np.interp(s_squared, self.centre, self.shell_alpha)

    def figure_of_merit(
        self, f_obs: FloatArray, f_model: FloatArray, centric: BoolArray
    ) -> FloatArray:
        """Return m = I1(X)/I0(X) (acentric) or tanh(X/2) (centric), X = 2 alpha Fo F/Sigma."""
        x = 2 * self.alpha * f_obs * f_model / self.variance
        return np.asarray(np.where(centric, np.tanh(x / 2), i1e(x) / i0e(x)))


def estimate_errors(data: ReflectionData, f_model: FloatArray) -> ErrorModel:
    """Return alpha and beta by maximum likelihood in shells of the test set, smoothed.

    (Lunin & Skovoroda 1995, Acta Cryst. A51, 880.) The scale of ``f_model`` is that of a least
    squares fit and is never changed by the likelihood, since alpha and it are one parameter.
    """
    estimating = data.free
    notices: tuple[Notice, ...] = ()
    if int(data.free.sum()) < SMALLEST_FREE_SET:
        estimating = data.work
        notices = (
            Notice(
                "sigma_a_from_work",
                f"the free set has {int(data.free.sum())} "
                f"reflections, fewer than {SMALLEST_FREE_SET}: sigmaA is estimated from "
                "the work set",
            ),
        )
    shells = make_shells(data.s_squared, estimating, per_shell=PER_SHELL)
    alpha, beta = np.empty(len(shells.centre)), np.empty(len(shells.centre))
    for number in range(len(shells.centre)):
        rows = estimating & (shells.number == number)
        alpha[number], beta[number] = _fit_shell(data, f_model, rows)
    alpha = shells.smooth(alpha)
    smooth_alpha = shells.interpolate(alpha, data.s_squared)
    smooth_beta = np.exp(shells.interpolate(shells.smooth(np.log(beta)), data.s_squared))
    variance = _variance(smooth_beta, data.epsilon, data.sigma, data.centric)
    return ErrorModel(smooth_alpha, smooth_beta, variance, shells.centre, alpha, notices)


def _variance(
    beta: FloatArray | float, epsilon: FloatArray, sigma: FloatArray, centric: BoolArray
) -> FloatArray:
    return np.asarray(epsilon * beta + np.where(centric, 1.0, 2.0) * sigma**2)


def _fit_shell(data: ReflectionData, f_model: FloatArray, rows: BoolArray) -> tuple[float, float]:
    """Return the alpha and beta that maximise the likelihood of the reflections of a shell."""
    f_obs, f, sigma = data.f_obs[rows], f_model[rows], data.sigma[rows]
    epsilon, centric = data.epsilon[rows], data.centric[rows]
    alpha = float(np.clip(f_obs @ f / max(float(f @ f), 1e-300), 0.01, 10.0))
    spread = float(np.mean((f_obs - alpha * f) ** 2 / epsilon))
    power = float(np.mean(f_obs**2 / epsilon))
    smallest = max(1e-6 * power, 1e-12)
    start = np.log([alpha, max(spread, smallest)])

    def cost(p: FloatArray) -> tuple[float, FloatArray]:
        a, beta = np.exp(p)
        variance = _variance(beta, epsilon, sigma, centric)
        difference = f_obs - a * f
        x = f_obs * a * f / variance
        ratio = np.where(centric, np.tanh(x), i1e(2 * x) / i0e(2 * x))
        size = np.where(centric, 0.5, 1.0)
        log_p = -size * (np.log(variance) + difference**2 / variance) + np.where(
            centric, np.log1p(np.exp(-2 * x)), np.log(i0e(2 * x))
        )
        d_alpha = size * 2 * f * (f_obs * ratio - a * f) / variance
        d_variance = size * (
            -1 / variance + (f_obs**2 + (a * f) ** 2 - 2 * f_obs * a * f * ratio) / variance**2
        )
        gradient = [a * d_alpha.sum(), beta * (d_variance * epsilon).sum()]
        return -float(log_p.sum()), -np.array(gradient)

    bounds = [(np.log(0.01), np.log(10.0)), (np.log(smallest), np.log(10 * power + smallest))]
    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return float(np.exp(found.x[0])), float(np.exp(found.x[1]))
