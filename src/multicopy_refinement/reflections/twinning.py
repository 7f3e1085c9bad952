"""Whether intensities are those of a twin: by their statistics, and beside a model's."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.crystal.hkl import places_of
from multicopy_refinement.crystal.twins import TwinLaw
from multicopy_refinement.reflections.data import ReflectionData

#: <|L|> and <L^2> of acentric reflections without twinning, and of a perfect twin.
UNTWINNED_L, PERFECT_L = (0.5, 1 / 3), (0.375, 0.2)
#: Pairs count whose sum is so many times its sigma: the sum says nothing of the ratio.
_STRONG = 8.0
#: Fewest pairs that a statistic is made of, and reflections of a shell of resolution.
FEWEST_PAIRS, _OF_SHELL = 200, 300
#: Fractions at which a Britton plot has its points.
BRITTON_ALPHAS = tuple(round(0.05 * k, 2) for k in range(10))
#: Neighbours in the L-test: even steps, so that a cell doubled by translational NCS is no matter.
_STEPS = [
    step for step in product((-4, -2, 0, 2, 4), repeat=3)
    if 0 < sum(map(abs, step)) <= 4 and step > (0, 0, 0)
]  # fmt: skip


@dataclass(frozen=True)
class LTest:
    """Moments of L = (I1 - I2)/(I1 + I2) of neighbours that no symmetry relates.

    Attributes
    ----------
    mean, square
        <|L|> and <L^2>: `UNTWINNED_L` without twinning, `PERFECT_L` of a perfect twin.
    n_pairs
        How many pairs they are of.
    d_max, d_min
        To which resolution, in A.
    """

    mean: float
    square: float
    n_pairs: int
    d_max: float
    d_min: float


@dataclass(frozen=True)
class TwinFraction:
    """The part of the second domain, alpha, with its standard uncertainty, of n pairs."""

    value: float
    su: float
    n_pairs: int


@dataclass(frozen=True)
class BrittonPlot:
    """How many intensities would be negative without a second domain of so large a part.

    Attributes
    ----------
    alphas, negative
        The part that is assumed, and that of the pairs with a negative intensity then.
    fraction
        alpha where the straight line of the plot begins.
    """

    alphas: tuple[float, ...]
    negative: tuple[float, ...]
    fraction: TwinFraction


def intensities_of(data: ReflectionData) -> tuple[FloatArray, FloatArray]:
    """Return intensities and their sigmas; F^2 and 2 F sigma of amplitudes."""
    if data.intensities is not None:
        return data.intensities.value, data.intensities.sigma
    return data.f_obs**2, 2 * data.f_obs * data.sigma


def l_test(data: ReflectionData) -> LTest | None:
    """Return the L-test (Padilla & Yeates 2003, Acta Cryst. D59, 1124); None of too few pairs.

    Intensities are over the mean of their shell of resolution. Neighbours are at even steps of at
    most 4 in h, k and l together: they share anisotropy, and a modulation by a translation of half
    a cell. Translations of other parts raise <|L|>, and can hide a twin. Pairs count from
    I1 + I2 > 8 sigma on, so that weak shells drop out.
    """
    value, sigma = intensities_of(data)
    mean = _shell_means(data, value)
    value, sigma = value / mean, sigma / mean
    rows = np.flatnonzero(~data.centric & ~data.left_out)
    hkl, value, sigma = data.hkl[rows], value[rows], sigma[rows]
    s_squared = data.s_squared[rows]
    sums, counts, seen = np.zeros(2), 0, [np.zeros(0)]
    stepped = (np.array(_STEPS)[:, None] + hkl).reshape(-1, 3)
    for place in places_of(stepped, hkl, data.spacegroup).reshape(len(_STEPS), -1):
        one = np.flatnonzero(place >= 0)
        other = place[one]
        total = value[one] + value[other]
        strong = (total > _STRONG * np.hypot(sigma[one], sigma[other])) & (one != other)
        one, other, total = one[strong], other[strong], total[strong]
        ratio = (value[one] - value[other]) / total
        sums += np.abs(ratio).sum(), (ratio**2 - _noise(one, other, value, sigma)).sum()
        counts += len(ratio)
        seen.append(s_squared[one])
    if counts < FEWEST_PAIRS:
        return None
    of_s = np.concatenate(seen)
    mean, square = (sums / counts).tolist()
    return LTest(mean, square, counts, float(of_s.min() ** -0.5), float(of_s.max() ** -0.5))


def _noise(one: IntArray, other: IntArray, value: FloatArray, sigma: FloatArray) -> FloatArray:
    """Return the variance that errors of measurement add to (I1 - I2)/(I1 + I2)."""
    total = value[one] + value[other]
    part = (value[other] * sigma[one]) ** 2 + (value[one] * sigma[other]) ** 2
    return np.asarray(4 * part / total**4)


def mates_of(data: ReflectionData, law: TwinLaw) -> IntArray:
    """Return where the twin mate of each reflection is among the data, -1 where nowhere."""
    return places_of(data.hkl @ law.matrix, data.hkl, data.spacegroup)


def fraction_by_statistics(data: ReflectionData, law: TwinLaw) -> TwinFraction | None:
    """Return alpha by the H-test (Yeates 1988, Acta Cryst. A44, 142); None of too few pairs.

    Of acentric twin mates, H = (I1 - I2)/(I1 + I2) has <H^2> = (1 - 2 alpha)^2/3, here without what
    errors of measurement add. Non-crystallographic symmetry along the twin's axis looks alike.
    """
    value, sigma = intensities_of(data)
    one, other = _strong_pairs(data, law, value, sigma)
    if len(one) < FEWEST_PAIRS:
        return None
    ratio = (value[one] - value[other]) / (value[one] + value[other])
    squares = ratio**2 - _noise(one, other, value, sigma)
    mean = max(float(squares.mean()), 1e-6)
    error = float(squares.std()) / np.sqrt(len(squares))
    root = np.sqrt(3 * mean)
    return TwinFraction(float(max(0.5 * (1 - root), 0.0)), float(0.75 * error / root), len(squares))


def britton_plot(data: ReflectionData, law: TwinLaw) -> BrittonPlot | None:
    """Return the plot of Britton (1972, Acta Cryst. A28, 296); None of too few pairs.

    I = ((1 - a) I1 - a I2)/(1 - 2a) of one domain is negative where the smaller of a pair of twin
    mates is less than a of their sum. Of acentric mates without errors that part is uniform from
    alpha to 1/2, and so the plot 0 to alpha and a straight line to 1 from there on (Fisher & Sweet
    1980, Acta Cryst. A36, 755). The line is drawn back from (1/2, 1) through the median m, which
    errors of measurement hardly move: alpha = 2m - 1/2, with su (1/2 - alpha)/n^(1/2).
    """
    value, sigma = intensities_of(data)
    one, other = _strong_pairs(data, law, value, sigma)
    n = len(one)
    if n < FEWEST_PAIRS:
        return None
    least = np.minimum(value[one], value[other]) / (value[one] + value[other])
    negative = tuple(float(np.mean(least < alpha)) for alpha in BRITTON_ALPHAS)
    alpha = float(np.clip(2 * np.median(least) - 0.5, 0.0, 0.5))
    return BrittonPlot(BRITTON_ALPHAS, negative, TwinFraction(alpha, (0.5 - alpha) / n**0.5, n))


def fraction_beside_model(
    data: ReflectionData, law: TwinLaw, size: FloatArray
) -> TwinFraction | None:
    """Return alpha by the intensities of a model of one domain; None of too few pairs.

    With z an intensity over the mean of its shell, of pairs of twin mates

        z_obs(1) -+ z_obs(2) = b-+ (z_model(1) -+ z_model(2)),   1 - 2 alpha = b-/b+

    by least squares: what the model does not explain lessens both slopes alike. The errors are
    those of the scatter (White 1980, Econometrica 48, 817).

    Parameters
    ----------
    data
        Observed.
    law
        Of the twin.
    size
        |F_model| of one domain on the scale of the data, ``[n]``.
    """
    value, _ = intensities_of(data)
    one, other = _pairs(data, law, data.work)
    if len(one) < FEWEST_PAIRS:
        return None
    seen, made = (_normalised(data, z) for z in (value, size**2))
    slopes, errors = [], []
    for sign in (-1, 1):
        x = made[one] + sign * made[other]
        y = seen[one] + sign * seen[other]
        square = float(x @ x)
        slope = float(x @ y) / max(square, 1e-300)
        slopes.append(slope)
        errors.append(float(np.sqrt(((x * (y - slope * x)) ** 2).sum())) / max(square, 1e-300))
    apart, together = slopes
    if together <= 3 * errors[1]:  # the model explains nothing
        return None
    ratio = apart / together
    su = 0.5 * float(np.hypot(errors[0], ratio * errors[1])) / together
    return TwinFraction(0.5 * (1 - ratio), su, len(one))


def _pairs(data: ReflectionData, law: TwinLaw, use: BoolArray) -> tuple[IntArray, IntArray]:
    """Return places of twin mates that are two reflections, both of use, each pair once."""
    place = mates_of(data, law)
    here = np.arange(len(place))
    good = (place > here) & use & ~data.left_out
    one = here[good]
    other = place[one]
    both = use[other] & ~data.left_out[other]
    return one[both], other[both]


def _strong_pairs(
    data: ReflectionData, law: TwinLaw, value: FloatArray, sigma: FloatArray
) -> tuple[IntArray, IntArray]:
    """Return places of acentric twin mates whose sum says something of their ratio."""
    one, other = _pairs(data, law, ~data.centric)
    strong = value[one] + value[other] > _STRONG * np.hypot(sigma[one], sigma[other])
    return one[strong], other[strong]


def _normalised(data: ReflectionData, intensity: FloatArray) -> FloatArray:
    """Return I over its mean in shells of resolution, less 1, ``[n]``."""
    return np.asarray(intensity / _shell_means(data, intensity) - 1)


def _shell_means(data: ReflectionData, intensity: FloatArray) -> FloatArray:
    """Return eps times the mean of I/eps in the shell of resolution of each reflection, ``[n]``."""
    reduced = intensity / data.epsilon
    order = np.argsort(data.s_squared, kind="stable")
    shell = np.empty(len(order), dtype=np.int64)
    shell[order] = np.arange(len(order)) // _OF_SHELL
    weight = (~data.left_out).astype(np.float64)
    total = np.bincount(shell, weight * reduced)
    mean = total / np.maximum(np.bincount(shell, weight), 1.0)
    return np.asarray(data.epsilon * np.maximum(mean[shell], 1e-300))
