"""The compiled splat and its adjoint, against direct summation and against the torch splat."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from crystals import CRYSTALS, AtomSpec, load_crystal, random_atoms
from multicopy_refinement import structure_factors
from multicopy_refinement.crystal import Cell
from multicopy_refinement.crystal.hkl import unique_reflections
from multicopy_refinement.errors import GradientError
from multicopy_refinement.scattering import compiled
from multicopy_refinement.scattering.atoms import atoms_of
from multicopy_refinement.scattering.compiled import compiled_density
from multicopy_refinement.scattering.direct import direct_sum
from multicopy_refinement.scattering.plan import SplatPlan, plan_splat
from multicopy_refinement.scattering.splat import splat_structure_factors
from multicopy_refinement.scattering.torch_splat import density, torch_structure_factors

LEAVES = ("xyz", "occupancy", "u", "b_iso")


def leaves(model, cell=None):
    """Return the atoms of a model with gradients asked for in everything."""
    atoms = atoms_of(model)
    fresh = {name: getattr(atoms, name).detach().clone().requires_grad_() for name in LEAVES}
    return replace(atoms, cell=cell or atoms.cell, **fresh)


def relative_error(found, reference):
    found, reference = found.detach(), reference.detach()
    size = float(reference.norm())
    return float((found - reference).norm()) / size if size else float(found.norm())


def gradients(atoms, f, weight):
    loss = (weight * f.abs() ** 2).sum()
    return torch.autograd.grad(
        loss, [getattr(atoms, n) for n in LEAVES], allow_unused=True, materialize_grads=True
    )


def random_weight(n, seed=0):
    """Return weights of either sign, as residuals are: a sum of |F|^2 hardly moves with atoms."""
    return torch.as_tensor(np.random.default_rng(seed).standard_normal(n))


@pytest.fixture(params=list(CRYSTALS))
def crystal(request, tmp_path):
    model = load_crystal(tmp_path / "c.pdb", request.param, random_atoms(14, 7, anisotropic=True))
    hkl = unique_reflections(model.cell, model.spacegroup, 1.7)
    return leaves(model), np.concatenate((hkl, -hkl[:5], hkl[:3]))


@pytest.mark.parametrize("accuracy", [1e-3, 1e-4, 1e-5, 1e-7])
def test_error_is_at_most_the_accuracy_asked_for(crystal, accuracy):
    atoms, hkl = crystal
    weight = random_weight(len(hkl))
    reference = direct_sum(atoms, hkl)
    found = splat_structure_factors(atoms, hkl, accuracy=accuracy)
    assert relative_error(found, reference) < accuracy
    expected = gradients(atoms, reference, weight)
    for name, one, other in zip(LEAVES, gradients(atoms, found, weight), expected, strict=True):
        assert relative_error(one, other) < 30 * accuracy, name


def test_gradients_are_within_one_per_mille_by_default(crystal):
    atoms, hkl = crystal
    weight = random_weight(len(hkl), 1)
    found = gradients(atoms, splat_structure_factors(atoms, hkl), weight)
    expected = gradients(atoms, direct_sum(atoms, hkl), weight)
    for name, one, other in zip(LEAVES, found, expected, strict=True):
        assert relative_error(one, other) < 1e-3, name


def test_compiled_and_torch_splat_agree(crystal):
    atoms, hkl = crystal
    # fits of form factors are good to d_min only, densities go beyond
    plan = replace(plan_splat(atoms, 1.7, accuracy=1e-8), tolerance=0.0)
    weight = random_weight(len(hkl))
    with torch.no_grad():
        assert relative_error(compiled_density(atoms, plan), density(atoms, plan)) < 1e-7
    found = gradients(atoms, splat_structure_factors(atoms, hkl, plan), weight)
    expected = gradients(atoms, torch_structure_factors(atoms, hkl, plan), weight)
    for name, one, other in zip(LEAVES, found, expected, strict=True):
        assert relative_error(one, other) < 1e-6, name


@pytest.mark.parametrize("name", LEAVES)
def test_gradient_is_a_finite_difference(crystal, name):
    atoms, hkl = crystal
    plan = plan_splat(atoms, 1.7, accuracy=1e-9)
    weight = random_weight(len(hkl))
    gradient = gradients(atoms, splat_structure_factors(atoms, hkl, plan), weight)[
        LEAVES.index(name)
    ]
    direction = torch.as_tensor(np.random.default_rng(3).standard_normal(gradient.shape))
    direction[~atoms.anisotropic if name == "u" else slice(0)] = 0.0
    step = {"b_iso": 1e-3, "u": 1e-5}.get(name, 1e-4)
    values = []
    with torch.no_grad():
        for sign in (1, -1):
            moved = replace(atoms, **{name: getattr(atoms, name) + sign * step * direction})
            f = splat_structure_factors(moved, hkl, plan)
            values.append(float((weight * f.abs() ** 2).sum()))
    difference = (values[0] - values[1]) / (2 * step)
    assert difference == pytest.approx(float((gradient * direction).sum()), rel=2e-5, abs=1e-4)


EXTREMES = {
    "sharp": AtomSpec("Zn", (0.31, 0.02, 0.57), b_iso=0.5),
    "diffuse": AtomSpec("O", (0.11, 0.42, 0.77), b_iso=500.0),
    "absent": AtomSpec("S", (0.2, 0.3, 0.4), occupancy=0.0),
    "hydrogen": AtomSpec("H", (0.2, 0.3, 0.4), b_iso=20.0),
    "calcium, with one very wide Gaussian": AtomSpec("Ca", (0.2, 0.3, 0.4), b_iso=3.0),
    "needle": AtomSpec("C", (0.3, 0.3, 0.4), u_aniso=(2.1, 2.1, 2.1, 2.0, 2.0, 2.0)),
    "long along a": AtomSpec("O", (0.23, 0.3, 0.7), u_aniso=(2.85, 0.25, 0.25, 0.0, 0.0, 0.0)),
    "long along b": AtomSpec("S", (0.23, 0.3, 0.7), u_aniso=(0.1, 1.9, 0.15, 0.0, 0.0, 0.05)),
    "plate": AtomSpec("C", (0.3, 0.3, 0.4), u_aniso=(1.1, 1.1, 1.1, -0.5, -0.5, -0.5)),
    "cell corner": AtomSpec("C", (0.0, 0.0, 0.0)),
    "cell edge": AtomSpec("C", (0.9999999, 0.0, 0.5)),
    "far outside": AtomSpec("C", (-3.2, 5.1, 9.7)),
    "on a grid point": AtomSpec("C", (0.5, 0.25, 0.125)),
}


@pytest.mark.parametrize("group", ["P 21 21 21", "P 1 21 1", "P 1"])
@pytest.mark.parametrize("kind", EXTREMES)
def test_extreme_atoms(kind, group, tmp_path):
    """Both routes, F and gradients; the needle and the plate overflow float32's tables."""
    atoms = leaves(load_crystal(tmp_path / "c.pdb", group, [*random_atoms(4, 1), EXTREMES[kind]]))
    hkl = unique_reflections(atoms.cell, atoms.spacegroup, 1.6)
    weight = random_weight(len(hkl))
    reference = direct_sum(atoms, hkl)
    expected = gradients(atoms, reference, weight)
    for accuracy in (1e-4, 1e-7):
        found = splat_structure_factors(atoms, hkl, accuracy=accuracy)
        assert relative_error(found, reference) < accuracy
        for name, one, other in zip(LEAVES, gradients(atoms, found, weight), expected, strict=True):
            assert relative_error(one, other) < 30 * accuracy, name
    plan = plan_splat(atoms, 1.6)
    with torch.no_grad():
        assert relative_error(torch_structure_factors(atoms, hkl, plan), reference) < 1e-4


@pytest.mark.parametrize(
    "cell",
    [
        Cell(14, 15, 16, 35, 40, 50),
        Cell(14, 15, 16, 118, 117, 119),
        Cell(14, 15, 16, 90, 150, 90),
        Cell(14, 15, 16, 90, 90, 30),
        Cell(4.1, 3.9, 60.0, 80, 90, 110),
    ],
    ids=str,
)
def test_cells_far_from_right_angles(cell, tmp_path):
    """In the last, atoms reach several cells far."""
    model = load_crystal(tmp_path / "c.pdb", "P 1", random_atoms(8, 2, anisotropic=True))
    atoms = leaves(model, cell)
    hkl = unique_reflections(cell, model.spacegroup, 1.6)
    weight = random_weight(len(hkl))
    reference = direct_sum(atoms, hkl)
    found = splat_structure_factors(atoms, hkl)
    assert relative_error(found, reference) < 1e-4
    expected = gradients(atoms, reference, weight)
    for name, one, other in zip(LEAVES, gradients(atoms, found, weight), expected, strict=True):
        assert relative_error(one, other) < 1e-3, name


def test_gradient_of_an_atom_on_an_axis(tmp_path):
    on_axis = AtomSpec("O", (0.0, 0.37, 0.0), occupancy=0.5)
    atoms = leaves(load_crystal(tmp_path / "c.pdb", "C 1 2 1", [on_axis, *random_atoms(3, 4)]))
    hkl = unique_reflections(atoms.cell, atoms.spacegroup, 1.7)
    weight = random_weight(len(hkl))
    found = gradients(atoms, splat_structure_factors(atoms, hkl, accuracy=1e-7), weight)
    expected = gradients(atoms, direct_sum(atoms, hkl), weight)
    for name, one, other in zip(LEAVES, found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-5 * float(other.abs().max())), name


def test_the_memory_of_a_grid_is_used_again_and_holds_nothing_of_the_last(crystal):
    atoms, hkl = crystal
    weight = random_weight(len(hkl))
    first = gradients(atoms, splat_structure_factors(atoms, hkl), weight)
    (spare,) = compiled._SPARE
    for other in (None, atoms.select(torch.arange(len(atoms)) < 3)):
        if other is not None:
            splat_structure_factors(other, hkl, plan_splat(atoms, 1.7))
        again = gradients(atoms, splat_structure_factors(atoms, hkl), weight)
        for one, two in zip(first, again, strict=True):
            assert torch.equal(one, two)
    assert compiled._SPARE[0] is spare
    # a block that fails gives the memory back
    with pytest.raises(ZeroDivisionError), compiled._grid_with_margin(plan_splat(atoms, 1.7), 9):
        raise ZeroDivisionError
    assert len(compiled._SPARE) == 1


def test_f000_is_the_number_of_electrons(crystal):
    atoms, _ = crystal
    with torch.no_grad():
        found = splat_structure_factors(atoms, np.zeros((1, 3), dtype=np.int64), accuracy=1e-6)
        electrons = float((atoms.a.sum(dim=1) * atoms.occupancy).sum()) * atoms.spacegroup.order
    assert float(found.abs()) == pytest.approx(electrons, rel=1e-5)


def test_results_do_not_depend_on_threads(crystal, monkeypatch):
    """Bit by bit, however many threads share the work and however often."""
    monkeypatch.setattr(compiled, "_SPLAT_A_THREAD", 1)
    monkeypatch.setattr(compiled, "_GATHER_A_THREAD", 1)
    atoms, hkl = crystal
    weight = random_weight(len(hkl))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 8, 3):
            torch.set_num_threads(threads)
            plan = plan_splat(atoms, 1.7)
            results.append(
                [
                    compiled_density(atoms, plan),
                    *gradients(atoms, splat_structure_factors(atoms, hkl), weight),
                ]
            )
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert torch.equal(result[0], results[0][0])
    # FFTs of several threads may round otherwise; with the same number they do not
    for one, other in zip(results[2], results[4], strict=True):
        assert torch.equal(one, other)


def test_only_what_is_asked_for_has_a_gradient(crystal):
    atoms, hkl = crystal
    some = replace(atoms, xyz=atoms.xyz.detach(), u=atoms.u.detach(), b_iso=atoms.b_iso.detach())
    weight = random_weight(len(hkl))
    (weight * splat_structure_factors(some, hkl).abs() ** 2).sum().backward()
    expected = gradients(atoms, splat_structure_factors(atoms, hkl), weight)[1]
    assert some.xyz.grad is None
    assert torch.allclose(atoms.occupancy.grad, expected, rtol=1e-5, atol=1e-4)


def test_second_derivatives_are_refused_by_name(crystal):
    atoms, hkl = crystal
    loss = splat_structure_factors(atoms, hkl[:50]).abs().pow(2).sum()
    (first,) = torch.autograd.grad(loss, atoms.occupancy, create_graph=True)
    assert first.requires_grad
    with pytest.raises(GradientError, match='method="direct"'):
        first.sum().backward()


def test_changes_in_place_before_backward_are_noticed(crystal):
    atoms, hkl = crystal
    f = splat_structure_factors(atoms, hkl[:50])
    with torch.no_grad():
        atoms.occupancy.mul_(0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        f.abs().sum().backward()


def test_single_precision_parameters(tmp_path):
    model = load_crystal(tmp_path / "c.pdb", "P 1 21 1", random_atoms(9, 2, anisotropic=True))
    double = leaves(model)
    single = leaves(model.to(torch.float32))
    hkl = unique_reflections(model.cell, model.spacegroup, 1.8)
    weight = random_weight(len(hkl))
    f = splat_structure_factors(single, hkl)
    assert f.dtype == torch.complex64
    expected = gradients(double, direct_sum(double, hkl), weight)
    found = gradients(single, f, weight.to(torch.float32))
    for name, one, other in zip(LEAVES, found, expected, strict=True):
        assert one.dtype == torch.float32
        assert relative_error(one.double(), other) < 1e-3, name


def test_no_reflections_and_no_atoms(crystal):
    atoms, hkl = crystal
    assert splat_structure_factors(atoms, hkl[:0]).shape == (0,)
    nothing = atoms.select(torch.zeros(len(atoms), dtype=torch.bool))
    f = splat_structure_factors(nothing, hkl, SplatPlan((64, 64, 64), 0.0, 9.0, True))
    assert f.abs().max() == 0


def test_grid_too_coarse_for_the_indices_is_refused(crystal):
    atoms, hkl = crystal
    with pytest.raises(ValueError, match="too coarse"):
        splat_structure_factors(atoms, hkl, SplatPlan((4, 4, 4), 0.0, 9.0, True))


@pytest.mark.parametrize("accuracy", [0.0, 1e-12, 0.5, float("nan")])
def test_impossible_accuracy_is_refused(tmp_path, accuracy):
    model = load_crystal(tmp_path / "c.pdb", "P 1", random_atoms(2, 1))
    with pytest.raises(ValueError, match="accuracy"):
        structure_factors(model, [[1, 0, 0]], accuracy=accuracy)
