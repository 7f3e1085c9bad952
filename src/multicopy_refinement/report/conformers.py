"""Conformers of a site as they are drawn: those that coincide once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.atoms.conformers import paired_atoms
from multicopy_refinement.atoms.table import AtomTable

#: Nobody sees that atoms are farther apart than this, in A.
SAME = 0.05
#: An atom that coincides is drawn again where it is bonded to one that does not: so near, in A.
BONDED = 2.0


@dataclass(frozen=True)
class Drawn:
    """What is drawn in one colour.

    Attributes
    ----------
    letters
        Altlocs of the conformers that coincide; one blank where the atoms have none.
    atoms
        What is drawn of them.
    occupancy
        Of all of them together.
    """

    letters: tuple[str, ...]
    atoms: tuple[int, ...]
    occupancy: float


def drawn_once(table: AtomTable, atoms: IntArray, occupancy: FloatArray) -> list[Drawn]:
    """Return the conformers of a site, each with those that coincide with it.

    Of conformers that coincide in part, the later ones lack what is there already.
    """
    altloc = table.altloc[atoms]
    found: list[Drawn] = []
    seen: dict[str, IntArray] = {}
    for letter in np.unique(altloc):
        own = atoms[altloc == letter]
        name, share = letter.decode("latin-1"), float(occupancy[own].max())
        apart = np.ones(len(own), dtype=bool)
        twin = None
        for other, theirs in seen.items():
            pairs = paired_atoms(table, own, theirs)
            far = np.linalg.norm(table.xyz[pairs[:, 0]] - table.xyz[pairs[:, 1]], axis=1)
            apart &= ~np.isin(own, pairs[far < SAME, 0])
            twin = other if twin is None and not apart.any() else twin
        seen[name] = own
        if twin is not None:
            place = next(i for i, one in enumerate(found) if twin in one.letters)
            one = found[place]
            found[place] = Drawn((*one.letters, name), one.atoms, one.occupancy + share)
            continue
        near = cKDTree(table.xyz[own[apart]]).query(table.xyz[own])[0]
        shown = own[near <= BONDED]
        found.append(Drawn((name,), tuple(shown.tolist()), share))
    return found
