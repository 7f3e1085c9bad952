"""Extinction against its formula, its derivatives by differences, and data made with it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from boxes import load, waters
from demo_data import observe
from helpers import atom_line
from multicopy_refinement import RefineOptions, refine
from multicopy_refinement.errors import InputError
from multicopy_refinement.geometry import Geometry
from multicopy_refinement.posterior import Experiment, Kind
from multicopy_refinement.posterior.blocks import Point
from multicopy_refinement.posterior.extinction import ExtinguishedAmplitude
from multicopy_refinement.posterior.joint import JointPosterior
from multicopy_refinement.posterior.moving import moving_atoms
from multicopy_refinement.posterior.priors import OccupancyPrior
from multicopy_refinement.scaling import Scale
from multicopy_refinement.scattering.atoms import atoms_of

WAVELENGTH, X = 1.54, 0.006


def weakened(data, model, wavelength=WAVELENGTH):
    """Return data of a model as extinction would have them, and by which factors."""
    experiment = Experiment(model, data)
    with torch.no_grad():
        f = experiment().abs().numpy() / experiment.scale.overall(data.hkl)
    theta = np.arcsin(np.sqrt(data.s_squared) * wavelength / 2)
    y = (1 + 0.001 * X * f**2 * wavelength**3 / np.sin(2 * theta)) ** -0.25
    return replace(data, f_obs=data.f_obs * y, sigma=data.sigma * y), y


@pytest.fixture(scope="module")
def crystal(tmp_path_factory):
    """What loads a crystal with a water of some occupancy, and data of 0.6 with extinction."""
    folder = tmp_path_factory.mktemp("extinction")

    def of(q):
        here = (7.0, 8.0, 9.0)
        one = atom_line("O", "HOH", 90, q, chain="X", xyz=here, record="HETATM")
        model = load(folder, waters(60, seed=8), [one], cell=(9.0, 10.0, 11.0))
        return model.measured_with(wavelength=WAVELENGTH)

    truth = of(0.6)
    data, y = weakened(observe(truth, 1.0, noise=0.02), truth)
    assert 0.65 < y.min() < 0.85
    return of, data, y


def test_it_is_the_formula_of_the_literature():
    random = np.random.default_rng(1)
    hkl = random.integers(-6, 7, size=(40, 3))
    s_squared, scale = random.uniform(0.01, 1.5, 40), Scale(2.5, np.full(6, 1e-3), 0.0, 46.0)
    f = random.normal(size=40) * 80 + 1j * random.normal(size=40) * 80
    one = ExtinguishedAmplitude.of(0.03, scale, hkl, s_squared, WAVELENGTH)
    absolute = np.abs(f) / scale.overall(hkl)
    theta = np.arcsin(np.sqrt(s_squared) * WAVELENGTH / 2)
    expected = (
        scale.overall(hkl) * absolute
        * (1 + 0.001 * 0.03 * absolute**2 * WAVELENGTH**3 / np.sin(2 * theta)) ** -0.25
    )  # fmt: skip
    assert np.allclose(one.size(f), expected, rtol=1e-12)
    assert np.allclose(one.amplitude(torch.as_tensor(f)).numpy(), expected, rtol=1e-12)
    assert np.abs(one.size(f) / np.abs(f) - 1).max() > 0.05


def test_slopes_are_differences():
    random = np.random.default_rng(2)
    hkl = random.integers(-6, 7, size=(30, 3))
    scale = Scale(1.4, np.zeros(6), 0.0, 46.0)
    one = ExtinguishedAmplitude.of(0.05, scale, hkl, random.uniform(0.01, 1.5, 30), WAVELENGTH)
    f = random.normal(size=30) * 80 + 1j * random.normal(size=30) * 80
    step = random.normal(size=30) + 1j * random.normal(size=30)
    overall = np.full(30, 1.4)
    along = one.along(overall, f, one.size(f))
    h = 1e-5
    ends = [one.size(f + s * h * overall * step) for s in (1, -1)]
    assert np.allclose((along.conj() * step).real, (ends[0] - ends[1]) / (2 * h), rtol=1e-6)
    (own,) = one.own_slopes(f, one.size(f))[Kind.EXTINCTION]
    ends = [replace(one, coefficient=0.05 + s * 1e-7).size(f) for s in (1, -1)]
    assert np.allclose(own, (ends[0] - ends[1]) / 2e-7, rtol=1e-6)
    space = one.fitted.space
    assert one.at(Point(space, np.array([0.01]))).coefficient == 0.01
    assert one.moved(Point(space, np.array([-1.0]))).coefficient == 0.0


def test_what_the_data_were_made_with_is_found(crystal):
    of, data, _ = crystal
    with_, without = (
        refine(of(0.4), data, RefineOptions(decoys=0, extinction=asked, uncertainty="conditional"))
        for asked in (True, False)
    )
    (group,) = np.flatnonzero(with_.groups.refined)
    assert abs(with_.extinction.coefficient - X) < 3 * with_.extinction.su < 0.3 * X
    assert abs(with_.occupancy[group] - 0.6) < 3 * with_.su[group]
    assert without.extinction is None
    assert without.final.r_work > 1.05 * with_.final.r_work
    assert without.final.log_likelihood < with_.final.log_likelihood - 20


def test_none_is_found_where_there_is_none(crystal):
    of, data, y = crystal
    plain = replace(data, f_obs=data.f_obs / y, sigma=data.sigma / y)
    found = refine(of(0.4), plain, RefineOptions(decoys=0, extinction=True))
    assert found.extinction.coefficient < 4 * found.extinction.su < 0.3 * X


def test_everything_is_refined_with_it(crystal):
    """The gradient of the joint posterior by differences, and a refinement of all atoms."""
    of, data, _ = crystal
    start = of(0.4)
    experiment = Experiment(start, data, extinction=True)
    groups, every = start.occupancy_groups, np.arange(len(start.table))
    refined, geometry = np.flatnonzero(groups.refined), Geometry.of(start)
    moving = moving_atoms(
        geometry.state(start), start.table.anisotropic, start.cell, start.spacegroup,
        geometry.riding, xyz=every, b=every, u=every[:0],
    )  # fmt: skip
    joint = JointPosterior(
        experiment, atoms_of(start).double(), [groups.members[g] for g in refined.tolist()],
        refined, groups.sums.restricted(refined, start.group_occupancies()),
        OccupancyPrior.of((), len(refined)), moving, replace(geometry, terms=()),
    )  # fmt: skip
    zeros = {b.kind: np.zeros(b.size) for b in moving.blocks}
    at = joint.space.point({Kind.OCCUPANCY: np.array([0.45]), **joint.scaled.point.values, **zeros})
    gradient = joint.around(at).gradient
    for kind, step in ((Kind.OCCUPANCY, 1e-4), (Kind.XYZ, 1e-3), (Kind.DISPLACEMENT, 1e-2)):
        place = joint.space.place(kind)
        v = np.zeros(joint.space.size)
        v[place] = np.random.default_rng(3).normal(size=place.stop - place.start)
        ends = [joint.value(Point(at.space, at.x + s * step * v)) for s in (1, -1)]
        assert gradient @ v == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=2e-2)
    options = RefineOptions(
        decoys=0, extinction=True, parameters="occupancy,xyz,b_iso", active="all",
        no_restraints=True,
    )  # fmt: skip
    found = refine(start, data, options)
    (group,) = np.flatnonzero(found.groups.refined)
    assert abs(found.extinction.coefficient - X) < 3 * found.extinction.su
    assert abs(found.occupancy[group] - 0.6) < 3 * found.su[group]


def test_what_it_does_not_go_with_is_refused(crystal):
    of, data, _ = crystal
    start = of(0.4)
    for options, said in (
        ({"twin": True}, "not refined with twin"), ({"anomalous": True}, "with anomalous"),
        ({"radiation": "electron"}, "for electrons"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            RefineOptions(extinction=True, **options)
    start.beam = replace(start.beam, wavelength=None)
    with pytest.raises(InputError, match="--wavelength"):
        Experiment(start, data, extinction=True)
