"""Reflections that cannot be what they are taken for, and resolution ranges such as ice rings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.reflections.data import ReflectionData
from multicopy_refinement.targets.rice import rice_derivatives, rice_slopes
from multicopy_refinement.targets.shells import make_shells
from multicopy_refinement.targets.sigma_a import ErrorModel
from multicopy_refinement.targets.tails import amplitude_tail, intensity_tail

#: A reflection is left out when an amplitude so far off has a smaller probability than this.
IMPROBABLE = 1e-6
#: Beyond this part of all reflections it is the model of errors that is wrong, not they.
MOST_OUTLIERS = 0.05
#: E^2 above this is no intensity of a crystal: exp(-60) acentric, 1e-14 centric.
EXTREME_E_SQUARED = 60.0
#: Reflections of a range whose errors are looked at by themselves, and the inflation of beta and
#: the gain in log-likelihood from which on it counts.
_PER_RANGE, _INFLATED, _GAIN = 100, 1.3, 4.0
#: Part of a range that may be outliers.
_FEW = 0.1
#: What is named: ranges beyond this resolution in A that are inflated so much more than their
#: neighbours. Below it solvent and what is disordered make the errors rise steeply in any crystal.
_NAMED_FROM, _STANDS_OUT = 6.0, 5.0
#: Resolution of the rings of hexagonal ice, A (Thorn et al. 2017, Acta Cryst. D73, 729).
ICE = (3.895, 3.661, 3.438, 2.667, 2.249, 2.068, 1.947, 1.916, 1.882, 1.719)


@dataclass(frozen=True, eq=False)
class Ranges:
    """Resolution ranges in which the model is off by more than the smooth errors say.

    Attributes
    ----------
    d_max, d_min
        Of all ranges, in A.
    inflation
        Of beta in each; 1 where the curve will do.
    of_variance
        Of Sigma in each, in the mean: what inflation of beta means where errors of measurement are
        larger.
    of_reflection
        Of beta of each reflection, ``[n]``.
    """

    d_max: FloatArray
    d_min: FloatArray
    inflation: FloatArray
    of_variance: FloatArray
    of_reflection: FloatArray

    @property
    def outstanding(self) -> list[tuple[float, float, float]]:
        """Resolution limits and inflation of Sigma of what stands out: ice rings and the like."""
        high = self.of_variance > _INFLATED
        found, start = [], None
        for i, above in enumerate([*high.tolist(), False]):
            if above and start is None:
                start = i
            elif not above and start is not None:
                level = float(self.of_variance[start:i].max())
                if start > 0 and self.d_max[start] < _NAMED_FROM and level > _STANDS_OUT:
                    found.append((float(self.d_max[start]), float(self.d_min[i - 1]), level))
                start = None
        return found

    @classmethod
    def none(cls, n: int) -> Ranges:
        """Return no ranges."""
        nothing = np.zeros(0)
        return cls(nothing, nothing, nothing, nothing, np.ones(n))


def extreme_intensities(data: ReflectionData) -> BoolArray:
    """Return which reflections no crystal can have, by Wilson's statistics alone, ``[n]``.

    E^2 is against the median of its shell, which outliers do not move.
    """
    everything = np.ones(len(data), dtype=bool)
    shells = make_shells(data.s_squared, everything, per_shell=200)
    intensity = data.f_obs**2 / data.epsilon
    typical = _by_shell(_median, intensity, shells.number) / np.log(2.0)
    level = shells.interpolate(np.log(np.maximum(typical, 1e-300)), data.s_squared)
    return np.asarray(intensity > EXTREME_E_SQUARED * np.exp(level))


def grossly_off(data: ReflectionData, f_model: FloatArray) -> BoolArray:
    """Return which amplitudes are far from the model's, before any errors are known, ``[n]``.

    Far is 8 robust standard deviations (1.4826 times the median absolute deviation) of the shell,
    and 8 sigma.
    """
    shells = make_shells(data.s_squared, ~data.left_out, per_shell=200)
    off = np.abs(data.f_obs - f_model)
    usual = 1.4826 * _by_shell(_median, off, shells.number)[shells.number]
    return np.asarray((off > 8 * usual) & (off > 8 * data.sigma))


def _median(values: FloatArray) -> float:
    return float(np.median(values))


def _by_shell(
    statistic: Callable[[FloatArray], float], values: FloatArray, number: IntArray
) -> FloatArray:
    order = np.argsort(number, kind="stable")
    edges = np.searchsorted(number[order], np.arange(1, int(number.max(initial=0)) + 1))
    return np.array([statistic(part) if len(part) else 1.0 for part in
                     np.split(values[order], edges)])  # fmt: skip


def improbable(
    data: ReflectionData, f_model: FloatArray, errors: ErrorModel, level: float = IMPROBABLE
) -> BoolArray:
    """Return which reflections are less probable than a level, given the model, ``[n]``.

    The probability of an amplitude, or an intensity, as large or larger, or as small or smaller.
    """
    scaled, spread, f_obs = errors.alpha * f_model, np.sqrt(errors.variance), data.rice_f
    # E(Fo) lies above a where a is small: beyond 3 standard deviations is worth a second look
    width = np.where(data.centric, 1.0, np.sqrt(0.5))
    found = np.abs(f_obs - scaled) > 3.0 * width * spread
    rows = np.flatnonzero(found)
    if data.effective is None or data.intensities is None:
        found[rows] = amplitude_tail(
            f_obs[rows] / spread[rows], scaled[rows] / spread[rows], data.centric[rows]
        ) < level  # fmt: skip
    else:
        seen, model_error = data.intensities.select(found), data.epsilon * errors.beta
        found[rows] = intensity_tail(
            seen.value, seen.sigma, scaled[rows], model_error[rows], data.centric[rows]
        ) < level  # fmt: skip
    return np.asarray(found)


def uneven_ranges(data: ReflectionData, f_model: FloatArray, errors: ErrorModel) -> Ranges:
    """Return ranges of resolution in which errors are larger than the smooth curve has them.

    In each range of 100 reflections, work and free, one factor of beta is fitted by likelihood;
    those that count are larger than 1.3 and gain more than 4 in log-likelihood. Errors rise
    steeply at low resolution, where the test set has too few reflections to follow them, and in
    rings of ice. No range gets smaller errors than the test set says.
    """
    order = np.flatnonzero(~data.left_out)
    order = order[np.argsort(data.s_squared[order], kind="stable")]
    n_ranges = len(order) // _PER_RANGE
    if n_ranges < 4 or errors.curve is None:
        return Ranges.none(len(data))
    number = np.minimum(np.arange(len(order)) // _PER_RANGE, n_ranges - 1)
    plain = errors.curve.errors_with(1.0)
    # a few that are far off are outliers, and would be hidden by the errors that they make
    odd = improbable(data, f_model, plain)[order]
    few = np.bincount(number, odd)[number] <= _FEW * np.bincount(number)[number]
    kept = ~(odd & few)
    rows = order[kept]
    part = data.epsilon * plain.beta, data.rice_noise
    log_factor, gain = _range_factors(
        data.rice_f[rows],
        (errors.alpha * f_model)[rows],
        (part[0][rows], part[1][rows]),
        data.centric[rows],
        number[kept],
    )
    counts = (log_factor > np.log(_INFLATED)) & (gain > _GAIN)
    inflation = np.exp(np.where(counts, log_factor, 0.0))
    edges = np.searchsorted(number, np.arange(n_ranges + 1))
    s = data.s_squared[order]
    limits = s[edges[:-1]], s[edges[1:] - 1]
    # those left out lie in the range of their neighbours
    place = np.searchsorted(limits[0], data.s_squared, side="right") - 1
    of_reflection = inflation[np.clip(place, 0, n_ranges - 1)]
    sigma_ratio = (of_reflection * part[0] + part[1]) / (part[0] + part[1])
    mean = np.bincount(number, sigma_ratio[order]) / np.bincount(number)
    return Ranges(1 / np.sqrt(limits[0]), 1 / np.sqrt(limits[1]), inflation, mean, of_reflection)


def _range_factors(
    f_obs: FloatArray, scaled: FloatArray, part: tuple[FloatArray, FloatArray],
    centric: BoolArray, number: IntArray,
) -> tuple[FloatArray, FloatArray]:  # fmt: skip
    """Return the logarithm of the best factor of beta in each range, and its gain.

    Only ranges whose scores ask for more are fitted: half their square over the information is
    what can be gained, about.
    """
    n, (model_error, noise) = int(number.max()) + 1, part
    slopes = rice_slopes(f_obs, scaled, model_error + noise, centric)
    score = slopes.d_v * model_error
    total, squares = (np.bincount(number, v, minlength=n) for v in (score, score**2))
    asked = (total > 0) & (total**2 > _GAIN * squares)
    found, gain = np.zeros(n), np.zeros(n)
    for i in np.flatnonzero(asked).tolist():
        rows = number == i
        found[i], gain[i] = _best_factor(
            f_obs[rows], scaled[rows], (model_error[rows], noise[rows]), centric[rows]
        )
    return found, gain


def _best_factor(
    f_obs: FloatArray, scaled: FloatArray, part: tuple[FloatArray, FloatArray], centric: BoolArray
) -> tuple[float, float]:
    """Return the logarithm of the best factor of beta, at least 0, and its gain: Newton's steps."""
    model_error, noise = part

    def at(x: float) -> tuple[float, float, float]:
        own = np.exp(x) * model_error
        d = rice_derivatives(f_obs, scaled, own + noise, centric)
        curve = -(d.d_vv * own + d.d_v) * own
        return float(d.value.sum()), float((d.d_v * own).sum()), float(curve.sum())

    x, (value, slope, curvature) = 0.0, at(0.0)
    start = value
    for _ in range(30):
        step = float(np.clip(slope / max(abs(curvature), 1.0), -1.0, 1.0))
        trial = min(max(x + step, 0.0), 10.0)
        there = at(trial)
        if there[0] <= value + 1e-6:
            break
        x, (value, slope, curvature) = trial, there
    return x, value - start


def screening_notices(
    data: ReflectionData, f_model: FloatArray, ranges: Ranges
) -> tuple[Notice, ...]:
    """Return notices that name the reflections left out and the ranges of larger errors."""
    notices = []
    rows = np.flatnonzero(data.left_out & data.observed)
    if len(rows):
        off = np.abs(data.f_obs - f_model)[rows]
        rows = rows[np.argsort(-off, kind="stable")]
        texts = [
            f"({h} {k} {m}) F {data.f_obs[i]:.4g}, model {f_model[i]:.4g}"
            for i, (h, k, m) in zip(rows.tolist(), data.hkl[rows].tolist(), strict=True)
        ]
        names = tuple(f"{h} {k} {m}" for h, k, m in data.hkl[rows].tolist())
        noun = "reflection is" if len(rows) == 1 else "reflections are"
        notices.append(
            Notice(
                "outliers",
                f"{len(rows)} {noun} left out: amplitudes with a probability below "
                f"{IMPROBABLE:g} given the model: {listed(texts)}",
                names,
            )
        )
    outstanding = ranges.outstanding
    if outstanding:
        texts = [_range_text(*one) for one in outstanding]
        noun = "a resolution range" if len(texts) == 1 else f"{len(texts)} resolution ranges"
        notices.append(
            Notice(
                "uneven_resolution",
                f"in {noun} the model is off by more than beside it, and "
                f"the reflections count less: {listed(texts)}",
            )
        )
    return tuple(notices)


def large_sigmas(chi_square: float, n: int) -> tuple[Notice, ...]:
    """Return a notice where the reflections agree with the model better than their sigmas allow."""
    if chi_square > min(0.8, 1 - 4 * np.sqrt(2 / max(n, 1))):
        return ()
    factor = chi_square**-0.5
    return (
        Notice(
            "sigmas_too_large",
            f"the free set agrees with the model better than its sigmas allow (reduced chi-square "
            f"{chi_square:.2f}): sigmas look too large by a factor of about {factor:.1f}, and so "
            "are the standard uncertainties",
        ),
    )


def _range_text(d_max: float, d_min: float, inflation: float) -> str:
    ice = any(d_min - 0.02 <= ring <= d_max + 0.02 for ring in ICE)
    name = ", where ice has a ring" if ice else ""
    return f"{d_max:.2f} to {d_min:.2f} A (variance {inflation:.3g} times as large{name})"
