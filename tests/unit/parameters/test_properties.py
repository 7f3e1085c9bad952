"""Properties of OccupancyTensor that hold for any grouping, mask, value and step."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import functional_call

from multicopy_refinement.model import OccupancyTensor

SETTINGS = settings(max_examples=150, deadline=None)


@dataclass(frozen=True)
class Drawn:
    """A tensor and what it was made of; `index` is the group of each atom."""

    tensor: OccupancyTensor
    index: list[int]
    sets: list[list[int]]
    values: list[float]
    refined: list[bool]

    @property
    def dtype(self) -> torch.dtype:
        return self.tensor.fixed_values.dtype

    def groups(self) -> Tensor:
        """Return the present values of the groups, taken from the atoms."""
        first = [self.index.index(group) for group in range(len(self.values))]
        return self.tensor().detach()[first]


def set_values(draw: st.DrawFn, size: int, refined: list[bool]) -> list[float]:
    """Draw values of a set that sum to 1, exactly where it matters: members that are held."""
    parts = draw(st.lists(st.integers(0, 20), min_size=size, max_size=size))
    total = sum(parts)
    values = [p / total for p in parts] if total else [1.0 / size] * size
    if any(refined):
        scale = draw(st.sampled_from([1.0, 0.9, 0.5]))  # what is refinable may sum to anything
        values = [v * scale if r else v for v, r in zip(values, refined, strict=True)]
    return values


@st.composite
def drawn_tensors(draw: st.DrawFn, raw_limit: float = 1e3, dtypes=(torch.float32, torch.float64)):
    """Draw 1..12 atoms in groups, some groups in sets, some held, then raw parameters."""
    n_atoms = draw(st.integers(1, 12))
    labels = draw(st.lists(st.integers(0, 7), min_size=n_atoms, max_size=n_atoms))
    present = draw(st.permutations(sorted(set(labels))))
    index = [present.index(label) for label in labels]
    n_groups = len(present)
    refined = draw(st.lists(st.booleans(), min_size=n_groups, max_size=n_groups))
    values = draw(
        st.lists(
            st.sampled_from([0.0, 1.0, 1 / 3, 0.5]) | st.floats(0, 1, width=32),
            min_size=n_groups,
            max_size=n_groups,
        )
    )
    sets: list[list[int]] = []
    start = 0
    while n_groups - start >= 2 and draw(st.booleans()):
        size = draw(st.integers(2, min(4, n_groups - start)))
        members = list(range(start, start + size))
        values[start : start + size] = set_values(draw, size, refined[start : start + size])
        sets.append(members)
        start += size
    tensor = OccupancyTensor(
        torch.tensor([values[group] for group in index], dtype=torch.float64),
        torch.tensor([refined[group] for group in index]),
        sharing(draw, index, n_groups),
        [[[a for a, g in enumerate(index) if g == member] for member in s] for s in sets],
        dtype=draw(st.sampled_from(dtypes)),
        use_sigmoid=draw(st.booleans()) if raw_limit > 10 else True,
    )
    raw = draw(
        st.lists(st.floats(-raw_limit, raw_limit), min_size=sum(refined), max_size=sum(refined))
    )
    with torch.no_grad():
        tensor.refinable_params.copy_(torch.tensor(raw, dtype=torch.float64))
    return Drawn(tensor, index, sets, values, refined)


def sharing(draw: st.DrawFn, index: list[int], n_groups: int) -> Tensor | list[list[int]]:
    """Draw one of the two forms of sharing groups."""
    if draw(st.booleans()):
        return torch.tensor(index)
    return [[a for a, g in enumerate(index) if g == group] for group in range(n_groups)]


@SETTINGS
@given(drawn_tensors())
def test_output_lies_in_the_unit_interval(drawn):
    values = drawn.tensor()
    assert values.shape == (len(drawn.index),)
    assert values.dtype == drawn.dtype
    assert ((values >= 0) & (values <= 1)).all()


@SETTINGS
@given(drawn_tensors())
def test_complete_sets_sum_to_one(drawn):
    groups = drawn.groups().double()
    for members in drawn.sets:
        assert abs(float(groups[members].sum()) - 1) <= 1e-6


@SETTINGS
@given(drawn_tensors())
def test_groups_are_uniform(drawn):
    values, groups = drawn.tensor().detach(), drawn.groups()
    assert drawn.tensor.expansion_mask.tolist() == drawn.index
    assert torch.equal(values, groups[drawn.index])
    assert torch.equal(values, drawn.tensor._expand_values(drawn.tensor.collapsed_values()))


@SETTINGS
@given(drawn_tensors())
def test_held_values_come_back_bit_for_bit(drawn):
    held = ~torch.tensor(drawn.refined)
    expected = torch.tensor(drawn.values, dtype=torch.float64).to(drawn.dtype)
    assert torch.equal(drawn.groups()[held], expected[held])
    assert drawn.tensor.refinable_mask.tolist() == drawn.refined


@SETTINGS
@given(drawn_tensors(), st.data())
def test_collapse_undoes_expand_exactly(drawn, data):
    n_groups = len(drawn.values)
    values = data.draw(st.lists(st.floats(0, 1, width=32), min_size=n_groups, max_size=n_groups))
    collapsed = torch.tensor(values, dtype=drawn.dtype)
    expanded = drawn.tensor._expand_values(collapsed)
    assert expanded.shape == drawn.tensor.shape
    assert torch.equal(drawn.tensor._collapse_values(expanded), collapsed)


@SETTINGS
@given(drawn_tensors(raw_limit=5.0, dtypes=(torch.float64,)))
def test_gradient_equals_finite_difference(drawn):
    tensor = drawn.tensor
    weights = torch.linspace(0.5, 2.0, len(drawn.index), dtype=torch.float64)

    def loss(raw: Tensor) -> Tensor:
        values = functional_call(tensor, {"refinable_params": raw}, ())
        return (weights * values * (1 + values)).sum()

    raw = tensor.refinable_params.detach()
    found = torch.func.grad(loss)(raw)
    step = 1e-5 * torch.eye(len(raw), dtype=torch.float64)
    expected = [float(loss(raw + s) - loss(raw - s)) / 2e-5 for s in step]
    torch.testing.assert_close(found, found.new_tensor(expected), rtol=1e-5, atol=1e-8)


@SETTINGS
@given(drawn_tensors(), st.booleans())
def test_state_dict_round_trips_into_another_mask(drawn, refinable):
    tensor = drawn.tensor
    other = copy.deepcopy(tensor)
    with torch.no_grad():
        other.refinable_params.zero_()
    if refinable:
        other.set_refinable_mask(torch.ones(len(drawn.index), dtype=torch.bool))
    other.load_state_dict(tensor.state_dict())
    assert torch.equal(other(), tensor())
    assert torch.equal(other.refinable_mask, tensor.refinable_mask)


@SETTINGS
@given(drawn_tensors(), st.floats(0.001, 0.999))
def test_assigned_occupancies_read_back(drawn, value):
    tensor = drawn.tensor
    members = {group: s for s in drawn.sets for group in s}
    for group in range(len(drawn.values)):
        partners = [g for g in members.get(group, []) if g != group]
        held = sum(drawn.groups()[[g for g in partners if not drawn.refined[g]]].tolist())
        possible = not partners or any(drawn.refined[g] for g in partners)
        if not possible or value + held > 1:
            continue
        tensor.set_group_occupancy(group, value)
        found = tensor.get_group_occupancy(group)
        # a refined partner may keep 1e-6, which the value goes without where nothing else is left
        kept = 1e-6 * sum(drawn.refined[g] for g in partners)
        least = min(value, 1 - held - kept) if partners else value
        assert least - 2e-6 < found < value + 2e-6
        for s in drawn.sets:
            assert abs(float(drawn.groups()[s].double().sum()) - 1) <= 1e-6
