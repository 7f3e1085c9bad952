"""Statistics of twins against what their authors derived, of intensities that are drawn."""

from dataclasses import replace

import numpy as np
import pytest

from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.crystal.hkl import unique_reflections
from multicopy_refinement.crystal.twins import twin_law
from multicopy_refinement.reflections.data import DataLabels, ReflectionData
from multicopy_refinement.reflections.effective import Intensities
from multicopy_refinement.reflections.twinning import (
    PERFECT_L,
    UNTWINNED_L,
    britton_plot,
    fraction_beside_model,
    fraction_by_statistics,
    l_test,
    mates_of,
)

CELL, GROUP = Cell(45, 45, 60, 90, 90, 90), SpaceGroup("P 41")
LAW = twin_law("k,h,-l", CELL, GROUP)


def drawn(alpha, *, noise=0.0, anisotropy=0.0, seed=0, apart=False):
    """Return data of a twin whose domains are Wilson's (1949, Acta Cryst. 2, 318), and one's F.

    ``apart`` draws the second domain on its own: else reflections on the axes are their own mates.
    """
    random = np.random.default_rng(seed)
    hkl = unique_reflections(CELL, GROUP, 2.0)
    n = len(hkl)
    blank = ReflectionData(
        hkl, np.ones(n), np.ones(n), np.zeros(n, bool), np.zeros(n, int), CELL, GROUP,
        DataLabels(("I", "SIGI"), False, None, None, ""), hkl[:0], np.zeros(0, dtype=np.int64),
    )  # fmt: skip
    first = np.where(blank.centric, random.chisquare(1, n), random.chisquare(2, n) / 2)
    fall = blank.epsilon * np.exp(-20 * blank.s_squared - anisotropy * (hkl[:, 2] / 30) ** 2)
    first *= fall
    second = first[mates_of(blank, LAW)]
    if apart:
        second = fall * random.chisquare(2, n) / 2
    true = (1 - alpha) * first + alpha * second
    sigma = np.full(n, noise * true.mean() + 1e-9)
    value = true + sigma * random.standard_normal(n)
    intensities = Intensities(value, sigma, np.ones(n))
    data = replace(blank, f_obs=np.sqrt(np.maximum(value, 0)), sigma=sigma, intensities=intensities)
    return data, np.sqrt(first)


@pytest.mark.parametrize(
    ("alpha", "expected"), [(0.0, UNTWINNED_L), (0.5, PERFECT_L)], ids=["untwinned", "perfect"]
)
@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("anisotropy", [0.0, 3.0])
def test_l_test(alpha, expected, noise, anisotropy):
    found = l_test(drawn(alpha, noise=noise, anisotropy=anisotropy, apart=True)[0])
    assert found.n_pairs > 2000
    assert (found.mean, found.square) == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.25, 0.45])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_fractions(alpha, noise):
    z = []
    for seed in range(6):
        data, size = drawn(alpha, noise=noise, seed=seed)
        by_h = fraction_by_statistics(data, LAW)
        assert by_h.value == pytest.approx(alpha, abs=max(4 * by_h.su, 0.003))
        model = fraction_beside_model(data, LAW, 3.0 * size)
        assert model.value == pytest.approx(alpha, abs=1e-3 + 4 * model.su)
        if noise:
            z.append((model.value - alpha) / model.su)
    assert np.sqrt(np.mean(np.square(z or [1.0]))) < 1.8


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.25, 0.45])
def test_britton_plot(alpha):
    """Nothing is negative up to alpha, and from there the part grows in a straight line to 1."""
    found = [britton_plot(drawn(alpha, seed=seed)[0], LAW) for seed in range(6)]
    for plot in found:
        assert plot.fraction.value == pytest.approx(alpha, abs=3.5 * plot.fraction.su)
        line = np.clip((np.array(plot.alphas) - alpha) / (0.5 - alpha), 0, 1)
        np.testing.assert_allclose(plot.negative, line, atol=2 / plot.fraction.n_pairs**0.5)
    errors = np.array([plot.fraction.value - alpha for plot in found])
    if alpha:  # at 0 it is cut off
        assert np.sqrt(np.mean((errors / found[0].fraction.su) ** 2)) < 1.8
    noisy = britton_plot(drawn(alpha, noise=0.05)[0], LAW).fraction
    assert noisy.value == pytest.approx(alpha, abs=0.02)


def test_a_model_that_explains_a_part_tells_the_same_fraction():
    random = np.random.default_rng(5)
    data, size = drawn(0.2)
    other = size * np.sqrt(random.chisquare(2, len(size)) / 2)
    found = fraction_beside_model(data, LAW, other)
    assert found.value == pytest.approx(0.2, abs=3 * found.su)
    assert found.su < 0.03


def test_a_model_of_nothing_tells_nothing():
    random = np.random.default_rng(5)
    data, size = drawn(0.2)
    assert fraction_beside_model(data, LAW, random.permutation(size)) is None


def test_few_reflections_tell_nothing():
    data, size = drawn(0.2)
    few = data.select(np.arange(len(data)) % 20 == 0)
    assert l_test(few) is None
    assert fraction_by_statistics(few, LAW) is None
    assert britton_plot(few, LAW) is None
    assert fraction_beside_model(few, LAW, size[::20]) is None
