"""With what a crystal was measured: the radiation, and what it is to single elements."""

from __future__ import annotations

from dataclasses import dataclass

from multicopy_refinement.modes import Radiation

#: Units of form factors and of F.
_UNITS = {Radiation.XRAY: "e", Radiation.ELECTRON: "A", Radiation.NEUTRON: "fm"}
_NAMES = {
    Radiation.XRAY: "X-rays", Radiation.ELECTRON: "electrons", Radiation.NEUTRON: "neutrons",
}  # fmt: skip


#: f' in electrons from which on its value is told.
LARGE_F_PRIME = 0.1
#: f'' in electrons from which on an element is told of, and its occupancy seen in differences.
LARGE_F_DOUBLE_PRIME = 0.05


@dataclass(frozen=True)
class Beam:
    """Radiation, wavelength in A where it is known, and f' in electrons of elements that have it.

    f'' is there where F(+) and F(-) are told apart.

    >>> Beam(Radiation.XRAY, 0.9795, (("SE", -7.5),)).in_words()
    "X-rays of 0.9795 A; f' SE -7.50 e"
    """

    radiation: Radiation = Radiation.XRAY
    wavelength: float | None = None
    f_prime: tuple[tuple[str, float], ...] = ()
    f_double_prime: tuple[tuple[str, float], ...] = ()

    @property
    def unit(self) -> str:
        """Unit of form factors and of F: e, A or fm."""
        return _UNITS[self.radiation]

    @property
    def density_unit(self) -> str:
        """Unit of densities, that of the solvent among them."""
        return f"{self.unit}/A^3"

    @property
    def name(self) -> str:
        """The radiation in the plural, as X-rays."""
        return _NAMES[self.radiation]

    def in_words(self) -> str:
        """Return what it is, in one line."""
        text = self.name
        if self.wavelength is not None:
            text += f" of {self.wavelength:g} A"
        if self.f_prime:
            text += f"; f' {self.f_prime_in_words()}"
        if self.f_double_prime:
            text += f"; f'' {self.f_double_prime_in_words()}"
        return text

    @property
    def large_f_prime(self) -> tuple[tuple[str, float], ...]:
        """The elements whose f' is large, with it."""
        return tuple((s, v) for s, v in self.f_prime if abs(v) >= LARGE_F_PRIME)

    def f_prime_in_words(self) -> str:
        """Return the elements with their f', those that have little of it by name alone.

        >>> Beam(f_prime=(("C", 0.018), ("S", 0.333))).f_prime_in_words()
        'S +0.33 e, below 0.1 e of C'
        """
        large = ", ".join(f"{symbol} {value:+.2f}" for symbol, value in self.large_f_prime)
        little = ", ".join(s for s, value in self.f_prime if abs(value) < LARGE_F_PRIME)
        parts = (large and f"{large} e", little and f"below {LARGE_F_PRIME} e of {little}")
        return ", ".join(part for part in parts if part)

    def f_double_prime_in_words(self) -> str:
        """Return the elements whose f'' is large, with it."""
        large = [(s, v) for s, v in self.f_double_prime if v >= LARGE_F_DOUBLE_PRIME]
        return ", ".join(f"{symbol} {value:.2f}" for symbol, value in large) + " e"


#: X-rays of no known wavelength.
PLAIN = Beam()
