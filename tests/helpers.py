"""PDB text written atom by atom, so that a test shows the file that it is about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from multicopy_refinement.io.structure import StructureFile
from multicopy_refinement.occupancy.grouping import Grouping, Rules, group_atoms
from multicopy_refinement.occupancy.values import GroupingResult

CRYST1 = "CRYST1   40.000   40.000   40.000  90.00  90.00  90.00 P 1"


def atom_line(
    name: str,
    resname: str,
    resseq: int,
    occupancy: float,
    *,
    serial: int = 1,
    altloc: str = "",
    chain: str = "A",
    icode: str = "",
    xyz: Sequence[float] = (0.0, 0.0, 0.0),
    b_iso: float = 15.0,
    element: str = "",
    record: str = "ATOM",
) -> str:
    """Return one ATOM line; the element is the first letter of the name unless given."""
    x, y, z = xyz
    return (
        f"{record:<6}{serial:>5}  {name:<3}{altloc or ' '}{resname:>3} {chain}{resseq:>4}"
        f"{icode or ' '}   {x:8.3f}{y:8.3f}{z:8.3f}{occupancy:6.2f}{b_iso:6.2f}"
        f"          {element or name[0]:>2}"
    )


def residue_lines(
    resname: str,
    resseq: int,
    names: Iterable[str],
    parts: Sequence[tuple[str, float]] = (("", 1.0),),
    *,
    chain: str = "A",
    first_serial: int = 1,
) -> list[str]:
    """Return the lines of a residue: all names once for each part (altloc, occupancy)."""
    names = list(names)
    places = [(letter, q, name) for letter, q in parts for name in names]
    return [
        atom_line(
            name,
            resname,
            resseq,
            occupancy,
            serial=first_serial + i,
            altloc=letter,
            chain=chain,
            xyz=(3.0 * resseq, 1.5 * i, 0.0),
        )
        for i, (letter, occupancy, name) in enumerate(places)
    ]


def pdb_text(*blocks: Iterable[str]) -> str:
    """Return a PDB file of the lines of all blocks."""
    return "\n".join([CRYST1, *(line for block in blocks for line in block), "END", ""])


def write_text(path: Path, text: str) -> Path:
    """Write a text file byte by byte and return its path."""
    path.write_bytes(text.encode())
    return path


def group_file(
    source: StructureFile, grouping: Grouping = Grouping.RESIDUE, rules: Rules | None = None
) -> GroupingResult:
    """Return the groups of a coordinate file."""
    return group_atoms(source.table, grouping, rules=rules, crystal=source.crystal)
