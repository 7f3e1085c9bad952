"""Reading of coordinate files (PDB, mmCIF) into a table of atoms."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import gemmi
import numpy as np

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.errors import ModelFileError
from multicopy_refinement.io.links import bonded_pairs
from multicopy_refinement.io.text import fixed_columns, integers, one_line, parse_unique, read_bytes
from multicopy_refinement.notices import Notice, listed

_PDB_RECORD = re.compile(rb"^(ATOM  |HETATM|CRYST1|HEADER|REMARK|MODEL )", re.MULTILINE)
_CIF_BLOCK = re.compile(rb"^\s*data_\S*", re.MULTILINE | re.IGNORECASE)
_OCCUPANCY_COLUMNS = (54, 60)
#: Letters that tell the records apart that matter here.
_RECORD_WIDTH = 4


class StructureFormat(StrEnum):
    """Format of a coordinate file."""

    PDB = "pdb"
    MMCIF = "mmcif"


@dataclass(frozen=True, eq=False)
class StructureFile:
    """A coordinate file as read.

    Attributes
    ----------
    path, format
        Where it came from, and how it was written.
    table
        Its atoms in the order of the file.
    cell, spacegroup
        Of the crystal; None where the file lacks one of them.
    crystal_fault
        What is lacking then, and what to do.
    notices
        What was odd in it.
    content
        Its bytes (unpacked).
    order
        Position in the file of each atom of ``structure()``, in gemmi's order.
    """

    path: Path
    format: StructureFormat
    table: AtomTable
    cell: Cell | None
    spacegroup: SpaceGroup | None
    crystal_fault: str
    notices: tuple[Notice, ...]
    content: bytes
    order: IntArray

    @property
    def crystal(self) -> tuple[Cell, SpaceGroup] | None:
        """Cell and space group, or None where the file lacks one of them."""
        if self.cell is None or self.spacegroup is None:
            return None
        return self.cell, self.spacegroup

    def structure(self) -> gemmi.Structure:
        """Return the file as a gemmi structure, parsed anew (so that this class can be pickled)."""
        if self.format is StructureFormat.PDB:
            return _parse_pdb(self.path, self.content)
        return _parse_mmcif(self.path, model_block(self.path, self.content))


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
    """

    start: IntArray
    end: IntArray
    buffer: np.ndarray
    anisou_start: IntArray
    anisou_end: IntArray
    anisou_of: IntArray

    @property
    def anisotropic(self) -> bool:
        """Whether there are ANISOU records."""
        return len(self.anisou_start) > 0

    def columns(self, first: int, last: int) -> np.ndarray:
        """Return columns first..last (0-based, half-open) as ``S`` strings."""
        return fixed_columns(self.buffer, self.start, self.end, first, last)


@dataclass(frozen=True, eq=False)
class _Parsed:
    """A parsed file: structure, its flat form, place of its atoms in the file, what is text."""

    structure: gemmi.Structure
    flat: gemmi.FlatStructure
    order: IntArray
    occupancies: np.ndarray
    anisotropic: bool


def read_structure(path: str | Path) -> StructureFile:
    """Read a PDB or mmCIF file, told apart by content, gzipped or not.

    Raises
    ------
    ModelFileError
        What makes the file unusable: one line that says what, where and what to do.
    """
    content = read_bytes(path, ModelFileError)
    form = _recognise(path, content)
    read = _read_pdb if form is StructureFormat.PDB else _read_mmcif
    parsed = read(path, content)
    cell, group, fault = _crystal(path, parsed.structure)
    table = _table(parsed)
    _check_atoms(path, table)
    table = replace(table, links=bonded_pairs(parsed.structure, table))
    occupancy, notices = _occupancies(path, parsed.occupancies, table)
    return StructureFile(
        Path(path),
        form,
        table.with_occupancy(occupancy),
        cell,
        group,
        fault,
        tuple(notices),
        content,
        parsed.order,
    )


def _recognise(path: str | Path, content: bytes) -> StructureFormat:
    if not content or content.isspace():
        raise ModelFileError(f"{path}: the file is empty")
    head = content[:200_000]
    if _CIF_BLOCK.search(head) and b"_" in head:
        return StructureFormat.MMCIF
    if _PDB_RECORD.search(content):
        return StructureFormat.PDB
    raise ModelFileError(f"{path}: neither a PDB nor an mmCIF file")


# ---------------------------------------------------------------------- PDB


def pdb_atom_lines(content: bytes) -> AtomLines:
    """Return the lines of atoms, up to the record END."""
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
    stop = np.flatnonzero((record == _RECORDS["END "]) | (record == _RECORDS["END"]))
    if len(stop):
        start, end, record = start[: stop[0]], end[: stop[0]], record[: stop[0]]
    atoms = (record == _RECORDS["ATOM"]) | (record == _RECORDS["HETA"])
    anisou = record == _RECORDS["ANIS"]
    return AtomLines(
        start[atoms], end[atoms], buffer, start[anisou], end[anisou],
        (np.cumsum(atoms) - 1)[anisou],
    )  # fmt: skip


def _first_letters(buffer: np.ndarray, start: IntArray, end: IntArray) -> np.ndarray:
    """Return the first four letters of each line, in capitals, as one integer each."""
    letters = fixed_columns(buffer, start, end, 0, 4).view(np.uint32)
    return letters & 0xDFDFDFDF  # turns small letters into capitals, and blanks into 0


_RECORDS = {
    name: int(np.frombuffer(name.ljust(4).encode(), dtype=np.uint32)[0]) & 0xDFDFDFDF
    for name in ("ATOM", "HETA", "ANIS", "END", "END ")
}


def _read_pdb(path: str | Path, content: bytes) -> _Parsed:
    lines = pdb_atom_lines(content)
    start, end = lines.start, lines.end
    structure = _parse_pdb(path, content)
    flat = gemmi.FlatStructure(structure)
    if len(start) == 0:
        raise ModelFileError(f"{path}: no atoms in the file")
    order = np.arange(len(start))
    written = integers(lines.columns(6, 11))
    if written is None or not _same_order(flat.serials, written):
        # gemmi gathers the atoms of a residue: number the lines to learn where each came from
        serials = gemmi.FlatStructure(_parse_pdb(path, _renumbered(content, start, end))).serials
        order = np.asarray(serials, dtype=np.int64)
        if len(order) != len(start) or not np.array_equal(np.sort(order), np.arange(len(order))):
            raise ModelFileError(
                f"{path}: {len(start)} atom lines, of which {len(order)} could be read"
            )
    texts = lines.columns(*_OCCUPANCY_COLUMNS)
    return _Parsed(structure, flat, order, texts, lines.anisotropic)


def _same_order(serials: np.ndarray, written: np.ndarray) -> bool:
    """Return whether serials as gemmi orders the atoms show that it kept the order of the file."""
    if len(serials) != len(written) or not np.array_equal(serials, written):
        return False
    # equal numbers prove nothing where they repeat, but for a count that starts again at 99,999
    falls = np.count_nonzero(np.diff(written) <= 0)
    return bool(falls == 0 or falls <= len(written) // 90_000 or _distinct(written))


def _distinct(numbers: np.ndarray) -> bool:
    return len(np.unique(numbers)) == len(numbers)


def _parse_pdb(path: str | Path, content: bytes) -> gemmi.Structure:
    try:
        return gemmi.read_pdb_string(content)
    except (RuntimeError, ValueError) as fault:
        raise ModelFileError(f"{path}: not a readable PDB file: {one_line(fault)}") from None


def _renumbered(content: bytes, start: IntArray, end: IntArray) -> bytes:
    """Return the content with the atoms' serials replaced by their order, in hybrid-36."""
    buffer = np.frombuffer(content, dtype=np.uint8).copy()
    serial = np.array([_hybrid36(i) for i in range(len(start))], dtype="S5")
    text = np.char.rjust(serial, 5).astype("S5").view(np.uint8).reshape(-1, 5)
    long_enough = end - start >= 11
    buffer[start[long_enough, None] + np.arange(6, 11)] = text[long_enough]
    return buffer.tobytes()


def _hybrid36(number: int) -> str:
    if number < 100_000:
        return str(number)
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    number += 10 * 36**4 - 100_000
    text = ""
    for _ in range(5):
        number, rest = divmod(number, 36)
        text = digits[rest] + text
    return text


# ---------------------------------------------------------------------- mmCIF


def _read_mmcif(path: str | Path, content: bytes) -> _Parsed:
    block = model_block(path, content)
    sites = block.find_mmcif_category("_atom_site.")
    tags = list(sites.tags)
    if "_atom_site.id" not in tags or "_atom_site.Cartn_x" not in tags:
        raise ModelFileError(f"{path}: the file has no _atom_site.id or no _atom_site.Cartn_x")
    structure = _parse_mmcif(path, block)
    if "_atom_site.occupancy" in tags:
        texts = np.array(list(block.find_values("_atom_site.occupancy")), dtype=object)
    else:
        texts = np.full(len(sites), "?", dtype=object)
    flat = gemmi.FlatStructure(structure)
    order = np.arange(len(sites))
    column = block.find_values("_atom_site.id")
    written = parse_unique(np.array(list(column), dtype=object))
    if not _same_order(flat.serials, written):
        for row in range(len(sites)):
            column[row] = str(row)
        order = np.asarray(gemmi.FlatStructure(_parse_mmcif(path, block)).serials, dtype=np.int64)
        if not np.array_equal(np.sort(order), np.arange(len(sites))):
            raise ModelFileError(
                f"{path}: {len(sites)} rows in _atom_site, of which {len(order)} could be read; "
                f"missing: {_missing_tags(tags)}"
            )
    anisotropic = len(block.find_mmcif_category("_atom_site_anisotrop.")) > 0
    return _Parsed(structure, flat, order, texts, anisotropic)


def _missing_tags(tags: list[str]) -> str:
    """Return the columns that a reader of mmCIF needs and that are not there."""
    needed = ("label_atom_id", "label_comp_id", "label_asym_id", "auth_seq_id", "Cartn_z")
    return ", ".join(t for t in needed if f"_atom_site.{t}" not in tags) or "no column"


def model_block(path: str | Path, content: bytes) -> gemmi.cif.Block:
    """Return the block of an mmCIF file that holds the atoms."""
    try:
        document = gemmi.cif.read_string(content)
    except (RuntimeError, ValueError) as fault:
        raise ModelFileError(f"{path}: not a readable mmCIF file: {one_line(fault)}") from None
    for block in document:
        if len(block.find_mmcif_category("_atom_site.")) > 0:
            return block
    small = any(len(b.find_values("_atom_site_fract_x")) > 0 for b in document)
    raise ModelFileError(
        f"{path}: a small-molecule CIF (fractional coordinates); convert it to mmCIF first"
        if small
        else f"{path}: no atoms in the file (no _atom_site category)"
    )


def _parse_mmcif(path: str | Path, block: gemmi.cif.Block) -> gemmi.Structure:
    try:
        return gemmi.make_structure_from_block(block)
    except (RuntimeError, ValueError) as fault:
        raise ModelFileError(f"{path}: not a readable mmCIF file: {one_line(fault)}") from None


# ---------------------------------------------------------------------- both


def _crystal(
    path: str | Path, structure: gemmi.Structure
) -> tuple[Cell | None, SpaceGroup | None, str]:
    """Return cell and space group, or None and what is lacking: groups need neither."""
    if not structure.cell.is_crystal():
        return None, None, f"{path}: no unit cell; add a CRYST1 record or a _cell category"
    group: gemmi.SpaceGroup | None = structure.find_spacegroup()
    if group is None:
        name = structure.spacegroup_hm
        known = f"space group {name!r} is not known" if name else "no space group"
        return None, None, f"{path}: {known}; put one into CRYST1 or _symmetry"
    return Cell(*structure.cell.parameters), SpaceGroup(group.xhm()), ""


def _table(parsed: _Parsed) -> AtomTable:
    flat, order = parsed.flat, parsed.order
    to_file = np.empty(len(order), dtype=np.int64)
    to_file[order] = np.arange(len(order))
    same = bool((order == np.arange(len(order))).all())

    def column(values: Any, dtype: str) -> Any:
        text = dtype.startswith("S")
        array = np.array(values, dtype=None if text else dtype, order="C")  # the one copy
        array = array if same else array[to_file]
        return array.view(dtype).reshape(len(order)) if text else array

    icode = column(flat.icodes, "int8")
    return AtomTable(
        hetatm=column(flat.het_flags, "int8") == ord("H"),
        model=column(flat.model_num, "int32"),
        chain=column(flat.chain_ids, "S8"),
        resseq=column(flat.resnums, "int32"),
        icode=np.where(icode == ord(" "), 0, icode).astype(np.int8).view("S1"),
        resname=column(flat.residue_names, "S8"),
        name=column(flat.atom_names, "S8"),
        altloc=column(flat.altlocs, "int8").view("S1"),
        element=_capitals(column(flat.element_names, "S2")),
        charge=column(flat.charge, "int8"),
        xyz=column(flat.pos, "float64"),
        occupancy=column(flat.occ, "float64"),
        b_iso=np.round(column(flat.b_iso, "float64"), 5),  # gemmi holds single precision
        u_aniso=_anisotropic(parsed),
    )


def _capitals(texts: np.ndarray) -> np.ndarray:
    letters = np.ascontiguousarray(texts).view(np.uint8)
    small = (letters >= ord("a")) & (letters <= ord("z"))
    return (letters - np.where(small, np.uint8(32), np.uint8(0))).view(texts.dtype)


def _anisotropic(parsed: _Parsed) -> FloatArray:
    u_aniso = np.zeros((len(parsed.order), 6))
    if parsed.anisotropic:
        sites = (site for model in parsed.structure for site in model.all())
        rows = np.array([site.atom.aniso.elements_pdb() for site in sites], dtype=np.float64)
        u_aniso[parsed.order] = np.round(rows, 7)
    return u_aniso


def _check_atoms(path: str | Path, table: AtomTable) -> None:
    unknown = table.element == b"X"
    if unknown.any():
        names = listed(list(table.labels(unknown)))
        raise ModelFileError(f"{path}: unknown element of {names}; check the element column")
    if not np.isfinite(table.xyz).all():
        names = listed(list(table.labels(~np.isfinite(table.xyz).all(axis=1))))
        raise ModelFileError(f"{path}: coordinates of {names} are not numbers")


def _occupancies(
    path: str | Path, texts: np.ndarray, table: AtomTable
) -> tuple[FloatArray, list[Notice]]:
    """Return the occupancies as written; one that is missing is 1 with a notice."""
    values = parse_unique(texts)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad) == 0:
        return values, []
    missing: list[tuple[int, str]] = []
    wrong: list[tuple[int, str]] = []
    for atom in bad.tolist():
        raw = texts[atom]
        text = (raw.decode("latin-1") if isinstance(raw, bytes) else raw).strip()
        (missing if text in {"", "?", "."} else wrong).append((atom, text))
    if wrong:
        atom, text = wrong[0]
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise ModelFileError(
            f"{path}: occupancy {text!r} of atom {table.label(atom)} is not a "
            f"number{more}; write one from 0 to 1"
        )
    atoms = [atom for atom, _ in missing]
    values[atoms] = 1.0
    labels = table.labels(atoms)
    return values, [
        Notice(
            "occupancy_missing",
            f"{len(labels)} atoms have no occupancy; 1.00 is taken: {listed(list(labels))}",
            labels,
        )
    ]
