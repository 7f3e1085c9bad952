"""Models and data told apart before anything slow is imported: their order is free."""

from __future__ import annotations

import gzip
import re
import zlib
from enum import StrEnum
from pathlib import Path

from multicopy_refinement.errors import InputError

#: Names that files of the field have: what is not there yet is looked for, not taken for a command.
SUFFIXES = frozenset({
    ".pdb", ".ent", ".cif", ".mmcif", ".mcif", ".mtz", ".fcf", ".hkl", ".pdb1", ".gz",
})  # fmt: skip
_ATOMS = re.compile(rb"^[ \t]*(_atom_site[._]|ATOM  |HETATM|CRYST1)", re.MULTILINE | re.IGNORECASE)
_REFLECTIONS = re.compile(rb"^[ \t]*_refln[._]", re.MULTILINE | re.IGNORECASE)


class Holds(StrEnum):
    """What a file holds, as far as its first look tells."""

    MODEL = "model"
    DATA = "data"
    BOTH = "both"
    UNKNOWN = "unknown"


def holds(path: Path) -> Holds:
    """Return what is in a file, by content; what cannot be read is unknown, for its reader to say.

    An MTZ begins with its name; a CIF has atoms, reflections, or both; PDB files have records.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return Holds.UNKNOWN
    if content[:4] == b"MTZ ":
        return Holds.DATA
    atoms, reflections = (bool(kind.search(content)) for kind in (_ATOMS, _REFLECTIONS))
    if atoms and reflections:
        return Holds.BOTH
    return Holds.MODEL if atoms else Holds.DATA if reflections else Holds.UNKNOWN


def model_and_data(first: Path, second: Path) -> tuple[Path, Path]:
    """Return the model and the data, named in either order.

    Files that hold both are what the other is not; where that does not tell, the order counts.

    Raises
    ------
    InputError
        Two models, or two files of reflections.
    """
    one, other = holds(first), holds(second)
    if one is other is Holds.MODEL:
        raise InputError(f"{second}: a model, as {first} is; name an MTZ or SF-mmCIF with one")
    if one is other is Holds.DATA:
        raise InputError(f"{first}: reflections, as {second}; name a PDB or mmCIF model with one")
    swapped = one is not Holds.MODEL and other is Holds.MODEL
    swapped = swapped or (one is Holds.DATA and other is not Holds.DATA)
    return (second, first) if swapped else (first, second)


def looks_like_file(word: str) -> bool:
    """Return whether a word of the command line is a file, or has the name of one."""
    return Path(word).is_file() or Path(word).suffix.lower() in SUFFIXES
