"""Structure factors: engines against gemmi, against each other, and their gradients."""

import gemmi
import numpy as np
import pytest
import torch

from crystals import CRYSTALS, AtomSpec, load_crystal, random_atoms
from multicopy_refinement import structure_factors
from multicopy_refinement.crystal.hkl import unique_reflections


def relative_error(found: torch.Tensor, reference: torch.Tensor) -> float:
    return float((found - reference).abs().sum() / reference.abs().sum())


@pytest.fixture(params=list(CRYSTALS))
def crystal(request, tmp_path):
    atoms = random_atoms(12, seed=5, anisotropic=True)
    model = load_crystal(tmp_path / "c.pdb", request.param, atoms)
    hkl = unique_reflections(model.cell, model.spacegroup, 1.8)
    return model, hkl


def test_direct_summation_is_that_of_gemmi(crystal):
    model, hkl = crystal
    structure = model.source.structure()
    calculator = gemmi.StructureFactorCalculatorX(structure.cell)
    some = hkl[:: max(1, len(hkl) // 60)]
    expected = [calculator.calculate_sf_from_model(structure[0], h) for h in some.tolist()]
    with torch.no_grad():
        found = structure_factors(model, some, method="direct")
    # gemmi's form factors are single precision
    assert relative_error(found, torch.tensor(expected)) < 2e-6


@pytest.mark.parametrize(
    ("hkl", "options", "says"),
    [
        ([[1, 2], [0, 4], [2, 2]], {}, r"shape \[n, 3\], not \[3, 2\]"),
        ([1, 2, 3], {}, r"shape \[n, 3\], not \[3\]"),
        ([[1, 0, 0], [1.4, 2, 3]], {}, r"row 1 are \[1.4, 2.0, 3.0\]"),
        ([[1, 2, 3]], {"d_min": -1.0}, "d_min is a resolution"),
        ([[1, 2, 3]], {"method": "grid"}, "not a valid Method"),
    ],
)
def test_what_are_no_indices_is_refused(hkl, options, says, tmp_path):
    model = load_crystal(tmp_path / "c.pdb", "P 1", random_atoms(2, seed=5))
    with pytest.raises(ValueError, match=says):
        structure_factors(model, hkl, **options)
    whole = structure_factors(model, torch.tensor([[1.0, 2.0, 3.0]]))
    assert torch.equal(whole, structure_factors(model, [[1, 2, 3]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fft_agrees_with_direct_summation(crystal, dtype):
    model, hkl = crystal
    with torch.no_grad():
        reference = structure_factors(model, hkl, method="direct")
        model.to(dtype)
        found = structure_factors(model, hkl)
    assert found.dtype == (torch.complex64 if dtype == torch.float32 else torch.complex128)
    assert relative_error(found.to(torch.complex128), reference) < 5e-4


def test_symmetry_mates_have_the_phase_shift_of_their_translation(crystal):
    model, hkl = crystal
    group = model.spacegroup
    with torch.no_grad():
        f = structure_factors(model, hkl[:40], d_min=1.8).numpy()
        for rotation, translation in zip(group.rotations, group.translations, strict=True):
            mates = hkl[:40] @ rotation
            shift = np.exp(-2j * np.pi * (hkl[:40] @ translation))
            assert np.allclose(
                structure_factors(model, mates, d_min=1.8).numpy(), f * shift, atol=1e-8
            )
        friedel = structure_factors(model, -hkl[:40], d_min=1.8).numpy()
    assert np.allclose(friedel, f.conj(), atol=1e-8)


EXTREMES = {
    "sharp": AtomSpec("Zn", (0.31, 0.02, 0.57), b_iso=0.5),
    "diffuse": AtomSpec("O", (0.11, 0.42, 0.77), b_iso=500.0),
    "absent": AtomSpec("S", (0.2, 0.3, 0.4), occupancy=0.0),
    "hydrogen": AtomSpec("H", (0.2, 0.3, 0.4), b_iso=20.0),
    "deuterium": AtomSpec("D", (0.2, 0.3, 0.4), b_iso=20.0),
    "cell corner": AtomSpec("C", (0.0, 0.0, 0.0)),
    "cell edge": AtomSpec("C", (0.9999, 0.0, 0.5)),
}


@pytest.mark.parametrize("kind", EXTREMES)
def test_extreme_atoms(kind, tmp_path):
    model = load_crystal(tmp_path / "c.pdb", "P 21 21 21", [*random_atoms(4, 1), EXTREMES[kind]])
    hkl = unique_reflections(model.cell, model.spacegroup, 1.5)
    with torch.no_grad():
        reference = structure_factors(model, hkl, method="direct")
        assert relative_error(structure_factors(model, hkl), reference) < 1e-3


def test_atom_on_an_axis_counts_once_for_each_operation(tmp_path):
    """On a twofold axis both operations give the same atom: occupancy 0.5 is one atom."""
    on_axis = AtomSpec("O", (0.0, 0.37, 0.0), occupancy=0.5)
    model = load_crystal(tmp_path / "c.pdb", "C 1 2 1", [on_axis])
    hkl = np.array([[0, 0, 2], [2, 0, 1], [1, 1, 0], [3, 1, 2]])
    f_oxygen = gemmi.Element("O").it92
    s_squared = model.cell.inverse_d_squared(hkl)
    single = np.array([f_oxygen.calculate_sf(s / 4) for s in s_squared])
    one_atom_and_its_centred_mate = 2 * single * np.exp(-15.0 * s_squared / 4)
    with torch.no_grad():
        for method in ("direct", "fft"):
            f = structure_factors(model, hkl, method=method, d_min=1.5).abs().numpy()
            assert np.allclose(f, one_atom_and_its_centred_mate, rtol=2e-3)


GRADIENTS = {"occupancy": 1e-3, "xyz": 1e-3, "b_iso": 1e-3, "u_aniso": 1e-3}


@pytest.mark.parametrize("group", ["P 1", "C 1 2 1", "P 65 2 2"])
@pytest.mark.parametrize("parameter", GRADIENTS)
def test_gradients_of_fft_are_those_of_direct_summation(group, parameter, tmp_path):
    model = load_crystal(tmp_path / "c.pdb", group, random_atoms(9, 2, anisotropic=True))
    hkl = unique_reflections(model.cell, model.spacegroup, 1.8)
    weight = torch.as_tensor(np.random.default_rng(0).standard_normal(len(hkl)))
    gradients = []
    for method in ("direct", "fft"):
        model.zero_grad()
        f = structure_factors(model, hkl, method=method)
        (weight * (f.abs() ** 2)).sum().backward()
        gradients.append(getattr(model, parameter).refinable_params.grad.clone())
    assert gradients[0].abs().max() > 0
    difference = (gradients[1] - gradients[0]).norm() / gradients[0].norm()
    assert float(difference) < GRADIENTS[parameter]


@pytest.mark.parametrize("parameter", GRADIENTS)
def test_gradient_of_direct_summation_is_a_finite_difference(parameter, tmp_path):
    model = load_crystal(tmp_path / "c.pdb", "P 1 21 1", random_atoms(5, 3, anisotropic=True))
    hkl = unique_reflections(model.cell, model.spacegroup, 2.5)

    def value() -> torch.Tensor:
        return (structure_factors(model, hkl, method="direct").abs() ** 2).sum()

    tensor = getattr(model, parameter).refinable_params
    value().backward()
    with torch.no_grad():
        for place in (0, tensor.numel() - 1):
            step = 1e-5
            tensor[place] += step
            up = value()
            tensor[place] -= 2 * step
            down = value()
            tensor[place] += step
            assert float((up - down) / (2 * step)) == pytest.approx(
                float(tensor.grad[place]), rel=1e-5, abs=1e-6
            )


def test_shared_models_within_one_per_mille(shared_data):
    """The default grid on real models; the whole table is made by benchmarks/data_sets.py."""
    from multicopy_refinement import Model, read_reflections

    for folder, name in (("1dur", "model.cif"), ("1aie", "model.pdb"), ("sh2185-cu", "model.cif")):
        model = Model(dtype_float=torch.float64).load(shared_data / folder / name)
        hkl = read_reflections(shared_data / folder / "data.mtz").hkl
        with torch.no_grad():
            reference = structure_factors(model, hkl, method="direct")
            assert relative_error(structure_factors(model, hkl), reference) < 1e-3


def test_unknown_method_is_refused(crystal):
    with pytest.raises(ValueError, match="is not a valid Method"):
        structure_factors(crystal[0], crystal[1], method="guess")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cuda_agrees_with_cpu(crystal):
    model, hkl = crystal
    with torch.no_grad():
        reference = structure_factors(model, hkl, accuracy=1e-7)
        found = structure_factors(model.to("cuda"), hkl, accuracy=1e-7).cpu()
    assert relative_error(found, reference) < 1e-6
