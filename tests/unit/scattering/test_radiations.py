"""X-rays with f', electrons and neutrons in every engine, against gemmi and a slow sum."""

from dataclasses import replace

import gemmi
import numpy as np
import pytest
import torch

from crystals import AtomSpec, load_crystal, random_atoms
from multicopy_refinement import structure_factors
from multicopy_refinement.crystal.beam import Beam
from multicopy_refinement.crystal.hkl import unique_reflections
from multicopy_refinement.errors import InputError, StaleBasisError
from multicopy_refinement.modes import Radiation
from multicopy_refinement.scattering.atoms import atoms_of
from multicopy_refinement.scattering.basis import group_basis
from multicopy_refinement.scattering.compiled import SplatJacobian
from multicopy_refinement.scattering.direct import direct_sum
from multicopy_refinement.scattering.factors import form_factors
from multicopy_refinement.scattering.plan import levels_of_gaussians, plan_splat
from multicopy_refinement.scattering.torch_splat import torch_structure_factors
from multicopy_refinement.units import EIGHT_PI_SQUARED

F_PRIME = (("S", 0.33), ("ZN", -6.9))
BEAMS = {
    "xray": Beam(Radiation.XRAY, None, F_PRIME),
    "electron": Beam(Radiation.ELECTRON),
    "neutron": Beam(Radiation.NEUTRON),
}
#: H and D at one site all but cancel for neutrons: -3.739 q + 6.671 (1 - q) fm.
SITE = (0.2, 0.3, 0.4)
ATOMS = [
    *random_atoms(10, 5, anisotropic=True),
    AtomSpec("Zn", (0.31, 0.02, 0.57), b_iso=6.0, occupancy=0.4),
    AtomSpec("H", SITE, occupancy=0.64),
    AtomSpec("D", SITE, occupancy=0.36),
    AtomSpec("D", (0.7, 0.6, 0.1), b_iso=3.0),
]


def relative_error(found, reference):
    return float(np.linalg.norm(found - reference) / np.linalg.norm(reference))


@pytest.fixture(params=BEAMS)
def beam(request):
    return BEAMS[request.param]


@pytest.fixture(params=["P 1", "P 31 2 1"])
def crystal(request, beam, tmp_path):
    model = load_crystal(tmp_path / "c.pdb", request.param, ATOMS)
    model.beam = beam
    return model, unique_reflections(model.cell, model.spacegroup, 1.6)


def direct(model, hkl):
    with torch.no_grad():
        return structure_factors(model, hkl, method="direct").numpy()


def calculator(cell, beam):
    """Return gemmi's direct summation for a radiation."""
    kinds = {
        Radiation.XRAY: gemmi.StructureFactorCalculatorX,
        Radiation.ELECTRON: gemmi.StructureFactorCalculatorE,
        Radiation.NEUTRON: gemmi.StructureFactorCalculatorN,
    }
    made = kinds[beam.radiation](cell)
    for symbol, value in beam.f_prime:
        made.addends.set(gemmi.Element(symbol), value)
    return made


def test_they_are_those_of_gemmi(crystal):
    model, hkl = crystal
    structure = model.source.structure()
    some = hkl[:: max(1, len(hkl) // 60)]
    made = calculator(structure.cell, model.beam)
    expected = np.array([made.calculate_sf_from_model(structure[0], h) for h in some.tolist()])
    assert relative_error(direct(model, some), expected) < 2e-6  # gemmi sums in single precision
    with torch.no_grad():
        found = structure_factors(model, some, d_min=1.6).numpy()
    assert relative_error(found, expected) < 1e-4


def test_direct_sums_are_those_of_a_slow_loop(crystal):
    """Term by term in double precision, from the coefficients of gemmi's tables."""
    model, hkl = crystal
    some, table, cell = hkl[:: max(1, len(hkl) // 12)], model.table, model.cell
    tables = {Radiation.XRAY: "it92", Radiation.ELECTRON: "c4322", Radiation.NEUTRON: "neutron92"}
    fractional = table.xyz @ cell.fractionalization.T
    b_iso, u = model.b_iso().detach().numpy(), model.u_aniso().detach().numpy()
    expected = np.zeros(len(some), dtype=complex)
    for n, h in enumerate(some):
        s_squared = float(cell.inverse_d_squared(h[None])[0])
        for j, symbol in enumerate(table.element.tolist()):
            c = getattr(gemmi.Element(symbol.decode()), tables[model.radiation]).get_coefs()
            m = len(c) // 2
            f = sum(c[i] * np.exp(-c[m + i] * s_squared / 4) for i in range(m)) + (
                c[-1] if len(c) % 2 else 0.0
            )
            f += dict(model.beam.f_prime).get(symbol.decode(), 0.0)
            group = model.spacegroup
            for rotation, translation in zip(group.rotations, group.translations, strict=True):
                r = h @ rotation
                if table.anisotropic[j]:
                    s = r @ cell.fractionalization
                    m11, m22, m33, m12, m13, m23 = u[j]
                    tensor = np.array([[m11, m12, m13], [m12, m22, m23], [m13, m23, m33]])
                    fall = np.exp(-2 * np.pi**2 * s @ tensor @ s)
                else:
                    fall = np.exp(-b_iso[j] * s_squared / 4)
                phase = 2j * np.pi * (r @ fractional[j] + h @ translation)
                expected[n] += table.occupancy[j] * f * fall * np.exp(phase)
    assert relative_error(direct(model, some), expected) < 1e-9


def test_torch_alone_agrees(crystal):
    model, hkl = crystal
    with torch.no_grad():
        atoms = atoms_of(model)
        plan = plan_splat(atoms, 1.6)
        found = torch_structure_factors(atoms, hkl, plan).numpy()
    assert relative_error(found, direct(model, hkl)) < 1e-4


@pytest.mark.parametrize("d_min", [0.9, 1.6])
@pytest.mark.parametrize("accuracy", [1e-4, 1e-6])
def test_the_accuracy_that_is_asked_for_is_kept(beam, d_min, accuracy, tmp_path):
    """Sharp atoms included: what scatters neutrons is a point."""
    atoms = [*ATOMS, AtomSpec("C", (0.5, 0.1, 0.9), b_iso=1.0)]
    model = load_crystal(tmp_path / "c.pdb", "P 21 21 21", atoms)
    model.beam = beam
    hkl = unique_reflections(model.cell, model.spacegroup, d_min)
    with torch.no_grad():
        found = structure_factors(model, hkl, accuracy=accuracy).numpy()
    assert relative_error(found, direct(model, hkl)) < accuracy


def test_the_basis_agrees(crystal):
    model, hkl = crystal
    q = model.group_occupancies()
    everything = group_basis(model, hkl, np.arange(len(q)))
    assert relative_error(everything.f_calc(q), direct(model, hkl)) < 2e-6
    refined = group_basis(model, hkl)
    assert relative_error(refined.f_calc(q[refined.groups]), direct(model, hkl)) < 1e-4
    model.beam = Beam(Radiation.XRAY, 1.0, (("C", 0.01),))
    with pytest.raises(StaleBasisError):
        refined.check(model)


@pytest.mark.parametrize("parameter", ["occupancy", "xyz", "b_iso", "u_aniso"])
def test_gradients_are_finite_differences(beam, parameter, tmp_path):
    model = load_crystal(tmp_path / "c.pdb", "P 1 21 1", ATOMS)
    model.beam = beam
    hkl = unique_reflections(model.cell, model.spacegroup, 2.5)
    tensor = getattr(model, parameter).refinable_params

    def value():
        return (structure_factors(model, hkl, method="direct").abs() ** 2).sum()

    gradients = []
    for method in ("direct", "fft"):
        model.zero_grad()
        (structure_factors(model, hkl, method=method).abs() ** 2).sum().backward()
        gradients.append(tensor.grad.clone())
    assert relative_error(gradients[1].numpy(), gradients[0].numpy()) < 1e-3
    flat, slopes = tensor.view(-1), gradients[0].view(-1)
    with torch.no_grad():
        for place in (0, flat.numel() - 1):
            values = []
            for step in (1e-5, -2e-5):
                flat[place] += step
                values.append(float(value()))
            flat[place] += 1e-5
            found = (values[0] - values[1]) / 2e-5
            assert found == pytest.approx(float(slopes[place]), rel=1e-5, abs=1e-5)


def test_j_v_is_a_finite_difference(beam, tmp_path):
    model = load_crystal(tmp_path / "c.pdb", "P 31 2 1", ATOMS)
    model.beam = beam
    hkl = unique_reflections(model.cell, model.spacegroup, 2.0)
    with torch.no_grad():
        atoms = atoms_of(model)
        random = np.random.default_rng(2)
        change = [0.01 * random.standard_normal((len(atoms), k)) for k in (1, 3, 6)]
        found = SplatJacobian(atoms, hkl, plan_splat(atoms, 2.0, accuracy=1e-6)).times(
            change[0][:, 0], change[1], change[2]
        )
        u = atoms.u.clone()
        u[~atoms.anisotropic, :3] = atoms.b_iso[~atoms.anisotropic, None] / EIGHT_PI_SQUARED
        ends = []
        for step in (1e-3, -1e-3):
            q, xyz, du = (step * torch.as_tensor(part) for part in change)
            moved = replace(
                atoms, occupancy=atoms.occupancy + q[:, 0], xyz=atoms.xyz + xyz, u=u + du,
                anisotropic=torch.ones_like(atoms.anisotropic),
            )  # fmt: skip
            ends.append(direct_sum(moved, hkl).numpy())
    assert relative_error(found, (ends[0] - ends[1]) / 2e-3) < 1e-4


ELEMENTS = np.array([f"{gemmi.Element(z).name.upper()}".encode() for z in range(1, 93)])


def test_x_rays_end_where_they_did():
    """The reach of atoms of one sign is that of 0.4 of what they hold, whatever the radiation."""
    for a in (form_factors(ELEMENTS).a, form_factors(ELEMENTS).fewer_gaussians(1.5, 5e-5)[0]):
        share = np.abs(a) / (0.4 * a.sum(axis=1, keepdims=True))
        expected = np.maximum(10 + np.log(np.maximum(share, 1e-12)), 1.0)
        assert np.array_equal(levels_of_gaussians(a, 10.0), expected)


def test_levels_are_of_the_size_not_the_sign():
    a = np.array([[6.0, 2.0, 1.0], [-6.0, -2.0, -1.0], [5.0, -5.0, 0.0]])
    levels = levels_of_gaussians(a, 10.0)
    assert np.array_equal(levels[0], levels[1])
    assert np.isfinite(levels).all()
    assert (levels[2, :2] > levels[0, 0]).all()  # what cancels is followed farther


@pytest.mark.parametrize("tolerance", [1e-3, 5e-5])
@pytest.mark.parametrize("d_min", [0.8, 1.5, 3.0])
def test_fewer_gaussians_have_f_prime(d_min, tolerance):
    beam = Beam(Radiation.XRAY, None, (("S", 0.33), ("SE", -8.0), ("U", -21.0), ("ZN", -9.0)))
    factors = form_factors(np.array([b"C", b"S", b"ZN", b"SE", b"U"]), beam)
    a, b = factors.fewer_gaussians(d_min, tolerance)
    s_squared = np.linspace(0, d_min**-2, 300)
    found = (a[:, :, None] * np.exp(-b[:, :, None] * s_squared / 4)).sum(axis=1)
    assert (np.abs(found / factors.at(s_squared) - 1).max(axis=1) <= 1.05 * tolerance).all()
    plain = form_factors(np.array([b"C", b"O"]), beam)
    assert plain.fewer_gaussians(1.3, 5e-5)[0].shape[1] == 3  # nobody pays for what others have


def test_scattering_lengths_have_their_signs():
    found = form_factors(np.array([b"H", b"D", b"O", b"X"]), BEAMS["neutron"])
    lengths = dict(zip(found.symbols.tolist(), found.a[:, 0].tolist(), strict=True))
    assert lengths == pytest.approx({b"H": -3.739, b"D": 6.671, b"O": 5.803, b"X": 0.0})
    electrons = form_factors(np.array([b"H", b"D"]), BEAMS["electron"])
    assert np.array_equal(electrons.a[0], electrons.a[1])
    assert electrons.a[0].sum() == pytest.approx(0.529, abs=1e-3)  # 1 bohr


@pytest.mark.parametrize(
    ("kind", "symbol", "what"),
    [("neutron", b"PO", "neutron scattering length"), ("electron", b"ES", "electron form factor")],
)
def test_elements_that_a_table_lacks_are_refused(kind, symbol, what):
    with pytest.raises(InputError, match=f"no {what} for element '{symbol.decode()}'"):
        form_factors(np.array([b"C", symbol]), BEAMS[kind])
