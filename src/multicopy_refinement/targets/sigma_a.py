"""How much of F_obs the model explains, by resolution: alpha and beta of the likelihood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import i0e, i1e

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
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
    alpha, beta = _fit_shells(data, f_model, estimating, shells.number)
    alpha = shells.smooth(alpha)
    smooth_alpha = shells.interpolate(alpha, data.s_squared)
    smooth_beta = np.exp(shells.interpolate(shells.smooth(np.log(beta)), data.s_squared))
    variance = _variance(smooth_beta, data.epsilon, data.sigma, data.centric)
    return ErrorModel(smooth_alpha, smooth_beta, variance, shells.centre, alpha, notices)


def _variance(
    beta: FloatArray, epsilon: FloatArray, sigma: FloatArray, centric: BoolArray
) -> FloatArray:
    return np.asarray(epsilon * beta + np.where(centric, 1.0, 2.0) * sigma**2)


def _fit_shells(
    data: ReflectionData, f_model: FloatArray, rows: BoolArray, number: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Return the alpha and beta of each shell that maximise the likelihood of its reflections.

    The shells do not share parameters; they are fitted in one search because that is quicker.
    """
    from scipy.optimize import minimize

    f_obs, f, sigma, shell = data.f_obs[rows], f_model[rows], data.sigma[rows], number[rows]
    epsilon, centric = data.epsilon[rows], data.centric[rows]
    n = int(number.max(initial=0)) + 1
    size = np.where(centric, 0.5, 1.0)

    def total(values: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(shell, values, minlength=n), dtype=np.float64)

    count = np.maximum(total(np.ones(len(f))), 1.0)
    alpha = np.clip(total(f_obs * f) / np.maximum(total(f * f), 1e-300), 0.01, 10.0)
    power = total(f_obs**2 / epsilon) / count
    smallest = np.maximum(1e-6 * power, 1e-12)
    spread = np.maximum(total((f_obs - alpha[shell] * f) ** 2 / epsilon) / count, smallest)

    def cost(p: FloatArray) -> tuple[float, FloatArray]:
        a, beta = np.exp(p[:n])[shell], np.exp(p[n:])[shell]
        variance = _variance(beta, epsilon, sigma, centric)
        x = f_obs * a * f / variance
        bessel = i0e(2 * x)
        ratio = np.where(centric, np.tanh(x), i1e(2 * x) / bessel)
        log_p = -size * (np.log(variance) + (f_obs - a * f) ** 2 / variance)
        log_p += np.where(centric, np.log1p(np.exp(-2 * x)), np.log(bessel))
        d_alpha = 2 * size * f * (f_obs * ratio - a * f) / variance
        squares = f_obs**2 + (a * f) ** 2 - 2 * f_obs * a * f * ratio
        d_variance = size * (squares / variance - 1) / variance
        gradient = np.concatenate([total(a * d_alpha), total(beta * d_variance * epsilon)])
        return -float(log_p.sum()), -gradient

    bounds = [(np.log(0.01), np.log(10.0))] * n
    bounds += [
        (np.log(low), np.log(10 * high + low)) for low, high in zip(smallest, power, strict=True)
    ]
    start = np.concatenate([np.log(alpha), np.log(spread)])
    options = {"maxiter": 500, "ftol": 1e-10, "gtol": 1e-4, "maxcor": 20}
    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return np.exp(found.x[:n]), np.exp(found.x[n:])
