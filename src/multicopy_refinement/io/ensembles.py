"""The categories ``_atom_sites_alt*`` of mmCIF: which altlocs go together, and how often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gemmi

from multicopy_refinement.io.facts import PROGRAM, is_ours

#: The null letter, of atoms that all combinations share.
_SHARED = "."


@dataclass(frozen=True)
class AltEnsemble:
    """Conformers that are there together.

    Attributes
    ----------
    name
        Unique in the file, for example ``A/10/ARG:B``.
    letters
        Altlocs of its atoms.
    details
        How often it is there, and what it consists of.
    """

    name: str
    letters: tuple[str, ...]
    details: str


def write_ensembles(block: gemmi.cif.Block, ensembles: Sequence[AltEnsemble]) -> None:
    """Write the three categories of alternative conformations of the mmCIF dictionary.

    Rows of the input that are not of this program are kept, where no new one has their id.
    """
    letters = {letter: "" for one in ensembles for letter in one.letters}
    alt = {letter: f"altloc {letter}" for letter in letters}
    if alt:
        alt = {_SHARED: "atoms without alternative conformations"} | alt
    ens = {one.name: f"{PROGRAM}: {one.details}" for one in ensembles}
    pairs = [(one.name, letter) for one in ensembles for letter in (_SHARED, *one.letters)]
    kept = _rows(block, "_atom_sites_alt_ens.", ("id", "details"))
    kept = [(name, text) for name, text in kept if name not in ens and not is_ours(text)]
    names = {name for name, _ in kept}
    alt |= dict(_rows(block, "_atom_sites_alt.", ("id", "details")))
    old = _rows(block, "_atom_sites_alt_gen.", ("ens_id", "alt_id"))
    pairs = [pair for pair in old if pair[0] in names] + pairs
    if not pairs:
        return
    _write(block, "_atom_sites_alt.", ("id", "details"), list(alt.items()))
    _write(block, "_atom_sites_alt_ens.", ("id", "details"), [*kept, *ens.items()])
    _write(block, "_atom_sites_alt_gen.", ("ens_id", "alt_id"), pairs)


def _rows(block: gemmi.cif.Block, category: str, items: tuple[str, str]) -> list[tuple[str, str]]:
    """Return the rows of a category as texts, those of two items."""
    table = block.find(category, [items[0], f"?{items[1]}"])
    return [(_text(row[0]), _text(row[1]) if row.has(1) else "?") for row in table]


def _text(value: str) -> str:
    return value if value == _SHARED else gemmi.cif.as_string(value)


def _write(
    block: gemmi.cif.Block, category: str, items: tuple[str, str], rows: list[tuple[str, str]]
) -> None:
    block.find_mmcif_category(category).erase()
    loop = block.init_loop(category, list(items))
    for row in rows:
        loop.add_row([v if v in {_SHARED, "?"} else gemmi.cif.quote(v) for v in row])
