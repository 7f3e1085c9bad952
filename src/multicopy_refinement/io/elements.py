"""Elements where the file does not write them, and atoms that are of none."""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np

from multicopy_refinement._typing import BoolArray
from multicopy_refinement.atoms.connections import told_by_name
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.errors import ModelFileError
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.words import counted

#: Residues that stand for an atom of which nobody knows what it is: their names are no elements.
_PLACEHOLDERS = frozenset({"UNX", "DUM"})
#: Of amino acids and nucleotides that have no letters for other elements.
_ORGANIC = frozenset({"C", "N", "O", "S", "P", "H", "D"})
#: Elements of one letter that names of atoms in ligands begin with.
_ONE_LETTER = frozenset({"C", "N", "O", "S", "P", "H", "D", "F", "I", "B"})


def element_of_name(name: str, resname: str) -> str | None:
    """Return the element that an atom's name means, or None where that is not certain.

    >>> element_of_name("CA", "ALA"), element_of_name("CA", "CA"), element_of_name("O5'", "GOL")
    ('C', 'CA', 'O')
    >>> element_of_name("CL1", "LIG") is None  # chlorine, or a carbon
    True
    """
    letters = name.lstrip("0123456789'\"")
    letters = letters[: next((i for i, c in enumerate(letters) if not c.isalpha()), None)].upper()
    if not letters or resname in _PLACEHOLDERS:
        return None
    known = gemmi.find_tabulated_residue(resname)
    if known.is_amino_acid() or known.is_nucleic_acid() or known.is_water():
        if letters.startswith("SE"):
            return "SE"
        return letters[0] if letters[0] in _ORGANIC else None
    if letters == resname and _is_element(letters):
        return letters
    if letters[0] in _ONE_LETTER and (len(letters) == 1 or not _is_element(letters[:2])):
        return letters[0]
    return None


def _is_element(symbol: str) -> bool:
    return bool(gemmi.Element(symbol).atomic_number > 0)


def settle_elements(path: str | Path, table: AtomTable, symbols: np.ndarray) -> list[Notice]:
    """Return notices of atoms of no element, and of elements that come from atoms' names.

    Parameters
    ----------
    symbols
        Elements as the file writes them, blank where it does not, ``S [n]``.

    Raises
    ------
    ModelFileError
        Atoms whose element cannot be told.
    """
    guessed = _blank(symbols)
    unknown = table.element.view(np.uint16) == ord("X")  # numbers are compared faster than strings
    if unknown.any():
        written = np.char.upper(np.char.strip(symbols))
        wrong = unknown & ~guessed & (written != b"X")
        if wrong.any():
            names = listed(list(table.labels(wrong)))
            raise ModelFileError(f"{path}: unknown element of {names}; check the element column")
    elif not guessed.any():
        return []
    unclear = guessed & _doubtful(table)
    if unclear.any():
        names = listed(list(table.labels(unclear)))
        raise ModelFileError(
            f"{path}: the element of {names} is not written and cannot be told from the name; "
            "put it into the element column (X where it is not known)"
        )
    notices = []
    if unknown.any():
        labels = table.labels(unknown)
        notices.append(
            Notice(
                "unknown_element",
                f"{counted(len(labels), 'atom', 'are')} of no known element (X): kept as "
                f"in the file and left out of F_calc and of the solvent's mask: "
                f"{listed(list(labels))}",
                labels,
            )
        )
    told = guessed & ~_is_certain(table)
    if told.any():
        labels = table.labels(told)
        texts = [
            f"{label} ({table.element[atom].decode()})"
            for label, atom in zip(labels, np.flatnonzero(told).tolist(), strict=True)
        ]
        notices.append(
            Notice(
                "element_guessed",
                f"the file has no element of {counted(len(labels), 'atom')}; it is taken "
                f"from the name: {listed(texts)}",
                labels,
            )
        )
    return notices


def _blank(symbols: np.ndarray) -> BoolArray:
    """Return which texts are blank."""
    if symbols.dtype.itemsize != 2:
        return np.asarray(np.char.strip(symbols) == b"")
    code = symbols.view(np.uint16)
    return np.asarray((code == 0x2020) | (code == 0) | (code == 0x20))


def _doubtful(table: AtomTable) -> BoolArray:
    """Return which atoms have no element, are placeholders, or D outside of what has hydrogens."""
    placeholder = np.isin(table.resname, [name.encode() for name in _PLACEHOLDERS])
    deuterium = (table.element == b"D") & ~_is_certain(table)
    return np.asarray((table.element == b"X") | placeholder | deuterium)


def _is_certain(table: AtomTable) -> BoolArray:
    """Return which atoms are of residues whose atoms' names are known."""
    return told_by_name(
        table.resname, lambda k: k.is_amino_acid() or k.is_nucleic_acid() or k.is_water()
    )
