"""Which atoms have displacements alike, by bonds and by hydrogen bonds, and their restraints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.geometry.graph import Separations
from multicopy_refinement.geometry.polar import polar_pairs
from multicopy_refinement.geometry.terms.base import State, Term
from multicopy_refinement.geometry.terms.displacements import tensors
from multicopy_refinement.geometry.terms.rigid_bond import RigidBonds
from multicopy_refinement.geometry.terms.similar_b import SimilarB
from multicopy_refinement.geometry.terms.similar_u import SimilarU, cholesky
from multicopy_refinement.notices import Notice, listed

#: Relative sigma of B of atoms that one, two or three bonds separate: of 0.2 to 0.7 for the first,
#: the free sets of 1aie, 4cjl and 1g8a prefer these.
SIMILAR = {1: 0.35, 2: 0.5, 3: 1.0}
#: Sigma of rigid bonds, in A^2, and how many bonds may separate the atoms.
RIGID, RIGID_REACH = 0.01, 2
#: In place of a number of bonds where there are none.
_UNBONDED = 9


@dataclass(frozen=True, eq=False)
class PairsAlike:
    """Pairs of atoms whose displacements are alike.

    Attributes
    ----------
    pairs
        Rows of the atom table, ``[m, 2]``.
    bonds
        How many separate them, ``[m]``.
    sigma
        Relative, of B, ``[m]``.
    expected
        B1/B2, ``[m]``.
    """

    pairs: IntArray
    bonds: IntArray
    sigma: FloatArray
    expected: FloatArray

    @classmethod
    def of(
        cls, table: AtomTable, bonded: IntArray, cell: Cell | None, group: SpaceGroup | None
    ) -> PairsAlike:
        """Return those of a model, none between different altlocs."""
        near = Separations.of(bonded, len(table))
        polar, here, expected, sigma = polar_pairs(table, cell, group)
        key = np.array([len(table), 1])
        # U of mates are turned: only B can be alike
        more = ~np.isin(polar @ key, near.pairs @ key)
        more &= here | ~table.anisotropic[polar].any(axis=1)
        n = int(more.sum())
        found = cls(
            np.concatenate([near.pairs, polar[more]]),
            np.concatenate([near.bonds, np.full(n, _UNBONDED)]),
            np.concatenate([np.array([0.0, *SIMILAR.values()])[near.bonds], sigma[more]]),
            np.concatenate([np.ones(len(near.pairs)), expected[more]]),
        )
        letter = table.altloc.view(np.uint8)[found.pairs]
        return found.select((letter[:, 0] == letter[:, 1]) | (letter == 0).any(axis=1))

    def select(self, some: NDArray[Any] | np.bool_) -> PairsAlike:
        """Return some of the pairs."""
        return PairsAlike(self.pairs[some], self.bonds[some], self.sigma[some], self.expected[some])


def displacement_terms(
    table: AtomTable, alike: PairsAlike, at: State
) -> tuple[tuple[Term, ...], tuple[Notice, ...]]:
    """Return restraints of B and U, and a notice of atoms whose U is none."""
    every = np.arange(len(table))
    singular = ~np.isfinite(cholesky(tensors(at, every, table.anisotropic))).all(axis=(1, 2))
    singular &= table.anisotropic
    sound = alike.select(np.logical_not(singular[alike.pairs]).all(axis=1))
    own = table.anisotropic[sound.pairs]
    plain, mixed = sound.select((~own).all(axis=1)), sound.select(own.any(axis=1))
    terms: list[Term] = []
    for bonded in (True, False):
        some = plain.select((plain.bonds != _UNBONDED) == bonded)
        terms.append(SimilarB(some.pairs, some.sigma, some.expected, bonded))
    if len(mixed.pairs):
        terms.append(SimilarU(mixed.pairs, mixed.sigma, table.anisotropic, mixed.expected))
        rigid = sound.pairs[own.all(axis=1) & (sound.bonds <= RIGID_REACH)]
        terms.append(RigidBonds(rigid, np.full(len(rigid), RIGID), table.anisotropic))
    if not singular.any():
        return tuple(terms), ()
    labels = table.labels(singular)
    message = f"U is not positive definite, and not restrained, of {listed(list(labels))}"
    return tuple(terms), (Notice("u_not_positive", message, labels),)
