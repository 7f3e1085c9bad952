"""The _atom_site rows of an mmCIF file, made complete where one column says what another lacks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gemmi
import numpy as np

from multicopy_refinement.errors import ModelFileError
from multicopy_refinement.io.elements import element_of_name
from multicopy_refinement.io.text import parse_number
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.words import counted

_PREFIX = "_atom_site."
#: Either of two columns serves where the other is absent or blank.
_TWINS = (
    ("label_atom_id", "auth_atom_id"),
    ("label_comp_id", "auth_comp_id"),
    ("label_asym_id", "auth_asym_id"),
)
#: Numbers, which CIF allows to be in quotes.
_NUMBERS = (
    "Cartn_x", "Cartn_y", "Cartn_z", "occupancy", "B_iso_or_equiv", "pdbx_formal_charge",
    "label_seq_id", "auth_seq_id", "pdbx_PDB_model_num", "id",
)  # fmt: skip
#: Categories whose numbers count, and may be in quotes as well.
_NUMERIC = ("_cell.", "_atom_site_anisotrop.", "_atom_sites.", "_struct_ncs_oper.")
#: Conformers of one atom are no farther apart than this, in A.
_SAME_ATOM = 3.0


@dataclass(frozen=True, eq=False)
class SiteRemarks:
    """What was noticed while rows were completed.

    Attributes
    ----------
    notices
        In words.
    symbols
        The elements as they are written, blank where they are not, ``[n]``.
    """

    notices: tuple[Notice, ...]
    symbols: np.ndarray


class _Sites:
    """The columns of the rows, as text without quotes; blank is the empty text."""

    def __init__(self, block: gemmi.cif.Block) -> None:
        self.block = block
        table = block.find_mmcif_category(_PREFIX)
        table.ensure_loop()
        self.loop = table.loop
        self.n = self.loop.length()

    def __contains__(self, tag: str) -> bool:
        return _PREFIX + tag in self.loop.tags

    def raw(self, tag: str) -> list[str]:
        """Return values as they are written."""
        return list(self.block.find_values(_PREFIX + tag)) if tag in self else ["?"] * self.n

    def texts(self, tag: str) -> list[str]:
        """Return values without quotes; what is absent, unknown or blank is the empty text."""
        raw = self.raw(tag)
        if not _has_quotes(raw):
            return ["" if v in {"?", "."} else v for v in raw]
        return ["" if v in {"?", "."} else gemmi.cif.as_string(v).strip() for v in raw]

    def put(self, tag: str, values: list[str]) -> None:
        """Replace a column or add it; the values are as CIF writes them."""
        if tag not in self:
            self.loop.add_columns([_PREFIX + tag], "?")
        column = self.block.find_values(_PREFIX + tag)
        for row, value in enumerate(values):
            column[row] = value


def complete_sites(path: str | Path, block: gemmi.cif.Block) -> SiteRemarks:
    """Complete the rows of a block for gemmi, which wants columns that the dictionary does not.

    Numbers lose their quotes; atoms without a serial are counted; names of atoms, residues and
    chains come from the author's columns or the others, whichever are there; residues without a
    number are numbered; elements come from the atoms' names.

    Raises
    ------
    ModelFileError
        What is not there and cannot be told from anything else.
    """
    _unquote_numbers(block)
    sites = _Sites(block)
    _require(path, sites)
    for tag in _NUMBERS:
        if tag in sites and _has_quotes(sites.raw(tag)):
            sites.put(tag, [text or "?" for text in sites.texts(tag)])
    for one, other in _TWINS:
        _serve_each_other(sites, one, other)
    if "label_alt_id" not in sites:
        sites.put("label_alt_id", ["."] * sites.n)
    if "id" not in sites:
        sites.put("id", [str(row) for row in range(1, sites.n + 1)])
    numbered = _number_residues(path, sites)
    symbols = np.array(sites.texts("type_symbol")).astype("S")
    _find_elements(path, sites)
    return SiteRemarks(tuple(numbered), symbols)


def _unquote_numbers(block: gemmi.cif.Block) -> None:
    """Take the quotes off numbers of the crystal and of displacements."""
    items: list[Any] = list(block)
    tags = [item.pair[0] for item in items if item.pair is not None]
    tags += [tag for item in items if item.loop is not None for tag in item.loop.tags]
    for tag in tags:
        if not tag.startswith(_NUMERIC):
            continue
        column = block.find_values(tag)
        values = list(column)
        for row, value in enumerate(values if _has_quotes(values) else ()):
            if value[:1] in {"'", '"'} and parse_number(value[1:-1]) is not None:
                column[row] = value[1:-1].strip()


def _has_quotes(values: list[str]) -> bool:
    """Return whether any value has a quote in it; one search of all is quicker than many."""
    text = "".join(values)
    return "'" in text or '"' in text


def _require(path: str | Path, sites: _Sites) -> None:
    absent = [tag for tag in ("Cartn_x", "Cartn_y", "Cartn_z") if tag not in sites]
    absent += [" or ".join(pair) for pair in _TWINS if not any(tag in sites for tag in pair)]
    if absent:
        raise ModelFileError(f"{path}: _atom_site has no {', no '.join(absent)}; add the columns")


def _serve_each_other(sites: _Sites, one: str, other: str) -> None:
    """Fill a column of a pair where it is absent or blank with what the other has."""
    for tag, twin in ((one, other), (other, one)):
        mine = sites.raw(tag)
        if twin in sites and ("?" in mine or "." in mine):
            blank = [value in {"?", "."} for value in mine]
            theirs = sites.raw(twin)
            sites.put(tag, [t if b else m for m, t, b in zip(mine, theirs, blank, strict=True)])


# ---------------------------------------------------------------------- residue numbers


def _number_residues(path: str | Path, sites: _Sites) -> list[Notice]:
    """Number the residues that have no number: label_seq_id is blank outside of polymers."""
    written = sites.raw("auth_seq_id")
    if not ("?" in written or "." in written):
        return []
    numbers = sites.texts("auth_seq_id")
    label = sites.texts("label_seq_id")
    numbers = [mine or theirs for mine, theirs in zip(numbers, label, strict=True)]
    bare = [row for row, number in enumerate(numbers) if not number]
    made = _made_numbers(path, sites, numbers, bare) if bare else []
    sites.put("auth_seq_id", [number or "?" for number in numbers])
    if not made:
        return []
    return [
        Notice(
            "residue_numbers_made",
            f"{counted(len(made), 'residue', 'have')} no number (_atom_site.auth_seq_id) and "
            f"{'is' if len(made) == 1 else 'are'} numbered in the order of the file: "
            f"{listed(made)}",
            tuple(made),
        )
    ]


def _made_numbers(
    path: str | Path, sites: _Sites, numbers: list[str], bare: list[int]
) -> list[str]:
    """Fill in the numbers of bare rows and return the residues that they are of.

    A residue begins where the name changes, or where an atom comes again.
    """
    comp, name = sites.texts("label_comp_id"), sites.texts("auth_atom_id")
    chain, altloc = sites.texts("auth_asym_id"), sites.texts("label_alt_id")
    model = sites.texts("pdbx_PDB_model_num")
    known = [gemmi.find_tabulated_residue(comp[row]) for row in bare]
    polymer = [r for r, k in zip(bare, known, strict=True)
               if k.is_amino_acid() or k.is_nucleic_acid()]  # fmt: skip
    if polymer:
        residue = f"{chain[polymer[0]]}/{comp[polymer[0]]}"
        raise ModelFileError(
            f"{path}: residues of the polymer have no number ({residue} is one); add "
            "_atom_site.auth_seq_id or label_seq_id"
        )
    xyz = np.array([[float(parse_number(v) or 0.0) for v in sites.texts(t)]
                    for t in ("Cartn_x", "Cartn_y", "Cartn_z")]).T  # fmt: skip
    highest: dict[tuple[str, str], int] = {}
    for row, number in enumerate(numbers):
        place = (model[row], chain[row])
        if number.lstrip("-").isdigit():
            highest[place] = max(highest.get(place, 0), int(number))
    made: list[str] = []
    here: list[int] = []  # rows of the residue that is being gathered
    for row in bare:
        first = here[0] if here else -1
        place = (model[row], chain[row])
        same = bool(here) and (*place, comp[row]) == (model[first], chain[first], comp[first])
        mates = [r for r in here if name[r] == name[row]]
        again = any(altloc[r] == altloc[row] for r in mates) or any(
            np.linalg.norm(xyz[r] - xyz[row]) > _SAME_ATOM for r in mates
        )
        if not same or again:
            here = []
            highest[place] = highest.get(place, 0) + 1
            made.append(f"{chain[row]}/{highest[place]}/{comp[row]}")
        here.append(row)
        numbers[row] = str(highest[place])
    return made


# ---------------------------------------------------------------------- elements


def _find_elements(path: str | Path, sites: _Sites) -> None:
    """Fill in elements that are not written, from the names of atoms and residues."""
    symbols = sites.texts("type_symbol")
    blank = [row for row, symbol in enumerate(symbols) if not symbol]
    if not blank:
        return
    comp, name = sites.texts("label_comp_id"), sites.texts("auth_atom_id")
    unclear: list[str] = []
    for row in blank:
        symbols[row] = element_of_name(name[row], comp[row]) or "X"
        if symbols[row] == "X":
            unclear.append(f"{comp[row]}/{name[row]}")
    if unclear:
        raise ModelFileError(
            f"{path}: _atom_site.type_symbol is absent, and the element cannot be told from the "
            f"name of {listed(list(dict.fromkeys(unclear)))}; add the column"
        )
    sites.put("type_symbol", symbols)
