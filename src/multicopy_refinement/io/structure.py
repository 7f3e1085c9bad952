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
from multicopy_refinement.io.altlocs import without_blank_letters
from multicopy_refinement.io.atom_sites import complete_sites
from multicopy_refinement.io.elements import settle_elements
from multicopy_refinement.io.frame import frame_notices, missing_copies
from multicopy_refinement.io.links import bonded_pairs
from multicopy_refinement.io.pdb_lines import (
    readable_pdb,
    renumbered,
    written_serials,
)
from multicopy_refinement.io.provenance import refined_with
from multicopy_refinement.io.repeats import check_repeats, refuse_copies_after_end
from multicopy_refinement.io.symmetry import find_space_group, space_group_name
from multicopy_refinement.io.text import one_line, parse_unique, read_bytes
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.words import counted

_PDB_RECORD = re.compile(rb"^(ATOM  |HETATM|CRYST1|HEADER|REMARK|MODEL )", re.MULTILINE)
_CIF_BLOCK = re.compile(rb"^\s*data_\S*", re.MULTILINE | re.IGNORECASE)
_OCCUPANCY_COLUMNS = (54, 60)
#: Names in gemmi's flat form are no longer.
_FLAT_WIDTH = 7


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
            return _parse_pdb(self.path, readable_pdb(self.path, self.content)[0])
        block = model_block(self.path, self.content)
        complete_sites(self.path, block)
        return _parse_mmcif(self.path, block)


@dataclass(frozen=True, eq=False)
class _Flat:
    """A structure atom by atom; ``chains`` are names that its chains stand for, if they do."""

    atoms: gemmi.FlatStructure
    chains: list[str]

    @property
    def serials(self) -> IntArray:
        return np.asarray(self.atoms.serials, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class _Parsed:
    """A parsed file: its structure and flat form, its atoms' places, what is text, what was odd.

    ``symbols`` are the elements as they are written, blank where they are not; ``before_end`` is
    the number of atoms before a record END, where there are others after it.
    """

    structure: gemmi.Structure
    flat: _Flat
    order: IntArray
    occupancies: np.ndarray
    anisotropic: bool
    symbols: np.ndarray
    notices: tuple[Notice, ...]
    before_end: int | None = None


def read_structure(source: str | Path | gemmi.Structure) -> StructureFile:
    """Read a PDB or mmCIF file, told apart by content, gzipped or not, or take a gemmi structure.

    Raises
    ------
    ModelFileError
        What makes it unusable: one line that says what, where and what to do.
    """
    return parse_structure(*_content_of(source))


def parse_structure(path: str | Path, content: bytes) -> StructureFile:
    """Return what `read_structure` does of a file that holds ``content``, at a path or not yet."""
    form = _recognise(path, content)
    if form is StructureFormat.MMCIF:
        content = _usual_case(content)
    read = _read_pdb if form is StructureFormat.PDB else _read_mmcif
    parsed = read(path, content)
    cell, group, fault = _crystal(path, parsed.structure, content)
    remarks = frame_notices(parsed.structure)
    table, unlettered = without_blank_letters(_table(path, parsed))
    links = bonded_pairs(parsed.structure, table)
    table = replace(table, links=links, program=refined_with(parsed.structure, content))
    occupancy, missing = _occupancies(path, parsed.occupancies, table)
    table = table.with_occupancy(occupancy)
    odd = settle_elements(path, table, parsed.symbols) + check_repeats(path, table)
    if parsed.before_end is not None:
        refuse_copies_after_end(path, table, parsed.before_end)
    notices = [*parsed.notices, *unlettered, *odd, *missing, *remarks]
    return StructureFile(
        Path(path),
        form,
        table,
        cell,
        group,
        fault,
        tuple(notices),
        content,
        parsed.order,
    )


def _content_of(source: object) -> tuple[str | Path, bytes]:
    """Return a path and what the file there holds, or would hold for a structure."""
    if isinstance(source, gemmi.Structure):
        structure = source.clone()
        structure.setup_entities()  # names that mmCIF needs, where there are none
        text = structure.make_mmcif_document().as_string()
        return f"{structure.name or 'structure'}.cif", text.encode()
    if not isinstance(source, (str, Path)):
        kind = type(source).__name__
        raise ModelFileError(f"a model is the path of a file or a gemmi.Structure, not {kind}")
    return source, read_bytes(source, ModelFileError)


#: Tags of atoms as the dictionary spells them; CIF does not mind capitals, most programs do.
_ATOM_TAGS = {
    f"_atom_site.{name}".lower().encode(): f"_atom_site.{name}".encode()
    for name in (
        "group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id",
        "label_asym_id", "label_entity_id", "label_seq_id", "pdbx_PDB_ins_code", "Cartn_x",
        "Cartn_y", "Cartn_z", "occupancy", "occupancy_esd", "B_iso_or_equiv",
        "pdbx_formal_charge", "auth_seq_id", "auth_comp_id", "auth_asym_id", "auth_atom_id",
        "pdbx_PDB_model_num",
    )
}  # fmt: skip
_ATOM_TAG = re.compile(rb"^([ \t]*)(_atom_site\.\w+)", re.MULTILINE | re.IGNORECASE)


def _usual_case(content: bytes) -> bytes:
    """Return an mmCIF text with the tags of atoms in their usual capitals."""
    return _ATOM_TAG.sub(lambda m: m[1] + _ATOM_TAGS.get(m[2].lower(), m[2]), content)


def _recognise(path: str | Path, content: bytes) -> StructureFormat:
    if not content or content.isspace():
        raise ModelFileError(f"{path}: the file is empty")
    head = content[:200_000]
    if b"data_" in head.lower() and _CIF_BLOCK.search(head):  # the first is quick to see
        return StructureFormat.MMCIF
    if _PDB_RECORD.search(content):
        return StructureFormat.PDB
    raise ModelFileError(f"{path}: neither a PDB nor an mmCIF file")


# ---------------------------------------------------------------------- PDB


def _read_pdb(path: str | Path, content: bytes) -> _Parsed:
    content, lines, notices = readable_pdb(path, content)
    structure = _parse_pdb(path, content)
    if len(lines.start) == 0:
        raise ModelFileError(f"{path}: no atoms in the file")
    order, flat = np.arange(len(lines.start)), _flat(path, structure)
    written = written_serials(lines)
    if written is None or not _same_order(flat.serials, written):
        # gemmi gathers the atoms of a residue: number the lines to learn where each came from
        order = _flat(path, _parse_pdb(path, renumbered(content, lines))).serials
        if len(order) != len(lines.start) or not np.array_equal(
            np.sort(order), np.arange(len(order))
        ):
            raise ModelFileError(
                f"{path}: {len(lines.start)} atom lines, of which {len(order)} could be read"
            )
    texts = lines.columns(*_OCCUPANCY_COLUMNS)
    before = int(np.count_nonzero(lines.start < lines.stops.min(initial=len(content))))
    symbols = lines.elements
    return _Parsed(
        structure, flat, order, texts, lines.anisotropic, symbols, tuple(notices), before
    )


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


# ---------------------------------------------------------------------- mmCIF


def _read_mmcif(path: str | Path, content: bytes) -> _Parsed:
    block = model_block(path, content)
    remarks = complete_sites(path, block)
    structure = _parse_mmcif(path, block)
    n = len(remarks.symbols)
    if block.find_values("_atom_site.occupancy"):
        texts = np.array(list(block.find_values("_atom_site.occupancy")), dtype=object)
    else:
        texts = np.full(n, "?", dtype=object)
    order, flat = np.arange(n), _flat(path, structure)
    column = block.find_values("_atom_site.id")
    written = parse_unique(np.array(list(column), dtype=object))
    if not _same_order(flat.serials, written):
        for row in range(n):
            column[row] = str(row)
        order = _flat(path, _parse_mmcif(path, block)).serials
        if not np.array_equal(np.sort(order), np.arange(n)):
            raise ModelFileError(
                f"{path}: {n} rows in _atom_site, of which {len(order)} could be read"
            )
    anisotropic = len(block.find_mmcif_category("_atom_site_anisotrop.")) > 0
    return _Parsed(structure, flat, order, texts, anisotropic, remarks.symbols, remarks.notices)


def model_block(path: str | Path, content: bytes) -> gemmi.cif.Block:
    """Return the block of an mmCIF file that holds the atoms."""
    try:
        document = gemmi.cif.read_string(content)
        blocks = [b for b in document if len(b.find_mmcif_category("_atom_site.")) > 0]
    except (RuntimeError, ValueError) as fault:
        raise ModelFileError(f"{path}: not a readable mmCIF file: {one_line(fault)}") from None
    if len(blocks) > 1:
        names = listed([block.name for block in blocks])
        raise ModelFileError(f"{path}: atoms in {len(blocks)} blocks ({names}); leave one of them")
    if blocks:
        return blocks[0]
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


#: No crystal has a larger one, in A^3.
_LARGEST_CELL = 1e10


def _crystal(
    path: str | Path, structure: gemmi.Structure, content: bytes
) -> tuple[Cell | None, SpaceGroup | None, str]:
    """Return cell and space group, or None and what is lacking: groups need neither."""
    if not structure.cell.is_crystal():
        return None, None, f"{path}: no unit cell; add a CRYST1 record or a _cell category"
    copies = missing_copies(structure)
    if copies:
        return None, None, f"{path}: {copies}; write their atoms out first"
    group = find_space_group(structure, content)
    if group is None:
        name = space_group_name(structure)
        known = f"space group {name!r} is not known" if name else "no space group"
        what = (
            "write its usual setting, and model and data in it"
            if name
            else "put one into CRYST1 or _symmetry"
        )
        return None, None, f"{path}: {known}; {what}"
    cell = Cell(*structure.cell.parameters)
    both = np.stack([cell.orthogonalization, cell.fractionalization])
    if not np.isfinite(both).all() or not 1.0 < cell.volume < _LARGEST_CELL:
        given = " ".join(f"{value:g}" for value in structure.cell.parameters)
        return None, None, f"{path}: there is no unit cell {given}; correct it"
    return cell, SpaceGroup(group.xhm()), ""


def _flat(path: str | Path, structure: gemmi.Structure) -> _Flat:
    """Return the flat form of a structure.

    gemmi's holds names of seven characters: where a chain has more, all have numbers.
    """
    try:
        return _Flat(gemmi.FlatStructure(structure), [])
    except RuntimeError:
        short = structure.clone()
    chains = [chain for model in short for chain in model]
    names = [chain.name for chain in chains]
    for number, chain in enumerate(chains):
        chain.name = str(number)
        for residue in chain:
            residue.subchain = ""
    try:
        return _Flat(gemmi.FlatStructure(short), names)
    except RuntimeError:
        raise ModelFileError(
            f"{path}: names of residues and atoms have at most {_FLAT_WIDTH} characters"
        ) from None


def _table(path: str | Path, parsed: _Parsed) -> AtomTable:
    flat, names, order = parsed.flat.atoms, parsed.flat.chains, parsed.order
    to_file = np.empty(len(order), dtype=np.int64)
    to_file[order] = np.arange(len(order))
    same = bool((order == np.arange(len(order))).all())

    def column(values: Any, dtype: str) -> Any:
        text = dtype.startswith("S")
        array = np.array(values, dtype=None if text else dtype, order="C")  # the one copy
        array = array if same else array[to_file]
        return array.view(dtype).reshape(len(order)) if text else array

    icode = column(flat.icodes, "int8")
    chain = column(flat.chain_ids, "S8")
    if names:
        chain = np.array([name.encode() for name in names])[chain.astype(np.int64)]
    table = AtomTable(
        hetatm=column(flat.het_flags, "int8") == ord("H"),
        model=column(flat.model_num, "int32"),
        chain=chain,
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
    _check_names(path, table)
    _check_numbers(path, table)
    return table


def _check_names(path: str | Path, table: AtomTable) -> None:
    """Refuse names that no other program would read: what is not printable ASCII."""
    for what in ("chain", "icode", "resname", "name", "altloc"):
        column = np.ascontiguousarray(getattr(table, what))
        if column.dtype.itemsize == 8 and _printable(column.view(np.uint64)):
            continue
        letters = column.view(np.uint8).reshape(len(column), -1)
        odd = np.flatnonzero(((letters > ord("~")) | ((letters < ord(" ")) & (letters > 0))).any(1))
        if len(odd):
            text = column[odd[0]].decode("latin-1")
            raise ModelFileError(
                f"{path}: {what} {text!r} of atom {odd[0] + 1} in the file has characters that are "
                "not printable ASCII"
            )


def _printable(words: np.ndarray) -> bool:
    """Return whether eight bytes in each word are all printable ASCII, or zero.

    Eight at a time: bit 7 tells what is not ASCII, carries into it tell 127, and carries into
    bit 5 tell what is not zero below 32.
    """
    every = np.uint64(0x0101010101010101)
    beyond = (words | (words + every)) & (every << np.uint64(7))
    low = (words & (every * np.uint64(0x1F))) + every * np.uint64(0x1F)
    control = low & ~(words | (words >> np.uint64(1))) & (every << np.uint64(5))
    return not (beyond | control).any()


def _check_numbers(path: str | Path, table: AtomTable) -> None:
    """Refuse numbers that are none, or beyond what any crystal has."""
    for what, most in (("xyz", 1e6), ("b_iso", 1e5), ("u_aniso", 1e4)):
        values = getattr(table, what).reshape(len(table), -1)
        if -most < values.min(initial=0.0) and values.max(initial=0.0) < most:  # not so with nan
            continue
        odd = np.flatnonzero(~(np.abs(values) < most).all(axis=1))
        if len(odd):
            label = table.labels(odd[:1])[0]
            raise ModelFileError(f"{path}: {what} of {label} is {values[odd[0]].tolist()}")


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
            f"{counted(len(labels), 'atom', 'have')} no occupancy; 1.00 is taken: "
            f"{listed(list(labels))}",
            labels,
        )
    ]
