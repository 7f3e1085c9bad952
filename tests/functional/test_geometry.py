"""Restraints of real models: what Servalcat says of them, and what has no dictionary."""

import numpy as np
import pytest

from multicopy_refinement.geometry import Geometry
from multicopy_refinement.geometry.monomers import CLIBD_MON
from multicopy_refinement.model import Model

#: Number of restraints and rms Z by Servalcat 0.4.142 (``refine_geom --ncycle 0 --hydrogen no``)
#: with the CCP4 Monomer Library 5.60, without residues that have no dictionary; all torsions.
SERVALCAT = {
    "1g8a": ("", {"bonds": (2543, 4.227), "angles": (3527, 1.976), "chirality": (391, 0.876),
                  "planes": (2049, 0.877), "torsions": (902, 1.396)}),
    "1aie": ("", {"bonds": (299, 0.943), "angles": (399, 0.771), "chirality": (41, 0.725),
                  "planes": (229, 0.560), "torsions": (120, 1.335)}),
    "4cjl": ("9PA", {"bonds": (1272, 0.790), "angles": (1739, 0.805), "chirality": (197, 0.680),
                     "planes": (979, 0.234), "torsions": (438, 1.229)}),
    "mpro-x0107": ("LIG", {"bonds": (2558, 1.343), "angles": (3501, 0.928),
                           "chirality": (396, 0.607), "planes": (2006, 0.369),
                           "torsions": (870, 1.527)}),
}  # fmt: skip
#: Residues without a dictionary, of every model.
LACKING = {
    "1g8a/model.pdb": set(), "1g8a/single-conformer.pdb": set(), "1aie/model.pdb": set(),
    "1dur/model.pdb": set(), "1dur/model.cif": set(), "2xiu/model.pdb": {"MTN"},
    "4cjl/model.pdb": {"9PA"}, "4hg7/model.pdb": {"NUT"}, "5fjj/model.pdb.gz": set(),
    "6mw0/model.cif": {"MLE", "DPN", "MOH"}, "6pgy/model.pdb": {"MTN", "HED"},
    "baz2b/x430/model.pdb": set(), "baz2b/x435/model.pdb": set(), "baz2b/x438/model.pdb": set(),
    "mpro-x0107/model.pdb": {"LIG"}, "sh2185-cu/model.cif": {"UNL"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_ccp4(monkeypatch):
    monkeypatch.delenv(CLIBD_MON, raising=False)


@pytest.mark.parametrize("name", SERVALCAT)
def test_z_scores_are_those_of_servalcat(name, shared_data, tmp_path):
    ligand, expected = SERVALCAT[name]
    lines = (shared_data / name / "model.pdb").read_text().splitlines(keepends=True)
    path = tmp_path / "model.pdb"
    path.write_text("".join(x for x in lines if not ligand or ligand not in x))
    model = Model(path)
    geometry = Geometry.of(model)
    found = geometry.statistics(geometry.state(model))
    for kind, (n, rms_z) in expected.items():
        assert found[kind].n == n, kind
        assert found[kind].rms_z == pytest.approx(rms_z, rel=0.01), kind


@pytest.mark.parametrize("name", LACKING)
def test_what_has_no_dictionary_is_named_and_kept(name, shared_data):
    model = Model(shared_data / name)
    geometry = Geometry.of(model)
    notices = [n for n in geometry.notices if n.code == "no_dictionary"]
    assert {n.atoms[0].split("/")[-1] for n in notices} == LACKING[name]
    topology, xyz = geometry.topology, model.table.xyz
    own = ~topology.described
    for term, unit in ((topology.bonds, 1e-6), (topology.angles, 1e-6)):
        mine = own[term.atoms].all(axis=1)
        assert mine.any() == bool(LACKING[name] - {"MOH"})
        assert np.abs(term.deviations(xyz)[mine]).max(initial=0) < unit
    bonded = np.isin(np.flatnonzero(own & ~model.table.hydrogen), topology.bonded)
    in_residue = np.array([  # single atoms and waters have nothing to be bonded to
        model.table.resname[i] not in (b"HOH", b"UNX") for i in np.flatnonzero(own)
        if not model.table.hydrogen[i]
    ], dtype=bool)  # fmt: skip
    assert bonded[in_residue].all()


@pytest.mark.parametrize("name", ["2xiu/model.pdb", "4hg7/model.pdb", "1g8a/single-conformer.pdb"])
def test_gradients_on_real_models(name, shared_data):
    model = Model(shared_data / name)
    geometry = Geometry.of(model)
    at, n = geometry.state(model), len(model.table)
    linear = geometry.linear(at)
    assert np.isfinite(linear.value)
    random = np.random.default_rng(1)
    for columns, h in ((slice(0, 3 * n), 1e-6), (slice(3 * n, 4 * n), 1e-4),
                       (slice(4 * n, 10 * n), 1e-8)):  # fmt: skip
        way = np.zeros(10 * n)
        way[columns] = random.standard_normal(way[columns].shape)
        values = [geometry.value(type(at)(
            at.xyz + s * h * way[: 3 * n].reshape(n, 3), at.b_iso + s * h * way[3 * n : 4 * n],
            at.u_aniso + s * h * way[4 * n :].reshape(n, 6))) for s in (1, -1)]  # fmt: skip
        slope = (values[0] - values[1]) / (2 * h)
        assert linear.gradient @ way == pytest.approx(slope, rel=1e-6, abs=1e-5)
