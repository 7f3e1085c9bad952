"""Maps of kinds of atoms, from a few, against one map for each kind."""

import numpy as np
import pytest

from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.crystal.beam import Beam
from multicopy_refinement.crystal.density import density_from
from multicopy_refinement.crystal.hkl import unique_reflections
from multicopy_refinement.refinement.atom_maps import AtomMaps, read
from multicopy_refinement.scattering.factors import form_factors

CELL, GROUP, SHAPE = Cell(30, 40, 50, 90, 90, 90), SpaceGroup("P 21 21 21"), (54, 72, 90)
KINDS = [(symbol, b) for symbol in (b"C", b"N", b"O", b"S", b"FE") for b in (8.0, 15.0, 30.0, 60.0)]


@pytest.fixture(scope="module")
def wanted():
    """Coefficients of each kind, ``[n_kinds, n]``, of a noise that is the same for all."""
    hkl = unique_reflections(CELL, GROUP, 1.8)
    s_squared, random = CELL.inverse_d_squared(hkl), np.random.default_rng(1)
    c = random.standard_normal(len(hkl)) + 1j * random.standard_normal(len(hkl))
    symbols = sorted({symbol for symbol, _ in KINDS})
    f = dict(zip(symbols, form_factors(np.array(symbols), Beam()).at(s_squared), strict=True))
    rows = [c * f[symbol] * np.exp(-b * s_squared / 4) for symbol, b in KINDS]
    return hkl, np.array(rows)


def test_a_few_maps_give_all(wanted):
    hkl, rows = wanted
    made = []

    def density(c):
        made.append(c)
        return density_from(c, hkl, CELL, GROUP, SHAPE)

    maps = AtomMaps.of(KINDS, rows, density)
    assert 2 <= len(made) == len(maps.maps) <= 6 < len(KINDS)
    places = np.random.default_rng(2).uniform(-1, 2, (500, 1, 3))
    for kind, row in zip(KINDS, rows, strict=True):
        whole = density_from(row, hkl, CELL, GROUP, SHAPE)
        off = maps.at(places, [kind]) - read(whole, places[:, 0])
        assert np.sqrt(np.mean(off**2)) < 3e-3 * whole.std()


def test_the_maps_of_the_atoms_of_a_group_add_up(wanted):
    hkl, rows = wanted
    maps = AtomMaps.of(KINDS, rows, lambda c: density_from(c, hkl, CELL, GROUP, SHAPE))
    places = np.random.default_rng(3).uniform(0, 1, (20, 3, 3))
    group = [KINDS[0], KINDS[7], KINDS[0]]
    alone = sum(maps.at(places[:, [i]], [kind]) for i, kind in enumerate(group))
    np.testing.assert_allclose(maps.at(places, group), alone, rtol=1e-12, atol=1e-9)


def test_one_kind_and_nothing_have_their_maps():
    hkl = unique_reflections(CELL, GROUP, 4.0)
    for row in (np.ones(len(hkl)), np.zeros(len(hkl))):
        maps = AtomMaps.of(["C"], row[None], lambda c: density_from(c, hkl, CELL, GROUP, SHAPE))
        whole = density_from(row, hkl, CELL, GROUP, SHAPE)
        places = np.zeros((1, 1, 3))
        np.testing.assert_allclose(maps.at(places, ["C"]), read(whole, places[:, 0]), rtol=1e-5)
