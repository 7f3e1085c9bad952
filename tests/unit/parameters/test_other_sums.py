"""Sets of at most a total, of other totals, and nested in a parent: kept at every evaluation."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multicopy_refinement.errors import OccupancyError
from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.parameters import OccupancyTensor, members_from_sums

#: Groups 0 and 1 are complete, 2 and 3 nested in 1, 4 and 5 sum to at most 0.7, 6 is at most 0.5,
#: 7 is alone.
SUMS = SumConstraints(
    np.array([0, 0, 1, 1, 2, 2, 3, -1]),
    np.array([1.0, 0.0, 0.7, 0.5]),
    np.array([True, True, False, False]),
    np.array([-1, 1, -1, -1]),
)
START = (0.6, 0.4, 0.3, 0.1, 0.3, 0.2, 0.25, 0.9)


def tensor(values=START, mask=None, dtype=torch.float64, **options) -> OccupancyTensor:
    return OccupancyTensor(
        torch.tensor(values, dtype=dtype), mask, altloc_groups=members_from_sums(SUMS), **options
    )


def obeyed(q: torch.Tensor, tolerance: float = 1e-9) -> bool:
    values = q.detach().double().numpy()
    inside = bool(((values >= 0) & (values <= 1 + tolerance)).all())
    return inside and float(np.abs(SUMS.excess(values)).max()) < tolerance


@pytest.mark.parametrize("use_sigmoid", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_given_comes_back(dtype, use_sigmoid):
    q = tensor(dtype=dtype, use_sigmoid=use_sigmoid)
    assert q().tolist() == pytest.approx(START, abs=1e-6)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-60, 60), min_size=8, max_size=8))
def test_sums_hold_for_any_parameters(raw):
    q = tensor()
    with torch.no_grad():
        q.refinable_params.copy_(torch.tensor(raw, dtype=torch.float64))
    assert obeyed(q())


def test_sums_hold_at_every_step_of_adam_and_bounds_are_left_again():
    """Driven against the limits and back: nothing is stuck."""
    q = tensor()
    optimizer = torch.optim.Adam([q.refinable_params], lr=0.1)
    for wanted, steps in ((1.0, 60), (0.05, 400)):
        for _ in range(steps):
            optimizer.zero_grad()
            ((q() - wanted) ** 2).sum().backward()
            optimizer.step()
            assert obeyed(q())
        values = q().detach()
        if wanted == 1.0:
            assert float(values[6]) == pytest.approx(0.5, abs=0.02)
            assert float(values[4] + values[5]) == pytest.approx(0.7, abs=0.03)
    assert values[4:8].tolist() == pytest.approx([0.05] * 4, abs=0.02)


def test_gradients_are_differences():
    q = tensor()
    weight = torch.linspace(-1, 2, 8, dtype=torch.float64)
    (weight * q() ** 2).sum().backward()
    for i in range(8):
        values = []
        for sign in (1, -1):
            moved = copy.deepcopy(q)
            with torch.no_grad():
                moved.refinable_params[i] += sign * 1e-5
            values.append(float((weight * moved().detach() ** 2).sum()))
        slope = (values[0] - values[1]) / 2e-5
        assert float(q.refinable_params.grad[i]) == pytest.approx(slope, abs=1e-8)


@pytest.mark.parametrize(
    ("group", "value", "expected"),
    [
        (0, 0.5, (0.5, 0.5, 0.375, 0.125, 0.3, 0.2, 0.25, 0.9)),  # the nested set follows
        (1, 0.0, (1.0, 0.0, 0.0, 0.0, 0.3, 0.2, 0.25, 0.9)),
        (2, 0.1, (0.6, 0.4, 0.1, 0.3, 0.3, 0.2, 0.25, 0.9)),
        (4, 0.4, (0.6, 0.4, 0.3, 0.1, 0.4, 0.2, 0.25, 0.9)),  # there is room
        (4, 0.65, (0.6, 0.4, 0.3, 0.1, 0.65, 0.05, 0.25, 0.9)),  # the partner makes room
        (6, 0.5, (0.6, 0.4, 0.3, 0.1, 0.3, 0.2, 0.5, 0.9)),
    ],
)
def test_assigned_values_read_back(group, value, expected):
    q = tensor()
    q.set_group_occupancy(group, value)
    assert q().tolist() == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize(
    ("group", "value", "message"),
    [(6, 0.6, "must sum to at most 0.5"), (4, 0.8, "must sum to at most 0.7"),
     (2, 0.5, "must sum to 0.4")],
)  # fmt: skip
def test_values_beyond_a_sum_are_refused(group, value, message):
    with pytest.raises(OccupancyError, match=message):
        tensor().set_group_occupancy(group, value)


def test_fixed_members_do_not_move():
    mask = torch.ones(8, dtype=torch.bool)
    mask[[3, 5]] = False
    q = tensor(mask=mask)
    with torch.no_grad():
        q.refinable_params.copy_(torch.randn(6, dtype=torch.float64))
    values = q().detach()
    assert values[[3, 5]].tolist() == [0.1, 0.2]
    assert float(values[2] + values[3]) == pytest.approx(max(float(values[1]), 0.1))
    assert float(values[4] + values[5]) <= 0.7 + 1e-9


def test_fixed_members_beyond_a_sum_are_refused():
    mask = torch.ones(8, dtype=torch.bool)
    mask[[4, 5]] = False
    with pytest.raises(OccupancyError, match=r"sum to 0\.8; .* at most 0\.7"):
        tensor((0.6, 0.4, 0.3, 0.1, 0.5, 0.3, 0.25, 0.9), mask)


def test_clamp_and_move_inside_obey_the_sums():
    clamped = tensor().clamp(0.15, 0.55)
    assert obeyed(clamped(), 1e-6)
    assert float(clamped().detach()[6]) == pytest.approx(0.25, abs=1e-6)
    q = tensor((1.0, 0.0, 0.0, 0.0, 0.7, 0.0, 0.5, 1.0))
    assert q.move_inside(0.02)
    assert obeyed(q())
    values = q().detach()
    assert float(values[6]) == pytest.approx(0.49, abs=1e-6)
    assert float(values[4] + values[5]) == pytest.approx(0.686, abs=1e-6)


def test_clamp_leaves_held_members_that_are_within():
    one = SumConstraints.complete_sets(np.array([0, 0, 0]))
    q = OccupancyTensor(
        torch.tensor([0.5, 0.45, 0.05], dtype=torch.float64), torch.tensor([False, True, True]),
        altloc_groups=members_from_sums(one),
    )  # fmt: skip
    assert q.clamp(0.1, 1.0)().tolist() == pytest.approx([0.5, 0.4, 0.1])


def test_copies_and_state_keep_the_sums():
    q = tensor()
    with torch.no_grad():
        q.refinable_params.add_(0.7)
    plain = tensor((0.5, 0.5, 0.25, 0.25, 0.1, 0.1, 0.1, 0.1))
    plain.load_state_dict(q.state_dict())
    for other in (copy.deepcopy(q), pickle.loads(pickle.dumps(q)), plain):
        assert torch.equal(other(), q())
        assert obeyed(other())
