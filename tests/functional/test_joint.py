"""Occupancies, coordinates and B together, from starts in which all of them are wrong."""

import json
from dataclasses import replace

import gemmi
import numpy as np
import pytest
import torch

from crystals import CRYST1
from demo_data import DEMO, load_demo, observe
from helpers import atom_line
from multicopy_refinement import Model, RefineOptions, refine
from multicopy_refinement.posterior import Experiment
from multicopy_refinement.refinement.joint import JointRefinement
from multicopy_refinement.refinement.macrocycle import refine_to_maximum
from multicopy_refinement.simulate import simulate, write_simulated
from multicopy_refinement.solve.covariance import covariance

JOINT = {"parameters": "occupancy,xyz,b_iso", "decoys": 0, "target": "ml"}


@pytest.fixture(scope="module")
def crystal(tmp_path_factory):
    """The demo's truth, data to 1.6 A, and a start 0.05 A and 10% off."""
    folder = tmp_path_factory.mktemp("joint")
    truth = load_demo("truth.pdb")
    data = observe(truth, 1.6)
    random = np.random.default_rng(7)
    structure = gemmi.read_pdb(str(DEMO / "start.pdb"))
    structure.setup_entities()
    for site in structure[0].all():
        moved = np.array(site.atom.pos.tolist()) + random.normal(0, 0.05 / 3**0.5, 3)
        site.atom.pos = gemmi.Position(*moved)
        site.atom.b_iso *= float(np.clip(1 + 0.1 * random.normal(), 0.7, 1.3))
    structure.write_pdb(str(folder / "start.pdb"))
    write_simulated(simulate(truth, 1.6, seed=3), truth, folder / "data.mtz")
    return folder, truth, data


def rms(values):
    return float(np.sqrt(np.mean(values**2)))


def errors(model, truth):
    """Return rms errors of coordinates in A and relative ones of B."""
    with torch.no_grad():
        a, b = model.xyz().double(), truth.xyz().double()
        xyz = float(((a - b) ** 2).sum(1).mean() ** 0.5)
        b_error = float(((model.b_iso() / truth.b_iso() - 1) ** 2).mean() ** 0.5)
    return xyz, b_error


def test_everything_comes_nearer_to_the_truth_and_su_say_how_near(crystal):
    folder, truth, data = crystal
    expected = truth.group_occupancies()
    alone, model = Model(folder / "start.pdb"), Model(folder / "start.pdb")
    held = refine(alone, data, RefineOptions(decoys=0, target="ml"))
    found = refine(model, data, RefineOptions(active="all", max_cycles=12, **JOINT))
    groups = found.groups
    refined = np.flatnonzero(groups.refined)
    off, before = (rms((s.occupancy - expected)[refined]) for s in (found, held))
    assert off < 0.8 * before  # in six draws together 0.66
    z = (found.occupancy - expected)[refined] / found.su[refined]
    assert np.isfinite(z).all()
    assert rms(z) < 1.6
    assert (found.su > found.results.su_conditional)[refined].all()
    (xyz, b), (xyz0, b0) = errors(model, truth), errors(alone, truth)
    assert xyz < 0.6 * xyz0
    assert b < b0
    assert found.final.r_free < held.final.r_free
    assert found.relaxation.after["bonds"].rms_z < found.relaxation.before["bonds"].rms_z
    for one in groups.sets:
        if one.complete:
            assert found.occupancy[list(one.groups)].sum() == pytest.approx(one.total, abs=1e-9)
    known = np.isin(groups.index, refined) & ~groups.table.hydrogen
    assert np.isfinite(found.atom_su.xyz[known]).all()
    assert np.isnan(found.atom_su.xyz[~known]).all()


@pytest.mark.parametrize("active", ["all", "partial", None])
def test_su_of_what_was_all_fitted_count_the_errors_of_the_data_alone(crystal, active):
    """Errors of the free set have what the fit is off by, which a covariance has already."""
    folder, _, data = crystal
    jointly = {"active": active, "max_cycles": 3, **JOINT}
    options = RefineOptions(**jointly) if active else RefineOptions(decoys=0, target="ml")
    found = refine_to_maximum(Model(folder / "start.pdb"), data, options)
    experiment = found.solution.experiment
    of_free = covariance(found.posterior.with_target(experiment.target), found.at).su
    ratio = np.nanmedian(of_free / found.covariance.su)
    np.testing.assert_array_equal(covariance(found.posterior, found.at).su, found.covariance.su)
    _, taken = experiment.target_after_fit(found.size)
    if active == "all":
        assert found.solution.relaxation.leverage == taken
        assert 0.05 < taken < 0.6
        assert ratio == pytest.approx(np.sqrt(1 + taken), rel=0.05)
    else:
        assert ratio == 1.0
        assert active is None or found.solution.relaxation.leverage == 0


def test_partial_moves_what_is_near_and_nothing_else(crystal):
    folder, _, data = crystal
    model = Model(folder / "start.pdb")
    start = model.xyz().detach().clone()
    found = refine(model, data, RefineOptions(max_cycles=3, **JOINT))
    moved = ((model.xyz().detach() - start) ** 2).sum(1).sqrt().numpy() > 1e-6
    refined = np.isin(found.groups.index, np.flatnonzero(found.groups.refined))
    assert moved[refined].all()
    assert (~moved).sum() > 0
    near = np.linalg.norm(
        start.numpy()[:, None] - start.numpy()[None, refined], axis=2
    ).min(axis=1)  # fmt: skip
    assert near[~moved].min() > 3.9


def test_a_right_start_moves_by_no_more_than_its_su(crystal):
    _, truth, data = crystal
    model = load_demo("truth.pdb")
    found = refine(model, data, RefineOptions(active="all", max_cycles=6, **JOINT))
    off = (model.xyz() - truth.xyz()).detach().numpy()
    su = found.atom_su.xyz
    known = np.isfinite(su)
    z = np.sqrt((off[known] ** 2).mean(axis=1)) / su[known]
    # the truth is not where the restraints are at ease
    assert np.median(z) < 1.5


def test_command_tells_geometry_and_writes_what_moved(crystal, command):
    folder, _, _ = crystal
    out = folder / "out"
    done = command(
        "refine", folder / "start.pdb", folder / "data.mtz", "--out", out,
        "--parameters", "occupancy,xyz,b_iso", "--max-cycles", "2", "--no-report",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert "rms Z after" in done.out
    record = json.loads((out / "result.json").read_text())
    kinds = {k["kind"]: k for k in record["geometry"]["kinds"]}
    assert kinds["bonds"]["rms_z_after"] > 0
    assert record["geometry"]["rms_shift"] > 0.005
    assert record["history"][-1]["rms_shift"] is not None
    assert record["conditional_on"] == []
    refined = [g for g in record["groups"] if g["refined"]]
    assert all(g["su_xyz"] > 0 and g["b_su"] > 0 for g in refined if g["su"])
    block = gemmi.cif.read(str(out / "refined.cif")).sole_block()
    esd = [v for v in block.find_values("_atom_site.Cartn_x_esd") if v != "?"]
    assert len(esd) > 20
    before = gemmi.read_structure(str(folder / "start.pdb"))[0].count_atom_sites()
    after = gemmi.read_structure(str(out / "refined.pdb"))
    assert after[0].count_atom_sites() == before


def test_an_atom_on_an_axis_stays_on_it(tmp_path):
    """A water on the twofold axis of P 2, its occupancy halved as files have it."""
    random = np.random.default_rng(5)
    lines = [
        atom_line("O", "HOH", i + 1, 1.0, chain="W", xyz=random.uniform(1, 14, 3), record="HETATM")
        for i in range(20)
    ]
    lines.append(
        atom_line("O", "HOH", 50, 0.4, chain="W", xyz=(0.0, 5.0, 0.0), record="HETATM")
    )  # fmt: skip
    path = tmp_path / "axis.pdb"
    cell = CRYST1.replace("P 1", "P 1 2 1").replace("90.00  90.00  90.00", "90.00  95.00  90.00")
    path.write_text("\n".join([cell, *lines, "END", ""]))
    truth = Model(path)
    data = observe(truth, 1.5)
    model = Model(path)
    refine(model, data, RefineOptions(active="all", max_cycles=3, **JOINT))
    place = model.xyz().detach().numpy()[-1]
    assert np.abs(place[[0, 2]]).max() < 1e-6
    assert abs(place[1] - 5.0) < 0.1


@pytest.mark.parametrize(
    ("parameters", "words"),
    [("occupancy,b_group,xyz", "b_group"), ("xyz", "occupancy is always refined")],
)
def test_what_does_not_go_together_is_refused_in_a_line(crystal, command, parameters, words):
    folder, _, _ = crystal
    out = folder / "no"
    files = folder / "start.pdb", folder / "data.mtz"
    done = command("refine", *files, "--out", out, "--parameters", parameters)
    assert done.status == 2
    assert words in done.err
    assert done.err.count("\n") == 1
    assert not out.exists()


def test_b_stays_below_its_highest_and_who_got_there_is_named(crystal, monkeypatch):
    folder, _, data = crystal
    monkeypatch.setattr("multicopy_refinement.refinement.joint.B_CEILING", 35.0)
    model = Model(folder / "start.pdb")
    above = model.b_iso().detach().numpy() > 35
    found = refine(
        model, data, RefineOptions(active="all", max_cycles=3, uncertainty="none", **JOINT)
    )
    b = model.b_iso().detach().numpy()
    assert b[~above].max() <= 35 + 1e-6 + abs(found.experiment.scale.isotropic_b(data.cell))
    (notice,) = [n for n in found.notices if n.code == "b_at_limit"]
    assert notice.atoms
    assert set(notice.atoms) == set(found.groups.table.labels(found.relaxation.faint))


@pytest.mark.parametrize(
    ("band", "largest", "with_loss", "without"),
    [((5.0, 9.0), 1.2, 1.0, 0.35**2), ((0.0, 0.01), 9.0, 1.0, 9.0), ((0.0, 0.01), 0.0, 9.0, 9.0)],
    ids=["lower", "higher", "higher where bonds are far off"],
)
def test_a_weight_is_taken_back_where_the_free_set_is_worse(
    band, largest, with_loss, without, crystal, monkeypatch
):
    """With every change a loss, the weight ends as it began; with none, as bonds ask."""
    folder, _, data = crystal
    of_free = Experiment.log_likelihood_of_free
    monkeypatch.setattr("multicopy_refinement.refinement.joint.BOND_Z", band)
    monkeypatch.setattr("multicopy_refinement.refinement.joint._LARGEST_Z", largest)
    ends = []
    for loss in (1.0, 0.0):
        calls = []

        def worse_each_time(self, f_model, loss=loss, calls=calls):
            calls.append(1)
            return of_free(self, f_model) * 0 - loss * len(calls)

        monkeypatch.setattr(Experiment, "log_likelihood_of_free", worse_each_time)
        options = RefineOptions(active="all", max_cycles=2, uncertainty="none", **JOINT)
        ends.append(refine(Model(folder / "start.pdb"), data, options).relaxation.weight)
    assert ends == pytest.approx([with_loss, without])


def test_it_ends_where_more_is_moved_than_the_data_say(crystal, monkeypatch):
    """R-work falls, and the free set fits less and less well: the first macrocycle is kept."""
    folder, _, data = crystal
    of_free, calls = Experiment.log_likelihood_of_free, []

    def worse_each_time(self, f_model):
        calls.append(1)
        return of_free(self, f_model) * 0 - len(calls)

    monkeypatch.setattr(Experiment, "log_likelihood_of_free", worse_each_time)
    options = RefineOptions(active="all", max_cycles=9, uncertainty="none", **JOINT)
    found = refine(Model(folder / "start.pdb"), data, options)
    assert not found.status.converged
    assert found.status.cycles == 3
    assert "data do not say where all of it is" in found.status.reason
    *_, kept, _, last = found.history
    assert last.statistics.r_work < kept.statistics.r_work
    assert f"after macrocycle {kept.number}, which is kept" in found.status.reason
    assert found.final.r_work == pytest.approx(kept.statistics.r_work, abs=1e-3)


def test_without_restraints_the_data_alone_move_atoms(crystal):
    folder, _, data = crystal
    model = Model(folder / "start.pdb")
    options = RefineOptions(max_cycles=1, no_restraints=True, uncertainty="none", **JOINT)
    found = refine(model, data, options)
    assert found.relaxation.shift.max() > 0.01
    assert found.relaxation.weight == 1.0
    assert found.final.r_work < found.initial.r_work


def test_it_ends_where_macrocycles_lead_away_from_the_data(crystal, monkeypatch):
    """As restraints do that are at odds with the data; what was best is kept."""
    folder, _, data = crystal
    whole, random, made = JointRefinement.macrocycle, np.random.default_rng(3), []

    def led_away(self, occupancy, dense):
        found, f_model, moves = whole(self, occupancy, dense)
        made.append(self)
        if len(made) > 2:
            state = self.geometry.state(self.model)
            shaken = state.xyz + random.normal(0, 0.2, state.xyz.shape)
            self._give(replace(state, xyz=shaken))
            joint, at = self.posterior(found)
            f_calc = torch.as_tensor(joint.f_calc(at))
            self.experiment.renew(f_calc)
            f_model = self.experiment.at_renewal(f_calc)
        return found, f_model, moves

    monkeypatch.setattr(JointRefinement, "macrocycle", led_away)
    model = Model(folder / "start.pdb")
    found = refine(model, data, RefineOptions(active="all", max_cycles=9, **JOINT))
    assert not found.status.converged
    assert "at odds" in found.status.reason
    assert found.status.cycles == len(made) == 4
    *_, kept, _, _ = found.history
    assert f"after macrocycle {kept.number}, which is kept" in found.status.reason
    assert found.final.r_work == pytest.approx(kept.statistics.r_work, abs=1e-3)
    assert found.final.r_free == pytest.approx(kept.statistics.r_free, abs=1e-3)
