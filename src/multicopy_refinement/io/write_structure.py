"""Writing of a model: the input file with its numbers replaced and all else kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gemmi
import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray
from multicopy_refinement.errors import OutputError
from multicopy_refinement.io.ensembles import AltEnsemble, write_ensembles
from multicopy_refinement.io.entry import entry_name, name_entry
from multicopy_refinement.io.facts import RefinementFacts
from multicopy_refinement.io.files import written_aside
from multicopy_refinement.io.pdb_limits import LARGEST_B, pdb_fault
from multicopy_refinement.io.pdb_lines import pdb_atom_lines
from multicopy_refinement.io.refine_categories import describe_refinement
from multicopy_refinement.io.remark_3 import with_remark_3
from multicopy_refinement.io.structure import StructureFile, StructureFormat


@dataclass(frozen=True, eq=False)
class AtomValues:
    """Numbers to write, one row an atom in the order of the file.

    Attributes
    ----------
    occupancy
        As it is to be written, rounded already.
    xyz, b_iso, u_aniso
        A, A^2, A^2; written only where they differ from the file's.
    occupancy_su, xyz_su, b_su
        Standard uncertainties of occupancies, coordinates (A, one for x, y and z) and B (A^2), nan
        where there is none; None writes no values.
    """

    occupancy: FloatArray
    xyz: FloatArray
    b_iso: FloatArray
    u_aniso: FloatArray
    occupancy_su: FloatArray | None = None
    xyz_su: FloatArray | None = None
    b_su: FloatArray | None = None


def write_pdb(
    source: StructureFile, values: AtomValues, path: str | Path,
    facts: RefinementFacts | None = None,
) -> None:  # fmt: skip
    """Write PDB: the lines of a PDB input with new numbers, or a conversion of an mmCIF input.

    B factors that its columns cannot hold are written as 999.99. REMARK 3 is that of the
    refinement whose ``facts`` are given.

    Raises
    ------
    OutputError
        What the format cannot hold.
    """
    values = replace(
        values, b_iso=np.where(beyond_columns(source, values), LARGEST_B, values.b_iso)
    )
    if source.format is StructureFormat.PDB:
        content = _replaced_lines(source, values)
    else:
        fault = pdb_fault(source.table)
        if fault is not None:
            raise OutputError(f"{path}: not written, {fault}; write mmCIF (.cif)")
        structure = _updated_structure(source, values)
        structure.shorten_ccd_codes()
        content = structure.make_pdb_string().encode()
    if facts is not None:
        content = with_remark_3(content, facts)
    with written_aside(path) as aside:
        aside.write_bytes(content)


def write_mmcif(
    source: StructureFile, values: AtomValues, path: str | Path,
    facts: RefinementFacts | None = None, ensembles: Sequence[AltEnsemble] = (),
) -> None:  # fmt: skip
    """Write mmCIF: the blocks of an mmCIF input with new numbers, or a conversion of a PDB input.

    Occupancies have four decimals; ``_atom_site.occupancy_esd`` holds standard uncertainties.
    ``_refine`` and ``_software`` are those of the refinement whose ``facts`` are given, and
    ``_atom_sites_alt_ens`` holds the ``ensembles``.
    """
    name = entry_name(source)
    if source.format is StructureFormat.MMCIF:
        document = gemmi.cif.read_string(source.content)
        block, rows = document[name], np.arange(len(values.occupancy))
    else:
        structure = _updated_structure(source, values)
        name_entry(structure, name)
        document = structure.make_mmcif_document()
        block, rows = document[0], source.order
        _quote_names(block, source)
    _update_sites(block, source, values, rows=rows)
    write_ensembles(block, ensembles)
    if facts is not None:
        describe_refinement(block, facts)
    with written_aside(path) as aside:
        document.write_file(str(aside))


def updated_content(source: StructureFile, values: AtomValues) -> bytes:
    """Return the content of a file with new numbers, in its own format."""
    if source.format is StructureFormat.PDB:
        return _replaced_lines(source, values)
    document = gemmi.cif.read_string(source.content)
    _update_sites(document[entry_name(source)], source, values, np.arange(len(values.occupancy)))
    return str(document.as_string()).encode()


def beyond_columns(source: StructureFile, values: AtomValues) -> BoolArray:
    """Return which atoms have a B that is to be written as PDB and is too large for its columns.

    A line of a PDB input whose B has not changed stays as it is.
    """
    high = values.b_iso > LARGEST_B
    if source.format is StructureFormat.PDB:
        high &= _moved(source, values)[1]
    return high


def _quote_names(block: gemmi.cif.Block, source: StructureFile) -> None:
    """Put into quotes what a converted block holds as it is, and CIF would read as something else.

    Punctuation marks are names of chains and altlocs in PDB files.
    """
    table, order = source.table, source.order
    for tag, names in (("auth_asym_id", table.chain), ("label_alt_id", table.altloc)):
        column = block.find_values(f"_atom_site.{tag}")
        written = [gemmi.cif.quote(name.decode("latin-1")) for name in names.tolist()]
        for row, atom in enumerate(order.tolist()):
            if names[atom]:
                column[row] = written[atom]
            elif tag == "label_alt_id":
                column[row] = "."
    items: list[Any] = list(block)
    tags = [item.pair[0] for item in items if item.pair is not None]
    tags += [tag for item in items if item.loop is not None for tag in item.loop.tags]
    for tag in tags:
        column = block.find_values(tag)
        for row, value in enumerate(list(column)):
            if not _is_cif(value):
                column[row] = gemmi.cif.quote(value)


def _is_cif(value: str) -> bool:
    """Return whether a value may stand in a CIF file as it is."""
    if value[:1] in {"'", '"'}:
        return len(value) > 1 and value[-1] == value[0]
    if value[:1] == ";":
        return "\n;" in value
    return value in {".", "?"} or gemmi.cif.quote(value) == value


def _moved(source: StructureFile, values: AtomValues) -> tuple[BoolArray, BoolArray, BoolArray]:
    """Return which atoms have other coordinates, B or U than the file, in the digits of a PDB file.

    A model of mmCIF has more digits than those, so that what is written is compared.
    """

    def written(now: FloatArray, before: FloatArray, digits: int) -> BoolArray:
        other = np.rint(now * 10**digits) != np.rint(before * 10**digits)
        return np.asarray(other.reshape(len(other), -1).any(axis=1))

    table = source.table
    xyz = written(values.xyz, table.xyz, 3)
    b_iso = written(values.b_iso, table.b_iso, 2)
    u_aniso = written(values.u_aniso, table.u_aniso, 4)
    return xyz, b_iso, u_aniso


def _replaced_lines(source: StructureFile, values: AtomValues) -> bytes:
    """Return the PDB lines of the input with occupancies, and what has moved, replaced."""
    lines = pdb_atom_lines(source.content)
    text = lines.buffer.copy()
    moved, warmer, reshaped = _moved(source, values)
    spans, ellipsoids = (lines.start, lines.end), (lines.anisou_start, lines.anisou_end)
    everything, of = np.ones(len(lines.start), dtype=bool), lines.anisou_of
    fields = [
        (spans, 54, everything, [f"{v:6.2f}" for v in values.occupancy]),
        (spans, 30, moved, ["".join(f"{c:8.3f}" for c in row) for row in values.xyz]),
        (spans, 60, warmer, [f"{v:6.2f}" for v in values.b_iso]),
        (ellipsoids, 28, reshaped[of], [_anisou(u) for u in values.u_aniso[of]]),
    ]
    short: list[tuple[int, int, int, str]] = []
    for (start, end), column, wanted, texts in fields:
        if not wanted.any():
            continue
        width = len(texts[0])
        whole = wanted & (end - start >= column + width)
        characters = np.array(texts, dtype=f"S{width}").view(np.uint8).reshape(-1, width)
        text[start[whole, None] + np.arange(column, column + width)] = characters[whole]
        short += [
            (int(start[i]), int(end[i]), column, texts[i]) for i in np.flatnonzero(wanted & ~whole)
        ]
    return _with_longer_lines(text.tobytes(), short)


def _anisou(u: FloatArray) -> str:
    """Return U as an ANISOU record has it: six integers, in 0.0001 A^2."""
    return "".join(f"{round(1e4 * float(v)):7d}" for v in u)


def _with_longer_lines(content: bytes, short: list[tuple[int, int, int, str]]) -> bytes:
    """Return the content with values put into lines that end before their columns."""
    for begin, stop, column, value in sorted(short, reverse=True):
        old = content[begin:stop].ljust(column + len(value))
        new = old[:column] + value.encode() + old[column + len(value) :]
        content = content[:begin] + new + content[stop:]
    return content


def _updated_structure(source: StructureFile, values: AtomValues) -> gemmi.Structure:
    structure = source.structure()
    moved, warmer, reshaped = _moved(source, values)
    atoms = (site.atom for model in structure for site in model.all())
    for atom, i in zip(atoms, source.order.tolist(), strict=True):
        atom.occ = float(values.occupancy[i])
        if moved[i]:
            atom.pos = gemmi.Position(*values.xyz[i])
        if warmer[i]:
            atom.b_iso = float(values.b_iso[i])
        if reshaped[i]:
            atom.aniso = gemmi.SMat33f(*values.u_aniso[i])
    return structure


def _update_sites(
    block: gemmi.cif.Block, source: StructureFile, values: AtomValues, rows: np.ndarray
) -> None:
    """Replace numbers in the _atom_site loop; ``rows`` gives the atom of each of its rows."""
    sites = block.find_mmcif_category("_atom_site.")
    sites.ensure_loop()
    loop = sites.loop
    for tag in ("_atom_site.occupancy", "_atom_site.occupancy_esd"):
        if tag not in loop.tags:
            loop.add_columns([tag], "?")
    moved, warmer, reshaped = _moved(source, values)
    everything = np.ones(len(rows), dtype=bool)
    _fill(block, "occupancy", [f"{values.occupancy[i]:.4f}" for i in rows], everything)
    su = values.occupancy_su
    known = ["?" if su is None or np.isnan(su[i]) else f"{su[i]:.4f}" for i in rows]
    _fill(block, "occupancy_esd", known, everything)
    of_atoms = [("Cartn_x_esd", 3), ("Cartn_y_esd", 3), ("Cartn_z_esd", 3)]
    _add_su(block, of_atoms, values.xyz_su, rows)
    _add_su(block, [("B_iso_or_equiv_esd", 2)], values.b_su, rows)
    for axis, tag in enumerate(("Cartn_x", "Cartn_y", "Cartn_z")):
        _fill(block, tag, [f"{values.xyz[i, axis]:.3f}" for i in rows], moved[rows])
    _fill(block, "B_iso_or_equiv", [f"{values.b_iso[i]:.2f}" for i in rows], warmer[rows])
    if reshaped.any():
        _update_anisotropic(block, values, rows, reshaped)


def _add_su(
    block: gemmi.cif.Block, tags: list[tuple[str, int]], su: FloatArray | None, rows: np.ndarray
) -> None:
    """Write standard uncertainties, with so many decimals, into columns of their own."""
    if su is None or not np.isfinite(su).any():
        return
    loop = block.find_mmcif_category("_atom_site.").loop
    for tag, decimals in tags:
        if f"_atom_site.{tag}" not in loop.tags:
            loop.add_columns([f"_atom_site.{tag}"], "?")
        texts = ["?" if np.isnan(su[i]) else f"{su[i]:.{decimals}f}" for i in rows]
        _fill(block, tag, texts, np.ones(len(rows), dtype=bool))


def _update_anisotropic(
    block: gemmi.cif.Block, values: AtomValues, rows: np.ndarray, reshaped: BoolArray
) -> None:
    """Replace U in the _atom_site_anisotrop loop, whose rows name the atoms by their ids."""
    ids = block.find_values("_atom_site.id")
    atom_of = {ids[row]: int(i) for row, i in enumerate(rows.tolist())}
    table = block.find("_atom_site_anisotrop.", ["id", *_U_TAGS])
    for row in table:
        atom = atom_of.get(row[0], -1)
        if atom >= 0 and reshaped[atom]:
            for place, value in enumerate(values.u_aniso[atom], start=1):
                row[place] = f"{value:.5f}"


#: U11 U22 U33 U12 U13 U23 in mmCIF.
_U_TAGS = ("U[1][1]", "U[2][2]", "U[3][3]", "U[1][2]", "U[1][3]", "U[2][3]")


def _fill(block: gemmi.cif.Block, tag: str, texts: list[str], wanted: BoolArray) -> None:
    column = block.find_values(f"_atom_site.{tag}")
    for row in np.flatnonzero(wanted).tolist():
        column[row] = texts[row]
