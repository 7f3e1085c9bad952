"""Records that say where atoms are beside the cell: SCALE, and MTRIX for copies to be generated."""

from __future__ import annotations

import gemmi
import numpy as np

from multicopy_refinement.notices import Notice

#: Places that SCALE and the cell give may differ by this, in A: the digits that a file has.
_ROUNDING = 0.1


def missing_copies(structure: gemmi.Structure) -> str:
    """Return what MTRIX (struct_ncs_oper) asks to generate, blank where it asks for nothing."""
    asked = [operation.id for operation in structure.ncs if not operation.given]
    if not asked:
        return ""
    kind = "copies" if len(asked) > 1 else "copy"
    return (
        f"MTRIX asks for {len(asked)} {kind} of the atoms that the file does not hold "
        f"({', '.join(asked[:6])})"
    )


def frame_notices(structure: gemmi.Structure) -> list[Notice]:
    """Return notices of copies that are not there, and of a SCALE that contradicts the cell."""
    notices = []
    copies = missing_copies(structure)
    if copies:
        message = f"{copies}: they are not in F_calc, and the model is not refined without them"
        notices.append(Notice("copies_not_generated", message))
    cell = structure.cell
    if cell.is_crystal() and cell.explicit_matrices:
        apart = _largest_shift(structure)
        if apart > _ROUNDING:
            message = (
                f"SCALE does not agree with the cell: it moves atoms by up to {apart:.1f} A; the "
                "cell is used, in the frame of the PDB format"
            )
            notices.append(Notice("scale_disagrees", message))
    return notices


def _largest_shift(structure: gemmi.Structure) -> float:
    """Return how far apart SCALE and the cell put an atom at most, in A."""
    cell = structure.cell
    usual = gemmi.UnitCell(*cell.parameters)
    xyz = np.array([site.atom.pos.tolist() for model in structure for site in model.all()])
    scale, shift = np.array(cell.frac.mat.tolist()), np.array(cell.frac.vec.tolist())
    fractional = xyz @ (scale - np.array(usual.frac.mat.tolist())).T + shift
    apart = fractional @ np.array(usual.orth.mat.tolist()).T
    return float(np.linalg.norm(apart, axis=1).max(initial=0.0))
