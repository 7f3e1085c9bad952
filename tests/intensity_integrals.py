"""Likelihood of an intensity by integration over the true amplitude: slow, and nobody's own."""

from __future__ import annotations

import numpy as np
from scipy.special import i0e, i1e


def nodes(low, high, n: int):
    """Return Gauss-Legendre nodes and weights of intervals, ``[len(low), n]``."""
    x, w = np.polynomial.legendre.leggauss(n)
    half = (np.asarray(high) - low)[:, None] / 2
    return np.asarray(low)[:, None] + half * (x + 1), half * w


def amplitude_density(f, a, variance, centric):
    """Return p(F; a, eps beta) of the textbook, columns are F."""
    a, variance = a[:, None], variance[:, None]
    if centric:
        gaussian = np.exp(-((f - a) ** 2) / (2 * variance)) + np.exp(
            -((f + a) ** 2) / (2 * variance)
        )
        return gaussian / np.sqrt(2 * np.pi * variance)
    return 2 * f / variance * np.exp(-((f - a) ** 2) / variance) * i0e(2 * a * f / variance)


def amplitude_score(f, a, variance, centric):
    """Return dlog p(F; a, eps beta)/da, columns are F."""
    a, variance = a[:, None], variance[:, None]
    if centric:
        return (f * np.tanh(a * f / variance) - a) / variance
    x = 2 * a * f / variance
    return 2 / variance * (f * i1e(x) / i0e(x) - a)


def density_and_score(intensity, sigma, a, variance, centric, n: int = 300):
    """Return p(I; a), and dlog p/da, ``[n]`` each, by an integral over F."""
    width = 9 * np.sqrt(variance)
    f, weight = nodes(np.maximum(a - width, 0.0), a + width, n)
    error = (intensity[:, None] - f**2) / sigma[:, None]
    seen = np.exp(-0.5 * error**2) / (np.sqrt(2 * np.pi) * sigma[:, None])
    p = weight * seen * amplitude_density(f, a, variance, centric)
    total = p.sum(axis=1)
    return total, (p * amplitude_score(f, a, variance, centric)).sum(axis=1) / total


def draws(n: int, beta: float, sigma: float, centric: bool, seed: int = 1):
    """Return model amplitudes and intensities around them, of Wilson's statistics with mean 1."""
    random = np.random.default_rng(seed)

    def normal(variance):
        if centric:
            return np.sqrt(variance) * random.standard_normal(n) + 0j
        pair = random.standard_normal((2, n))
        return np.sqrt(variance / 2) * (pair[0] + 1j * pair[1])

    model = normal(1 - beta)
    truth = model + normal(beta)
    return np.abs(model), np.abs(truth) ** 2 + sigma * random.standard_normal(n)
