"""PDB text written atom by atom, so that a test shows the file that it is about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from multicopy_refinement.io.facts import RefinementFacts
from multicopy_refinement.io.structure import StructureFile
from multicopy_refinement.occupancy.grouping import Grouping, Rules, group_atoms
from multicopy_refinement.occupancy.values import GroupingResult

CRYST1 = "CRYST1   40.000   40.000   40.000  90.00  90.00  90.00 P 1"
#: What a refinement says of itself in files.
FACTS = RefinementFacts(
    version="1.2", target="MAXIMUM LIKELIHOOD", refined=("Occupancies of 3 groups were refined.",),
    d_min=1.5, d_max=30.0, n_work=950, n_free=50, n_outliers=4, completeness=97.5,
    free_set="FREE = 0", r_all=0.171, r_work=0.17, r_free=0.2, k_sol=0.35, b_sol=46.0, shrink=0.53,
    b_scale=(1.0, 2.0, 3.0, 0.1, 0.2, 0.3), b_mean=21.5, b_range=(4.0, 60.0),
    occupancy_range=(0.2, 1.0), dpi_free=0.12,
)  # fmt: skip


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
