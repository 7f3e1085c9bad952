"""The lines of a PDB file: where its atoms stand, and what must be put right before it is read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from multicopy_refinement._typing import IntArray
from multicopy_refinement.errors import ModelFileError
from multicopy_refinement.io.text import fixed_columns, integers
from multicopy_refinement.notices import Notice

#: Letters that tell the records apart that matter here.
_RECORD_WIDTH = 4
#: Columns (0-based, half-open) of element and charge, and all that old files use otherwise.
_ELEMENT, _CHARGE, _TAIL = (76, 78), (78, 80), (72, 80)
#: Cell and space group of a CRYST1 record.
_CRYSTAL = slice(6, 66)


@dataclass(frozen=True, eq=False)
class AtomLines:
    """Where the lines of atoms of a PDB file start and end, in its content as ``uint8``.

    Attributes
    ----------
    start, end
        Of the lines of atoms, ``[n]``.
    buffer
        The content.
    anisou_start, anisou_end, anisou_of
        Of the lines of ANISOU, and the number of the atom line that each follows.
    stops
        Where the records END start.
    crystals
        Starts and ends of the records CRYST1, ``[n, 2]``.
    models, model_ends
        Where the records MODEL and ENDMDL start.
    """

    start: IntArray
    end: IntArray
    buffer: np.ndarray
    anisou_start: IntArray
    anisou_end: IntArray
    anisou_of: IntArray
    stops: IntArray
    crystals: IntArray
    models: IntArray
    model_ends: IntArray

    @property
    def anisotropic(self) -> bool:
        """Whether there are ANISOU records."""
        return len(self.anisou_start) > 0

    @cached_property
    def elements(self) -> np.ndarray:
        """Columns 77 and 78, ``S2 [n]``."""
        return np.ascontiguousarray(self.columns(*_ELEMENT))

    def columns(self, first: int, last: int) -> np.ndarray:
        """Return columns first..last (0-based, half-open) as ``S`` strings."""
        return fixed_columns(self.buffer, self.start, self.end, first, last)


def pdb_atom_lines(content: bytes) -> AtomLines:
    """Return the lines of atoms, those after a record END among them."""
    buffer = np.frombuffer(content, dtype=np.uint8)
    breaks = np.flatnonzero(buffer == 10)
    if len(breaks) == 0 or breaks[-1] < len(buffer) - 1:
        breaks = np.append(breaks, len(buffer))
    start, end = np.empty_like(breaks), breaks
    start[0], start[1:] = 0, breaks[:-1] + 1
    if b"\r" in content[: int(end[0]) + 1]:  # a carriage return belongs to the line break
        end = end - ((end > start) & (buffer[np.maximum(end - 1, 0)] == 13))
    if int((end - start).min()) < _RECORD_WIDTH:
        keep = end - start >= 3
        start, end = start[keep], end[keep]
    record = _first_letters(buffer, start, end)
    stop = np.logical_or.reduce([record == _RECORDS[end] for end in ("END", "END ", "END\r")])
    atoms = (record == _RECORDS["ATOM"]) | (record == _RECORDS["HETA"])
    anisou = record == _RECORDS["ANIS"]
    return AtomLines(
        start[atoms], end[atoms], buffer, start[anisou], end[anisou],
        (np.cumsum(atoms) - 1)[anisou], start[stop],
        np.column_stack((start, end))[record == _RECORDS["CRYS"]],
        start[record == _RECORDS["MODE"]], start[record == _RECORDS["ENDM"]],
    )  # fmt: skip


def _first_letters(buffer: np.ndarray, start: IntArray, end: IntArray) -> np.ndarray:
    """Return the first four letters of each line, in capitals, as one integer each."""
    letters = fixed_columns(buffer, start, end, 0, 4).view(np.uint32)
    return letters & 0xDFDFDFDF  # turns small letters into capitals, and blanks into 0


_RECORDS = {
    name: int(np.frombuffer(name.ljust(4).encode(), dtype=np.uint32)[0]) & 0xDFDFDFDF
    for name in ("ATOM", "HETA", "ANIS", "END", "END ", "END\r", "CRYS", "MODE", "ENDM")
}


# ---------------------------------------------------------------------- what is put right


def readable_pdb(path: str | Path, content: bytes) -> tuple[bytes, AtomLines, list[Notice]]:
    """Return the content as a reader understands all of it, its lines of atoms, and notices.

    A record END before the last atom is no end, and columns 73 to 80 are elements and charges
    only where they look so: files before 1996 have their code and a line number there.

    Raises
    ------
    ModelFileError
        Crystals that differ, and columns that are elements on some lines only.
    """
    lines = pdb_atom_lines(content)
    _refuse_two_crystals(path, lines)
    _refuse_atoms_between_models(path, lines)
    if len(lines.start) == 0:
        return content, lines, []
    notices: list[Notice] = []
    text = lines.buffer
    early = lines.stops[lines.stops < lines.start[-1]]
    if len(early):
        text = text.copy()
        text[early[:, None] + np.arange(3)] = ord(" ")
        late = int(np.count_nonzero(lines.start > early[0]))
        notices.append(
            Notice(
                "atoms_after_end",
                f"{late} atom lines stand after a record END; they are read as the others",
            )
        )
    if _has_foreign_tail(path, lines):
        text = text.copy()
        place = lines.start[:, None] + np.arange(*_TAIL)
        inside = place < lines.end[:, None]
        text[place[inside]] = ord(" ")
        first = lines.columns(*_TAIL)[0].decode("latin-1")
        notices.append(
            Notice(
                "columns_73_80",
                f"columns 73 to 80 hold no elements and charges ({first!r} in the first atom's "
                "line), as in files before 1996: elements are taken from the atoms' names",
            )
        )
    if notices:
        content = text.tobytes()
        lines = replace(lines, buffer=text)
    return content, lines, notices


def _refuse_two_crystals(path: str | Path, lines: AtomLines) -> None:
    records = [lines.buffer[begin:stop].tobytes() for begin, stop in lines.crystals.tolist()]
    found = {b" ".join(line[_CRYSTAL].split()): line for line in records}
    if len(found) > 1:
        one, other = (line.decode("latin-1")[_CRYSTAL].strip() for line in [*found.values()][:2])
        raise ModelFileError(
            f"{path}: CRYST1 stands there twice, as {one!r} and as {other!r}; leave one"
        )


def _refuse_atoms_between_models(path: str | Path, lines: AtomLines) -> None:
    if len(lines.models) == 0:
        return
    begun = np.searchsorted(lines.models, lines.start)
    ended = np.searchsorted(lines.model_ends, lines.start)
    outside = np.flatnonzero(begun <= ended)
    if len(outside):
        text = lines.columns(12, 27)[outside[0]].decode("latin-1").strip()
        raise ModelFileError(
            f"{path}: {len(outside)} atom lines stand outside of MODEL and ENDMDL ({text!r} is the "
            "first); put them into the models that they belong to"
        )


def _has_foreign_tail(path: str | Path, lines: AtomLines) -> bool:
    """Return whether columns 73 to 80 are something else than elements and charges."""
    if not _digits(lines.elements).any() and int((lines.end - lines.start).max()) <= _CHARGE[0]:
        return False
    charges = np.ascontiguousarray(lines.columns(*_CHARGE))
    if not (_digits(lines.elements).any() or _digits(charges).any()):
        return False
    symbols = np.char.strip(lines.elements)
    number = np.char.isdigit(np.char.strip(charges))  # a charge has a sign
    numbered = _digits(lines.elements).any(axis=1) | ((symbols == b"") & number)
    if not numbered.any():
        return False
    if not np.char.isalpha(symbols).any():
        return True
    where = int(np.flatnonzero(numbered)[0])
    tail = lines.columns(*_TAIL)[where].decode("latin-1")
    raise ModelFileError(
        f"{path}: columns 77 to 80 hold elements in some lines of atoms and numbers in others "
        f"({tail!r} in that of atom {where + 1}); put the element there, or leave them blank"
    )


def _digits(texts: np.ndarray) -> np.ndarray:
    letters = texts.view(np.uint8).reshape(len(texts), -1)
    return np.asarray((letters >= ord("0")) & (letters <= ord("9")))


# ---------------------------------------------------------------------- numbering


def written_serials(lines: AtomLines) -> IntArray | None:
    """Return the atoms' numbers, or None where one is no plain number."""
    return integers(lines.columns(6, 11))


def renumbered(content: bytes, lines: AtomLines) -> bytes:
    """Return the content with the atoms' serials replaced by their order, in hybrid-36."""
    buffer = np.frombuffer(content, dtype=np.uint8).copy()
    start, end = lines.start, lines.end
    serial = np.array([hybrid36(i) for i in range(len(start))], dtype="S5")
    text = np.char.rjust(serial, 5).astype("S5").view(np.uint8).reshape(-1, 5)
    long_enough = end - start >= 11
    buffer[start[long_enough, None] + np.arange(6, 11)] = text[long_enough]
    return buffer.tobytes()


def hybrid36(number: int) -> str:
    """Return a number in five characters.

    >>> hybrid36(99999), hybrid36(100000)
    ('99999', 'A0000')
    """
    if number < 100_000:
        return str(number)
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    number += 10 * 36**4 - 100_000
    text = ""
    for _ in range(5):
        number, rest = divmod(number, 36)
        text = digits[rest] + text
    return text
