"""A coordinate file with atoms taken out and altlocs changed, and all else of it kept."""

from __future__ import annotations

import gemmi
import numpy as np

from multicopy_refinement._typing import BoolArray, IntArray
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.io.pdb_lines import AtomLines, pdb_atom_lines
from multicopy_refinement.io.structure import StructureFile, StructureFormat, parse_structure
from multicopy_refinement.io.text import integers
from multicopy_refinement.io.write_structure import AtomValues, updated_content

#: Chain, number, insertion code, atom and altloc; and those of a residue.
_Atom = tuple[str, int, str, str, str]
_Residue = tuple[str, int, str]
#: Column (0-based) of the altloc in lines of atoms.
_ALTLOC = 16
#: Where records of a PDB file name atoms: columns of name, altloc, chain, number, insertion code.
_LINK_ENDS = ((12, 16, 21, 22, 26), (42, 46, 51, 52, 56))
_BRIDGE_ENDS = ((15, 17, 21), (29, 31, 35))
#: A record that counts the others.
_COUNTS = b"MASTER"


def without_atoms(
    source: StructureFile, values: AtomValues, kept: BoolArray, altloc: np.ndarray
) -> StructureFile:
    """Return a file of some of the atoms, with other numbers and altlocs.

    Bonds that the file names (LINK, SSBOND, CONECT, ``_struct_conn``) follow: those of atoms that
    are gone go, too.

    Parameters
    ----------
    source
        The file.
    values
        Numbers of all its atoms.
    kept
        Which atoms stay, ``[n]``.
    altloc
        Of all its atoms, ``S1 [n]``.
    """
    content = updated_content(source, values)
    fate = _Fate(source.table, kept, altloc)
    edit = _pdb_without if source.format is StructureFormat.PDB else _mmcif_without
    return parse_structure(source.path, edit(content, kept, altloc, fate))


class _Fate:
    """What has become of the atoms that other records name."""

    def __init__(self, table: AtomTable, kept: BoolArray, altloc: np.ndarray) -> None:
        self.altloc: dict[_Atom, str | None] = {}
        self.left: set[_Residue] = set()
        columns = (table.chain, table.resseq, table.icode, table.name, table.altloc)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        for row, stays, letter in zip(rows, kept.tolist(), altloc.tolist(), strict=True):
            chain, number, icode, name, old = row
            residue = (_text(chain), int(number), _text(icode))
            self.altloc[*residue, _text(name), _text(old)] = _text(letter) if stays else None
            if stays:
                self.left.add(residue)

    def of(self, atom: _Atom) -> str | None:
        """Return the altloc of an atom now, or None where it is gone; unknown ones stay."""
        return self.altloc.get(atom, atom[-1])


def _text(name: bytes) -> str:
    return name.decode("latin-1")


# ---------------------------------------------------------------------- PDB


def _pdb_without(content: bytes, kept: BoolArray, altloc: np.ndarray, fate: _Fate) -> bytes:
    lines = pdb_atom_lines(content)
    text = lines.buffer.copy()
    letters = np.where(altloc == b"", b" ", altloc).astype("S1").view(np.uint8)
    text[lines.start + _ALTLOC] = letters
    text[lines.anisou_start + _ALTLOC] = letters[lines.anisou_of]
    gone = _serials_gone(lines, kept)
    drop = {int(i) for i in lines.start[~kept]}
    drop |= {int(i) for i in lines.anisou_start[~kept[lines.anisou_of]]}
    found, place = [], 0
    for line in text.tobytes().splitlines(keepends=True):
        if place not in drop:
            found.append(_record(line, fate, gone))
        place += len(line)
    return b"".join(found)


def _serials_gone(lines: AtomLines, kept: BoolArray) -> set[int]:
    """Return the serials of atoms that are gone, where serials are plain and all different."""
    serials = integers(lines.columns(6, 11))
    if serials is None or len(np.unique(serials)) < len(serials):
        return set()
    return set(serials[~kept].tolist())


def _record(line: bytes, fate: _Fate, gone: set[int]) -> bytes:
    """Return a line as it is to be now: nothing where what it names is gone."""
    kind = line[:6]
    if kind == _COUNTS:
        return b""
    if kind == b"LINK  ":
        return _link(line, fate)
    if kind == b"SSBOND":
        ends = [_residue_of(line, *columns) for columns in _BRIDGE_ENDS]
        return line if all(end in fate.left for end in ends) else b""
    if kind == b"HET   ":
        return line if _residue_of(line, 12, 13, 17) in fate.left else b""
    if kind == b"CONECT" and gone:
        return _conect(line, gone)
    return line


def _residue_of(line: bytes, chain: int, number: int, icode: int) -> _Residue:
    digits = _text(line[number:icode]).strip()
    value = int(digits) if digits.lstrip("-").isdigit() else 0
    return _text(line[chain : chain + 1]).strip(), value, _text(line[icode : icode + 1]).strip()


def _link(line: bytes, fate: _Fate) -> bytes:
    for name, altloc, chain, number, icode in _LINK_ENDS:
        residue = _residue_of(line, chain, number, icode)
        old = _text(line[altloc : altloc + 1]).strip()
        now = fate.of((*residue, _text(line[name:altloc]).strip(), old))
        if now is None:
            return b""
        line = line[:altloc] + (now or " ").encode("latin-1") + line[altloc + 1 :]
    return line


def _conect(line: bytes, gone: set[int]) -> bytes:
    body = line.rstrip(b"\r\n")
    fields = [body[i : i + 5] for i in range(6, len(body), 5)]
    stay = [f for f in fields if not (f.strip().isdigit() and int(f) in gone)]
    if len(stay) == len(fields):
        return line
    if len(stay) < 2 or stay[0] is not fields[0]:
        return b""
    return body[:6] + b"".join(stay) + line[len(body) :]


# ---------------------------------------------------------------------- mmCIF


def _mmcif_without(content: bytes, kept: BoolArray, altloc: np.ndarray, fate: _Fate) -> bytes:
    document = gemmi.cif.read_string(content)
    block = next(b for b in document if len(b.find_mmcif_category("_atom_site.")) > 0)
    letters = [gemmi.cif.quote(_text(a)) if a else "." for a in altloc.tolist()]
    ids = list(block.find_values("_atom_site.id"))
    if "_atom_site.label_alt_id" in block.find_mmcif_category("_atom_site.").tags:
        column = block.find_values("_atom_site.label_alt_id")
        for row, letter in enumerate(letters):
            column[row] = letter
    stays = dict(zip(ids, kept.tolist(), strict=True)) if len(set(ids)) == len(ids) else {}
    now = dict(zip(ids, letters, strict=True))
    _keep_rows(block, "_atom_site.", np.flatnonzero(kept))
    _edit_ellipsoids(block, stays, now)
    _edit_bonds(block, fate)
    return str(document.as_string()).encode()


def _keep_rows(block: gemmi.cif.Block, category: str, rows: IntArray) -> None:
    table = block.find_mmcif_category(category)
    table.ensure_loop()
    loop = table.loop
    columns = [list(block.find_values(tag)) for tag in loop.tags]
    loop.set_all_values([[column[row] for row in rows.tolist()] for column in columns])


def _edit_ellipsoids(
    block: gemmi.cif.Block, stays: dict[str, bool], letters: dict[str, str]
) -> None:
    column = block.find_values("_atom_site_anisotrop.id")
    if not len(column) or not stays:
        return
    ids = list(column)
    alternatives = block.find_values("_atom_site_anisotrop.pdbx_label_alt_id")
    for row, one in enumerate(ids if len(alternatives) else ()):
        alternatives[row] = letters.get(one, alternatives[row])
    rows = [row for row, one in enumerate(ids) if stays.get(one, True)]
    _keep_rows(block, "_atom_site_anisotrop.", np.array(rows, dtype=np.int64))


def _edit_bonds(block: gemmi.cif.Block, fate: _Fate) -> None:
    category = "_struct_conn."
    n = len(block.find_values(category + "id"))
    rows = []
    for row in range(n):
        letters = [_end(block, category, partner, row, fate) for partner in ("1", "2")]
        if None not in letters:
            rows.append(row)
    if len(rows) < n:
        _keep_rows(block, category, np.array(rows, dtype=np.int64))


def _end(block: gemmi.cif.Block, category: str, partner: str, row: int, fate: _Fate) -> str | None:
    """Write the altloc that the end of a bond has now, and return it, or None where it is gone."""

    def find(tag: str) -> str:
        column = block.find_values(category + tag)
        value = column[row] if len(column) else "."
        return "" if value in {".", "?"} else str(gemmi.cif.as_string(value))

    number = find(f"ptnr{partner}_auth_seq_id") or find(f"ptnr{partner}_label_seq_id")
    if not number.lstrip("-").isdigit():
        return ""
    chain = find(f"ptnr{partner}_auth_asym_id") or find(f"ptnr{partner}_label_asym_id")
    icode, name = find(f"pdbx_ptnr{partner}_PDB_ins_code"), find(f"ptnr{partner}_label_atom_id")
    tag = f"pdbx_ptnr{partner}_label_alt_id"
    now = fate.of((chain, int(number), icode, name, find(tag)))
    column = block.find_values(category + tag)
    if now is not None and len(column):
        column[row] = gemmi.cif.quote(now) if now else "?"
    return now
