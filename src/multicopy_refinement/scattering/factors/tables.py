"""Form factors of neutral atoms from the tables of gemmi, one for each radiation."""

from __future__ import annotations

from collections.abc import Callable

import gemmi
import numpy as np
from numpy.typing import NDArray

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.crystal.beam import PLAIN, Beam
from multicopy_refinement.errors import InputError
from multicopy_refinement.modes import Radiation
from multicopy_refinement.scattering.factors.gaussians import FormFactors

#: Heights and widths of the Gaussians of one element.
_Terms = tuple[FloatArray, FloatArray]


def _lacking(element: gemmi.Element, what: str) -> InputError:
    return InputError(f"no {what} for element {element.name.upper()!r}")


def _xray(element: gemmi.Element) -> _Terms:
    """International Tables C (1992), table 6.1.1.4: four Gaussians and a constant, electrons."""
    if element.it92 is None:
        raise _lacking(element, "form factor")
    coefficients = np.array(element.it92.get_coefs())
    return coefficients[[0, 1, 2, 3, 8]], np.append(coefficients[4:8], 0.0)


def _electron(element: gemmi.Element) -> _Terms:
    """International Tables C (2011), table 4.3.2.2: five Gaussians, A."""
    if element.c4322 is None:
        raise _lacking(element, "electron form factor")
    coefficients = np.array(element.c4322.get_coefs())
    return coefficients[:5], coefficients[5:]


def _neutron(element: gemmi.Element) -> _Terms:
    """Bound coherent scattering lengths (Sears 1992, Neutron News 3(3), 26): a constant, fm."""
    length = np.array(element.neutron92.get_coefs())
    if length[0] == 0:
        raise _lacking(element, "neutron scattering length")
    return length, np.zeros(1)


_TABLES: dict[Radiation, Callable[[gemmi.Element], _Terms]] = {
    Radiation.XRAY: _xray, Radiation.ELECTRON: _electron, Radiation.NEUTRON: _neutron,
}  # fmt: skip
_TERMS = {Radiation.XRAY: 5, Radiation.ELECTRON: 5, Radiation.NEUTRON: 1}


def form_factors(elements: NDArray[np.bytes_], beam: Beam = PLAIN) -> FormFactors:
    """Return the form factors of neutral atoms by chemical symbol, ``S2 [n_atoms]``; 0 for X.

    Parameters
    ----------
    elements
        In capitals; H and D scatter neutrons as they are, all else alike.
    beam
        Radiation, and f' of elements, which adds to the constant; X-rays when left out.

    Raises
    ------
    InputError
        An element that the table does not have.

    Examples
    --------
    >>> round(float(form_factors(np.array([b"C"])).a.sum()), 2)
    6.0
    >>> form_factors(np.array([b"H", b"D"]), Beam(Radiation.NEUTRON)).a.ravel().tolist()
    [6.671, -3.739]
    """
    symbols, row = np.unique(elements, return_inverse=True)
    a, b = np.zeros((2, len(symbols), _TERMS[beam.radiation]))
    known = dict(beam.f_prime)
    f_prime = np.array([known.get(symbol.decode(), 0.0) for symbol in symbols.tolist()])
    for i, symbol in enumerate(symbols.tolist()):
        if symbol == b"X":  # nobody knows what it is: it does not scatter
            f_prime[i] = 0.0
            continue
        a[i], b[i] = _TABLES[beam.radiation](gemmi.Element(symbol.decode()))
    a[:, -1] += f_prime  # the constant is the last of X-rays, which alone have f'
    fitted = beam.radiation is Radiation.XRAY
    return FormFactors(symbols, row.astype(np.int64), a, b, f_prime, fitted)


def double_prime_factors(like: FormFactors, beam: Beam) -> FormFactors:
    """Return f'' of the same elements, constants in s; 0 where the beam tells none."""
    known = dict(beam.f_double_prime)
    second = np.array([known.get(symbol.decode(), 0.0) for symbol in like.symbols.tolist()])
    return FormFactors(
        like.symbols, like.element, second[:, None], np.zeros((len(second), 1)),
        np.zeros(len(second)),
    )  # fmt: skip
