"""Cells of points that the same groups cover, and ways between them, against floods of points."""

from itertools import product

import numpy as np
import pytest
from scipy import ndimage

from multicopy_refinement.scaling.kernels.pockets import WAY_OUT, cells_of
from multicopy_refinement.scaling.pockets import SEVERAL, Pockets

SHAPE = (12, 10, 14)
N_GROUPS, MOST = 6, 60
FAMILY = np.array([0, 0, 1, 2, 2, 3])
OCCUPANCY = np.array([0.3, 0.2, 0.6, 0.55, 0.45, 0.4])


@pytest.fixture(params=range(8))
def drawn(request):
    """Balls of points that groups cover, among points that are shut, and some ways out."""
    random = np.random.default_rng(request.param)
    n = int(np.prod(SHAPE))
    status = np.where(random.random(n) < 0.85, -1, 0).astype(np.int32)
    status[random.random(n) < 0.004] = WAY_OUT
    points = np.flatnonzero(status == 0)
    status[points] = np.arange(len(points))
    at = np.stack(np.unravel_index(points, SHAPE), axis=1)
    covered = []
    for _ in range(N_GROUPS):
        away = np.abs(at - random.integers(0, SHAPE))
        away = np.minimum(away, np.array(SHAPE) - away)
        covered.append(np.flatnonzero((away**2).sum(axis=1) < random.uniform(10, 30)))
    there = np.array([True, False, True, False, True, random.random() < 0.5])
    return status, points, covered, there


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
    at = np.tile(np.arange(len(status)).reshape(SHAPE), (3, 3, 3))
    each = np.unique(np.stack([label[wide & ~out], at[wide & ~out]]), axis=1)  # once in the crystal
    sizes = np.bincount(each[0], minlength=count + 1)
    middle = label[SHAPE[0] : 2 * SHAPE[0], SHAPE[1] : 2 * SHAPE[1], SHAPE[2] : 2 * SHAPE[2]]
    found = (leads | (sizes >= MOST))[middle.reshape(-1)[points]]
    return found & room


def test_cells_are_what_hangs_together_under_the_same_groups(drawn):
    status, points, covered, _ = drawn
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


def molecules(parent):
    """Return the states of a molecule, ``[n, N_GROUPS]``, and how often each occurs."""
    states, weights = [], []
    for one in product((0, 1, None), (2, None), (3, 4), (5, None)):
        there = np.isin(np.arange(N_GROUPS), [g for g in one if g is not None])
        weight = 1.0
        for family, g in enumerate(one):
            mates = np.flatnonzero(family == FAMILY)
            above = parent[mates[0]]
            total = 1.0
            if above >= 0:
                if not there[above]:  # then it is nowhere
                    weight *= g is None
                    continue
                total = OCCUPANCY[above]
            weight *= (OCCUPANCY[g] if g is not None else total - OCCUPANCY[mates].sum()) / total
        states.append(there)
        weights.append(weight)
    assert sum(weights) == pytest.approx(1)
    return np.array(states), np.array(weights)


@pytest.mark.parametrize("nested", [False, True])
def test_solvent_gets_where_floods_of_points_do_in_all_molecules(drawn, nested):
    """The third set is complete; where nested, the last group is within the third one."""
    status, points, covered, there = drawn
    parent = np.full(N_GROUPS, -1)
    if nested:
        parent[5] = 2
        covered[5] = np.setdiff1d(covered[5], covered[2])
    whole = FAMILY == 2
    pockets = Pockets(
        np.array(SHAPE), status, points, covered, FAMILY, whole, parent, there, OCCUPANCY, MOST, 0.0
    )
    opened, away, chance = pockets.opened()
    states, weights = molecules(parent)
    free = np.array([free_points(status, points, covered, ~one) for one in states])
    bare = np.ones_like(free)
    for state, one in zip(bare, states, strict=True):
        for g in np.flatnonzero(one).tolist():
            state[covered[g]] = False

    def often(some, where):
        """How often solvent gets to points in molecules where they are bare."""
        part = weights[some] @ bare[some][:, where]
        assert (part > 0).all()
        return (weights[some] @ free[some][:, where]) / part

    several = np.flatnonzero((pockets.family == SEVERAL) & (weights @ bare > 0))
    assert len(several) > 20
    np.testing.assert_allclose(chance[several], often(np.ones(len(states), bool), several))
    assert ((chance[several] > 0) & (chance[several] < 1)).any()
    for g in range(N_GROUPS):
        mine = opened[g].points
        assert (pockets.family[mine] == FAMILY[g]).all()
        np.testing.assert_allclose(opened[g].chance, often(states[:, g], mine))
        shut = np.setdiff1d(np.flatnonzero(pockets.family == FAMILY[g]), mine)
        assert not free[states[:, g]][:, shut].any()
    for family, reached in enumerate(away):
        gone = ~states[:, family == FAMILY].any(axis=1)
        mine = np.flatnonzero(pockets.family == family)
        if reached is not None:
            np.testing.assert_allclose(reached.chance, often(gone, reached.points))
            mine = np.setdiff1d(mine, reached.points)
            assert not free[gone][:, mine].any()
        elif family != 2:
            np.testing.assert_allclose(often(gone, mine), 1)
