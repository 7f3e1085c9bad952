"""The energy as a whole: ideal geometry is found again, torch, statistics."""

import gc
import pickle
import weakref
from dataclasses import replace

import gemmi
import numpy as np
import pytest
import torch
from scipy.sparse import identity
from scipy.sparse.linalg import spsolve

from helpers import write_text
from multicopy_refinement.errors import GradientError
from multicopy_refinement.geometry import Geometry, energy
from multicopy_refinement.geometry.terms.base import State
from multicopy_refinement.model import Model
from random_models import random_model


def idealised(geometry, at, cycles=40):
    """Return a state at a minimum, by Gauss-Newton steps that are damped until they go down."""
    n = len(geometry.table)
    damping = 1.0
    for _ in range(cycles):
        linear = geometry.linear(at)
        normal = linear.gauss_newton[: 3 * n, : 3 * n]
        while True:
            step = spsolve((normal + damping * identity(3 * n)).tocsc(), -linear.gradient[: 3 * n])
            there = replace(at, xyz=at.xyz + step.reshape(n, 3))
            if geometry.value(there) <= linear.value:
                break
            damping *= 4
        at, damping = there, damping / 3
    return at


def test_a_shaken_peptide_becomes_ideal_again(peptide):
    model = Model(peptide)
    geometry = Geometry.of(model)
    start = geometry.state(model)
    random = np.random.default_rng(4)
    shaken = replace(start, xyz=start.xyz + 0.1 * random.standard_normal(start.xyz.shape))
    before, after = geometry.statistics(shaken), geometry.statistics(idealised(geometry, shaken))
    assert before["bonds"].rms_z > 8
    assert before["angles"].rms_z > 3
    for kind in ("bonds", "angles", "chirality", "planes"):
        assert after[kind].rms_z < 0.3, after
    assert after["bonds"].rms < 0.003
    assert after["angles"].rms < 0.6


def test_gradient_of_the_whole(demo_geometry, demo_model):
    start = demo_geometry.state(demo_model)
    random = np.random.default_rng(8)
    n = len(demo_geometry.table)
    at = State(start.xyz + 0.05 * random.standard_normal((n, 3)),
               start.b_iso * random.uniform(0.8, 1.2, n), start.u_aniso)  # fmt: skip
    gradient = demo_geometry.gradient(at)
    for columns, h in ((slice(0, 3 * n), 1e-6), (slice(3 * n, 4 * n), 1e-4)):
        way = np.zeros(10 * n)
        way[columns] = random.standard_normal(way[columns].shape)
        ends = [
            demo_geometry.value(State(at.xyz + s * h * way[: 3 * n].reshape(n, 3),
                                      at.b_iso + s * h * way[3 * n : 4 * n], at.u_aniso))
            for s in (1, -1)
        ]  # fmt: skip
        assert gradient @ way == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-6)
    normal = demo_geometry.gauss_newton(at)
    jacobian = demo_geometry.linear(at).jacobian
    np.testing.assert_allclose((normal - jacobian.T @ jacobian).toarray(), 0, atol=1e-9)
    assert demo_geometry.value(at) == pytest.approx(0.5 * (demo_geometry.residuals(at) ** 2).sum())


def refinable(path, dtype=torch.float64):
    model = Model(str(path), dtype_float=dtype)
    model.set_default_masks()
    return model


def test_energy_is_differentiable_in_torch(demo_path):
    model = refinable(demo_path)
    value = energy(model)
    geometry = Geometry.of(model)
    assert value.item() == pytest.approx(geometry.value(geometry.state(model)), rel=1e-10)
    value.backward()
    n = len(model.table)
    expected = geometry.gradient(geometry.state(model))
    by_xyz = model.xyz.refinable_params.grad.numpy().ravel()
    np.testing.assert_allclose(by_xyz, expected[: 3 * n], rtol=1e-8, atol=1e-8)
    assert model.b_iso.refinable_params.grad.abs().max() > 0


def test_energy_can_be_used_twice(demo_path):
    model = refinable(demo_path)
    (energy(model) + 2 * energy(model)).backward()  # twice in one graph
    both = model.xyz.refinable_params.grad.clone()
    model.zero_grad()
    energy(model).backward()
    once = model.xyz.refinable_params.grad.clone()
    energy(model).backward()  # a fresh graph, gradients add up
    torch.testing.assert_close(both, 3 * once)
    torch.testing.assert_close(model.xyz.refinable_params.grad, 2 * once)
    model.zero_grad()
    loss = (energy(model) * model.occupancy().mean()) ** 2
    loss.backward()
    with torch.no_grad():
        factor = 2 * float(energy(model)) * float(model.occupancy().mean()) ** 2
    torch.testing.assert_close(model.xyz.refinable_params.grad, factor * once)


def test_second_derivatives_are_refused(demo_path):
    model = refinable(demo_path)
    (slope,) = torch.autograd.grad(energy(model), model.xyz.refinable_params, create_graph=True)
    with pytest.raises(GradientError, match="second derivatives"):
        slope.sum().backward()


def test_energy_follows_the_parameters_and_their_type(demo_path):
    model = refinable(demo_path, torch.float32)
    value = energy(model)
    assert value.dtype == torch.float32
    value.backward()
    assert model.xyz.refinable_params.grad.dtype == torch.float32
    with torch.no_grad():
        before = float(energy(model))
        model.xyz.refinable_params += 0.1 * torch.randn(
            model.xyz.refinable_params.shape, generator=torch.Generator().manual_seed(1)
        )
        assert float(energy(model)) > before


def test_a_step_down_the_gradient_goes_down(demo_path):
    model = refinable(demo_path)
    optimiser = torch.optim.Adam([model.xyz.refinable_params], lr=0.002)
    values = []
    for _ in range(40):
        optimiser.zero_grad()
        value = energy(model)
        value.backward()
        optimiser.step()
        values.append(value.item())
    assert values[-1] < 0.75 * values[0]


def test_restraints_are_forgotten_with_the_model(demo_path):
    model = Model(str(demo_path))
    energy(model)
    table = weakref.ref(model.table)
    del model
    gc.collect()
    assert table() is None


def test_the_worst_are_named(peptide):
    atom = peptide[0][0][9].find_atom("CB", "*")
    atom.pos = gemmi.Position(atom.pos.x + 0.5, atom.pos.y, atom.pos.z)
    model = Model(peptide)
    geometry = Geometry.of(model)
    found = geometry.statistics(geometry.state(model), worst=3)
    worst = [o for o in found.outliers if o.kind == "bonds"]
    assert 0 < len(worst) <= 3
    name = f"A/10/{peptide[0][0][9].name}/CB"
    assert name in worst[0].atoms
    assert abs(worst[0].z) == max(abs(o.z) for o in worst)
    assert abs(worst[0].deviation) > 0.1
    bonds = found["bonds"]
    off = geometry.topology.bonds.deviations(model.table.xyz)
    assert bonds.rms == pytest.approx(np.sqrt((off**2).mean()))
    assert bonds.n == len(off)
    assert f"{bonds.rms_z:.3f}" in str(found)
    with pytest.raises(StopIteration):
        found["nothing"]


@pytest.mark.parametrize("seed", range(12))
def test_any_model_has_a_geometry(seed, tmp_path):
    model = Model(write_text(tmp_path / "model.pdb", random_model(seed)))
    geometry = Geometry.of(model)
    at = geometry.state(model)
    linear = geometry.linear(at)
    assert np.isfinite(linear.value)
    assert np.isfinite(linear.gradient).all()
    assert len(geometry.topology.bonds) > 0
    assert "bonds" in str(geometry.statistics(at))


def test_a_geometry_can_be_pickled(demo_geometry, demo_model):
    copied = pickle.loads(pickle.dumps(demo_geometry))
    at = demo_geometry.state(demo_model)
    assert copied.value(at) == demo_geometry.value(at)
