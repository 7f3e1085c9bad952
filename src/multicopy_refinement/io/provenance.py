"""Which program a coordinate file was refined with."""

from __future__ import annotations

import re

import gemmi

from multicopy_refinement.io.facts import is_ours

#: A line of REMARK 3 that names a program, behind a bar where it is that of an earlier one; and
#: words that stand for none.
_REMARK_3 = re.compile(rb"^REMARK   3[ |]+PROGRAM\s*:[ \t]*(\S[^\r\n]*?)[ \t]*\r?$", re.MULTILINE)
_TAG, _LINE = b"REMARK   3", 200
#: How far the header of a file goes at most, in bytes.
_HEADER = 1_000_000
_NONE = frozenset({"", "NULL", "?", "."})


def refined_with(structure: gemmi.Structure, content: bytes) -> str:
    """Return the name of the program that refined a model, blank where the file has none.

    This program does not count: what it refines has the conventions of the program before.
    """
    begin, end = content.find(_TAG, 0, _HEADER), content.rfind(_TAG, 0, _HEADER)
    for found in _REMARK_3.finditer(content, begin, end + _LINE) if begin >= 0 else ():
        name = found[1].decode("latin-1")
        if not is_ours(name):
            return "" if name.upper() in _NONE else name
    for software in structure.meta.software:
        refinement = software.classification == gemmi.SoftwareItem.Classification.Refinement
        if refinement and not is_ours(software.name):
            return "" if software.name.upper() in _NONE else str(software.name)
    return ""
