"""With what a crystal was measured, as its coordinate file or the user says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import gemmi
import numpy as np

from multicopy_refinement.crystal.beam import LARGE_F_DOUBLE_PRIME, Beam
from multicopy_refinement.errors import InputError, ModelFileError
from multicopy_refinement.io.text import parse_number
from multicopy_refinement.modes import Radiation
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.words import counted

if TYPE_CHECKING:
    from multicopy_refinement.atoms.table import AtomTable
    from multicopy_refinement.io.structure import StructureFile

_EXPDTA = re.compile(rb"^EXPDTA(?P<text>[^\r\n]*)", re.MULTILINE | re.IGNORECASE)
#: Items of mmCIF that name the method; the first that is there counts.
_ITEMS = ("_exptl.method", "_diffrn_radiation.pdbx_scattering_type", "_refine.pdbx_refine_id")
_REMARK_200 = re.compile(rb"^REMARK 200  WAVELENGTH OR RANGE +\(A\) :([^\r\n]*)", re.MULTILINE)
_HEADER = 1_000_000
_WAVELENGTHS = (
    "_diffrn_radiation_wavelength.wavelength", "_diffrn_source.pdbx_wavelength_list",
    "_diffrn_radiation_wavelength",
)  # fmt: skip
_NOTHING = frozenset({"", "?", ".", "NULL"})
_OTHERS = {"NEUTRON": Radiation.NEUTRON, "ELECTRON": Radiation.ELECTRON}
_OTHER_METHODS = (b"neutron", b"electron cryst", b"electron micro", b"electron diff")
#: Wavelengths of X-rays in A that f' is known for; 0 and the like stand for none.
SHORTEST, LONGEST = 0.1, 7.0
#: What switches f' off.
NO_F_PRIME = "none"
_F_PRIME = re.compile(r"([A-Za-z]{1,2})=([^,=]+)(?:,([^,=]+))?")


def experimental_methods(source: StructureFile) -> tuple[str, ...]:
    """Return the methods that a coordinate file names, in capitals: EXPDTA or _exptl.method."""
    from multicopy_refinement.io.structure import StructureFormat, model_block

    if source.format is StructureFormat.PDB:
        # columns 9 and 10 number the continuation lines
        atoms = source.content.find(b"\nATOM  ")
        header = source.content if atoms < 0 else source.content[:atoms]
        lines = [m["text"][4:].decode("latin-1") for m in _EXPDTA.finditer(header)]
        return _clean(" ".join(lines).split(";"))
    block = model_block(source.path, source.content)
    for item in _ITEMS:
        found = _clean([gemmi.cif.as_string(value) for value in block.find_values(item)])
        if found:
            return found
    return ()


def wavelength_of(source: StructureFile) -> float | None:
    """Return the wavelength in A that a coordinate file names; None for none, and for several."""
    from multicopy_refinement.io.structure import StructureFormat, model_block

    if source.format is StructureFormat.PDB:
        texts = [m[1].decode("latin-1") for m in _REMARK_200.finditer(source.content, 0, _HEADER)]
        return one_wavelength(texts)
    return wavelength_of_block(model_block(source.path, source.content))


def wavelength_of_block(block: gemmi.cif.Block) -> float | None:
    """Return the wavelength in A that a block of mmCIF names; None for none, and for several."""
    values = [v for item in _WAVELENGTHS for v in block.find_values(item)]
    return one_wavelength([gemmi.cif.as_string(value) for value in values])


def one_wavelength(texts: Sequence[str]) -> float | None:
    """Return the one wavelength of some texts, or None."""
    numbers = {parse_number(text.strip()) for text in texts if text.strip() not in _NOTHING}
    found = numbers.pop() if len(numbers) == 1 else None
    return found if found is not None and found > 0 else None


def radiation_of(
    source: StructureFile, asked: Radiation | None = None
) -> tuple[Radiation, list[Notice]]:
    """Return the radiation that is asked for, or that of the file's method; X-rays otherwise.

    Raises
    ------
    ModelFileError
        Several kinds, no X-rays among them: what to do.
    """
    if asked is not None:
        return asked, []
    methods = experimental_methods(source) if _speaks_of_others(source) else ()
    kinds = list(dict.fromkeys(_kind(method) for method in methods))
    if len(kinds) < 2:
        return (kinds[0] if kinds else Radiation.XRAY), []
    named = f"{source.path} was refined against data of several kinds ({'; '.join(methods)})"
    if Radiation.XRAY not in kinds:
        raise ModelFileError(f"{named}; say with --radiation which the data are")
    text = f"{named}; X-rays are taken, so the data must be theirs (--radiation to choose)"
    return Radiation.XRAY, [Notice("joint_radiation", text)]


def _speaks_of_others(source: StructureFile) -> bool:
    """Return whether a file can name another method than X-rays: most need not be parsed for it."""
    from multicopy_refinement.io.structure import StructureFormat

    if source.format is StructureFormat.PDB:
        return True
    content = source.content.lower()
    if b"scattering_type" in content and b"electron" in content:
        return True
    return any(word in content for word in _OTHER_METHODS)


def _kind(method: str) -> Radiation:
    return next((kind for word, kind in _OTHERS.items() if word in method), Radiation.XRAY)


def beam_of(
    source: StructureFile, radiation: Radiation, *, wavelength: float | None = None,
    f_prime: Sequence[str] = (), of_data: float | None = None,
    f_double_prime: Sequence[str] = (), anomalous: bool = False,
) -> tuple[Beam, list[Notice]]:  # fmt: skip
    """Return radiation and wavelength, with f' of the elements that have some, and f''.

    f' of Cromer & Liberman (1970, J. Chem. Phys. 53, 1891), as gemmi computes it, is taken where
    the wavelength is known.

    Parameters
    ----------
    source
        The model.
    radiation
        What it is measured with.
    wavelength
        In A; that of the data, or else of the model's file, when left out.
    f_prime
        Values of the user's as ``Zn=-6.9`` or ``Zn=-6.9,0.5``, which come before those of the
        wavelength, or ``none``.
    of_data
        The wavelength that the reflections' file names.
    f_double_prime
        f'' as ``Zn=3.9``, which comes before that of ``f_prime`` and of the wavelength.
    anomalous
        Whether f'' is wanted: that of the same tables, of every element.

    Raises
    ------
    InputError
        f' or a wavelength for neutrons or electrons; f' that cannot be read; f'' that nothing
        tells, or that no element of the model has.
    """
    if radiation is not Radiation.XRAY:
        if anomalous:
            raise InputError(f"--anomalous: f'' is of X-rays; leave it out for {radiation}s")
        if wavelength is not None or f_prime:
            option = "--f-prime" if f_prime else "--wavelength"
            raise InputError(f"{option}: f' is of X-rays; leave it out for {radiation}s")
        return Beam(radiation), _charged(source.table) if radiation is Radiation.ELECTRON else []
    try:
        given = f_prime_values(f_prime)
    except ValueError as fault:
        raise InputError(f"--f-prime: {fault}") from None
    symbols = present_elements(source.table)
    length, where = wavelength, "as given"
    if length is None:
        length, where = _sound(of_data), "of the reflections' file"
    if length is None:
        length, where = _sound(wavelength_of(source)), "of the model's file"
    second: tuple[tuple[str, float], ...] = ()
    if anomalous:
        try:
            said = dict(_second_numbers(f_prime)) | f_double_prime_values(f_double_prime)
        except ValueError as fault:
            raise InputError(f"--f-double-prime: {fault}") from None
        second = _f_double_prime(symbols, length, said)
    if given is None:
        return Beam(radiation, length, (), second), []
    found = {} if length is None else cromer_liberman(symbols, length)
    values = {s: v for s, v in (found | given).items() if s in symbols and v != 0}
    beam = Beam(radiation, length, tuple(sorted(values.items())), second)
    notices = []
    large = {symbol for symbol, _ in beam.large_f_prime}
    if wavelength is None and large & set(found) - set(given):
        text = (
            f"f' at {length:g} A ({where}) is added to the form factors: {beam.f_prime_in_words()} "
            "(--wavelength for another, --f-prime none for none)"
        )
        notices.append(Notice("f_prime", text))
    absent = sorted(set(given) - set(symbols))
    if absent:
        text = f"--f-prime: the model has no {', '.join(absent)}"
        notices.append(Notice("f_prime_unused", text))
    return beam, notices


def _sound(wavelength: float | None) -> float | None:
    known = wavelength is not None and SHORTEST <= wavelength <= LONGEST
    return wavelength if known else None


def present_elements(table: AtomTable) -> tuple[str, ...]:
    """Return the known elements of some atoms, in capitals."""
    return tuple(s.decode() for s in np.unique(table.element).tolist() if s != b"X")


def cromer_liberman(symbols: Sequence[str], wavelength: float) -> dict[str, float]:
    """Return f' in electrons of elements at a wavelength in A.

    That of C, N and O is below 0.1 e, and counts beside a metal: it is what the scale is made by.

    >>> cromer_liberman(["C", "SE"], 1.0)
    {'C': 0.007, 'SE': -3.378}
    """
    found = {symbol: round(_of_table(symbol, wavelength)[0], 3) for symbol in symbols}
    return {symbol: value for symbol, value in found.items() if value}


def cromer_liberman_second(symbols: Sequence[str], wavelength: float) -> dict[str, float]:
    """Return f'' in electrons of elements at a wavelength in A.

    That of C, N and O is small and counts: what all atoms have in proportion to f makes no
    difference, so that a metal shows by what it has more than they.

    >>> cromer_liberman_second(["C", "SE"], 0.97)
    {'C': 0.0032, 'SE': 3.7647}
    """
    found = {symbol: round(_of_table(symbol, wavelength)[1], 4) for symbol in symbols}
    return {symbol: value for symbol, value in found.items() if value > 0}


def _of_table(symbol: str, wavelength: float) -> tuple[float, float]:
    number = gemmi.Element(symbol).atomic_number
    f_prime, second = gemmi.cromer_liberman(z=number, energy=gemmi.hc / wavelength)
    return float(f_prime), float(second)


def _f_double_prime(
    symbols: Sequence[str], wavelength: float | None, given: dict[str, float]
) -> tuple[tuple[str, float], ...]:
    """Return f'' of the elements that have some: as given, or at the wavelength."""
    if wavelength is None and not given:
        raise InputError(
            "--anomalous: neither file names a wavelength; give --wavelength A, or "
            "--f-double-prime Zn=3.9"
        )
    found = {} if wavelength is None else cromer_liberman_second(symbols, wavelength)
    values = {s: v for s, v in (found | given).items() if s in symbols and v != 0}
    if max(values.values(), default=0.0) < LARGE_F_DOUBLE_PRIME:
        where = "" if wavelength is None else f" at {wavelength:g} A"
        raise InputError(
            f"--anomalous: no element of the model has an f'' of more than "
            f"{LARGE_F_DOUBLE_PRIME} e{where}; leave it out"
        )
    return tuple(sorted(values.items()))


def _second_numbers(texts: Sequence[str]) -> list[tuple[str, float]]:
    """Return f'' of the elements that have one behind their f'."""
    told = [_element_with_numbers(text) for text in texts]
    return [(one[0], one[1][1]) for one in told if one is not None and len(one[1]) > 1]


def f_double_prime_values(texts: Sequence[str]) -> dict[str, float]:
    """Return f'' by element as the user gives them.

    Raises
    ------
    ValueError
        A text that is not read, and how it should be.

    Examples
    --------
    >>> f_double_prime_values(["Zn=3.9"])
    {'ZN': 3.9}
    """
    values: dict[str, float] = {}
    for text in texts:
        told = _element_with_numbers(text)
        if told is None or len(told[1]) > 1 or told[1][0] < 0:
            raise ValueError(f"{text!r} is not an element with its f'' in electrons, as Zn=3.9")
        values[told[0]] = told[1][0]
    return values


def f_prime_values(texts: Sequence[str]) -> dict[str, float] | None:
    """Return f' by element as the user gives them; None where there is to be none.

    f'' may follow f', as programs print them. In the mean of |F(+)| and |F(-)| it counts by its
    square over 2 |F| alone, which is nothing; it is used where the two are told apart.

    Raises
    ------
    ValueError
        A text that is not read, and how it should be.

    Examples
    --------
    >>> f_prime_values(["Zn=-6.9,0.5", "SE=-8"])
    {'ZN': -6.9, 'SE': -8.0}
    """
    if [text.strip().lower() for text in texts] == [NO_F_PRIME]:
        return None
    values: dict[str, float] = {}
    for text in texts:
        told = _element_with_numbers(text)
        if told is None:
            raise ValueError(
                f"{text!r} is not an element with its f' (and f'') in electrons, as Zn=-6.9 or "
                f"Zn=-6.9,0.5, nor {NO_F_PRIME}"
            )
        values[told[0]] = told[1][0]
    return values


def _element_with_numbers(text: str) -> tuple[str, list[float]] | None:
    """Return an element with its f', and f'' if that follows; None of what is not read so."""
    match = _F_PRIME.fullmatch(text.strip())
    if match is None or gemmi.Element(match[1].upper()).atomic_number == 0:
        return None
    numbers = [parse_number(part) for part in match.groups()[1:] if part]
    known = [number for number in numbers if number is not None]
    return (match[1].upper(), known) if len(known) == len(numbers) else None


def _charged(table: AtomTable) -> list[Notice]:
    """Return a notice of atoms that scatter electrons as ions, of which there are no factors."""
    charged = np.asarray(table.charge) != 0
    if not charged.any():
        return []
    labels = table.labels(charged)
    named = [
        f"{label} ({charge:+d})"
        for label, charge in zip(labels, table.charge[charged].tolist(), strict=True)
    ]
    text = (
        f"{counted(len(labels), 'atom')} with a charge, taken as neutral: form factors of "
        f"electrons are those of neutral atoms, and ions differ at low resolution: {listed(named)}"
    )
    return [Notice("neutral_factors", text, labels)]


def _clean(texts: list[str]) -> tuple[str, ...]:
    words = (" ".join(text.upper().split()) for text in texts)
    return tuple(text for text in words if text not in {"", "?", "."})
