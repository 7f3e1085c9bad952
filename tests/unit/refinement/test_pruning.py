"""One conformer in place of several: its moments, and what it costs beside a full refinement."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from demo_data import load_demo, observe
from multicopy_refinement import Model, RefineOptions
from multicopy_refinement.io.structure import read_structure
from multicopy_refinement.occupancy.grouping import group_atoms
from multicopy_refinement.refinement.macrocycle import refine_to_maximum
from multicopy_refinement.refinement.pruning.absent import doubtful_groups, next_to_go
from multicopy_refinement.refinement.pruning.merging import compatible, possible_merges
from multicopy_refinement.refinement.pruning.subject import Subject
from multicopy_refinement.refinement.pruning.trial import LEVEL, trials
from multicopy_refinement.scattering.atoms import atoms_of
from multicopy_refinement.scattering.direct import direct_sum
from multicopy_refinement.units import EIGHT_PI_SQUARED
from pruning_case import ABSENT, SPLIT, write_case


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    path = Path(tmp_path_factory.mktemp("case")) / "model.pdb"
    write_case(path)
    source = read_structure(path)
    return Subject.of(source, group_atoms(source.table).groups)


@pytest.fixture(scope="module")
def best(case):
    model = case.model()
    data = observe(load_demo("truth.pdb"), 1.8)
    options = RefineOptions()
    return model, data, refine_to_maximum(model, data, options)


def _nothing(case):
    return np.zeros(len(case.groups.table), dtype=bool)


def test_pairs_are_those_that_are_close_and_the_same(case):
    q = case.groups.occupancy
    found = possible_merges(case.groups, q, 1.8, _nothing(case))
    names = [one.name.split("/")[1] + one.name.rpartition(":")[2] for one in found]
    assert names == [f"{SPLIT}A+B", "17B+C"]
    assert [one.coincide for one in found] == [False, True]
    assert [one.always for one in found] == [True, False]
    assert possible_merges(case.groups, q, 0.5, _nothing(case))[0].name.endswith("GLU:B+C")
    assert possible_merges(case.groups, q, 1.8, ~_nothing(case)) == []
    heavy = (~case.groups.table.hydrogen[found[0].atoms[:, 0]]).sum()
    assert found[0].n_parameters == 4 * heavy + 1


def test_moments_are_those_of_the_density(case):
    """Position and B against averages over points drawn from the conformers."""
    q = case.groups.occupancy.copy()
    one = possible_merges(case.groups, q, 1.8, _nothing(case))[0]
    q[list(one.groups)] = 0.7, 0.3
    one = possible_merges(case.groups, q, 1.8, _nothing(case))[0]
    table = case.groups.table
    a, b = one.atoms[0]
    random = np.random.default_rng(1)
    n = 400_000
    which = random.uniform(size=n) < 0.7
    u = np.sqrt(np.where(which, table.b_iso[a], table.b_iso[b]) / EIGHT_PI_SQUARED)
    centre = np.where(which[:, None], table.xyz[a], table.xyz[b])
    points = centre + u[:, None] * random.standard_normal((n, 3))
    assert points.mean(axis=0) == pytest.approx(one.xyz[0], abs=5e-3)
    assert EIGHT_PI_SQUARED * points.var(axis=0).mean() == pytest.approx(one.b_iso[0], rel=5e-3)


def test_anisotropic_conformers_keep_the_direction_in_which_they_are_apart(case):
    table = case.groups.table
    table.u_aniso[:] = [0.2, 0.2, 0.2, 0, 0, 0]
    try:
        table.__dict__.pop("anisotropic", None)
        one = possible_merges(case.groups, case.groups.occupancy, 1.8, _nothing(case))[0]
    finally:
        table.u_aniso[:] = 0.0
        table.__dict__.pop("anisotropic", None)
    assert one.u_aniso[0] == pytest.approx([0.2 + 0.15**2, 0.2, 0.2, 0, 0, 0], abs=1e-4)
    assert one.n_parameters == 9 * len(one.atoms) + 1


def test_cost_of_a_merge_is_that_of_a_full_refinement(case, best):
    """The model as it is is refined again, too: both go on for as many cycles."""
    model, data, maximum = best
    groups, q = maximum.solution.groups, maximum.solution.occupancy
    possible = possible_merges(groups, q, 1.8, _nothing(case))
    found = {t.merge.name.split("/")[1]: t for t in trials(possible, model, maximum)}
    assert found[str(SPLIT)].passes
    assert found["17"].lost == pytest.approx(0.0, abs=0.05)
    assert found["17"].allowed == pytest.approx(
        chi2.ppf(1 - LEVEL, found["17"].merge.n_parameters) / 2
    )
    target = maximum.posterior.data.target
    work = maximum.solution.experiment.data.work
    subject = Subject.of(case.source, maximum.solution.groups)

    def refined(merges):
        model = subject.without(q, [], merges).model()
        return target.values(refine_to_maximum(model, data, RefineOptions()).size)[work].sum()

    before = refined([])
    real = {name: before - refined([one.merge]) for name, one in found.items()}
    assert found[str(SPLIT)].lost == pytest.approx(real[str(SPLIT)], rel=0.15)
    # the atoms are the same, and the edge of the solvent is judged with one conformer fewer
    assert -10 < real["17"] < 1


def test_losses_by_least_squares_do_not_hang_on_the_sigmas(case):
    """Sigmas three times too large: chi-square says so, as it does for the su."""
    lost = []
    for sigmas in (1.0, 3.0):
        model, data = case.model(), observe(load_demo("truth.pdb"), 1.8)
        data = replace(data, sigma=sigmas * data.sigma)
        maximum = refine_to_maximum(model, data, RefineOptions(target="ls", decoys=0))
        groups, q = maximum.solution.groups, maximum.solution.occupancy
        possible = possible_merges(groups, q, 1.8, _nothing(case))
        found = {t.merge.name.split("/")[1]: t.lost for t in trials(possible, model, maximum)}
        lost.append(found[str(SPLIT)])
    assert abs(lost[0]) > 10.0
    assert lost[1] == pytest.approx(lost[0], rel=0.3)


def test_merging_what_is_apart_is_refused(best, monkeypatch):
    model, _, maximum = best
    monkeypatch.setattr("multicopy_refinement.refinement.pruning.merging.LONGEST", 20.0)
    monkeypatch.setattr("multicopy_refinement.refinement.pruning.merging.TOO_CLOSE", 20.0)
    groups = maximum.solution.groups
    possible = possible_merges(
        groups, maximum.solution.occupancy, 1.8, np.zeros(len(groups.table), dtype=bool)
    )
    far = [t for t in trials(possible, model, maximum) if t.merge.apart > 1.0]
    assert len(far) >= 6
    assert not any(t.passes for t in far)


def test_change_of_f_is_that_of_the_atoms(case, best):
    """The columns of trials against direct summation over the two models."""
    from multicopy_refinement.refinement.pruning.trial import _changes

    model, _, maximum = best
    one = possible_merges(maximum.solution.groups, maximum.solution.occupancy, 1.8, _nothing(case))[
        0
    ]
    (change,) = _changes([one], model, maximum)
    hkl = maximum.solution.experiment.data.hkl
    q = maximum.solution.occupancy
    after = Subject.of(case.source, maximum.solution.groups).without(q, [], [one])
    with torch.no_grad():
        now, then = (direct_sum(atoms_of(m), hkl).numpy() for m in (after.model(), model))
    assert np.abs(change - (now - then)).max() < 0.02 * np.abs(now - then).max() + 0.05


def test_only_what_cannot_change_goes_together(best):
    _, _, maximum = best
    doubtful = doubtful_groups(maximum.solution)
    assert {one.name for one in doubtful} == set(ABSENT)
    assert doubtful[0].p_absent == max(one.p_absent for one in doubtful)
    together = next_to_go(doubtful, maximum)
    assert together[0] is doubtful[0]
    assert all(one.p_absent > 0.05 for one in together)
    assert next_to_go([doubtful[0], doubtful[0]], maximum) == doubtful[:1]  # correlated with itself


def test_merges_of_one_round_share_no_group(case):
    q = case.groups.occupancy
    found = possible_merges(case.groups, q, 1.8, _nothing(case))
    assert compatible(found) == found
    assert compatible([found[0], found[0]]) == [found[0]]


def test_partners_take_the_share_of_what_has_gone(case):
    groups, q = case.groups, case.groups.occupancy
    gone = groups.names.index("A/2/ASP:B")
    after = case.without(q, [gone])
    left = dict(zip(after.groups.names, after.groups.occupancy.tolist(), strict=True))
    before = dict(zip(groups.names, q.tolist(), strict=True))
    share = before["A/2/ASP:A"] / (before["A/2/ASP:A"] + before["A/2/ASP:C"])
    assert left["A/2/ASP:A"] == pytest.approx(share)
    assert left["A/2/ASP:A"] + left["A/2/ASP:C"] == pytest.approx(1.0, abs=1e-12)
    last = after.groups.names.index("A/2/ASP:C")
    alone = after.without(after.groups.occupancy, [last])
    table = alone.groups.table
    mine = (table.resseq == 2) & (table.chain == b"A")
    assert (table.altloc[mine] == b"").all()
    assert len(np.unique(alone.groups.index[mine])) == 1  # one group with what had no altloc
    assert not alone.groups.refined[alone.groups.index[mine]].any()
    assert (table.occupancy[mine] == 1.0).all()
    assert "A/2/ASP" in alone.groups.names
    np.testing.assert_array_equal(case.groups.table.name[alone.origin], alone.groups.table.name)


def test_f_of_the_model_in_memory_and_of_its_file_agree(case, tmp_path):
    groups = case.groups
    merges = possible_merges(groups, groups.occupancy, 1.8, _nothing(case))
    after = case.without(groups.occupancy, [groups.names.index(ABSENT[0])], merges)
    (tmp_path / "after.pdb").write_bytes(after.source.content)
    read = Model(tmp_path / "after.pdb")
    hkl = np.array([[1, 0, 0], [0, 2, 3], [5, 4, 1], [10, 8, 2]])
    with torch.no_grad():
        one, other = (direct_sum(atoms_of(m), hkl).numpy() for m in (after.model(), read))
    np.testing.assert_allclose(one, other, atol=0.05)
