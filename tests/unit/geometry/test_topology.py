"""What is restrained to what: altlocs, links, breaks, models, and what has no dictionary."""

import gemmi
import numpy as np
import pytest

from helpers import atom_line, write_text
from multicopy_refinement.geometry import Geometry
from multicopy_refinement.geometry.monomers import Dictionaries
from multicopy_refinement.model import Model


def names_of(geometry, atoms):
    return [tuple(geometry.table.labels(row)) for row in atoms.tolist()]


def codes(geometry):
    return [notice.code for notice in geometry.notices]


def test_z_scores_are_those_of_gemmi(demo_model, demo_geometry):
    structure = demo_model.source.structure()
    structure.setup_entities()
    names = structure[0].get_all_residue_names()
    library = Dictionaries().library(names).content
    topo = gemmi.prepare_topology(structure, library, 0, gemmi.HydrogenChange.NoChange)
    xyz = demo_model.table.xyz
    topology = demo_geometry.topology
    for term, restraints in ((topology.bonds, topo.bonds), (topology.angles, topo.angles)):
        expected = np.array([restraint.calculate_z() for restraint in restraints])
        found = np.abs(term.deviations(xyz) / term.sigma)
        np.testing.assert_allclose(found, np.abs(expected), rtol=1e-6, atol=1e-9)
    proline = {id_ for id_, name in enumerate(demo_model.table.resname) if name == b"PRO"}
    torsions = [
        t for t in topo.torsions
        if t.restr.label == "omega"
        or (t.restr.label == "chi1" and t.atoms[1].serial - 1 not in proline)
    ]  # fmt: skip
    expected = np.array([t.calculate_z() for t in torsions])
    assert len(expected) > 30
    every = np.abs(topology.torsions.deviations(xyz) / topology.torsions.sigma)
    for z in np.abs(expected):
        assert np.abs(every - z).min() < 1e-6
    volumes = [(topo.ideal_chiral_abs_volume(c), c.calculate()) for c in topo.chirs]
    np.testing.assert_allclose(np.abs(topology.chirality.ideal), [v for v, _ in volumes])
    np.testing.assert_allclose(
        topology.chirality.measure(xyz[topology.chirality.atoms])[0],
        [abs(v) if either else v for (_, v), either in zip(
            volumes, topology.chirality.either, strict=True)],
    )  # fmt: skip


def test_exchanged_hydrogens_leave_the_restraints_of_others_alone(
    demo_path, demo_geometry, tmp_path
):
    """One atom is made by gemmi of H and D at one site: rows behind it must stay what they are."""
    structure = gemmi.read_structure(str(demo_path))
    for number in ("3", "8", "14"):
        residue = structure[0]["A"][number][0]
        n, ca = (np.array(residue[name][0].pos.tolist()) for name in ("N", "CA"))
        place = n + (n - ca) / np.linalg.norm(n - ca)
        for letter, element in (("A", "H"), ("B", "D")):
            atom = gemmi.Atom()
            atom.name, atom.element, atom.altloc = element, gemmi.Element(element), letter
            atom.pos, atom.occ, atom.b_iso = gemmi.Position(*place), 0.5, 20.0
            residue.add_atom(atom)
    structure.write_pdb(str(tmp_path / "exchanged.pdb"))
    geometry = Geometry.of(Model(tmp_path / "exchanged.pdb"))
    assert codes(geometry) == codes(demo_geometry)
    for name in ("bonds", "angles", "torsions", "chirality"):
        found, expected = (getattr(g.topology, name) for g in (geometry, demo_geometry))
        assert names_of(geometry, found.atoms) == names_of(demo_geometry, expected.atoms)
        np.testing.assert_allclose(found.ideal, expected.ideal)


def test_rows_are_those_of_the_file_whatever_its_order(demo_path, demo_geometry, tmp_path):
    lines = demo_path.read_text().splitlines()
    atoms = [line for line in lines if line.startswith(("ATOM", "HETATM"))]
    late = [line for line in atoms if line[16] in "BC"]
    others = [line for line in atoms if line[16] not in "BC"]
    head = [line for line in lines if line.startswith("CRYST1")]
    path = write_text(tmp_path / "late.pdb", "\n".join([*head, *others, *late, "END", ""]))
    geometry = Geometry.of(Model(path))
    assert not np.array_equal(geometry.table.name, demo_geometry.table.name)
    for name in ("bonds", "angles", "torsions", "chirality"):
        found, expected = (
            {(*names, round(float(v), 6)) for names, v in zip(
                names_of(g, getattr(g.topology, name).atoms), getattr(g.topology, name).ideal,
                strict=True)}
            for g in (geometry, demo_geometry)
        )  # fmt: skip
        assert found == expected
    assert geometry.value(State(geometry)) == pytest.approx(demo_geometry.value(
        State(demo_geometry)), rel=1e-9)  # fmt: skip


def test_a_model_without_a_crystal_has_no_mates(demo_path, demo_geometry, tmp_path):
    text = "\n".join(x for x in demo_path.read_text().splitlines() if not x.startswith("CRYST1"))
    geometry = Geometry.of(Model(write_text(tmp_path / "alone.pdb", text)))
    assert len(geometry.terms[6].images) == 1
    assert len(geometry.topology.bonds) == len(demo_geometry.topology.bonds)


def test_a_metal_that_the_file_links_to_an_unknown_ligand_is_kept(load_lines):
    link = "LINK        ZN    ZN A   2                 N7  LIG A   1     1555   1555  2.10"
    zinc = atom_line("ZN", "ZN", 2, 1.0, xyz=(-4.96, 0, 0), element="ZN", record="HETATM")
    model = load_lines([link], ligand(), [zinc])
    geometry = Geometry.of(model)
    assert ("A/1/LIG/N7", "A/2/ZN/ZN") in names_of(geometry, geometry.topology.bonds.atoms)
    alone = Geometry.of(load_lines(ligand(), [zinc]))
    assert len(alone.topology.bonds) == len(geometry.topology.bonds) - 1


def test_letters_are_restrained_to_the_common_part_and_not_to_each_other(demo_geometry):
    table, topology = demo_geometry.table, demo_geometry.topology
    for term in (topology.bonds, topology.angles, topology.torsions, topology.chirality):
        for atoms in term.atoms.tolist():
            assert len(set(table.altloc[atoms].tolist()) - {b""}) < 2
    bonds = names_of(demo_geometry, topology.bonds.atoms)
    for letter in "ABC":
        assert ("A/2/ASP/CB", f"A/2/ASP/CG:{letter}") in bonds
    for group in topology.planes.groups:
        for atoms in group.tolist():
            assert len(set(table.altloc[atoms].tolist()) - {b""}) < 2


def test_a_broken_chain_is_said_and_not_pulled_together(peptide):
    for residue in list(peptide[0][0])[10:]:
        for atom in residue:
            atom.pos = gemmi.Position(atom.pos.x + 4, atom.pos.y, atom.pos.z)
    geometry = Geometry.of(Model(peptide))
    (notice,) = geometry.notices
    assert notice.code == "broken_chain"
    assert geometry.topology.bonds.deviations(geometry.table.xyz).max() < 0.1


def connected(structure, ends, asu=gemmi.Asu.Same):
    link = gemmi.Connection()
    link.type, link.name, link.asu = gemmi.ConnectionType.Covale, "link1", asu
    chain = structure[0][0]
    link.partner1, link.partner2 = (
        gemmi.AtomAddress(chain.name, chain[number].seqid, chain[number].name, atom)
        for number, atom in ends
    )
    structure.connections.append(link)
    return structure


def test_a_link_that_is_too_long_is_left_out_by_name(peptide):
    geometry = Geometry.of(Model(connected(peptide, ((1, "CA"), (20, "CA")))))
    (notice,) = geometry.notices
    assert notice.code == "link_too_long"
    assert "A long (1.52 expected): it is not restrained" in notice.message
    assert len(notice.atoms) == 2


def test_a_link_to_a_symmetry_mate_is_restrained_across(tmp_path):
    lines = [
        "CRYST1   20.000   20.000   20.000  90.00  90.00  90.00 P 1 2 1",
        "LINK         SG  CYS A   1                 SG  CYS A   1     1555   2555  2.10",
        atom_line("CB", "CYS", 1, 1.0, xyz=(2.4, 0.0, 0.4)),
        atom_line("SG", "CYS", 1, 1.0, xyz=(1.0, 0.0, 0.2), element="S"),
    ]
    model = Model(write_text(tmp_path / "mate.pdb", "\n".join([*lines, "END", ""])))
    geometry = Geometry.of(model)
    bonds = geometry.topology.bonds
    (row,) = np.flatnonzero(bonds.image).tolist()
    assert names_of(geometry, bonds.atoms)[row] == ("A/1/CYS/SG", "A/1/CYS/SG")
    length = bonds.deviations(model.table.xyz)[row] + bonds.ideal[row]
    assert length == pytest.approx(2 * np.hypot(1.0, 0.2), rel=1e-6)
    assert geometry.statistics(geometry.state(model))["bonds"].n == 2
    contacts = geometry.terms[6]
    assert len(contacts.residuals(geometry.state(model))) == 0


def test_each_model_has_its_own_restraints(peptide, tmp_path):
    single = Geometry.of(Model(peptide))
    second = peptide[0].clone()
    second.num = 2
    for site in second.all():
        site.atom.pos = gemmi.Position(site.atom.pos.x + 0.3, site.atom.pos.y, site.atom.pos.z)
    peptide.add_model(second)
    both = Geometry.of(Model(peptide))
    for name in ("bonds", "angles", "torsions", "chirality", "planes"):
        one, two = (getattr(g.topology, name) for g in (single, both))
        assert len(two) == 2 * len(one)
    models = both.table.model[both.topology.bonds.atoms]
    assert (models[:, 0] == models[:, 1]).all()
    at = [g.statistics(State(g)) for g in (single, both)]
    assert at[0]["bonds"].rms_z == pytest.approx(at[1]["bonds"].rms_z, rel=1e-3)


def State(geometry):
    from multicopy_refinement.geometry.terms.base import State as Where

    return Where(geometry.table.xyz, geometry.table.b_iso, geometry.table.u_aniso)


BENZENE = [(1.39 * np.cos(a), 1.39 * np.sin(a), 0.0) for a in np.radians(np.arange(0, 360, 60))]


def ligand(letter="", shift=0.0, stretch=1.0):
    """Return lines of a chlorobenzene with a methyl that stands off its plane."""
    places = [(f"C{i + 1}", p) for i, p in enumerate(BENZENE)]
    places += [("CL", (3.13, 0.0, 0.0)), ("N7", (-2.86, 0.0, 0.0)), ("C8", (-3.3, 0.5, 1.3))]
    q = 0.5 if letter else 1.0
    return [
        atom_line(name, "LIG", 1, q, xyz=(stretch * x + shift, stretch * y, stretch * z),
                  altloc=letter, record="HETATM", element="CL" if name == "CL" else name[0])
        for name, (x, y, z) in places
    ]  # fmt: skip


def test_a_ligand_without_a_dictionary_keeps_what_it_has(load_lines):
    model = load_lines(ligand("A"), ligand("B", 0.4, 1.03))
    geometry = Geometry.of(model)
    (notice,) = geometry.notices
    assert notice.code == "no_dictionary"
    assert "A/1/LIG: no restraint dictionary of LIG" in notice.message
    topology = geometry.topology
    assert len(topology.bonds) == 2 * 9
    assert len(topology.angles) + len(topology.straight) == 2 * 11
    first = topology.bonds.ideal[:9]
    assert topology.bonds.deviations(model.table.xyz) == pytest.approx(0, abs=1e-9)
    assert np.sort(topology.bonds.ideal) == pytest.approx(
        np.sort([*(1.39,) * 6, 1.74, 1.47, 1.4606, *1.03 * np.array([*(1.39,) * 6, 1.74, 1.47,
                                                                    1.4606])]), abs=2e-3
    )  # fmt: skip
    assert len(first) == 9
    ring = {tuple(n.split("/")[-1].split(":")[0] for n in names) for group in topology.planes.groups
            for names in names_of(geometry, group)}  # fmt: skip
    assert ring == {("C1", "C2", "C3", "C4", "C5", "C6", "CL", "N7")}
    at = geometry.state(model)
    kinds = geometry.statistics(at)
    assert kinds["bonds"].rms_z == pytest.approx(0, abs=1e-6)


def test_carbons_without_a_dictionary_have_radii_by_their_bonds(load_lines):
    geometry = Geometry.of(load_lines(ligand()))
    radius = dict(
        zip(geometry.table.name.tolist(), geometry.topology.types.with_hydrogens, strict=True)
    )
    assert [radius[b"C%d" % i] for i in (1, 2, 3, 4, 5, 6)] == pytest.approx(
        [1.75, 1.82, 1.82, 1.75, 1.82, 1.82]  # without a hydrogen, and with one
    )
    assert radius[b"C8"] == pytest.approx(1.94)  # a methyl
    assert len(geometry.terms[6].residuals(State(geometry))) == 0


def test_a_hand_without_a_dictionary_is_kept(load_lines):
    corners = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 1.5 / np.sqrt(3)
    lines = [atom_line("C", "XYZ", 1, 1.0, record="HETATM")]
    lines += [
        atom_line(name, "XYZ", 1, 1.0, xyz=tuple(x), element=name[0], record="HETATM")
        for name, x in zip(("O1", "N1", "C1", "C2"), corners, strict=True)
    ]
    model = load_lines(lines)
    chirality = Geometry.of(model).topology.chirality
    volume = np.linalg.det(corners[:3])
    assert chirality.ideal == pytest.approx([volume], rel=1e-3)
    assert not chirality.either.any()


def test_a_dictionary_that_lacks_atoms_is_said_and_they_are_kept(peptide):
    residue = peptide[0][0][4]
    atom = residue.find_atom("CB", "*")
    atom.name = "CX"
    geometry = Geometry.of(Model(peptide))
    (notice,) = geometry.notices
    assert notice.code == "atoms_without_restraints"
    assert notice.atoms == (f"A/5/{residue.name}/CX",)
    mine = [names for names in names_of(geometry, geometry.topology.bonds.atoms)
            if notice.atoms[0] in names]  # fmt: skip
    assert any("CA" in name for names in mine for name in names)


def test_a_dictionary_for_another_molecule_is_said(load_lines, tmp_path):
    text = "\n".join([
        "data_comp_LIG", "loop_", "_chem_comp_atom.comp_id", "_chem_comp_atom.atom_id",
        "_chem_comp_atom.type_symbol", "_chem_comp_atom.type_energy", "LIG Q1 C CH3",
        "LIG Q2 C CH3", "loop_", "_chem_comp_bond.comp_id", "_chem_comp_bond.atom_id_1",
        "_chem_comp_bond.atom_id_2", "_chem_comp_bond.type", "_chem_comp_bond.value_dist",
        "_chem_comp_bond.value_dist_esd", "LIG Q1 Q2 single 1.5 0.02", "",
    ])  # fmt: skip
    path = write_text(tmp_path / "LIG.cif", text)
    geometry = Geometry.of(load_lines(ligand()), restraints=path)
    (notice,) = geometry.notices
    assert notice.code == "atoms_without_restraints"
    assert str(path) in notice.message
    assert len(geometry.topology.bonds) == 9


def test_peptides_are_cis_or_trans_as_they_are(demo_geometry):
    torsions = demo_geometry.topology.torsions
    names = names_of(demo_geometry, torsions.atoms)
    omega = [i for i, row in enumerate(names) if [n.split("/")[-1].split(":")[0] for n in row]
             == ["CA", "C", "N", "CA"]]  # fmt: skip
    assert len(omega) > 20
    off = torsions.deviations(demo_geometry.table.xyz)[omega]
    assert np.abs(np.degrees(off)).max() < 30
    assert set(np.round(np.degrees(np.abs(torsions.ideal[omega])))) <= {0.0, 180.0}


def test_single_atoms_and_waters_need_no_dictionary(load_lines):
    lines = [
        atom_line("O", "WAT", 1, 1.0, xyz=(0, 0, 0)),
        atom_line("XE", "XE", 2, 1.0, xyz=(5, 0, 0), element="XE"),
        atom_line("X", "UNX", 3, 1.0, xyz=(9, 0, 0), element="X"),
    ]
    geometry = Geometry.of(load_lines(lines))
    assert codes(geometry) == []
    assert len(geometry.topology.bonds) == 0
    assert geometry.value(State(geometry)) == 0
