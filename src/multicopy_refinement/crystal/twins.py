"""Twin laws: rotations of the lattice that are no symmetry of the crystal in it."""

from __future__ import annotations

from dataclasses import dataclass

import gemmi
import numpy as np

from multicopy_refinement._typing import IntArray
from multicopy_refinement.crystal.cell import Cell
from multicopy_refinement.crystal.symmetry import SpaceGroup, other_indexing
from multicopy_refinement.errors import InputError

#: Obliquity in degrees to which a law is looked for; to the second one that is asked for is taken.
USUAL_OBLIQUITY, MOST_OBLIQUITY = 3.0, 6.0


@dataclass(frozen=True, eq=False)
class TwinLaw:
    """A rotation by which the indices of a second domain are those of the first.

    Attributes
    ----------
    matrix
        hkl @ matrix are the indices in the second domain, int ``[3, 3]``.
    obliquity
        By how much the lattice is off this symmetry, in degrees: 0 of merohedral twins.
    """

    matrix: IntArray
    obliquity: float

    @property
    def name(self) -> str:
        """As the indices of the second domain, for example ``-h,-k,l``."""
        return _name(self.matrix)


def _name(matrix: IntArray) -> str:
    op = gemmi.Op()
    op.rot = (matrix * gemmi.Op.DEN).tolist()
    return str(op.as_hkl().triplet())


def obliquity(matrix: IntArray, cell: Cell) -> float:
    """Return by how many degrees an operation on indices is off a rotation of a lattice.

    With s the largest singular value of the operation in Cartesian axes it is atan(sinh(ln s)),
    which is that of Le Page (1982, J. Appl. Cryst. 15, 255) for a twofold axis, the angle between
    the row and the normal of the net.
    """
    f = cell.fractionalization  # s = hkl @ f, so that hkl @ matrix turns s by f^-1 matrix f
    turned = np.linalg.inv(f) @ matrix @ f
    strain = np.log(np.linalg.svd(turned, compute_uv=False)[0])
    return float(np.degrees(np.arctan(np.sinh(max(strain, 0.0)))))


def twin_laws(cell: Cell, group: SpaceGroup) -> tuple[TwinLaw, ...]:
    """Return the laws of merohedral and pseudo-merohedral twins of two domains.

    They are twice themselves a symmetry of the crystal, and turn its symmetry into itself: else
    merged intensities would be none of a twin. The least oblique come first.
    """
    found = []
    for _, matrix in other_indexing(cell, group):
        if _fault(matrix, group) is None:
            found.append(_plainest(matrix, cell, group))
    return tuple(sorted(found, key=_order))


def twin_law(text: str, cell: Cell, group: SpaceGroup) -> TwinLaw:
    """Return a law that is given as the indices of the second domain, such as ``-h,-k,l``.

    Raises
    ------
    InputError
        What is no operation on indices, or no law of a twin of two domains of this crystal.
    """
    crystal = f"{group.name}, cell {' '.join(f'{v:.2f}' for v in cell.parameters)}"
    known = [law.name for law in twin_laws(cell, group)]
    hint = f"this crystal has {' and '.join(known)}" if known else "this crystal has no such law"
    matrix = readable(text)
    if round(np.linalg.det(matrix)) == -1:  # Friedel's law
        matrix = -matrix
    why = _fault(matrix, group)
    off = obliquity(matrix, cell)
    if why is None and off > MOST_OBLIQUITY:
        why = f"turns the lattice into one that is off by {off:.1f} degrees"
    if why is not None:
        raise InputError(f"twin: {text} {why} ({crystal}); {hint}")
    return TwinLaw(matrix, off)


def readable(text: str) -> IntArray:
    """Return the matrix of a law as text.

    Raises
    ------
    InputError
        Text that is no operation with whole numbers and a determinant of 1 or -1.
    """
    try:
        op = gemmi.Op(text.replace(" ", ""))
        op = op.as_xyz() if any(c in text.lower() for c in "hkl") else op
    except RuntimeError:
        raise InputError(f"twin: {text!r} is no law; write it as -h,-k,l") from None
    matrix = np.array(op.rot, dtype=np.int64)
    whole = not (matrix % gemmi.Op.DEN).any() and not any(op.tran)
    matrix //= gemmi.Op.DEN
    if not whole or abs(round(np.linalg.det(matrix))) != 1 or not any(c in text for c in "hkl"):
        raise InputError(
            f"twin: {text!r} does not turn all indices into indices; write a law as -h,-k,l"
        )
    return matrix


def _laue(group: SpaceGroup) -> set[bytes]:
    rotations = group.rotations
    return {one.tobytes() for one in np.concatenate([rotations, -rotations])}


def _fault(matrix: IntArray, group: SpaceGroup) -> str | None:
    """Return why an operation is no law of two domains, or None."""
    laue = _laue(group)
    if np.ascontiguousarray(matrix).tobytes() in laue:
        return "is a symmetry of the crystal"
    inverse = np.rint(np.linalg.inv(matrix)).astype(np.int64)
    if any((inverse @ r @ matrix).tobytes() not in laue for r in group.rotations):
        return "does not turn the symmetry of the crystal into itself"
    if (matrix @ matrix).tobytes() not in laue:
        return "makes more than two domains"
    return None


def _plainest(matrix: IntArray, cell: Cell, group: SpaceGroup) -> TwinLaw:
    """Return the least oblique and shortest of the laws that are one by the symmetry."""
    alike = [TwinLaw(r @ matrix, obliquity(r @ matrix, cell)) for r in group.rotations]
    return min(alike, key=_order)


def _order(law: TwinLaw) -> tuple[float, bool, int, str]:
    """Return by what laws are in order: obliquity, twofold axes first, length of the name."""
    twofold = bool((law.matrix @ law.matrix == np.eye(3)).all())
    return round(law.obliquity, 3), not twofold, len(law.name), law.name


def same_law(one: TwinLaw, other: TwinLaw, group: SpaceGroup) -> bool:
    """Return whether two laws are one by the symmetry of the crystal and Friedel's law."""
    inverse = np.rint(np.linalg.inv(one.matrix)).astype(np.int64)
    return (inverse @ other.matrix).tobytes() in _laue(group)
