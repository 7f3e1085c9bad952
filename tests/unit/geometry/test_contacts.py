"""Which atoms may touch, how near, and that mates count once."""

import gemmi
import numpy as np
import pytest

from helpers import atom_line, write_text
from multicopy_refinement.geometry import Geometry
from multicopy_refinement.geometry.images import near_images, nearest_image
from multicopy_refinement.geometry.terms.base import State
from multicopy_refinement.geometry.terms.contacts import Contacts
from multicopy_refinement.model import Model

P1 = "CRYST1   40.000   40.000   40.000  90.00  90.00  90.00 P 1"


@pytest.fixture
def contacts_of(tmp_path):
    """A function that returns the touching pairs of atoms written line by line, by label."""

    def find(*lines, cryst1=P1):
        path = write_text(tmp_path / "model.pdb", "\n".join([cryst1, *lines, "END", ""]))
        model = Model(path)
        geometry = Geometry.of(model)
        term = next(t for t in geometry.terms if isinstance(t, Contacts))
        pairs, image, distance, limit = term.touching(model.table.xyz)
        labels = [tuple(model.table.labels(pair)) for pair in pairs.tolist()]
        return {
            (*sorted(names), int(i > 0)): (d, near)
            for names, i, d, near in zip(labels, image.tolist(), distance, limit, strict=True)
        }

    return find


def water(number, x, occupancy=1.0, *, y=0.0, altloc=""):
    return atom_line("O", "HOH", number, occupancy, xyz=(x, y, 0.0), altloc=altloc,
                     record="HETATM")  # fmt: skip


def metal(symbol, x):
    return atom_line(symbol, symbol, 9, 1.0, xyz=(x, 0, 0), element=symbol, record="HETATM")


def test_waters_may_be_hydrogen_bonded_and_no_nearer(contacts_of):
    found = contacts_of(water(1, 0.0), water(2, 2.4))
    assert found[("A/1/HOH/O", "A/2/HOH/O", 0)] == pytest.approx((2.4, 2 * 1.52 - 0.3))
    assert not contacts_of(water(1, 0.0), water(2, 2.75))


def test_a_metal_has_its_ionic_radius(contacts_of):
    found = contacts_of(water(1, 0.0), metal("ZN", 1.9))
    assert found[("A/1/HOH/O", "A/9/ZN/ZN", 0)] == pytest.approx((1.9, 0.74 + 1.28))
    assert not contacts_of(water(1, 0.0), metal("ZN", 2.05))
    assert not contacts_of(metal("ZN", 0.0), metal("ZN", 1.0).replace("   9 ", "  10 "))


@pytest.mark.parametrize(
    ("first", "second", "touch"),
    [
        (("A", 0.5), ("B", 0.5), False),
        (("A", 0.5), ("B", 1.0), False),
        (("A", 0.5), ("A", 0.5), True),
        (("A", 0.5), ("", 1.0), True),
        (("A", 0.5), ("", 0.5), False),
        (("", 0.5), ("", 0.5), False),
        (("", 0.6), ("", 0.7), True),
        (("", 0.0), ("", 1.0), False),
    ],
)
def test_parts_that_exclude_each_other_do_not_touch(contacts_of, first, second, touch):
    found = contacts_of(
        water(1, 0.0, first[1], altloc=first[0]), water(2, 1.5, second[1], altloc=second[0])
    )
    assert bool(found) is touch


def test_models_do_not_see_each_other(contacts_of):
    one, other = water(1, 0.0), water(2, 1.5)
    assert not contacts_of("MODEL        1", one, "ENDMDL", "MODEL        2", other, "ENDMDL")
    assert contacts_of(one, other)


def test_mates_and_the_own_mate_are_met(contacts_of):
    axis = "CRYST1   40.000   40.000   40.000  90.00  90.00  90.00 P 1 2 1"
    found = contacts_of(water(1, 0.6), water(2, -2.0), cryst1=axis)
    assert found[("A/1/HOH/O", "A/1/HOH/O", 1)][0] == pytest.approx(1.2)
    assert found[("A/1/HOH/O", "A/2/HOH/O", 1)][0] == pytest.approx(1.4)
    half = contacts_of(water(1, 0.6, 0.5), cryst1=axis)
    assert not half  # it is here or there
    assert not contacts_of(water(1, 0.1, 1.0), cryst1=axis)  # it is on the axis


def test_a_sulfate_on_an_axis_is_one_molecule(contacts_of):
    axis = "CRYST1   40.000   40.000   40.000  90.00  90.00  90.00 P 1 2 1"
    half = [
        atom_line("S", "SO4", 1, 0.5, xyz=(0, 0, 0), record="HETATM"),
        atom_line("O1", "SO4", 1, 1.0, xyz=(1.2, 0.85, 0), record="HETATM"),
        atom_line("O2", "SO4", 1, 1.0, xyz=(0, -0.85, 1.2), record="HETATM"),
    ]
    assert not contacts_of(*half, cryst1=axis)


@pytest.mark.parametrize("group", ["P 1 2 1", "P 4", "P 3 2 1", "P 21 21 21", "C 1 2 1", "P 2 3"])
def test_contacts_of_the_crystal_are_counted_once(group):
    """Atoms written out for the whole cell have as much of them as there are operations."""
    spacegroup = gemmi.find_spacegroup_by_name(group)
    angles = (90, 90, 120) if "3 2 1" in group else (90, 90, 90)
    cell = gemmi.UnitCell(9.0, 9.0, 9.0, *angles)
    random = np.random.default_rng(2)  # no atom is within 0.5 A of its own mates
    places = random.uniform(0, 1, (5, 3))
    operations = list(spacegroup.operations())
    alone = crystal(cell, spacegroup, places)
    images = [op.apply_to_xyz(place) for op in operations for place in places.tolist()]
    every = crystal(cell, gemmi.find_spacegroup_by_name("P 1"), np.array(images))
    one, all_of_them = contact_energy(alone), contact_energy(every)
    assert one > 1
    assert all_of_them == pytest.approx(len(operations) * one, rel=1e-6)


def crystal(cell, spacegroup, places):
    structure = gemmi.Structure()
    structure.cell, structure.spacegroup_hm = cell, spacegroup.xhm()
    model, chain = gemmi.Model(1), gemmi.Chain("A")
    for number, place in enumerate(places.tolist(), 1):
        residue, atom = gemmi.Residue(), gemmi.Atom()
        residue.name, residue.seqid, residue.het_flag = "HOH", gemmi.SeqId(number, " "), "H"
        atom.name, atom.element, atom.occ, atom.b_iso = "O", gemmi.Element("O"), 1.0, 20.0
        atom.pos = cell.orthogonalize(gemmi.Fractional(*place))
        residue.add_atom(atom)
        chain.add_residue(residue)
    model.add_chain(chain)
    structure.add_model(model)
    structure.setup_entities()
    return Model(structure)


def contact_energy(model):
    geometry = Geometry.of(model)
    term = next(t for t in geometry.terms if isinstance(t, Contacts))
    return 0.5 * float((term.residuals(geometry.state(model)) ** 2).sum())


def test_what_is_said_does_not_depend_on_the_list(demo_geometry, demo_model):
    term = next(t for t in demo_geometry.terms if isinstance(t, Contacts))
    random = np.random.default_rng(2)
    start = demo_geometry.state(demo_model)
    fresh = Contacts(term.rules, term.images)
    for size in (0.02, 0.1, 0.2, 0.5, 1.0):
        xyz = start.xyz + size * random.standard_normal(start.xyz.shape)
        at = State(xyz, start.b_iso, start.u_aniso)
        fresh._kept.clear()
        assert np.sort(term.residuals(at)) == pytest.approx(np.sort(fresh.residuals(at)))
    kept = term.neighbours(xyz)
    assert term.neighbours(xyz + 0.2) is kept
    assert term.neighbours(xyz + 0.4) is not kept


def test_derivatives_of_contacts(demo_geometry, demo_model):
    term = next(t for t in demo_geometry.terms if isinstance(t, Contacts))
    start = demo_geometry.state(demo_model)
    random = np.random.default_rng(3)
    at = State(start.xyz + 0.2 * random.standard_normal(start.xyz.shape), start.b_iso,
               start.u_aniso)  # fmt: skip
    linear = term.linear(at)
    assert len(linear.residuals) > 100
    assert (term.touching(at.xyz)[1] > 0).any()
    for _ in range(5):
        way = random.standard_normal(start.xyz.shape)
        ends = [
            term.linear(State(at.xyz + h * way, at.b_iso, at.u_aniso)).value for h in (1e-5, -1e-5)
        ]
        slope = linear.gradient[: way.size] @ way.ravel()
        assert slope == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)


def test_the_nearest_mate_is_found(demo_model):
    cell, group = demo_model.cell, demo_model.spacegroup
    one, other = demo_model.table.xyz[[0, 40]]
    _, distance = nearest_image(one, other, cell, group)
    structure = gemmi.Structure()
    structure.cell, structure.spacegroup_hm = cell.gemmi, group.name
    structure.setup_cell_images()
    mate = structure.cell.find_nearest_image(
        gemmi.Position(*one), gemmi.Position(*other), gemmi.Asu.Different
    )
    assert distance == pytest.approx(mate.dist(), rel=1e-6)
    assert len(near_images(demo_model.table.xyz, None, None, 5.0)) == 1
