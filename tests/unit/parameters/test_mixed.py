"""MixedTensor: the contract, and rows of tensors with more than one dimension."""

import pytest
import torch

from multicopy_refinement.model import MixedTensor
from parameter_contract import ParameterContract


class TestMixedTensor(ParameterContract):
    class_name = "MixedTensor"
    values = torch.tensor([0.1, -2.3, 1 / 3, 4.7, 1e-7], dtype=torch.float64)
    other_values = torch.tensor([3.1, 0.7, -1 / 7, 9.0, 5.5], dtype=torch.float64)
    mask = torch.tensor([False, True, False, True, True])

    def make(self, dtype=torch.float64, *, refinable_mask=None, **options):
        mask = self.mask if refinable_mask is None else refinable_mask
        return MixedTensor(self.values, mask, dtype=dtype, **options)


class TestRowsOfMixedTensor(ParameterContract):
    """The same for coordinates, whose mask is given by rows."""

    class_name = "MixedTensor"
    values = torch.arange(12, dtype=torch.float64).reshape(4, 3) / 7 + 0.1
    other_values = 2.0 - torch.arange(12, dtype=torch.float64).reshape(4, 3) / 3
    mask = torch.tensor([True, False, False, True])

    def make(self, dtype=torch.float64, *, refinable_mask=None, **options):
        mask = self.mask if refinable_mask is None else refinable_mask
        return MixedTensor(self.values, mask, dtype=dtype, **options)


def test_all_is_refinable_without_a_mask():
    tensor = MixedTensor(torch.tensor([1.0, 2.0]))
    assert tensor.get_refinable_count() == 2
    assert tensor.get_fixed_count() == 0


def test_a_mask_of_single_elements_of_a_matrix():
    mask = torch.tensor([[True, False], [False, True]])
    tensor = MixedTensor(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), mask)
    with torch.no_grad():
        tensor.refinable_params += 10
    assert tensor().tolist() == [[11.0, 2.0], [3.0, 14.0]]


def test_the_initial_tensor_is_copied():
    initial = torch.tensor([1.0, 2.0])
    tensor = MixedTensor(initial, torch.tensor([True, False]))
    initial += 5
    assert tensor().tolist() == [1.0, 2.0]


def test_integers_become_the_default_float():
    assert MixedTensor(torch.tensor([1, 2]))().dtype == torch.get_default_dtype()


def test_raw_values_assigned_to_held_elements_are_returned():
    tensor = MixedTensor(torch.tensor([1.0, 2.0]), torch.tensor([True, False]))
    tensor.fixed_values = torch.tensor([1.0, 7.0])
    assert tensor().tolist() == [1.0, 7.0]


@pytest.mark.parametrize("bad", [float("nan"), float("-inf")])
def test_initial_values_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match=rf"b_iso: value {bad} at index 2 is not finite"):
        MixedTensor(torch.tensor([1.0, 2.0, bad]), name="b_iso")
