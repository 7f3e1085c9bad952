"""Altlocs that are written where there is none."""

from __future__ import annotations

from dataclasses import replace

from multicopy_refinement.atoms.numbering import number_addresses
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.notices import Notice
from multicopy_refinement.words import counted

#: What mmCIF writes for a blank; in a PDB file, or in quotes, it may be meant so or not.
_BLANKS = (b" ", b".", b"?")


def without_blank_letters(table: AtomTable) -> tuple[AtomTable, list[Notice]]:
    """Return the table with blanks in place of ``.``, ``?`` and quoted blanks.

    One that stands beside a letter, for the same atom, is a letter itself and stays.
    """
    present = [mark for mark in _BLANKS if (table.altloc == mark).any()]
    if not present:
        return table, []
    address = number_addresses(table).tolist()
    keys = list(zip(address, table.name.tolist(), strict=True))
    letters: dict[tuple[int, bytes], set[bytes]] = {}
    for key, altloc in zip(keys, table.altloc.tolist(), strict=True):
        letters.setdefault(key, set()).add(altloc)
    altloc = table.altloc.copy()
    notices = []
    for mark in present:
        meant = mark != b" " and any(mark in found and len(found) > 1 for found in letters.values())
        if meant:
            continue
        these = table.altloc == mark
        altloc[these] = b""
        if mark != b" ":
            labels = table.labels(these)
            notices.append(
                Notice(
                    "altloc_is_blank",
                    f"the altloc {mark.decode()!r} of {counted(len(labels), 'atom')} is taken as "
                    "none",
                    labels,
                )
            )
    return replace(table, altloc=altloc), notices
