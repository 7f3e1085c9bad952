"""PositiveMixedTensor: the contract, and values above zero whatever the step."""

import pytest
import torch

from multicopy_refinement.model import PositiveMixedTensor
from parameter_contract import DTYPES, ParameterContract


class TestPositiveMixedTensor(ParameterContract):
    class_name = "PositiveMixedTensor"
    values = torch.tensor([0.1, 2.3, 1 / 3, 15.7, 1e-3], dtype=torch.float64)
    other_values = torch.tensor([3.1, 0.7, 1 / 7, 9.0, 5.5], dtype=torch.float64)
    mask = torch.tensor([False, True, False, True, True])

    def make(self, dtype=torch.float64, *, refinable_mask=None, **options):
        mask = self.mask if refinable_mask is None else refinable_mask
        return PositiveMixedTensor(self.values, mask, dtype=dtype, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("step", [1e2, 1e6, 1e30])
def test_values_stay_above_zero_under_huge_negative_steps(dtype, step):
    tensor = PositiveMixedTensor(torch.tensor([1e-3, 15.0, 800.0], dtype=dtype))
    optimizer = torch.optim.SGD(tensor.parameters(), lr=step)
    for _ in range(3):
        optimizer.zero_grad()
        tensor().sum().backward()
        optimizer.step()
        assert (tensor() > 0).all()
        assert torch.isfinite(tensor()).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_from_tiny_to_huge_read_back(dtype):
    values = torch.logspace(-6, 5, 50, dtype=dtype)
    torch.testing.assert_close(PositiveMixedTensor(values)(), values, rtol=1e-5, atol=0)


@pytest.mark.parametrize("bad", [0.0, -3.0])
def test_values_not_above_zero_are_refused(bad):
    with pytest.raises(ValueError, match=rf"b_iso: value {bad} at index 1 must be above 0"):
        PositiveMixedTensor(torch.tensor([1.0, bad]), name="b_iso")
    tensor = PositiveMixedTensor(torch.tensor([1.0, 2.0]))
    with pytest.raises(ValueError, match=rf"{bad} at index 1 must be above 0"):
        tensor.set_values(torch.tensor([1.0, bad]))
