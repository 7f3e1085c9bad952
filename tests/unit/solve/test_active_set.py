"""Steps by guessed bounds against the solver of quadratic programs."""

import numpy as np
import pytest

from multicopy_refinement.solve import quadratic
from multicopy_refinement.solve.active_set import active_set_step


def program(seed):
    """Return H, g, A, low and high of a random program in which sets sum to what they do."""
    random = np.random.default_rng(seed)
    n = int(random.integers(2, 40))
    columns = random.standard_normal((n, 2 * n))
    scale = 10.0 ** random.uniform(-2, 2, n)
    h = columns @ columns.T * np.outer(scale, scale)
    g = h @ random.standard_normal(n) * random.choice([0.1, 1.0, 10.0])
    q = np.where(random.random(n) < 0.2, 0.0, random.uniform(0, 1, n))
    sums = np.zeros((int(random.integers(0, n // 3 + 1)), n))
    order = random.permutation(n)
    for i in range(len(sums)):
        sums[i, order[3 * i : 3 * i + 3]] = 1.0
    return h, g, sums, -q, 1 - q


@pytest.mark.parametrize("seed", range(60))
def test_a_guess_is_the_optimum_or_none(seed, monkeypatch):
    h, g, sums, low, high = program(seed)
    guess = active_set_step(h, g, sums, low, high)
    monkeypatch.setattr(quadratic, "active_set_step", lambda *_: None)
    solved = quadratic.solve_step(h, g, sums, low, high)
    if guess is None:
        return
    assert (guess >= low).all()
    assert (guess <= high).all()
    assert np.abs(sums @ guess).max(initial=0.0) < 1e-8
    value, best = (g @ d - 0.5 * d @ h @ d for d in (guess, solved))
    assert value >= best - 1e-6 * (1 + abs(best))


def test_without_active_bounds_it_is_the_newton_step():
    h, g, _, _, _ = program(3)
    wide = np.full(len(g), 1e6)
    found = active_set_step(h, g, np.zeros((0, len(g))), -wide, wide)
    assert np.allclose(found, np.linalg.solve(h, g), rtol=1e-8)


def test_most_programs_are_guessed():
    found = [active_set_step(*program(seed)) is not None for seed in range(60)]
    assert np.mean(found) > 0.25
