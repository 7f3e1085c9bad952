"""Which program a coordinate file was refined with."""

from __future__ import annotations

import re

import gemmi

#: The line of REMARK 3 that names the program, and words that stand for none.
_REMARK_3 = re.compile(rb"REMARK   3   PROGRAM\s*:[ \t]*(\S[^\r\n]*?)[ \t]*\r?(?:\n|$)")
#: How far the header of a file goes at most, in bytes.
_HEADER = 1_000_000
_NONE = frozenset({"", "NULL", "?", "."})


def refined_with(structure: gemmi.Structure, content: bytes) -> str:
    """Return the name of the program that refined a model, blank where the file has none."""
    place = content.find(b"REMARK   3   PROGRAM", 0, _HEADER)
    named = _REMARK_3.match(content, place) if place >= 0 else None
    if named is not None:
        name = named[1].decode("latin-1")
        return "" if name.upper() in _NONE else name
    for software in structure.meta.software:
        if software.classification == gemmi.SoftwareItem.Classification.Refinement:
            return "" if software.name.upper() in _NONE else str(software.name)
    return ""
