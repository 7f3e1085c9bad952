"""Cells of points that the same groups cover, and ways between them, against floods of points."""

import numpy as np
import pytest
from scipy import ndimage

from multicopy_refinement.scaling.kernels.pockets import WAY_OUT, cells_of
from multicopy_refinement.scaling.pockets import Pockets

SHAPE = (12, 10, 14)
N_GROUPS, MOST = 6, 60


@pytest.fixture(params=range(8))
def drawn(request):
    """Balls of points that groups cover, among points that are shut, and some ways out."""
    random = np.random.default_rng(request.param)
    n = int(np.prod(SHAPE))
    status = np.where(random.random(n) < 0.35, -1, 0).astype(np.int32)
    status[random.random(n) < 0.004] = WAY_OUT
    points = np.flatnonzero(status == 0)
    status[points] = np.arange(len(points))
    at = np.stack(np.unravel_index(points, SHAPE), axis=1)
    covered = []
    for _ in range(N_GROUPS):
        away = np.abs(at - random.integers(0, SHAPE))
        away = np.minimum(away, np.array(SHAPE) - away)
        covered.append(np.flatnonzero((away**2).sum(axis=1) < random.uniform(6, 20)))
    family = np.array([0, 0, 1, 2, 2, 3])
    there = np.array([True, False, True, False, True, random.random() < 0.5])
    return status, points, covered, family, there


def free_points(status, points, covered, away):
    """Return which points solvent gets to where some groups are away, all others there."""
    room = np.ones(len(points), dtype=bool)
    for g in range(N_GROUPS):
        if not away[g]:
            room[covered[g]] = False
    grid = np.zeros(int(np.prod(SHAPE)), dtype=bool)
    grid[points[room]] = True
    # the crystal goes on beyond the edges: three cells along each axis hang together
    out = np.tile((status == WAY_OUT).reshape(SHAPE), (3, 3, 3))
    wide = np.tile(grid.reshape(SHAPE), (3, 3, 3)) | out
    label, count = ndimage.label(wide, np.ones((3, 3, 3)))
    leads = np.zeros(count + 1, dtype=bool)
    leads[np.unique(label[out])] = True
    sizes = np.bincount(label[wide & ~out], minlength=count + 1)
    middle = label[SHAPE[0] : 2 * SHAPE[0], SHAPE[1] : 2 * SHAPE[1], SHAPE[2] : 2 * SHAPE[2]]
    found = (leads | (sizes >= MOST))[middle.reshape(-1)[points]]
    return found & room


def test_cells_are_what_hangs_together_under_the_same_groups(drawn):
    status, points, covered, _, _ = drawn
    number = np.zeros(len(points), dtype=np.uint64)
    for g, own in enumerate(covered):
        number[own] += np.uint64(2**g)
    order, begin, touched, first = cells_of(np.array(SHAPE), status, points, number)
    assert sorted(order.tolist()) == list(range(len(points)))
    cell = np.empty(len(points), dtype=int)
    cell[order] = np.repeat(np.arange(len(begin) - 1), np.diff(begin))
    at = np.stack(np.unravel_index(points, SHAPE), axis=1)
    apart = np.abs(at[:, None] - at[None])
    beside = np.minimum(apart, np.array(SHAPE) - apart).max(axis=2) == 1
    same = beside & (number[:, None] == number[None])
    assert (cell[:, None] == cell[None])[same].all()
    assert all(len(set(number[cell == c].tolist())) == 1 for c in range(len(begin) - 1))
    pairs = {(int(a), int(b)) for a, b in zip(*np.nonzero(beside), strict=True)}
    wanted = {(cell[a], cell[b]) for a, b in pairs if cell[a] != cell[b]}
    ways = {
        (c, t) for c in range(len(first) - 1) for t in touched[first[c] : first[c + 1]].tolist()
    }
    assert {way for way in ways if way[1] != WAY_OUT} == wanted
    assert len(ways) == len(touched)


def test_solvent_gets_where_a_flood_of_points_does(drawn):
    status, points, covered, family, there = drawn
    no = np.zeros(N_GROUPS, dtype=bool)
    pockets = Pockets(
        np.array(SHAPE), status, points, covered, family, no, np.full(N_GROUPS, -1), there,
        np.full(N_GROUPS, 0.5), MOST,
    )  # fmt: skip
    opened, may = pockets.opened()
    n_covering = np.zeros(len(points), dtype=int)
    for own in covered:
        n_covering[own] += 1
    right = np.zeros(len(points), dtype=bool)
    for node in np.flatnonzero(n_covering).tolist():
        mine = [g for g in range(N_GROUPS) if node in set(covered[g].tolist())]
        away = ~there | np.isin(family, family[mine])
        right[node] = free_points(status, points, covered, away)[node]
    assert np.array_equal(may[n_covering > 0], right[n_covering > 0])
    for g in range(N_GROUPS):
        away = ~there | (family == family[g])
        away[g] = False
        mine = np.sort(opened[g])
        assert (pockets.family[mine] == family[g]).all()
        # but for small islands that were known to have a way out: all of it is room then, too
        assert free_points(status, points, covered, away)[mine].all()
