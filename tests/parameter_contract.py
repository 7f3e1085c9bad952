"""What every parameter class promises; the tests of each class inherit it."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, jacrev, vmap

from multicopy_refinement.model import MixedTensor

DTYPES = [torch.float32, torch.float64]


class ParameterContract:
    """Inherit, and give `make`, `values`, `other_values` and `mask`."""

    #: Per element of ``forward()``; held ones are chosen to have no short binary form.
    values: Tensor
    other_values: Tensor
    mask: Tensor
    class_name: str

    def make(self, dtype: torch.dtype = torch.float64, **options: object) -> MixedTensor:
        raise NotImplementedError

    @property
    def other_mask(self) -> Tensor:
        """Another mask, with another number of refinable elements."""
        return torch.ones_like(self.mask)

    def shifted(self, dtype: torch.dtype = torch.float64) -> MixedTensor:
        """Return an instance whose raw parameters are no longer the initial ones."""
        tensor = self.make(dtype)
        with torch.no_grad():
            tensor.refinable_params += torch.linspace(-0.02, 0.03, tensor.get_refinable_count())
        return tensor

    # -------------------------------------------------------------- forward

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_forward_returns_the_full_tensor_with_the_initial_values(self, dtype):
        tensor = self.make(dtype)
        assert tensor().shape == tuple(tensor.shape) == tuple(self.values.shape)
        assert tensor().dtype == dtype
        torch.testing.assert_close(tensor(), self.values.to(dtype), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_held_elements_come_back_bit_for_bit(self, dtype):
        tensor = self.make(dtype)
        optimizer = torch.optim.Adam(tensor.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            tensor().square().sum().backward()
            optimizer.step()
        held = ~self.mask
        assert torch.equal(tensor()[held], self.values.to(dtype)[held])
        assert not torch.equal(tensor()[self.mask], self.values.to(dtype)[self.mask])

    def test_counts_and_masks_agree(self):
        tensor = self.make()
        assert tensor.get_refinable_count() == tensor.refinable_params.numel()
        assert tensor.get_refinable_count() == int(tensor.refinable_mask.sum())
        assert tensor.get_fixed_count() == int(tensor.fixed_mask.sum())
        assert torch.equal(tensor.fixed_mask, ~tensor.refinable_mask)

    # -------------------------------------------------------------- gradients

    def test_gradients_reach_only_the_refinable_parameters(self):
        tensor = self.make()
        assert [name for name, _ in tensor.named_parameters()] == ["refinable_params"]
        self.loss(tensor()).backward()
        assert (tensor.refinable_params.grad != 0).all()
        assert not tensor.fixed_values.requires_grad
        assert tensor.fixed_values.grad is None

    def test_requires_grad_can_be_switched_off(self):
        tensor = self.make(requires_grad=False)
        assert not tensor.refinable_params.requires_grad
        assert not tensor().requires_grad

    def test_gradient_equals_finite_difference(self):
        tensor = self.shifted()
        self.loss(tensor()).backward()
        raw = tensor.refinable_params
        step = 1e-5
        for place in range(raw.numel()):
            change = torch.zeros_like(raw).reshape(-1)
            change[place] = step
            change = change.reshape(raw.shape)
            up, down = (
                self.loss(functional_call(tensor, {"refinable_params": raw.detach() + d}, ()))
                for d in (change, -change)
            )
            expected = float((up - down).detach()) / (2 * step)
            assert float(raw.grad.reshape(-1)[place]) == pytest.approx(expected, rel=1e-6, abs=1e-7)

    def loss(self, values: Tensor) -> Tensor:
        """Return a scalar in which each element counts differently."""
        weights = torch.linspace(0.5, 2.0, values.numel(), dtype=values.dtype)
        return (weights * values.reshape(-1).square()).sum()

    # -------------------------------------------------------------- torch.func

    def test_torch_func_agrees_with_autograd(self):
        tensor = self.shifted()
        raw = tensor.refinable_params.detach()

        def values(parameters: Tensor) -> Tensor:
            return functional_call(tensor, {"refinable_params": parameters}, ())

        self.loss(tensor()).backward()
        torch.testing.assert_close(
            grad(lambda p: self.loss(values(p)))(raw), tensor.refinable_params.grad
        )
        jacobian = jacrev(values)(raw)
        expected = torch.autograd.functional.jacobian(values, raw)
        assert jacobian.shape == (*tensor.shape, *raw.shape)
        torch.testing.assert_close(jacobian, expected)
        batch = torch.stack([raw, raw + 0.1, raw - 0.2])
        torch.testing.assert_close(vmap(values)(batch), torch.stack([values(p) for p in batch]))

    # -------------------------------------------------------------- copies

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_state_dict_round_trip(self, dtype):
        tensor = self.shifted(dtype)
        file = io.BytesIO()
        torch.save(tensor.state_dict(), file)
        file.seek(0)
        other = self.make(dtype)
        other.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(other(), tensor())

    def test_state_dict_goes_into_a_module_with_another_mask(self):
        tensor = self.shifted()
        other = self.make(refinable_mask=self.other_mask)
        assert other.get_refinable_count() != tensor.get_refinable_count()
        other.load_state_dict(tensor.state_dict())
        assert torch.equal(other(), tensor())
        assert torch.equal(other.refinable_mask, tensor.refinable_mask)
        assert other.get_refinable_count() == tensor.get_refinable_count()

    def test_deep_copy_is_independent(self):
        tensor = self.shifted()
        before = tensor().detach().clone()
        other = copy.deepcopy(tensor)
        assert torch.equal(other(), before)
        other.set_values(self.other_values)
        assert torch.equal(tensor(), before)
        assert not torch.equal(other(), before)

    def test_pickle_round_trip(self):
        tensor = self.shifted()
        other = pickle.loads(pickle.dumps(tensor))
        assert torch.equal(other(), tensor())
        assert repr(other) == repr(tensor)

    def test_type_can_be_changed(self):
        tensor = self.make(torch.float64)
        exact = self.values.double()
        held = ~self.mask
        assert tensor.to(torch.float32)().dtype == torch.float32
        assert torch.equal(tensor()[held], exact.float()[held])
        torch.testing.assert_close(tensor(), exact.float())
        assert tensor.to(torch.float64)().dtype == torch.float64

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is present")
    def test_moves_to_cuda_and_back(self):
        tensor = self.make().to("cuda")
        assert tensor().device.type == "cuda"
        self.loss(tensor().cpu()).backward()
        assert (tensor.refinable_params.grad != 0).all()
        tensor.fix(tensor.refinable_mask)
        assert torch.equal(tensor.to("cpu")()[~self.mask], self.values[~self.mask])

    def test_repr_says_what_it_is(self):
        tensor = self.make(torch.float32, name="my tensor")
        text = repr(tensor)
        for word in (
            self.class_name,
            "'my tensor'",
            f"shape={tuple(self.values.shape)}",
            f"refinable={tensor.get_refinable_count()}",
            f"fixed={tensor.get_fixed_count()}",
            "torch.float32",
            "'cpu'",
        ):
            assert word in text

    # -------------------------------------------------------------- changes

    def test_refine_and_fix_keep_the_values(self):
        tensor = self.shifted()
        before = tensor().detach().clone()
        refinable = tensor.refinable_mask.clone()
        tensor.fix(self.mask)
        assert tensor.get_refinable_count() == 0
        assert torch.equal(tensor(), before)
        tensor.refine(self.mask)
        assert torch.equal(tensor.refinable_mask, refinable)
        torch.testing.assert_close(tensor(), before, rtol=1e-9, atol=1e-9)

    def test_refine_and_fix_keep_the_rest_of_the_mask(self):
        tensor = self.make()
        count, total = tensor.get_refinable_count(), tensor.refinable_mask.numel()
        nothing = torch.zeros_like(self.mask)
        tensor.refine(nothing)
        assert tensor.get_refinable_count() == count
        tensor.fix(nothing)
        assert tensor.get_refinable_count() == count
        tensor.refine(self.other_mask)
        assert tensor.get_refinable_count() == total

    def test_set_refinable_mask_keeps_the_values(self):
        tensor = self.shifted()
        before = tensor().detach().clone()
        tensor.set_refinable_mask(self.other_mask)
        assert tensor.get_refinable_count() == tensor.refinable_mask.numel()
        torch.testing.assert_close(tensor(), before, rtol=1e-9, atol=2e-6)
        tensor.set_refinable_mask(self.mask)
        assert torch.equal(tensor.refinable_mask, self.make().refinable_mask)

    def test_set_values_reads_back_and_keeps_the_mask(self):
        tensor = self.make()
        mask = tensor.refinable_mask.clone()
        tensor.set_values(self.other_values)
        torch.testing.assert_close(tensor(), self.other_values.double(), rtol=1e-9, atol=1e-9)
        assert torch.equal(tensor()[~self.mask], self.other_values.double()[~self.mask])
        assert torch.equal(tensor.refinable_mask, mask)

    def test_an_optimiser_keeps_its_parameter_through_set_values(self):
        tensor = self.make()
        optimizer = torch.optim.SGD([tensor.refinable_params], lr=0.01)
        tensor.set_values(self.other_values)
        assert optimizer.param_groups[0]["params"][0] is tensor.refinable_params
        self.loss(tensor()).backward()
        optimizer.step()
        assert not torch.allclose(tensor(), self.other_values.double())

    # -------------------------------------------------------------- refusals

    def test_a_mask_of_the_wrong_length_is_refused(self):
        with pytest.raises(ValueError, match=r"shape \(\d+"):
            self.make(refinable_mask=torch.ones(len(self.values) + 1, dtype=torch.bool))
        with pytest.raises(ValueError, match=r"shape \(\d+"):
            self.make().refine(torch.ones(len(self.values) + 1, dtype=torch.bool))

    def test_values_of_the_wrong_length_are_refused(self):
        tensor = self.make()
        with pytest.raises(ValueError, match=r"must have shape \(\d+.*not \(1,"):
            tensor.set_values(torch.ones(1, dtype=torch.float64))

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_values_that_are_not_finite_are_refused(self, bad):
        values = self.other_values.clone()
        values.reshape(-1)[1] = bad
        tensor = self.make()
        before = tensor().detach().clone()
        with pytest.raises(ValueError, match=rf"{bad} at index 1 .*finite"):
            tensor.set_values(values)
        assert torch.equal(tensor(), before)
