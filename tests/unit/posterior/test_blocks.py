"""Blocks, spaces, points, and sums of terms."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.posterior import Block, Kind, Normal, Point, Posterior, Space
from multicopy_refinement.posterior.terms import spread
from multicopy_refinement.solve import gauss_newton


@pytest.fixture
def space():
    """Three occupancies, two B shifts."""
    return Space(
        (
            Block(Kind.OCCUPANCY, np.zeros(3), np.ones(3)),
            Block(Kind.B_GROUP, np.full(2, -5.0), np.full(2, np.inf)),
        )
    )


def test_a_space_knows_where_its_blocks_stand(space):
    assert space.size == 5
    assert space.place(Kind.B_GROUP) == slice(3, 5)
    assert Kind.B_GROUP in space
    assert Kind.SCALE not in space
    assert space.indices([Kind.B_GROUP, Kind.OCCUPANCY]).tolist() == [0, 1, 2, 3, 4]
    assert space.indices([Kind.B_GROUP]).tolist() == [3, 4]
    assert space.lower.tolist() == [0, 0, 0, -5, -5]
    more = space.joined([Block.unbounded(Kind.SCALE, 2, nuisance=True)])
    assert more.kinds == (Kind.OCCUPANCY, Kind.B_GROUP, Kind.SCALE)
    assert more.size == 7


def test_a_point_gives_values_by_kind(space):
    at = space.point({Kind.B_GROUP: np.array([4.0, 5]), Kind.OCCUPANCY: np.array([1.0, 2, 3])})
    assert at.x.tolist() == [1, 2, 3, 4, 5]
    assert at[Kind.B_GROUP].tolist() == [4, 5]
    assert at.get(Kind.SCALE) is None
    other = at.replacing(Kind.B_GROUP, np.array([6.0, 7]))
    assert (at.x[3], other.x[3]) == (4, 6)
    assert other[Kind.OCCUPANCY].tolist() == [1, 2, 3]


def test_an_unknown_whose_bounds_coincide_is_held(space):
    held = space.holding(Kind.OCCUPANCY, 1, 0.25)
    assert held.held.tolist() == [False, True, False, False, False]
    assert (held.lower[1], held.upper[1]) == (0.25, 0.25)
    assert not space.held.any()  # the first is as it was


def test_bounds_of_different_length_are_refused():
    with pytest.raises(ValueError, match="2 lower and 3 upper"):
        Block(Kind.OCCUPANCY, np.zeros(2), np.ones(3))


@dataclass(frozen=True)
class Bowl:
    """log p = -1/2 sum curvature (x - centre)^2 of one kind: a term that somebody else wrote."""

    kind: Kind
    centre: np.ndarray
    curvature: float
    variance_factor: float = 1.0

    @property
    def touches(self):
        return frozenset({self.kind})

    def value(self, at):
        return float(-0.5 * self.curvature * ((at[self.kind] - self.centre) ** 2).sum())

    def gradient(self, at):
        return spread(-self.curvature * (at[self.kind] - self.centre), at.space, (self.kind,))

    def normal(self, at, *, precise=True):
        n = len(self.centre)
        gradient = -self.curvature * (at[self.kind] - self.centre)
        normal = Normal(self.value(at), gradient, self.curvature * np.eye(n))
        return normal.within(at.space, (self.kind,))

    def log_density(self, values):
        centre = torch.as_tensor(self.centre)
        return -0.5 * self.curvature * ((values[self.kind] - centre) ** 2).sum()


def bowls(space: Space) -> Posterior:
    """Return a posterior of three terms: two over occupancies, one over B shifts."""
    terms = (
        Bowl(Kind.OCCUPANCY, np.array([0.2, 0.9, 1.4]), 100.0),
        Bowl(Kind.OCCUPANCY, np.array([0.4, 0.5, 1.4]), 300.0, variance_factor=3.0),
        Bowl(Kind.B_GROUP, np.array([-9.0, 2.0]), 1.0),
    )
    free = SumConstraints.complete_sets(np.array([-1, -1, -1]))
    return Posterior(space, terms, free, Space(()).point({}))


def test_terms_add_up_in_their_blocks(space):
    posterior = bowls(space)
    at = space.point({Kind.OCCUPANCY: np.full(3, 0.5), Kind.B_GROUP: np.zeros(2)})
    normal = posterior.normal(at)
    assert normal.value == pytest.approx(posterior.value(at))
    assert np.diag(normal.information).tolist() == [400, 400, 400, 1, 1]
    seen, said = posterior.informations(at)
    assert np.diag(seen).tolist() == [0, 0, 0, 1, 1]
    assert np.diag(said).tolist() == [200, 200, 200, 0, 0]
    for i in range(5):
        step = np.eye(5)[i] * 1e-5
        up, down = (posterior.value(Point(space, at.x + s * step)) for s in (1, -1))
        assert normal.gradient[i] == pytest.approx((up - down) / 2e-5, rel=1e-6)
    density = posterior.log_density({k: torch.tensor(v) for k, v in at.values.items()})
    assert float(density) == pytest.approx(normal.value)


def test_a_search_over_terms_of_ones_own_keeps_the_bounds(space):
    posterior = bowls(space)
    start = space.point({Kind.OCCUPANCY: np.full(3, 0.5), Kind.B_GROUP: np.zeros(2)})
    found = gauss_newton.maximise(posterior, start, smallest_gain=1e-9)
    assert found.converged
    assert found.point.x == pytest.approx([0.35, 0.6, 1.0, -5.0, 2.0], abs=1e-6)


def test_a_held_unknown_stays_in_a_search(space):
    posterior = bowls(space).holding(Kind.OCCUPANCY, 1, 0.25)
    start = space.point({Kind.OCCUPANCY: np.array([0.5, 0.25, 0.5]), Kind.B_GROUP: np.zeros(2)})
    found = gauss_newton.maximise(posterior, start, smallest_gain=1e-9)
    assert found.point.x == pytest.approx([0.35, 0.25, 1.0, -5.0, 2.0], abs=1e-6)
    assert found.point.x[1] == 0.25
