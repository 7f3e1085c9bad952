"""What is only a way of writing changes nothing: threads, order, asymmetric unit, indices.

Two crystals of the demo's model, every second atom anisotropic, with waters that are not there.
"""

import gemmi
import numpy as np
import pytest
import torch

from demo_data import DEMO
from gemmi_truth import nearest
from multicopy_refinement.model import Model
from multicopy_refinement.run.job import RefineJob, run
from multicopy_refinement.simulate import simulate, write_simulated

#: Orthorhombic with screw axes, and trigonal: there an operation mixes the axes.
CELLS = {
    "P 21 21 21": (28.0, 30.0, 32.0, 90.0, 90.0, 90.0),
    "P 31 2 1": (42.0, 42.0, 48.0, 90.0, 90.0, 120.0),
}
ABSENT = 6
COORDINATES = ("Cartn_x", "Cartn_y", "Cartn_z")
DISPLACEMENTS = ("11", "22", "33", "12", "13", "23")


def demo_structure(name: str, group: str) -> gemmi.Structure:
    structure = gemmi.read_pdb(str(DEMO / name))
    structure.cell, structure.spacegroup_hm = gemmi.UnitCell(*CELLS[group]), group
    structure.setup_entities()
    for number, site in enumerate(structure[0].all()):
        if number % 2:
            u = site.atom.b_iso / (8 * np.pi**2)
            site.atom.aniso = gemmi.SMat33f(0.7 * u, 1.1 * u, 1.2 * u, 0.1 * u, 0, -0.1 * u)
    return structure


def add_absent_waters(structure: gemmi.Structure) -> None:
    """Add waters at half occupancy in contact with the model, and clear of it."""
    random, waters = np.random.default_rng(4), gemmi.Chain("X")
    anchors = [site.atom.pos.tolist() for site in structure[0].all()]
    search = gemmi.NeighborSearch(structure[0], structure.cell, 6.0).populate()
    while len(waters) < ABSENT:
        place = gemmi.Position(*(anchors[random.integers(len(anchors))] + random.normal(0, 3, 3)))
        apart = [structure.cell.find_nearest_image(place, w[0].pos).dist() for w in waters]
        if not 2.8 < nearest(search, structure, [place]) < 4.0 or min(apart, default=99.0) < 4.0:
            continue
        water, oxygen = gemmi.Residue(), gemmi.Atom()
        water.name, water.seqid, water.het_flag = "HOH", gemmi.SeqId(len(waters) + 1, " "), "H"
        oxygen.name, oxygen.element = "O", gemmi.Element("O")
        oxygen.pos, oxygen.occ, oxygen.b_iso = place, 0.5, 25.0
        water.add_atom(oxygen)
        waters.add_residue(water)
    structure[0].add_chain(waters)


def write_model(structure: gemmi.Structure, path, order=None) -> None:
    """Write mmCIF with all decimals that a place after a symmetry operation needs."""
    structure.assign_serial_numbers()
    document = structure.make_mmcif_document()
    block = document.sole_block()
    atoms = {site.atom.serial: site.atom for site in structure[0].all()}
    for row in block.find("_atom_site.", ["id", *COORDINATES]):
        for i, value in enumerate(atoms[int(row[0])].pos.tolist(), start=1):
            row[i] = f"{value:.8f}"
    for row in block.find(
        "_atom_site_anisotrop.", ["id", *(f"U[{i[0]}][{i[1]}]" for i in DISPLACEMENTS)]
    ):
        for i, value in enumerate(atoms[int(row[0])].aniso.elements_pdb(), start=1):
            row[i] = f"{value:.9f}"
    if order is not None:
        loop = block.find_loop("_atom_site.id").get_loop()
        rows = np.array(loop.values).reshape(-1, loop.width())[order]
        loop.set_all_values(rows.T.tolist())
    document.write_file(str(path))


def moved(structure: gemmi.Structure) -> gemmi.Structure:
    """Return the structure with each residue in an asymmetric unit of its own."""
    random, cell = np.random.default_rng(2), structure.cell
    operations = list(gemmi.SpaceGroup(structure.spacegroup_hm).operations())
    there = structure.clone()
    orthogonal, fractional = np.array(cell.orth.mat.tolist()), np.array(cell.frac.mat.tolist())
    for residue in (r for chain in there[0] for r in chain):
        operation = operations[random.integers(len(operations))]
        shift = random.integers(-1, 2, 3)
        turn = orthogonal @ (np.array(operation.rot) / gemmi.Op.DEN) @ fractional
        for atom in residue:
            place = operation.apply_to_xyz(cell.fractionalize(atom.pos).tolist())
            atom.pos = cell.orthogonalize(gemmi.Fractional(*(np.array(place) + shift)))
            if atom.aniso.nonzero():
                u = turn @ np.array(atom.aniso.as_mat33().tolist()) @ turn.T
                atom.aniso = gemmi.SMat33f(*np.diag(u), u[0, 1], u[0, 2], u[1, 2])
    return there


def write_data(source, path, order=None, *, equivalents=False) -> None:
    mtz = gemmi.read_mtz_file(str(source))
    rows, random = np.array(mtz.array), np.random.default_rng(5)
    if order is not None:
        rows = rows[order]
    if equivalents:
        operations = list(mtz.spacegroup.operations().sym_ops)
        for row in rows:
            operation = operations[random.integers(len(operations))]
            hkl = operation.apply_to_hkl([int(i) for i in row[:3]])
            row[:3] = random.choice([-1, 1]) * np.array(hkl)
    mtz.set_data(rows)
    mtz.write_to_file(str(path))


@pytest.fixture(scope="module", params=CELLS)
def crystal(request, tmp_path_factory):
    """A folder with a model and its data as they are, and written in other ways."""
    group, folder = request.param, tmp_path_factory.mktemp("invariance")
    start = demo_structure("start.pdb", group)
    add_absent_waters(start)
    truth = demo_structure("truth.pdb", group)
    write_model(truth, folder / "truth.cif")
    write_model(start, folder / "plain.cif")
    write_model(moved(start), folder / "moved.cif")
    random = np.random.default_rng(1)
    write_model(start, folder / "shuffled.cif", random.permutation(start[0].count_atom_sites()))
    model = Model(dtype_float=torch.float64).load(folder / "truth.cif")
    write_simulated(simulate(model, 2.4, seed=1), model, folder / "plain.mtz")
    order = random.permutation(gemmi.read_mtz_file(str(folder / "plain.mtz")).nreflections)
    write_data(folder / "plain.mtz", folder / "shuffled.mtz", order)
    write_data(folder / "plain.mtz", folder / "equivalents.mtz", equivalents=True)
    return folder


def refined(folder, model, data, threads=1, parameters="occupancy", uncertainty="marginal"):
    """Return the refined groups by their names."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        record = run(
            RefineJob(
                model=folder / f"{model}.cif", data=folder / f"{data}.mtz",
                out=folder / f"{model}-{data}-{threads}-{parameters}-{uncertainty}",
                threads=threads, parameters=parameters, uncertainty=uncertainty,
            )
        )  # fmt: skip
    finally:
        torch.set_num_threads(before)
    assert record.status.converged
    return {g.name: g for g in record.groups if g.refined}


def assert_alike(found, expected, atol=1e-5):
    assert found.keys() == expected.keys()
    for value in ("occupancy", "su"):
        a, b = ([getattr(g[name], value) for name in expected] for g in (found, expected))
        np.testing.assert_allclose(a, b, atol=atol)
    assert {n: g.flags for n, g in found.items()} == {n: g.flags for n, g in expected.items()}


@pytest.fixture(scope="module")
def plain(crystal):
    found = refined(crystal, "plain", "plain")
    absent = [group for name, group in found.items() if name.startswith("X/")]
    assert len(absent) == ABSENT
    assert sum("not_supported" in group.flags for group in absent) >= ABSENT - 1
    assert max(group.occupancy for group in absent) > 0.004  # not all at the bound
    return found


@pytest.mark.parametrize(
    ("model", "data", "threads"),
    [
        pytest.param("plain", "plain", 2, id="two threads"),
        pytest.param("shuffled", "plain", 1, id="atoms in another order"),
        pytest.param("plain", "shuffled", 1, id="reflections in another order"),
        pytest.param("plain", "equivalents", 1, id="equivalent indices"),
    ],
)
def test_order_indices_and_threads_change_nothing(crystal, plain, model, data, threads):
    found = refined(crystal, model, data, threads)
    assert_alike(found, plain)
    p, expected = ([g[name].p_absent for name in plain] for g in (found, plain))
    np.testing.assert_allclose(p, expected, rtol=1e-3, atol=1e-12)  # also by decoys


def test_another_asymmetric_unit_changes_nothing(crystal, plain):
    """Bonds are lost where residues stand apart, and with them what they say of coordinates."""
    one, other = (
        refined(crystal, m, "plain", uncertainty="conditional") for m in ("plain", "moved")
    )
    assert_alike(other, one)
    moved = refined(crystal, "moved", "plain")
    np.testing.assert_allclose(
        [moved[n].occupancy for n in plain], [plain[n].occupancy for n in plain], atol=1e-5
    )


def test_b_shifts_are_those_of_the_atoms_in_any_order(crystal):
    one, other = (
        refined(crystal, model, "plain", parameters="occupancy,b_group", uncertainty="conditional")
        for model in ("plain", "shuffled")
    )
    # q and B of a water go along one another until a cycle changes q by less than 1e-3
    assert_alike(other, one, atol=3e-5)
    # 1e-4 of log-likelihood, as which rounding of F counts, is 0.015 su
    su = np.array([one[name].delta_b_su for name in one])
    change = np.array([other[name].delta_b - one[name].delta_b for name in one])
    assert (np.abs(change) < np.maximum(0.03 * su, 2e-3)).all(), change / su
