"""Form factors, and the fits by fewer Gaussians."""

import gemmi
import numpy as np
import pytest

from multicopy_refinement.errors import InputError
from multicopy_refinement.scattering.factors import form_factors

ELEMENTS = [
    b"H",
    b"LI",
    b"C",
    b"N",
    b"O",
    b"NA",
    b"P",
    b"S",
    b"CL",
    b"CA",
    b"FE",
    b"ZN",
    b"SE",
    b"U",
]
TABLE = form_factors(np.array(ELEMENTS, dtype="S2"))


def evaluate(a, b, s_squared):
    return (a[:, :, None] * np.exp(-b[:, :, None] * s_squared / 4)).sum(axis=1)


def test_values_are_those_of_gemmi():
    s_squared = np.linspace(0, 1, 7)
    for symbol, found in zip(TABLE.symbols, TABLE.at(s_squared), strict=True):
        table = gemmi.Element(symbol.decode()).it92
        assert np.allclose(found, [table.calculate_sf(s / 4) for s in s_squared], rtol=1e-6)


def test_elements_without_a_table_are_refused():
    with pytest.raises(InputError, match="no form factor for element"):
        form_factors(np.array([b"C", b"ES"]))


@pytest.mark.parametrize("d_min", [0.45, 0.6, 0.83, 1.0, 1.23, 2.0, 3.1, 8.0])
@pytest.mark.parametrize("tolerance", [1e-3, 5e-5, 1e-8, 0.0])
def test_fewer_gaussians_keep_the_tolerance(d_min, tolerance):
    s_squared = np.linspace(0, d_min**-2, 300)
    a, b = TABLE.fewer_gaussians(d_min, tolerance)
    exact = TABLE.at(s_squared)
    error = np.abs(evaluate(a, b, s_squared) / exact - 1).max(axis=1)
    assert (error <= 1.05 * tolerance + 1e-12).all()
    assert (b >= 0).all()


def test_fewer_gaussians_are_fewer():
    assert TABLE.fewer_gaussians(4.0, 1e-3)[0].shape[1] == 2
    carbon = form_factors(np.array([b"C", b"O"]))
    assert carbon.fewer_gaussians(1.3, 5e-5)[0].shape[1] == 3
    assert carbon.fewer_gaussians(0.5, 5e-5)[0].shape[1] == 5


def test_deuterium_scatters_as_hydrogen():
    deuterium, hydrogen = (form_factors(np.array([s])) for s in (b"D", b"H"))
    for found, expected in zip(
        deuterium.fewer_gaussians(2.0, 1e-4), hydrogen.fewer_gaussians(2.0, 1e-4), strict=True
    ):
        assert (found == expected).all()


def test_terms_of_elements_that_need_fewer_are_zero():
    mixed = form_factors(np.array([b"H", b"N"]))
    a, _ = mixed.fewer_gaussians(1.2, 3e-6)
    counts = dict(zip(mixed.symbols.tolist(), (a != 0).sum(axis=1).tolist(), strict=True))
    assert counts[b"N"] < counts[b"H"]
