"""Cell and symmetry in the instructions of SHELXL: CELL, LATT and SYMM."""

from __future__ import annotations

import gemmi

from multicopy_refinement.crystal import Cell, SpaceGroup

#: N of LATT by the centring translations in units of 1/24.
_LATTICES: dict[frozenset[tuple[int, ...]], int] = {
    frozenset(places): number
    for number, places in {
        1: [(0, 0, 0)],
        2: [(0, 0, 0), (12, 12, 12)],
        3: [(0, 0, 0), (16, 8, 8), (8, 16, 16)],
        4: [(0, 0, 0), (0, 12, 12), (12, 0, 12), (12, 12, 0)],
        5: [(0, 0, 0), (0, 12, 12)],
        6: [(0, 0, 0), (12, 0, 12)],
        7: [(0, 0, 0), (12, 12, 0)],
    }.items()
}
_INVERSION = gemmi.Op("-x,-y,-z")


def crystal_lines(cell: Cell, group: SpaceGroup | None, wavelength: float | None) -> list[str]:
    """Return CELL, LATT and SYMM, or remarks where the wavelength or the symmetry is not known.

    N of LATT is negative without a centre of symmetry at the origin; SYMM has the operations that
    neither the centre nor the lattice make, without the identity (Sheldrick 2015, Acta Cryst. C71,
    3).
    """
    numbers = " ".join(f"{v:g}" for v in cell.parameters)
    if wavelength is None:
        return [f"REM no CELL, as the wavelength is not known; a to gamma {numbers}"]
    lines = [f"CELL {wavelength:g} {numbers}"]
    if group is None:
        return [*lines, "REM the space group is not known: LATT and SYMM are those of your file"]
    return [*lines, *symmetry_lines(group)]


def symmetry_lines(group: SpaceGroup) -> list[str]:
    """Return LATT and SYMM of a space group.

    All settings that gemmi knows have one of SHELXL's lattices, R in the obverse setting.

    >>> symmetry_lines(SpaceGroup("P 1 21/c 1"))
    ['LATT 1', 'SYMM -X,Y+1/2,-Z+1/2']
    """
    found = group.gemmi.operations()
    centrings = frozenset(tuple(place) for place in found.cen_ops)
    number = _LATTICES[centrings]
    kept: list[gemmi.Op] = []
    at_origin = any(
        op.rot == _INVERSION.rot and tuple(x % gemmi.Op.DEN for x in op.tran) in centrings
        for op in found.sym_ops
    )
    for op in found.sym_ops:
        inverted = [[-x for x in row] for row in op.rot]
        if at_origin and any(other.rot == inverted for other in kept):
            continue
        kept.append(op)
    symm = [f"SYMM {op.triplet().upper()}" for op in kept[1:]]
    return [f"LATT {number if at_origin else -number}", *symm]
