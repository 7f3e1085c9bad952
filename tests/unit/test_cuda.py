"""A model on a CUDA device: everything that is differentiable there is what it is on the CPU."""

import copy

import numpy as np
import pytest
import torch

from crystals import CRYSTALS, load_crystal, random_atoms
from demo_data import load_demo, observe
from multicopy_refinement import refine, structure_factors
from multicopy_refinement.crystal.hkl import unique_reflections
from multicopy_refinement.geometry import energy
from multicopy_refinement.posterior import Experiment
from multicopy_refinement.scattering.basis import group_basis

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")

PARTS = ("xyz", "b_iso", "u_aniso", "occupancy")


@pytest.fixture(scope="module")
def demo():
    """A start, on the CPU and on the device, and data of its truth."""
    model = load_demo("start.pdb")
    return model, copy.deepcopy(model).to("cuda"), observe(load_demo("truth.pdb"), 1.8)


def gradients(model, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    """Gradients of a loss in everything that is refined, on the CPU."""
    for parameter in model.parameters():
        parameter.grad = None
    loss.backward()
    found = {name: getattr(model, name).refinable_params for name in PARTS}
    return {k: p.grad.cpu().clone() for k, p in found.items() if p.grad is not None}


def same(found: torch.Tensor, expected: torch.Tensor, most: float) -> None:
    """Check that tensors differ by no more than a part of their size."""
    assert float((found.cpu() - expected).abs().sum()) <= most * float(expected.abs().sum())


@pytest.mark.parametrize("method", ["fft", "direct"])
@pytest.mark.parametrize("group", list(CRYSTALS))
def test_structure_factors_and_their_gradients(group, method, tmp_path):
    model = load_crystal(tmp_path / "c.pdb", group, random_atoms(12, seed=5, anisotropic=True))
    model.set_default_masks()
    hkl = unique_reflections(model.cell, model.spacegroup, 1.8)
    weights = torch.randn(len(hkl), generator=torch.Generator().manual_seed(1)).double()
    found = {}
    for device in ("cpu", "cuda"):
        model.to(device)
        f = structure_factors(model, hkl, method=method, accuracy=1e-7)
        assert f.device.type == device
        found[device] = f.detach(), gradients(model, (f.abs() * weights.to(device)).sum())
    same(found["cuda"][0], found["cpu"][0], 1e-6)
    assert found["cpu"][1].keys() == found["cuda"][1].keys() != set()
    for name, expected in found["cpu"][1].items():
        same(found["cuda"][1][name], expected, 1e-4)


def test_restraints(demo):
    here, there, _ = demo
    for model in (here, there):
        model.set_default_masks()
    of_here, of_there = (energy(model) for model in (here, there))
    assert of_there.device.type == "cuda"
    assert of_there.detach().item() == pytest.approx(of_here.detach().item(), rel=1e-12)
    expected = gradients(here, of_here)
    for name, found in gradients(there, of_there).items():
        same(found, expected[name], 1e-10)


def test_a_loss_of_ones_own(demo):
    """Adam along the likelihood, as docs/how-to-torch.md has it, takes the same way."""
    here, there, data = demo
    after = []
    for model in (copy.deepcopy(here), copy.deepcopy(there)):
        experiment = Experiment(model, data)
        model.set_default_masks()
        model.occupancy.move_inside(0.02)
        optimizer = torch.optim.Adam([model.occupancy.refinable_params], lr=0.05)
        for _ in range(5):
            optimizer.zero_grad()
            (energy(model) - experiment.log_posterior()).backward()
            optimizer.step()
        after.append(model.group_occupancies())
        assert model.occupancy.refinable_params.device.type == model.device.type
    np.testing.assert_allclose(after[1], after[0], atol=1e-4)


def test_the_basis_of_groups(demo):
    here, there, data = demo
    f = [group_basis(m, data.hkl).structure_factors(m.occupancy()) for m in (here, there)]
    same(f[1].detach(), f[0].detach(), 1e-6)


def test_a_refinement(demo):
    here, there, data = demo
    models = [copy.deepcopy(model) for model in (here, there)]
    of_here, of_there = (refine(model, data) for model in models)
    np.testing.assert_allclose(of_there.occupancy, of_here.occupancy, atol=1e-6)
    np.testing.assert_allclose(of_there.results.su, of_here.results.su, rtol=1e-5)
    np.testing.assert_allclose(models[1].group_occupancies(), of_there.occupancy, atol=1e-12)
    assert models[1].device.type == "cuda"


def test_a_state_goes_from_one_to_the_other(demo):
    here, there, _ = demo
    moved = copy.deepcopy(there)
    with torch.no_grad():
        moved.xyz.refinable_params.add_(0.01)
    other = copy.deepcopy(here)
    other.load_state_dict(moved.state_dict())
    assert other.device.type == "cpu"
    assert torch.equal(other.xyz(), moved.to("cpu").xyz())
