"""The posterior of everything: values, gradients and products against finite differences."""

import numpy as np
import pytest

from crystals import crystal
from demo_data import observe
from multicopy_refinement.geometry import Geometry
from multicopy_refinement.posterior import Experiment, Kind
from multicopy_refinement.posterior.blocks import Point, Space
from multicopy_refinement.posterior.joint import JointPosterior
from multicopy_refinement.posterior.moving import moving_atoms
from multicopy_refinement.posterior.priors import OccupancyPrior
from multicopy_refinement.scattering.atoms import atoms_of


@pytest.fixture(scope="module", params=["all", "some"])
def setting(request, tmp_path_factory):
    model = crystal(tmp_path_factory.mktemp("joint"), (0.6, 0.4), shift=(0.0, 1.6))
    data = observe(model, 1.6)
    experiment = Experiment(model, data)
    groups = model.occupancy_groups
    refined = np.flatnonzero(groups.refined)
    geometry = Geometry.of(model)
    every = np.arange(len(model.table))
    chosen = every if request.param == "all" else every[38:]
    moving = moving_atoms(
        geometry.state(model), model.table.anisotropic, model.cell, model.spacegroup,
        geometry.riding, xyz=chosen, b=chosen, u=every[:0],
    )  # fmt: skip
    joint = JointPosterior(
        experiment, atoms_of(model).double(), [groups.members[g] for g in refined.tolist()],
        refined, groups.sums.restricted(refined, model.group_occupancies()),
        OccupancyPrior.of((), len(refined)), moving, geometry,
    )  # fmt: skip
    random = np.random.default_rng(4)
    values = {
        Kind.OCCUPANCY: np.array([0.55, 0.45]), **joint.scaled.point.values,
        **{b.kind: 0.02 * random.normal(size=b.size) for b in moving.blocks},
    }  # fmt: skip
    return joint, joint.space.point(values)


def direction(joint, kind, seed=0):
    v = np.zeros(joint.space.size)
    place = joint.space.place(kind)
    v[place] = np.random.default_rng(seed).normal(size=place.stop - place.start)
    return v


KINDS = [Kind.OCCUPANCY, Kind.SCALE, Kind.SOLVENT, Kind.XYZ, Kind.DISPLACEMENT]


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_is_the_finite_difference_of_the_value(setting, kind):
    joint, at = setting
    v = direction(joint, kind)
    step = {Kind.XYZ: 2e-4, Kind.DISPLACEMENT: 2e-2}.get(kind, 1e-5)
    step /= np.abs(v).max()
    here = joint.around(at)
    value = joint.value(at)
    assert here.value == pytest.approx(value, rel=1e-9)
    up, down = (joint.value(Point(at.space, at.x + sign * step * v)) for sign in (1, -1))
    assert here.gradient @ v == pytest.approx((up - down) / (2 * step), rel=5e-3, abs=0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_products_are_symmetric_and_those_of_slopes_by_differences(setting, kind):
    joint, at = setting
    here = joint.around(at)
    v, w = direction(joint, kind), direction(joint, Kind.XYZ, 3) + direction(joint, kind, 4)
    hv = here.times(v)
    assert w @ hv == pytest.approx(v @ here.times(w), rel=1e-4, abs=1e-3 * abs(v @ hv))
    # J'WJ of the data by differences of |F|
    step = {Kind.XYZ: 1e-3, Kind.DISPLACEMENT: 1e-2}.get(kind, 1e-3) / np.abs(v).max()
    sizes = [np.abs(joint._at(Point(at.space, at.x + sign * step * v)).f_model) for sign in (1, -1)]
    slope = (sizes[0] - sizes[1]) / (2 * step)
    weight = here._weight
    assert v @ hv - v @ (here.restraints @ v) == pytest.approx((weight * slope**2).sum(), rel=1e-2)


def test_local_information_is_that_of_products_in_the_mean(setting):
    joint, at = setting
    here = joint.around(at)
    q = len(at.x) - here.local.shape[0]
    random = np.random.default_rng(1)
    ratios = []
    for i in random.choice(here.local.shape[0], 12, replace=False):
        v = np.zeros(joint.space.size)
        v[q + i] = 1.0
        exact = v @ here.times(v) - v @ (here.restraints @ v)
        ratios.append(here.local[i, i] / exact)
    assert 0.7 < np.median(ratios) < 1.4
    assert np.linalg.eigvalsh(here.local.toarray()).min() > -1e-6 * here.local.diagonal().max()


def test_what_drives_a_step_has_no_pull_on_scale_and_solvent(setting):
    joint, at = setting
    here = joint.around(at)
    for kind in (Kind.SCALE, Kind.SOLVENT):
        place = joint.space.place(kind)
        assert np.abs(here.gradient[place]).max() > 1.0
        assert here.driving[place] == pytest.approx(
            0, abs=2e-3 * np.abs(here.gradient[place]).max()
        )


def test_the_target_of_the_work_set_asks_for_no_other_scale(setting):
    joint, at = setting
    work = joint.experiment.data.work
    size = 1.01 * joint.size(at)

    def asked(target):
        """Return the change of ln k that a target asks of the work set, in units of its su."""
        d = target.derivatives(size)
        slope, information = (d.slope * size)[work].sum(), (d.information * size**2)[work].sum()
        return slope / np.sqrt(information)

    assert abs(asked(joint.experiment.target)) > 0.1
    assert abs(asked(joint.experiment.target_of_work(size))) < 0.02
    held = joint.experiment.errors
    own = held.curve.with_alpha_of(np.flatnonzero(work), size)
    assert own.beta == pytest.approx(held.beta, rel=1e-3)


def test_atoms_of_one_u_share_its_shift(tmp_path):
    model = crystal(tmp_path, (0.6, 0.4), shift=(0.0, 1.6))
    n = len(model.table)
    every, anisotropic = np.arange(n), np.ones(n, dtype=bool)
    same = np.full(n, -1)
    same[[3, 7]], same[[4, 9, 11]] = 5, 2
    start = Geometry.of(model).state(model)
    for kind, size in (("u", 6), ("b", 1)):
        rows = {"u": every[:0], "b": every[:0], kind: every}
        moving = moving_atoms(
            start, anisotropic, model.cell, model.spacegroup, Geometry.of(model).riding,
            xyz=every[:0], **rows, same=same,
        )  # fmt: skip
        assert moving.size == size * (n - 3)
        space = Space(moving.blocks)
        shift = np.random.default_rng(1).normal(size=space.size) * 0.01
        change = moving.free_state(Point(space, shift)).u_aniso - start.u_aniso
        assert np.array_equal(change[3], change[7])
        assert np.array_equal(change[4], change[9])
        assert np.array_equal(change[4], change[11])
        assert len(np.unique(change, axis=0)) == n - 3
