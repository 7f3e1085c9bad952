"""Curves that fractions may follow: in time, dose, temperature, concentration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import FloatArray

#: J/(mol K), exact by definition.
GAS_CONSTANT = 8.31446261815324

#: f(x, parameters).
Function = Callable[[FloatArray, FloatArray], FloatArray]
#: Several parameters from which a fit begins, from x and f.
Starts = Callable[[FloatArray, FloatArray], list[list[float]]]


@dataclass(frozen=True)
class Curve:
    """A function of one variable with parameters.

    Attributes
    ----------
    name
        In words.
    formula
        As it is read.
    parameters, units
        Names, and units with ``{x}`` for that of the variable.
    function
        f(x, parameters).
    starts
        Where fits begin.
    lower, upper
        Bounds of the parameters.
    variables
        What it is fitted to when nothing is asked for.
    derived
        Names of what follows from the parameters, and how.
    """

    name: str
    formula: str
    parameters: tuple[str, ...]
    units: tuple[str, ...]
    function: Function
    starts: Starts
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    variables: frozenset[str]
    derived: tuple[tuple[str, str, Callable[[FloatArray], float]], ...] = ()


def _constant(x: FloatArray, p: FloatArray) -> FloatArray:
    return np.full(len(x), p[0])


def _line(x: FloatArray, p: FloatArray) -> FloatArray:
    return np.asarray(p[0] + p[1] * x)


def _exponential(x: FloatArray, p: FloatArray) -> FloatArray:
    return np.asarray(p[0] + (p[1] - p[0]) * _fall(p[2] * x))


def _two_exponentials(x: FloatArray, p: FloatArray) -> FloatArray:
    return np.asarray(p[0] + p[1] * _fall(p[2] * x) + p[3] * _fall(p[4] * x))


def _decay(x: FloatArray, p: FloatArray) -> FloatArray:
    return np.asarray(p[0] * _fall(x / p[1]))


def _hill(x: FloatArray, p: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore"):
        logs = p[3] * (np.log(np.maximum(p[2], 1e-300)) - np.log(np.maximum(x, 0.0)))
    return np.asarray(p[0] + (p[1] - p[0]) / (1 + np.exp(np.clip(logs, -700, 700))))


def _vant_hoff(x: FloatArray, p: FloatArray) -> FloatArray:
    exponent = 1000 * p[0] / GAS_CONSTANT * (1 / x - 1 / p[1])
    return np.asarray(1 / (1 + np.exp(np.clip(exponent, -700, 700))))


def _arrhenius(x: FloatArray, p: FloatArray) -> FloatArray:
    exponent = 1000 * p[1] / GAS_CONSTANT * (1 / p[2] - 1 / x)
    return np.asarray(p[0] * -np.expm1(-np.log(2) * np.exp(np.clip(exponent, -700, 700))))


def _fall(exponent: FloatArray) -> FloatArray:
    return np.asarray(np.exp(-np.clip(exponent, -700, 700)))


def _span(x: FloatArray) -> list[float]:
    """Return scales of a variable, from its smallest step to its range."""
    sorted_ = np.unique(x)
    steps = np.diff(sorted_)
    low = float(steps.min()) if len(steps) else 1.0
    return [float(s) for s in np.geomspace(low, max(float(np.ptp(x)), 1.001 * low), 5)]


def _of_exponential(x: FloatArray, f: FloatArray) -> list[list[float]]:
    return [[f[-1], f[0], 1 / s] for s in _span(x)]


def _of_two(x: FloatArray, f: FloatArray) -> list[list[float]]:
    spans, half = _span(x), (f[0] - f[-1]) / 2
    return [[f[-1], half, 1 / a, half, 1 / b] for a in spans for b in spans if a < b]


def _of_hill(x: FloatArray, f: FloatArray) -> list[list[float]]:
    middles = np.unique(x[x > 0])
    return [[f[0], f[-1], m, n] for m in middles.tolist() for n in (1.0, 2.0)]


def _of_vant_hoff(x: FloatArray, f: FloatArray) -> list[list[float]]:
    middle = float(np.median(x))
    return [
        [h, t] for h in (-50.0, -10.0, 10.0, 50.0) for t in (0.8 * middle, middle, 1.2 * middle)
    ]


def _of_arrhenius(x: FloatArray, f: FloatArray) -> list[list[float]]:
    middle, most = float(np.median(x)), max(float(f.max()), 0.05)
    return [[most, e, t] for e in (10.0, 40.0) for t in (0.8 * middle, middle, 1.2 * middle)]


_INF = np.inf
_ANY = frozenset({"time", "dose", "temperature", "concentration", "x"})
#: All curves by name.
CURVES: dict[str, Curve] = {
    one.name: one for one in (
        Curve(
            "constant", "f = c", ("c",), ("",), _constant, lambda x, f: [[float(f.mean())]],
            (-_INF,), (_INF,), _ANY,
        ),
        Curve(
            "line", "f = a + b x", ("a", "b"), ("", "1/{x}"), _line,
            lambda x, f: [[float(f.mean()), 0.0]], (-_INF,) * 2, (_INF,) * 2, frozenset({"x"}),
        ),
        Curve(
            "exponential", "f = f_end + (f_0 - f_end) exp(-k x)", ("f_end", "f_0", "k"),
            ("", "", "1/{x}"), _exponential, _of_exponential, (-1.0, -1.0, 0.0), (2.0, 2.0, _INF),
            frozenset({"time", "x"}),
            (("half-life", "{x}", lambda p: float(np.log(2) / p[2])),),
        ),
        Curve(
            "two exponentials", "f = f_end + a exp(-k_1 x) + b exp(-k_2 x)",
            ("f_end", "a", "k_1", "b", "k_2"), ("", "", "1/{x}", "", "1/{x}"), _two_exponentials,
            _of_two, (-1.0, -2.0, 0.0, -2.0, 0.0), (2.0, 2.0, _INF, 2.0, _INF),
            frozenset({"time"}),
        ),
        Curve(
            "decay", "f = f_0 exp(-x/D_e)", ("f_0", "D_e"), ("", "{x}"), _decay,
            lambda x, f: [[f[0], s] for s in _span(x)], (-1.0, 1e-300), (2.0, _INF),
            frozenset({"dose"}),
            (("half-dose", "{x}", lambda p: float(np.log(2) * p[1])),),
        ),
        Curve(
            "Hill", "f = f_0 + (f_max - f_0)/(1 + (K/x)^n)", ("f_0", "f_max", "K", "n"),
            ("", "", "{x}", ""), _hill, _of_hill, (-1.0, -1.0, 0.0, 0.05), (2.0, 2.0, _INF, 20.0),
            frozenset({"concentration"}),
        ),
        Curve(
            "van't Hoff", "f = 1/(1 + exp(H/R (1/x - 1/T_half)))", ("H", "T_half"),
            ("kJ/mol", "K"), _vant_hoff, _of_vant_hoff, (-2000.0, 1.0), (2000.0, 1e4),
            frozenset({"temperature"}),
            (("S", "J/(mol K)", lambda p: float(1000 * p[0] / p[1])),),
        ),
        Curve(
            "Arrhenius", "f = f_max (1 - 2^(-exp(E/R (1/T_half - 1/x))))", ("f_max", "E", "T_half"),
            ("", "kJ/mol", "K"), _arrhenius, _of_arrhenius, (0.0, 0.0, 1.0), (2.0, 2000.0, 1e4),
            frozenset({"temperature"}),
        ),
    )
}  # fmt: skip
