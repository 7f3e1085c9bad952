"""The shared model as unknowns of a series: coordinates and B near the state, and its solvent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.geometry import Geometry
from multicopy_refinement.model import Model
from multicopy_refinement.notices import Notice
from multicopy_refinement.posterior.blocks import Kind
from multicopy_refinement.refinement.surroundings import Restrained, surroundings_of
from multicopy_refinement.scattering.atom_slopes import atom_slopes
from multicopy_refinement.scattering.atoms import atoms_of
from multicopy_refinement.series.fraction import SetOfSeries
from multicopy_refinement.series.scores import Scores, projected
from multicopy_refinement.series.state import SeriesState
from multicopy_refinement.solve.covariance import solve_positive
from multicopy_refinement.solve.local import Surroundings
from multicopy_refinement.solve.marginal import (
    MOST_ATOMS,
    POCKET_SIGMA,
    SOLVENT_SIGMA,
)

#: Atoms that are further than this from the state and what it replaces stay, in A.
_REACH = 4.0
#: Reflections for an unknown: a sample of so many gives the information to about 2%.
_FOR_AN_UNKNOWN, _FEWEST = 12, 4000


@dataclass(frozen=True, eq=False)
class SharedModel:
    """Atoms of a state and near it, whose coordinates and B all data sets share.

    Attributes
    ----------
    around
        What is known of them beside the data.
    atoms
        Those that count, ``[n_atoms]``.
    notices
        Where there are too many for all to count.
    """

    around: Surroundings
    atoms: IntArray
    notices: tuple[Notice, ...] = ()

    @classmethod
    def of(
        cls, model: Model, state: SeriesState, data: SetOfSeries, geometry: Geometry | None
    ) -> SharedModel:
        """Return that of a model; the atoms of the state first, where there are too many."""
        sums = state.groups.sums.restricted(state.tied, state.occupancy(state.fraction))
        around = surroundings_of(model, data.data, state.tied, sums, geometry, _REACH)
        near = np.concatenate(around.near)
        rank = np.concatenate([np.arange(len(one)) for one in around.near])
        # own atoms first, then the nearest of each set in turn
        order = np.lexsort((near, rank, around.group_of_atom[near] < 0))
        every, first = np.unique(near[order], return_index=True)
        atoms = every[np.argsort(first)][:MOST_ATOMS]
        return cls(around, np.sort(atoms), _cut(len(every)))

    @property
    def known(self) -> FloatArray:
        """Information on the coordinates and B without data, ``[n_unknowns, n_unknowns]``."""
        return self.around.stiffness.of_atoms(self.atoms, self.around.tensor[self.atoms])

    @property
    def vague(self) -> FloatArray:
        """What of that is known without restraints: about where they are in the file."""
        stiffness = self.around.stiffness
        plain = stiffness.vague if isinstance(stiffness, Restrained) else stiffness
        return plain.of_atoms(self.atoms, self.around.tensor[self.atoms])

    def slopes(
        self, one: SetOfSeries, scores: Scores, *, sampled: bool = True
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return slopes of |F| of a data set in fractions and in the shared unknowns.

        Of all reflections, or of a sample, weighted so that products are the information of all;
        what is a data set's own is projected out (`Scores`): ``[n_regions, n + n_regions]`` and
        ``[n_regions + n_unknowns, n + n_regions]``.
        The first shared unknowns say how much more solvent each region displaces, and how much is
        in its holes where that is in doubt, in units of what is known of that; the last are those
        of `known`.
        """
        model, data, slopes = one.crystal.model, one.data, scores.slopes
        tensor = self.around.tensor[self.atoms]
        with torch.no_grad():
            occupancy = torch.as_tensor(one.atoms_occupancy())
            atoms = replace(atoms_of(model).double(), occupancy=occupancy)
        wanted = max(_FEWEST, _FOR_AN_UNKNOWN * 4 * len(self.atoms))
        step = max(1, len(data) // wanted) if sampled else 1
        order = np.argsort(data.s_squared, kind="stable")
        rows = np.sort(order[step // 2 :: step])
        weight = float((np.abs(slopes.along) ** 2).sum())
        share = np.sqrt(weight / max(float((np.abs(slopes.along[rows]) ** 2).sum()), 1e-300))
        along = slopes.along[rows] * share
        of_atoms = atom_slopes(atoms.select_rows(self.atoms), data.hkl[rows], along, tensor)
        displaced = SOLVENT_SIGMA * slopes.displaced[:, rows] * np.float32(share)
        holes = POCKET_SIGMA * one.hole_slopes(along, rows)
        n_own = len(slopes.displaced)
        away = np.concatenate([scores.own[:, rows] * share, scores.own[:, len(data) :]], axis=1)
        fractions = slopes.of[Kind.OCCUPANCY][:, rows] * np.float32(share)
        everything = projected(np.concatenate([fractions, displaced, holes, of_atoms]), away)
        return everything[:n_own], everything[n_own:]


def _cut(n_atoms: int) -> tuple[Notice, ...]:
    """Return a notice of atoms that do not count."""
    if n_atoms <= MOST_ATOMS:
        return ()
    return (
        Notice(
            "surroundings_cut",
            f"the state, what it replaces and what is within {_REACH:g} A are {n_atoms} atoms or "
            f"more: coordinates and B of {MOST_ATOMS}, the nearest, are refined and count in the "
            "su, the others are taken as right; of a state of fewer residues all count",
        ),
    )


@dataclass(frozen=True, eq=False)
class Response:
    """How fractions follow the shared model, and how well the data know it.

    Attributes
    ----------
    follows
        A_d = H_qq^-1 H_qp of each data set, ``[n_q, n_p]``.
    variance
        V of the shared unknowns, ``[n_p, n_p]``.
    excess
        e, by how much the data sets together know less than their sum.
    """

    follows: tuple[FloatArray, ...]
    variance: FloatArray
    excess: float

    @property
    def covariance(self) -> FloatArray:
        """A V A', what the model adds to the covariance of the fractions of all sets."""
        a = np.concatenate(self.follows)
        return np.asarray(a @ self.variance @ a.T)


def responses(
    shared: SharedModel, sets: Sequence[SetOfSeries], scores: Sequence[Scores],
    correlation: FloatArray,
) -> tuple[Response, Response]:  # fmt: skip
    """Return the response of the common fractions, and that of the fractions of regions.

    V = [sum_d (H_pp - H_pq H_qq^-1 H_qp)_d/e + R]^-1 with R what is known of the model beside the
    data, and e >= 1 by how much less the data sets know together than their sum, since they share
    errors: sum_de r_de (t_d t_e)^1/2 / sum_d t_d, t the trace of H_pp.
    """
    known = shared.known
    n = len(scores[0].slopes.displaced) + len(sets[0].holes)
    size = n + len(known)
    said = np.zeros((size, size))
    said[np.arange(n), np.arange(n)] = 1.0
    said[n:, n:] = known
    of_one, of_regions = np.zeros((2, size, size))
    follow: tuple[list[FloatArray], list[FloatArray]] = ([], [])
    trace = []
    for one, score in zip(sets, scores, strict=True):
        q, p = shared.slopes(one, score)
        h_pp = (p @ p.T).astype(np.float64)
        trace.append(float((np.diag(h_pp) / np.maximum(np.diag(said), 1e-300)).sum()))
        for columns, total, found in (
            (q.sum(axis=0, keepdims=True), of_one, follow[0]), (q, of_regions, follow[1]),
        ):  # fmt: skip
            # a fraction of which nothing is known is known to 1 in any case
            h_qq = (columns @ columns.T).astype(np.float64) + np.eye(len(columns))
            h_qp = (columns @ p.T).astype(np.float64)
            a = solve_positive(h_qq, h_qp)
            found.append(a)
            np.add(total, h_pp - h_qp.T @ a, out=total)
    t = np.sqrt(trace)
    e = max(float(t @ correlation @ t) / max(float((t**2).sum()), 1e-300), 1.0)
    made = (
        Response(tuple(found), solve_positive(total / e + said, np.eye(size)), e)
        for total, found in zip((of_one, of_regions), follow, strict=True)
    )
    first, second = made
    return first, second
