"""The covariance of a series: shared errors, a reference, and the test of regions."""

import numpy as np
import pytest

from multicopy_refinement.series.isomorphism import _forms
from multicopy_refinement.series.joint import Joint, joint_of
from multicopy_refinement.series.regions import region_test
from multicopy_refinement.series.scores import CommonErrors, Scores, projected


def test_a_reference_tells_of_the_others():
    """X given that one is known: the normal distribution's own conditional mean and covariance."""
    random = np.random.default_rng(2)
    root = random.standard_normal((4, 4))
    c = root @ root.T
    value = random.standard_normal(4)
    found = Joint(value, c, c).given(1, 0.0)
    rest = [0, 2, 3]
    gain = c[rest, 1] / c[1, 1]
    assert found.value[rest] == pytest.approx(value[rest] - gain * value[1])
    expected = c[np.ix_(rest, rest)] - np.outer(gain, c[1, rest])
    assert found.covariance[np.ix_(rest, rest)] == pytest.approx(expected)
    assert found.value[1] == 0.0
    assert np.abs(found.covariance[1]).max() < 1e-12


def simulated(random, n_sets, n, n_regions, shared):
    """Return scores whose residuals have a correlation, at true fractions of 0."""
    common = random.standard_normal(n)
    scores = []
    for _ in range(n_sets):
        columns = random.standard_normal((n_regions, n)).astype(np.float32) * 0.2
        u = np.sqrt(shared) * common + np.sqrt(1 - shared) * random.standard_normal(n)
        scores.append(Scores(columns, u, np.arange(n), None, np.zeros((0, n))))
    return scores


def test_errors_that_are_shared_are_measured_and_count():
    random = np.random.default_rng(3)
    n, z, ones = 4000, [], np.ones((3, 3))
    first = simulated(random, 3, n, 2, 0.6)
    common = CommonErrors.of(first, np.sort(random.random(n)), ones)
    measured = common.correlation[:, 0, 1]
    assert measured.mean() == pytest.approx(0.6, abs=0.03)
    for _ in range(200):
        scores = simulated(random, 3, n, 2, 0.6)
        for one in scores[1:]:  # the same columns, so that shared errors shift all alike
            one.columns[:] = scores[0].columns
        joint = joint_of(np.zeros(3), scores, common, None, by_region=False)
        z.append(np.linalg.solve(np.linalg.cholesky(joint.covariance), joint.value))
    assert np.mean(np.square(z)) == pytest.approx(1.0, abs=0.2)
    c = joint.covariance
    assert c[0, 1] / c[0, 0] == pytest.approx(0.6, abs=0.05)


def test_what_is_projected_out_is_marginalised():
    """Products of projected rows are the Schur complement of the whole information."""
    random = np.random.default_rng(4)
    q, p = random.standard_normal((2, 300)), random.standard_normal((3, 300))
    made = projected(q.astype(np.float32), p)
    schur = q @ q.T - q @ p.T @ np.linalg.solve(p @ p.T, p @ q.T)
    assert made @ made.T == pytest.approx(schur, rel=1e-4)
    # with a prior of 1, as one more observation of each
    known = np.concatenate([p, np.eye(3)], axis=1)
    made = projected(q.astype(np.float32), known)
    schur = q @ q.T - q @ p.T @ np.linalg.solve(p @ p.T + np.eye(3), p @ q.T)
    assert made @ made.T == pytest.approx(schur, rel=1e-4)


def regions(random, shift):
    """Return a test of five regions in four data sets, of which the last is off by a shift."""
    names, n_sets = tuple("abcde"), 4
    own = 0.02 * np.eye(5) + 0.01
    c = np.kron(0.03**2 * (np.eye(n_sets) + 0.5), own / own[0, 0])
    true = np.repeat([0.1, 0.2, 0.3, 0.4], 5)
    true[4::5] += shift
    value = true + np.linalg.cholesky(c) @ random.standard_normal(20)
    return region_test(names, Joint(value, c, c), n_sets, None)


def test_chi_square_of_one_fraction():
    random = np.random.default_rng(5)
    found = [regions(random, 0.0) for _ in range(200)]
    totals = [one.total[0] for one in found]
    assert found[0].total[1] == 16
    assert np.mean(totals) == pytest.approx(16, rel=0.08)
    assert np.mean([one.total[2] < 0.05 for one in found]) == pytest.approx(0.05, abs=0.045)
    assert np.mean([one.disagrees.any() for one in found]) < 0.12
    z = np.array([one.deviation / one.deviation_su for one in found])
    assert np.sqrt(np.mean(z**2)) == pytest.approx(1.0, abs=0.08)
    off = regions(random, 0.2)
    assert off.total[2] < 1e-6
    assert off.disagrees[4]
    assert off.deviation[4] == pytest.approx(0.16, abs=0.08)  # the mean moved by a fifth


def test_regions_that_nothing_is_known_of_are_left_out():
    c = np.diag([0.01, 0.01, 4.0] * 2)
    found = region_test(("a", "b", "c"), Joint(np.zeros(6), c, c), 2, None)
    assert found.names == ("a", "b")
    assert region_test(("a",), Joint(np.zeros(2), np.eye(2) * 0.01, np.eye(2)), 2, None) is None
    assert region_test(("a", "b", "c"), Joint(np.zeros(6), c, c), 2, 1).fraction.shape == (1, 2)


def test_forms_are_chains_of_what_is_alike():
    r = np.array([[1, 0.9, 0.5, 0.4], [0.9, 1, 0.5, 0.5], [0.5, 0.5, 1, 0.95], [0.4, 0.5, 0.95, 1]])
    assert _forms(r).tolist() == [0, 0, 1, 1]
    assert _forms(np.eye(3)).tolist() == [0, 1, 2]


def test_what_is_given_has_no_variance_to_the_last_digit():
    """Rounding leaves some of a variance less itself, of either sign."""
    random = np.random.default_rng(3)
    for _ in range(50):
        a = random.standard_normal((3, 4)) / 30
        found = Joint(np.zeros(3), a @ a.T, a @ a.T).given(1, 0.2)
        assert not found.covariance[1].any()
        assert not found.covariance[:, 1].any()
        assert np.linalg.eigvalsh(found.covariance).min() > -1e-15
