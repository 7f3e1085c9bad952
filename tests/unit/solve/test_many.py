"""Search and covariance of many groups: as those of few, by fewer and cheaper products."""

from dataclasses import dataclass

import numpy as np
import pytest

from boxes import load, waters
from demo_data import observe
from multicopy_refinement import RefineOptions, refine
from multicopy_refinement.posterior.data_term import DataTerm
from multicopy_refinement.posterior.products import add_product, mirror
from multicopy_refinement.refinement import macrocycle
from multicopy_refinement.refinement.solution import Solution
from multicopy_refinement.solve import covariance, many, precision
from multicopy_refinement.solve.active_set import active_set_step
from multicopy_refinement.solve.curvature import bounded_step, inverse_of, mend
from multicopy_refinement.solve.gauss_newton import with_secant

N = 40


@dataclass
class Counted:
    """A solution, and the types of number that each product of all slopes was made in."""

    solution: Solution
    products: list[type]
    taken_over: int


def counted(tmp_path, least: int, *, sets: bool = False) -> Counted:
    """Refine 40 waters among 40 held ones; from so many unknowns on they are many."""
    patch = pytest.MonkeyPatch()
    products, before, taken = [], DataTerm._products, []
    take = many._ManyScoring._taken_over

    def watched(self, here, weight, dtype, some=None):
        products.append(dtype)
        return before(self, here, weight, dtype, some)

    def watched_take(self, point):
        taken.append(take(self, point))
        return taken[-1]

    for module in (many, covariance):
        patch.setattr(module, "MANY", least)
    patch.setattr(DataTerm, "_products", watched)
    patch.setattr(many._ManyScoring, "_taken_over", watched_take)
    held = [line.replace("HOH W", "HOH Z") for line in waters(N, seed=8)]
    random = np.random.default_rng(3)
    true = np.where(np.arange(N) < 4, [0.0, 1.0] * (N // 2), random.uniform(0.2, 0.9, N)).round(2)
    letters = "AB" * (N // 2) if sets else None
    if sets:
        true[1::2] = 1 - true[::2]

    def lines(occupancies):
        made = waters(N, occupancies=occupancies)
        if letters is None:
            return made
        pairs = [f"{i // 2 + 1:>4}" for i in range(N)]
        return [
            line[:16] + letter + line[17:22] + number + line[26:]
            for line, letter, number in zip(made, letters, pairs, strict=True)
        ]

    data = observe(load(tmp_path, held, lines(true)), 1.6)
    model = load(tmp_path, held, lines(np.full(N, 0.5)))
    try:
        solution = refine(model, data, RefineOptions(decoys=0))
    finally:
        patch.undo()
    return Counted(solution, products, sum(taken))


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "in pairs"])
def both(request, tmp_path_factory) -> tuple[Counted, Counted]:
    """The same refinement as one of few groups, and as one of many."""
    folder = tmp_path_factory.mktemp("many")
    few = counted(folder, 10**6, sets=request.param)
    return few, counted(folder, 10, sets=request.param)


def test_both_ways_come_to_one_end(both):
    few, lots = (one.solution for one in both)
    assert few.groups.refined.sum() == N
    assert few.status.converged
    assert lots.status.converged
    assert np.abs(few.occupancy - lots.occupancy).max() < 1e-4
    assert lots.su == pytest.approx(few.su, rel=0.005, nan_ok=True)
    one, other = few.results, lots.results
    assert other.su_conditional == pytest.approx(one.su_conditional, rel=0.005, nan_ok=True)
    assert other.misfit == pytest.approx(one.misfit, rel=0.01, nan_ok=True)
    assert other.flags == one.flags
    gain = one.delta_log_likelihood
    assert other.delta_log_likelihood == pytest.approx(gain, rel=0.01, abs=0.02, nan_ok=True)
    assert few.final.log_likelihood == pytest.approx(lots.final.log_likelihood, abs=0.05)


def test_products_of_all_slopes_are_few_and_in_single_precision(both):
    few, lots = both
    cycles = lots.solution.status.cycles
    assert np.float64 in few.products
    assert set(lots.products) == {np.float32}
    # two for su and misfit; of the cycles not each makes its own
    assert len(lots.products) <= 4
    assert lots.taken_over >= cycles - 2
    assert len(few.products) >= cycles + 2


def test_a_run_does_not_keep_the_inverse_of_its_search(both, monkeypatch, tmp_path):
    kept = []
    before = macrocycle._Run.solution

    def watched(self):
        found = before(self)
        kept.append(self._curvature)
        return found

    monkeypatch.setattr(macrocycle._Run, "solution", watched)
    counted(tmp_path, 10)
    assert kept == [[]]


def test_a_step_that_is_too_long_is_shortened_without_another_product(tmp_path, monkeypatch):
    """The information of a tenth lets steps overshoot by ten."""
    before, short, asked = many._ManyScoring._invert, [], []

    def too_soft(self, point, information):
        before(self, point, 0.1 * information)

    along, moved_by = many._ManyScoring.along, many._ManyScoring._moved

    def watched(self, point, normal, step, gain):
        asked.clear()
        moved = along(self, point, normal, step, gain)
        if moved is not None:
            short.append((moved.value > normal.value, self._damping, len(asked)))
        return moved

    def counting(self, point, step):
        asked.append(step)
        return moved_by(self, point, step)

    monkeypatch.setattr(many._ManyScoring, "_invert", too_soft)
    monkeypatch.setattr(many._ManyScoring, "along", watched)
    monkeypatch.setattr(many._ManyScoring, "_moved", counting)
    made = counted(tmp_path, 10)
    monkeypatch.undo()
    right = counted(tmp_path, 10**6).solution
    assert made.solution.status.converged
    assert np.abs(made.solution.occupancy - right.occupancy).max() < 1e-3
    assert all(rises and damping == 0 for rises, damping, _ in short)
    assert max(n for _, _, n in short) > 1


# ---------------------------------------------------------------------- the pieces


def program(seed: int):
    """Return H, g, A, low and high of a random program."""
    random = np.random.default_rng(seed)
    n = int(random.integers(4, 40))
    columns = random.standard_normal((n, 2 * n))
    h = columns @ columns.T
    g = h @ random.standard_normal(n) * random.choice([0.1, 1.0])
    q = np.where(random.random(n) < 0.2, 0.0, random.uniform(0, 1, n))
    sums = np.zeros((n // 4, n))
    for i in range(len(sums)):
        sums[i, 3 * i : 3 * i + 3] = 1.0
    return h, g, sums, -q, 1 - q


@pytest.mark.parametrize("seed", range(40))
def test_steps_from_the_inverse_are_those_from_factors(seed):
    h, g, sums, low, high = program(seed)
    found = bounded_step(np.linalg.inv(h), g, sums, low, high)
    wanted = active_set_step(h, g, sums, low, high)
    if found is None or wanted is None:
        pytest.skip("the bounds cannot be guessed")
    assert found.step == pytest.approx(wanted, abs=1e-7)
    free = (found.step > low) & (found.step < high)
    assert found.known[free] == pytest.approx((h @ found.step)[free], abs=1e-6 * np.abs(g).max())


def test_most_steps_are_found_from_the_inverse():
    made = [program(seed) for seed in range(40)]
    found = [bounded_step(np.linalg.inv(h), *rest) is not None for h, *rest in made]
    assert np.mean(found) > 0.5


def test_sums_all_of_whose_members_are_at_bounds_are_no_hindrance():
    h, g = np.eye(4), np.array([-3.0, 4.0, 0.3, 0.1])
    sums = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    q = np.array([0.2, 0.8, 0.5, 0.5])
    found = bounded_step(np.eye(4), g, sums, -q, 1 - q)
    assert found is not None
    assert found.step == pytest.approx([-0.2, 0.2, 0.1, -0.1])
    assert found.step == pytest.approx(active_set_step(h, g, sums, -q, 1 - q) + 0.0)


def test_an_upper_limit_of_a_sum_is_obeyed_where_it_is_reached():
    h, g = np.eye(4), np.array([0.5, 0.4, 0.1, -0.2])
    limits = np.array([[1.0, 1.0, 0.0, 0.0]]), np.array([0.3])
    wide = np.ones(4)
    found = bounded_step(np.linalg.inv(h), g, np.zeros((0, 4)), -wide, wide, limits)
    assert found is not None
    assert found.step == pytest.approx([0.2, 0.1, 0.1, -0.2])


def test_the_inverse_takes_the_secant_of_the_information():
    random = np.random.default_rng(2)
    root = random.normal(size=(300, 300))
    h = root @ root.T + 300 * np.eye(300)
    step = random.normal(size=300)
    fall = random.uniform(0.5, 2.0, 300) * (h @ step)
    inverse = inverse_of(h.copy())
    assert inverse == pytest.approx(np.linalg.inv(h), abs=1e-12)
    mend(inverse, step, fall)
    assert inverse == pytest.approx(np.linalg.inv(with_secant(h, step, fall)), abs=1e-9)
    assert inverse_of(h - 1e4 * np.eye(300)) is None


def test_tiles_make_the_whole_product():
    slopes = np.random.default_rng(0).normal(size=(600, 900)).astype(np.float32)
    found = np.zeros((600, 600))
    for half in (slopes[:, :450], slopes[:, 450:]):
        add_product(found, half)
    mirror(found)
    exact = slopes.astype(np.float64) @ slopes.astype(np.float64).T
    assert np.array_equal(found, found.T)
    assert found == pytest.approx(exact, abs=2e-3)


def test_what_rounding_could_decide_is_not_clearly_determined():
    columns = np.random.default_rng(1).normal(size=(20, 400)) * 30
    h = columns @ columns.T
    assert precision.clearly_determined(h)
    columns[1] = columns[0] * (1 + 1e-6)  # two groups that coincide
    assert not precision.clearly_determined(columns @ columns.T)
    assert not precision.clearly_determined(1e-7 * h)  # nothing is known
