"""Twin laws: those that lattices are known to have, their obliquity, and what is no law."""

import numpy as np
import pytest

from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.crystal.hkl import orbit_keys, places_of, to_asymmetric_unit
from multicopy_refinement.crystal.twins import obliquity, readable, same_law, twin_law, twin_laws
from multicopy_refinement.errors import InputError

TETRAGONAL, TRIGONAL = (50, 50, 70, 90, 90, 90), (50, 50, 70, 90, 90, 120)
#: International Tables C (2004), 1.3.4.2: merohedral laws by point group; and pseudo-merohedral.
KNOWN = [
    ("P 41", TETRAGONAL, {"k,h,-l"}),
    ("P 3", TRIGONAL, {"-h,-k,l", "k,h,-l", "-k,-h,-l"}),
    ("P 32 2 1", TRIGONAL, {"-h,-k,l"}),
    ("P 3 1 2", TRIGONAL, {"-h,-k,l"}),
    ("P 61", TRIGONAL, {"k,h,-l"}),
    ("R 3:H", TRIGONAL, {"k,h,-l"}),
    ("I 2 3", (70, 70, 70, 90, 90, 90), {"k,h,-l"}),
    ("P 41 21 2", TETRAGONAL, set()),
    ("P 6 2 2", TRIGONAL, set()),
    ("P 21 21 21", (50, 60, 70, 90, 90, 90), set()),
    ("P 21 21 21", (50, 50.5, 70, 90, 90, 90), {"k,h,-l"}),
    ("P 1 21 1", (50, 60, 70, 90, 90.4, 90), {"h,-k,-l"}),
    ("P 1 21 1", (50, 60, 50.2, 90, 105, 90), {"l,-k,h"}),
]


@pytest.mark.parametrize(("group", "cell", "names"), KNOWN)
def test_laws_of_lattices(group, cell, names):
    cell, group = Cell(*cell), SpaceGroup(group)
    found = twin_laws(cell, group)
    expected = [twin_law(name, cell, group) for name in names]
    assert len(found) == len(expected)
    assert all(any(same_law(one, other, group) for other in expected) for one in found)
    for law in found:
        assert twin_law(law.name, cell, group).name == law.name


def test_obliquity_of_a_monoclinic_cell_is_the_excess_of_beta():
    matrix = readable("h,-k,-l")
    assert obliquity(matrix, Cell(50, 60, 70, 90, 91.3, 90)) == pytest.approx(1.3, abs=1e-9)
    assert obliquity(readable("k,h,-l"), Cell(*TETRAGONAL)) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("foo", "is no law"), ("h,k", "is no law"), ("h/2,k,l", "does not turn all indices"),
        ("x,y,z", "does not turn all indices"), ("h,k,h", "does not turn all indices"),
        ("h,k,l", "is a symmetry of the crystal"), ("-h,-k,-l", "is a symmetry of the crystal"),
        ("k,l,h", "symmetry of the crystal into itself"), ("", "is no law"),
    ],
)  # fmt: skip
def test_what_is_no_law(text, why):
    with pytest.raises(InputError, match=why):
        twin_law(text, Cell(*TRIGONAL), SpaceGroup("P 3"))


def test_laws_of_more_domains_or_other_lattices_are_refused():
    cube = Cell(50, 50, 50, 90, 90, 90)
    with pytest.raises(InputError, match="more than two domains"):
        twin_law("k,l,h", cube, SpaceGroup("P 21 21 21"))
    with pytest.raises(InputError, match=r"off by .* degrees.* no such law"):
        twin_law("k,h,-l", Cell(50, 60, 70, 90, 90, 90), SpaceGroup("P 21 21 21"))


@pytest.mark.parametrize("name", ["P 1", "P 1 21 1", "P 32 2 1", "P 61", "I 2 3", "C 2 2 21"])
def test_keys_are_one_for_an_orbit(name):
    group, random = SpaceGroup(name), np.random.default_rng(0)
    hkl = random.integers(-9, 10, (500, 3))
    unique = to_asymmetric_unit(hkl, group)
    _, expected = np.unique(unique, axis=0, return_inverse=True)
    _, found = np.unique(orbit_keys(hkl, group), return_inverse=True)
    pairs = set(zip(expected.ravel().tolist(), found.ravel().tolist(), strict=True))
    assert len(pairs) == expected.max() + 1 == found.max() + 1
    among = np.unique(unique, axis=0)
    np.testing.assert_array_equal(among[places_of(-hkl, among, group)], unique)
    assert (places_of(np.array([[50, 1, 1]]), among, group) == -1).all()
