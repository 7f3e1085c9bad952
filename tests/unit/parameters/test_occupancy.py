"""OccupancyTensor: the contract, sharing groups, complete sets, and what is refused."""

import copy
import pickle

import numpy as np
import pytest
import torch

from helpers import atom_line, pdb_text, write_text
from multicopy_refinement.model import Model, OccupancyTensor
from parameter_contract import DTYPES, ParameterContract

F64 = torch.float64


def occupancies(*values: float, dtype: torch.dtype = F64) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype)


# ---------------------------------------------------------------------- the contract


class TestUngroupedOccupancyTensor(ParameterContract):
    class_name = "OccupancyTensor"
    values = occupancies(0.1, 0.3, 1 / 3, 0.7, 1.0)
    other_values = occupancies(0.9, 0.2, 1 / 7, 0.4, 0.5)
    mask = torch.tensor([False, True, False, True, False])

    def make(self, dtype=F64, *, refinable_mask=None, **options):
        mask = self.mask if refinable_mask is None else refinable_mask
        return OccupancyTensor(self.values, mask, dtype=dtype, **options)


class TestOccupancyTensorWithoutSigmoid(TestUngroupedOccupancyTensor):
    def make(self, dtype=F64, **options):
        return super().make(dtype, use_sigmoid=False, **options)


class TestOccupancyTensor(ParameterContract):
    """Atoms 0, 1 held; 2-3 and 4-5 a set of two; 6, 7, 8 a set of three with 8 held; 9 alone."""

    class_name = "OccupancyTensor"
    values = occupancies(1.0, 1 / 3, 0.6, 0.6, 0.4, 0.4, 0.5, 0.3, 0.2, 0.7)
    other_values = occupancies(1.0, 1 / 7, 0.2, 0.2, 0.8, 0.8, 0.1, 0.3, 0.6, 0.1)
    mask = torch.tensor([False, False, True, True, True, True, True, True, False, True])
    groups = ((2, 3), (4, 5))
    sets = (((2, 3), (4, 5)), ((6,), (7,), (8,)))

    def make(self, dtype=F64, *, refinable_mask=None, **options):
        mask = self.mask if refinable_mask is None else refinable_mask
        return OccupancyTensor(self.values, mask, self.groups, self.sets, dtype=dtype, **options)


class TestOccupancyTensorWithSetsWithoutSigmoid(TestOccupancyTensor):
    def make(self, dtype=F64, **options):
        return super().make(dtype, use_sigmoid=False, **options)


# ---------------------------------------------------------------------- sharing groups


def test_collapsed_order_is_groups_as_given_then_independent_atoms():
    groups = [[0, 1, 2], [3, 4, 5], [6, 7]]
    tensor = OccupancyTensor(torch.full((10,), 0.5), sharing_groups=groups)
    assert tensor.expansion_mask.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 3, 4]
    assert tensor.expansion_mask.dtype == torch.long
    assert tensor.shape == (10,)
    assert tensor.collapsed_shape == (5,)
    assert tensor.refinable_params.shape == (5,)
    assert tensor.fixed_values.shape == tensor.refinable_mask.shape == (5,)


def test_groups_may_be_given_in_any_order():
    tensor = OccupancyTensor(occupancies(0.1, 0.2, 0.3, 0.4, 0.2), sharing_groups=[[3], [1, 4]])
    assert tensor.expansion_mask.tolist() == [2, 1, 3, 0, 1]
    assert tensor().tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.2])
    assert tensor.get_group_occupancy(0) == pytest.approx(0.4)


def test_an_index_tensor_is_taken_as_it_is():
    index = torch.tensor([2, 0, 1, 0, 2])
    tensor = OccupancyTensor(occupancies(0.3, 0.1, 0.2, 0.1, 0.3), sharing_groups=index)
    assert torch.equal(tensor.expansion_mask, index)
    assert tensor.collapsed_shape == (3,)
    assert [tensor.get_group_occupancy(i) for i in range(3)] == pytest.approx([0.1, 0.2, 0.3])


def test_a_group_takes_the_mean_of_its_atoms():
    tensor = OccupancyTensor(occupancies(0.60, 0.64, 1.0), sharing_groups=[[0, 1]])
    assert tensor()[:2].tolist() == pytest.approx([0.62, 0.62])


def test_a_group_is_refinable_when_any_of_its_atoms_is():
    mask = torch.tensor([False, True, False, False, False])
    tensor = OccupancyTensor(torch.full((5,), 0.5), mask, [[0, 1], [2, 3]])
    assert tensor.refinable_mask.tolist() == [True, False, False]
    assert tensor.get_refinable_count() == 1
    assert tensor.get_fixed_count() == 2


def test_fixing_an_atom_holds_its_group():
    tensor = OccupancyTensor(torch.full((5,), 0.5), sharing_groups=[[0, 1], [2, 3]])
    tensor.fix(torch.tensor([False, True, False, False, False]))
    assert tensor.fixed_mask.tolist() == [True, False, False]


def test_masks_may_be_given_by_group_where_the_numbers_differ():
    tensor = OccupancyTensor(torch.full((5,), 0.5), sharing_groups=[[0, 1], [2, 3]])
    tensor.set_refinable_mask(torch.tensor([False, True, False]))
    assert tensor.refinable_mask.tolist() == [False, True, False]


def test_collapse_and_expand():
    tensor = OccupancyTensor(torch.full((4,), 0.5), sharing_groups=[[1, 3]])
    assert tensor._collapse_values(occupancies(0.1, 0.2, 0.3, 0.6)).tolist() == [0.4, 0.1, 0.3]
    assert tensor._expand_values(occupancies(0.4, 0.1, 0.3)).tolist() == [0.1, 0.4, 0.3, 0.4]


def test_shared_gradient_is_the_sum_over_the_atoms():
    tensor = OccupancyTensor(torch.full((3,), 0.5, dtype=F64), sharing_groups=[[0, 1, 2]])
    (tensor() * occupancies(1.0, 2.0, 4.0)).sum().backward()
    assert float(tensor.refinable_params.grad) == pytest.approx(7.0 * 0.25)


def test_no_atoms():
    tensor = OccupancyTensor(torch.empty(0))
    assert tensor().shape == tensor.shape == tensor.collapsed_shape == (0,)


@pytest.mark.parametrize("dtype", DTYPES)
def test_output_stays_in_the_unit_interval_whatever_the_logits(dtype):
    tensor = OccupancyTensor(torch.full((4,), 0.5, dtype=dtype))
    with torch.no_grad():
        tensor.refinable_params.copy_(torch.tensor([-1e4, -50.0, 50.0, 1e4]))
    assert ((tensor() >= 0) & (tensor() <= 1)).all()


def test_logits_assigned_to_held_groups_are_returned_as_occupancies():
    tensor = OccupancyTensor(occupancies(1.0, 0.3), torch.tensor([False, True]))
    tensor.fixed_values = torch.logit(occupancies(0.25, 0.3))
    assert tensor()[0].detach().item() == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ([0.0] * 5, r"shape \(3,\), not \(5,\)"),
        ([0.0], r"shape \(3,\), not \(1,\)"),
        ([0.0, float("nan"), 0.0], "nan at index 1"),
    ],
)
def test_logits_that_cannot_be_are_refused_when_they_are_assigned(raw, says):
    held = torch.tensor([False, False, True])
    tensor = OccupancyTensor(occupancies(0.3, 0.3, 0.4), held, altloc_groups=[[[0], [1], [2]]])
    with pytest.raises(ValueError, match=says):
        tensor.fixed_values = torch.tensor(raw)
    assert tensor().tolist() == pytest.approx([0.3, 0.3, 0.4])
    tensor.fixed_values = torch.logit(occupancies(0.1, 0.5, 0.5))
    assert tensor().tolist() == pytest.approx([0.1, 0.5, 0.4])


def test_a_state_with_other_held_members_loads_into_a_copy():
    """Neither half of it fits the other half of what was there."""
    held = torch.tensor([False, True, True])
    sets = [[[0], [1], [2]]]
    one = OccupancyTensor(occupancies(0.8, 0.1, 0.1), held, altloc_groups=sets)
    other = OccupancyTensor(occupancies(0.1, 0.8, 0.1), ~held, altloc_groups=sets)
    for assign in (False, True):
        one.load_state_dict(other.state_dict(), assign=assign)
        assert one().tolist() == pytest.approx([0.1, 0.8, 0.1])


@pytest.mark.parametrize("n", [1, 5])
def test_values_of_another_length_are_refused(n):
    tensor = OccupancyTensor(occupancies(0.5, 0.5, 0.5), sharing_groups=[[0, 1]])
    values = torch.full((n,), 0.5)
    for method, shape in ((tensor._collapse_values, 3), (tensor._expand_values, 2)):
        with pytest.raises(ValueError, match=rf"shape \({shape},\), not \({n},\)"):
            method(values)


def test_repr_counts_groups_and_sets():
    text = repr(TestOccupancyTensor().make())
    assert "groups=8" in text
    assert "sets=2" in text


# ---------------------------------------------------------------------- complete sets


def pair(a: float = 0.6, b: float = 0.4, mask=None, **options) -> OccupancyTensor:
    return OccupancyTensor(
        occupancies(a, a, b, b), mask, [[0, 1], [2, 3]], [[[0, 1], [2, 3]]], **options
    )


def triple(mask=None, values=(0.5, 0.3, 0.2), **options) -> OccupancyTensor:
    return OccupancyTensor(occupancies(*values), mask, None, [[[0], [1], [2]]], **options)


FIRST_HELD = torch.tensor([False, True, True])


def test_occupancies_of_a_set_are_normalised_sigmoids():
    tensor = triple()
    raw = occupancies(0.7, -1.3, 2.1)
    with torch.no_grad():
        tensor.refinable_params.copy_(raw)
    s = 1 / (1 + np.exp(-raw.numpy()))
    np.testing.assert_allclose(tensor().detach().numpy(), s / s.sum(), rtol=1e-14)


def test_refinable_members_share_what_the_held_ones_leave():
    tensor = triple(FIRST_HELD)
    raw = occupancies(0.7, -1.3)
    with torch.no_grad():
        tensor.refinable_params.copy_(raw)
    s = 1 / (1 + np.exp(-raw.numpy()))
    expected = [0.5, *(0.5 * s / s.sum())]
    np.testing.assert_allclose(tensor().detach().numpy(), expected, rtol=1e-14)
    assert tensor()[0].detach().item() == 0.5


def test_a_set_that_does_not_sum_to_one_is_scaled_with_ratios_kept():
    tensor = pair(0.8, 0.3)
    assert tensor().tolist() == pytest.approx([0.8 / 1.1] * 2 + [0.3 / 1.1] * 2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("use_sigmoid", [True, False])
def test_a_set_sums_to_one_at_extreme_parameters(dtype, use_sigmoid):
    tensor = triple(use_sigmoid=use_sigmoid, dtype=dtype)
    for raw in ([-1e4, -1e4, -1e4], [1e4, -1e4, 0.0], [1e4, 1e4, 1e4], [0.0, 0.0, 0.0]):
        with torch.no_grad():
            tensor.refinable_params.copy_(torch.tensor(raw))
        assert float(tensor().detach().sum()) == pytest.approx(1.0, abs=1e-6)
        assert ((tensor() >= 0) & (tensor() <= 1)).all()


def test_a_set_with_all_members_held_comes_back_bit_for_bit():
    tensor = pair(1 / 3, 2 / 3, torch.zeros(4, dtype=torch.bool))
    assert tensor().tolist() == [1 / 3, 1 / 3, 2 / 3, 2 / 3]
    assert tensor.get_refinable_count() == 0


def test_the_only_refinable_member_takes_the_rest():
    tensor = triple(torch.tensor([False, False, True]))
    with torch.no_grad():
        tensor.refinable_params.fill_(-3.0)
    assert tensor()[2].detach().item() == pytest.approx(0.2)


def test_optimisation_keeps_a_set_complete():
    tensor = pair()
    optimizer = torch.optim.Adam(tensor.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        (tensor() - occupancies(0.15, 0.15, 0.85, 0.85)).square().sum().backward()
        optimizer.step()
        assert tensor.get_group_occupancy(0) + tensor.get_group_occupancy(1) == pytest.approx(1)
    assert tensor.get_group_occupancy(0) == pytest.approx(0.15, abs=1e-3)


def test_sets_of_single_atoms_need_no_sharing_groups():
    assert triple().collapsed_shape == (3,)
    assert triple().expansion_mask.tolist() == [0, 1, 2]


def test_conformations_may_be_tuples():
    tensor = OccupancyTensor(occupancies(0.8, 0.3), None, None, [((0,), (1,))])
    assert float(tensor().detach().sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_clones_keep_their_sets(clone):
    tensor = clone(pair())
    tensor.set_group_occupancy(0, 0.9)
    assert tensor().tolist() == pytest.approx([0.9, 0.9, 0.1, 0.1])


def test_holding_a_member_changes_what_the_others_share():
    tensor = triple()
    tensor.fix(torch.tensor([True, False, False]))
    with torch.no_grad():
        tensor.refinable_params.copy_(occupancies(5.0, -5.0))
    assert tensor().tolist() == pytest.approx([0.5, 0.5, 0.0], abs=0.01)
    assert float(tensor().detach().sum()) == pytest.approx(1.0)


# ---------------------------------------------------------------------- assignment


@pytest.mark.parametrize("use_sigmoid", [True, False])
@pytest.mark.parametrize("value", [0.4, 0.123456, 0.01, 0.99])
def test_assigned_in_a_pair_reads_back(value, use_sigmoid):
    tensor = pair(use_sigmoid=use_sigmoid)
    tensor.set_group_occupancy(0, value)
    assert tensor.get_group_occupancy(0) == pytest.approx(value, abs=1e-9)
    assert tensor.get_group_occupancy(1) == pytest.approx(1 - value, abs=1e-9)
    assert tensor().tolist() == pytest.approx([value, value, 1 - value, 1 - value])


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_assigned_bounds_read_back(value):
    tensor = pair()
    tensor.set_group_occupancy(0, value)
    assert tensor.get_group_occupancy(0) == pytest.approx(value, abs=2e-6)
    assert tensor.get_group_occupancy(1) == pytest.approx(1 - value, abs=2e-6)
    tensor.set_group_occupancy(0, 0.4)
    assert tensor.get_group_occupancy(1) == pytest.approx(0.6)


def test_assigned_in_a_triple_reads_back_and_keeps_the_ratio_of_the_others():
    tensor = triple()
    tensor.set_group_occupancy(0, 0.1)
    assert tensor().tolist() == pytest.approx([0.1, 0.9 * 0.6, 0.9 * 0.4])
    tensor.set_group_occupancy(2, 0.5)
    assert tensor()[2].detach().item() == pytest.approx(0.5)
    assert float(tensor().detach().sum()) == pytest.approx(1.0)


def test_assigned_beside_a_held_member_reads_back():
    tensor = triple(FIRST_HELD)
    tensor.set_group_occupancy(1, 0.05)
    assert tensor().tolist() == pytest.approx([0.5, 0.05, 0.45])
    assert tensor()[0].detach().item() == 0.5


def test_a_held_member_may_be_assigned_too():
    tensor = triple(FIRST_HELD)
    tensor.set_group_occupancy(0, 0.25)
    assert tensor()[0].detach().item() == 0.25
    assert tensor().tolist() == pytest.approx([0.25, 0.45, 0.3])


def test_assigned_outside_any_set_changes_that_group_only():
    tensor = OccupancyTensor(occupancies(0.5, 0.5, 0.7), sharing_groups=[[0, 1]])
    tensor.set_group_occupancy(0, 0.2)
    assert tensor().tolist() == pytest.approx([0.2, 0.2, 0.7])


def test_assigned_after_all_others_were_at_zero():
    tensor = triple(values=(1.0, 0.0, 0.0))
    tensor.set_group_occupancy(0, 0.4)
    assert tensor().tolist() == pytest.approx([0.4, 0.3, 0.3], abs=1e-6)


# ---------------------------------------------------------------------- clamp, move_inside


def test_clamp_returns_a_copy_within_the_bounds():
    tensor = OccupancyTensor(occupancies(0.05, 0.5, 0.97))
    clamped = tensor.clamp(0.1, 0.9)
    assert clamped().tolist() == pytest.approx([0.1, 0.5, 0.9])
    assert tensor().tolist() == pytest.approx([0.05, 0.5, 0.97])
    assert clamped is not tensor
    assert torch.equal(clamped.refinable_mask, tensor.refinable_mask)


def test_clamp_takes_one_bound():
    tensor = OccupancyTensor(occupancies(0.05, 0.97))
    assert tensor.clamp(0.1)().tolist() == pytest.approx([0.1, 0.97])
    assert tensor.clamp(max_value=0.9)().tolist() == pytest.approx([0.05, 0.9])


def test_clamp_keeps_sets_complete():
    clamped = triple(values=(0.90, 0.06, 0.04)).clamp(0.1, 0.7)()
    assert float(clamped.detach().sum()) == pytest.approx(1.0)
    assert float(clamped.detach().min()) >= 0.1 - 1e-6
    assert float(clamped.detach().max()) <= 0.7 + 1e-6


def test_clamp_of_what_lies_inside_changes_nothing():
    assert triple().clamp(0.1, 0.9)().tolist() == pytest.approx([0.5, 0.3, 0.2])


def test_clamp_keeps_the_held_members_of_a_set_complete_with_the_rest():
    clamped = triple(FIRST_HELD).clamp(0.25, 0.9)()
    assert float(clamped.detach().sum()) == pytest.approx(1.0)
    assert float(clamped.detach().min()) >= 0.25 - 1e-6


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (0.6, 0.4, "0.6 and 0.4"),
        (-0.1, 0.5, "-0.1 and 0.5"),
        (0.1, 1.5, "0.1 and 1.5"),
        (0.4, 1.0, r"3 occupancies in \[0.4, 1.0\] cannot sum to 1"),
        (0.0, 0.3, r"3 occupancies in \[0.0, 0.3\] cannot sum to 1"),
    ],
)
def test_clamp_refuses_bounds_that_cannot_be(low, high, message):
    with pytest.raises(ValueError, match=message):
        triple().clamp(low, high)


def test_move_inside_takes_refinable_groups_off_the_bounds():
    mask = torch.tensor([True, True, True, False])
    tensor = OccupancyTensor(occupancies(0.0, 1.0, 0.5, 1.0), mask)
    assert tensor.move_inside(0.02) == [0, 1]
    assert tensor().tolist() == pytest.approx([0.02, 0.98, 0.5, 1.0])
    assert tensor()[3].detach().item() == 1.0
    assert tensor.move_inside(0.01) == []


def test_move_inside_makes_room_in_a_set():
    tensor = pair(1.0, 0.0)
    assert tensor.move_inside(0.05) == [0, 1]
    assert tensor().tolist() == pytest.approx([0.95, 0.95, 0.05, 0.05])


def test_after_move_inside_the_gradient_is_not_lost():
    tensor = pair(1.0, 0.0)
    tensor()[0].backward()
    before = float(tensor.refinable_params.grad.abs().max())
    tensor.refinable_params.grad = None
    tensor.move_inside()
    tensor()[0].backward()
    assert float(tensor.refinable_params.grad.abs().max()) > 1e3 * before


# ---------------------------------------------------------------------- from a data frame

RESIDUES = [
    atom_line("N", "ALA", 1, 1.0),
    atom_line("CA", "ALA", 1, 1.0),
    atom_line("N", "GLY", 2, 0.8),
    atom_line("CA", "GLY", 2, 0.8),
    atom_line("CB", "VAL", 3, 0.6, altloc="A"),
    atom_line("CB", "VAL", 3, 0.4, altloc="B"),
]


@pytest.fixture
def frame(tmp_path):
    return Model().load(write_text(tmp_path / "m.pdb", pdb_text(RESIDUES))).pdb


def test_from_residue_groups_follows_the_residue_rules(frame):
    tensor = OccupancyTensor.from_residue_groups(torch.tensor(frame["occupancy"]), frame)
    assert tensor.expansion_mask.tolist() == [0, 0, 1, 1, 2, 3]
    assert tensor.refinable_mask.tolist() == [False, True, True, True]
    assert tensor.n_sets == 1
    assert tensor().tolist() == pytest.approx([1, 1, 0.8, 0.8, 0.6, 0.4])


def test_from_residue_groups_groups_by_the_values_given(frame):
    values = occupancies(1.0, 1.0, 1.0, 1.0, 0.5, 0.5)
    tensor = OccupancyTensor.from_residue_groups(values, frame)
    assert tensor.refinable_mask.tolist() == [False, False, True, True]
    assert tensor().tolist() == pytest.approx(values.tolist())


def test_from_residue_groups_passes_options_on(frame):
    tensor = OccupancyTensor.from_residue_groups(
        torch.tensor(frame["occupancy"]),
        frame,
        name="q",
        dtype=torch.float32,
        refinable_mask=torch.zeros(6, dtype=torch.bool),
    )
    assert tensor.name == "q"
    assert tensor().dtype == torch.float32
    assert tensor.get_refinable_count() == 0


def test_from_residue_groups_with_other_sharing_groups_ties_the_same_atoms(frame):
    tensor = OccupancyTensor.from_residue_groups(
        torch.tensor(frame["occupancy"]), frame, sharing_groups=[[4], [5], [0, 1], [2, 3]]
    )
    tensor.set_group_occupancy(0, 0.3)  # atom 4
    assert tensor().tolist() == pytest.approx([1, 1, 0.8, 0.8, 0.3, 0.7])


def test_from_residue_groups_needs_only_the_columns_that_it_uses(frame):
    columns = ["chainid", "resseq", "resname", "name", "altloc", "occupancy"]
    tensor = OccupancyTensor.from_residue_groups(torch.tensor(frame["occupancy"]), frame[columns])
    assert tensor.expansion_mask.tolist() == [0, 0, 1, 1, 2, 3]


# ---------------------------------------------------------------------- refusals

HALVES = occupancies(0.5, 0.5, 0.5, 0.5)


def build(values=HALVES, mask=None, groups=None, sets=None) -> OccupancyTensor:
    return OccupancyTensor(values, mask, groups, sets, name="q")


REFUSED = {
    "value above 1": (
        lambda: build(occupancies(0.5, 1.25)),
        ["1.25", "index 1", "[0, 1]"],
    ),
    "value below 0": (
        lambda: build(occupancies(0.5, 0.5, -0.25)),
        ["-0.25", "index 2", "[0, 1]"],
    ),
    "value nan": (
        lambda: build(occupancies(float("nan"), 0.5)),
        ["nan", "index 0", "finite"],
    ),
    "value inf": (
        lambda: build(occupancies(0.5, float("inf"))),
        ["inf", "index 1", "finite"],
    ),
    "values of two dimensions": (
        lambda: build(torch.full((2, 2), 0.5)),
        ["(2, 2)", "one-dimensional"],
    ),
    "assigned values above 1": (
        lambda: build().set_values(occupancies(0.5, 0.5, 0.5, 1.5)),
        ["1.5", "index 3", "[0, 1]"],
    ),
    "assigned values of the wrong length": (
        lambda: build().set_values(occupancies(0.5, 0.5)),
        ["(4,)", "(2,)", "shape"],
    ),
    "mask of the wrong length": (
        lambda: build(mask=torch.ones(3, dtype=torch.bool)),
        ["refinable_mask", "(4,)", "(3,)"],
    ),
    "group index too large": (
        lambda: build(groups=[[0, 1], [2, 4]]),
        ["group 1", "4", "0..3"],
    ),
    "group index negative": (
        lambda: build(groups=[[0, -1]]),
        ["group 0", "-1", "0..3"],
    ),
    "atom in two groups": (
        lambda: build(groups=[[0, 1], [1, 2]]),
        ["atom 1", "groups 0 and 1", "one only"],
    ),
    "atom twice in one group": (
        lambda: build(groups=[[0, 1, 0]]),
        ["atom 0", "one only"],
    ),
    "empty group": (
        lambda: build(groups=[[0], []]),
        ["group 1", "no atoms"],
    ),
    "index tensor with a gap": (
        lambda: build(groups=torch.tensor([0, 1, 3, 3])),
        ["index 2", "without gaps", "0 to 3"],
    ),
    "index tensor below 0": (
        lambda: build(groups=torch.tensor([0, 1, -1, 1])),
        ["-1", "atom 2", "negative"],
    ),
    "index tensor of the wrong length": (
        lambda: build(groups=torch.tensor([0, 1])),
        ["4 integers", "(2,)"],
    ),
    "index tensor of floats": (
        lambda: build(groups=torch.tensor([0.0, 1.0, 2.0, 3.0])),
        ["integers", "float32"],
    ),
    "conformation of several groups": (
        lambda: build(groups=[[0, 1]], sets=[[[0, 2], [3]]]),
        ["set 0", "conformation 0", "[0, 2]", "share one collapsed index"],
    ),
    "atom in two conformations": (
        lambda: build(sets=[[[0], [1]], [[2], [1]]]),
        ["set 1, conformation 1", "atom 1", "conformation 1 of set 0"],
    ),
    "atom in two conformations of one set": (
        lambda: build(sets=[[[0], [0]]]),
        ["set 0, conformation 1", "atom 0", "conformation 0 of set 0"],
    ),
    "group in two conformations": (
        lambda: build(groups=[[0, 1]], sets=[[[0], [1]]]),
        ["set 0, conformation 1", "atom 1", "conformation 0 of set 0"],
    ),
    "set of one conformation": (
        lambda: build(sets=[[[0], [1]], [[2]]]),
        ["set 1", "1 conformation", "two or more"],
    ),
    "set of no conformation": (
        lambda: build(sets=[[]]),
        ["set 0", "0 conformation", "two or more"],
    ),
    "conformation without atoms": (
        lambda: build(sets=[[[0], []]]),
        ["set 0, conformation 1", "no atoms"],
    ),
    "conformation index too large": (
        lambda: build(sets=[[[0], [7]]]),
        ["set 0, conformation 1", "7", "0..3"],
    ),
    "held members above 1": (
        lambda: build(
            occupancies(0.7, 0.6, 0.1, 1.0),
            torch.tensor([False, False, True, True]),
            sets=[[[0], [1], [2]]],
        ),
        ["set 0", "groups [0, 1]", "1.3", "at most 1"],
    ),
    "all members held, not 1": (
        lambda: build(
            occupancies(0.5, 0.3, 1.0, 1.0), torch.zeros(4, dtype=torch.bool), sets=[[[0], [1]]]
        ),
        ["set 0", "groups [0, 1]", "0.8", "sum to 1"],
    ),
    "group value above 1": (
        lambda: build().set_group_occupancy(2, 1.5),
        ["group 2", "1.5", "[0, 1]"],
    ),
    "group value nan": (
        lambda: build().set_group_occupancy(2, float("nan")),
        ["group 2", "nan", "[0, 1]"],
    ),
    "group to assign out of range": (
        lambda: build().set_group_occupancy(4, 0.5),
        ["group index 4", "0..3"],
    ),
    "group to read out of range": (
        lambda: build().get_group_occupancy(-1),
        ["group index -1", "0..3"],
    ),
    "group value beyond what is left": (
        lambda: triple(FIRST_HELD).set_group_occupancy(1, 0.6),
        ["group 1", "0.6", "0.5", "sum to 1"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_index_value_and_rule(case):
    act, words = REFUSED[case]
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are checked below
        act()
    for word in words:
        assert word in str(caught.value)


def test_a_conformation_of_several_groups_is_an_assertion_error_too():
    with pytest.raises(AssertionError, match="share one collapsed index"):
        build(groups=[[0, 1]], sets=[[[0, 2], [3]]])


def test_a_refused_assignment_changes_nothing():
    tensor = triple(FIRST_HELD)
    before = tensor().detach().clone()
    with pytest.raises(ValueError, match="sum to 1"):
        tensor.set_group_occupancy(1, 0.6)
    assert torch.equal(tensor(), before)


def test_a_refused_mask_changes_nothing():
    tensor = build(occupancies(0.6, 0.6, 0.6, 0.6), sets=[[[0], [1]]])
    with torch.no_grad():
        tensor.refinable_params[0] = 40.0
    before = tensor().detach().clone()
    with pytest.raises(ValueError, match="must have shape"):
        tensor.fix(torch.ones(9, dtype=torch.bool))
    assert torch.equal(tensor(), before)
