"""Steps of the shared model of a series: coordinates and B near the state, by all data sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from scipy import sparse
from scipy.linalg import block_diag

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.atoms.neighbours import on_elements
from multicopy_refinement.geometry import Geometry
from multicopy_refinement.geometry.terms.base import Columns, State
from multicopy_refinement.model import Model
from multicopy_refinement.modes import Parameter
from multicopy_refinement.refinement.b_groups import B_FLOOR, Displacements
from multicopy_refinement.refinement.surroundings import state_of_unknowns
from multicopy_refinement.scattering.atom_slopes import unknowns_of_atoms
from multicopy_refinement.series.fraction import SetOfSeries
from multicopy_refinement.series.holes import Holes
from multicopy_refinement.series.scores import Scores
from multicopy_refinement.series.shared import SharedModel
from multicopy_refinement.solve.conjugate import LARGEST_CHANGE, LONGEST_MOVE
from multicopy_refinement.solve.covariance import solve_positive
from multicopy_refinement.solve.marginal import POCKET_SIGMA
from multicopy_refinement.units import EIGHT_PI_SQUARED

#: Information on what does not move.
_HELD = 1e12
#: An atom that is nearer than this to an image of itself stays, in A.
_SPECIAL = 0.8
#: Converged when atoms move by less (rms, A), and B by less than this part of them.
XYZ_TOLERANCE, B_TOLERANCE = 0.005, 0.02


@dataclass(eq=False)
class Relaxing:
    """The shared atoms of a series as unknowns that move.

    Attributes
    ----------
    shared
        Which, and what is known of them beside the data.
    model
        Takes what comes of each step.
    geometry
        Restraints; None without.
    parameters
        What moves: coordinates, B, or both.
    holes
        Take how much of each is filled.
    moved
        How much is filled, in units of what is known of it, and how far atoms are from the file,
        ``[n_holes + n_unknowns]``.
    """

    shared: SharedModel
    model: Model
    geometry: Geometry | None
    parameters: frozenset[Parameter]
    holes: Holes
    moved: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        self.moved = np.zeros(self.n_holes + int(self._offset[-1]))

    @cached_property
    def _offset(self) -> IntArray:
        """Where the unknowns of each shared atom begin."""
        return unknowns_of_atoms(self.shared.around.tensor[self.shared.atoms])

    @property
    def log_prior(self) -> float:
        """Log p of the model as it is, without data."""
        filled, atoms = self.moved[: self.n_holes], self.moved[self.n_holes :]
        value = -0.5 * float(filled @ filled) - 0.5 * float(atoms @ self.shared.vague @ atoms)
        return value - (0.0 if self.geometry is None else self.geometry.value(state_of(self.model)))

    def step(
        self, work: Sequence[SetOfSeries], scores: Sequence[Scores], excess: float
    ) -> FloatArray:
        """Return one Gauss-Newton step of the shared unknowns, ``[n_holes + n_unknowns]``.

        Fractions, scale and solvent follow: with S_d = (H_pp - H_pq H_qq^-1 H_qp)_d of each data
        set d and R what is known beside the data,

            (sum_d S_d/e + R) dp = sum_d (g_p - H_pq H_qq^-1 g_q)_d/e - R's gradient

        ``excess`` is e: by how much the data sets together know less than their sum (`responses`).
        """
        n = self.n_holes
        known = block_diag(np.eye(n), self.shared.known)
        matrix, right = np.zeros_like(known), np.zeros(len(known))
        for one, score in zip(work, scores, strict=True):
            q, p = self.shared.slopes(one, score, sampled=False)
            q, p = q.sum(axis=0, keepdims=True), p[len(p) - len(known) :]
            h_pq = (p @ q.T).astype(np.float64)
            a = h_pq / (float((q**2).sum()) + 1.0)
            matrix += (p @ p.T).astype(np.float64) - a @ h_pq.T
            residual = score.residual.astype(np.float32)
            right += p @ residual - (a @ (q @ residual))
        right = right / excess
        right[:n] -= self.moved[:n]
        right[n:] -= self.shared.vague @ self.moved[n:]
        if self.geometry is not None:
            right[n:] -= self._chosen.T @ self.geometry.linear(state_of(self.model)).gradient
        total, held = matrix / excess + known, n + self._held
        total[held, held] += _HELD
        right[held] = 0.0
        step = solve_positive(total, right[:, None])[:, 0]
        step[held] = 0.0
        filled = np.clip(self.moved[:n] + step[:n], -1 / POCKET_SIGMA, 1 / POCKET_SIGMA)
        return np.append(filled - self.moved[:n], self._limited(step[n:]))

    def take(self, step: FloatArray) -> None:
        """Move the atoms of the model, and fill its holes; hydrogens ride."""
        now, n = state_of(self.model), len(self.model.table)
        change = self._chosen @ step[self.n_holes :]
        state = State(
            now.xyz + change[: 3 * n].reshape(n, 3), now.b_iso + change[3 * n : 4 * n],
            now.u_aniso + change[4 * n :].reshape(n, 6),
        )  # fmt: skip
        give(self.model, state if self.geometry is None else self.geometry.riding.placed(state))
        self.to(self.moved + step)

    def to(self, moved: FloatArray) -> None:
        """Note how far the unknowns are from where they began; fill the holes by that."""
        self.moved = moved
        self.holes.filled = POCKET_SIGMA * moved[: self.n_holes]

    @property
    def n_holes(self) -> int:
        """Number of holes in doubt."""
        return len(self.holes)

    def size(self, step: FloatArray) -> tuple[float, float]:
        """Return the rms length of the moves of atoms in A, and the rms change of B as a part."""
        step, first = step[self.n_holes :], self._offset[:-1]
        xyz = step[first[:, None] + np.arange(3)]
        b = step[first + 3] * np.where(np.diff(self._offset) > 4, EIGHT_PI_SQUARED, 1.0)
        part = b / np.maximum(self._lowest, 2.0)
        return float(np.sqrt((xyz**2).sum(axis=1).mean())), float(np.sqrt((part**2).mean()))

    @cached_property
    def _chosen(self) -> sparse.csr_matrix:
        """d(state of all atoms)/d(unknowns of the shared atoms)."""
        tensor = self.shared.around.tensor
        every = unknowns_of_atoms(tensor)
        rows = [np.arange(every[i], every[i + 1]) for i in self.shared.atoms.tolist()]
        made = state_of_unknowns(Columns(len(tensor)), self.model.table.anisotropic, tensor)
        return made.tocsc()[:, np.concatenate(rows)].tocsr()

    @cached_property
    def _held(self) -> IntArray:
        """Unknowns that do not move: of atoms on symmetry elements, or not asked for."""
        atoms, model = self.shared.atoms, self.model
        xyz = state_of(model).xyz
        special = on_elements(xyz[atoms], _SPECIAL, model.cell, model.spacegroup)
        held = np.zeros(int(self._offset[-1]), dtype=bool)
        for i in range(len(atoms)):
            first, last = int(self._offset[i]), int(self._offset[i + 1])
            held[first : first + 3] = special[i] or Parameter.XYZ not in self.parameters
            held[first + 3 : last] = Parameter.B_ISO not in self.parameters
        return np.flatnonzero(held)

    @property
    def _lowest(self) -> FloatArray:
        now = state_of(self.model)
        every = Displacements(now.b_iso, now.u_aniso, self.model.table.anisotropic).lowest_b
        return every[self.shared.atoms]

    def _limited(self, step: FloatArray) -> FloatArray:
        """Return a step, shortened where atoms would move too far."""
        for i, lowest in enumerate(self._lowest.tolist()):
            first, last = int(self._offset[i]), int(self._offset[i + 1])
            xyz, b = slice(first, first + 3), slice(first + 3, last)
            step[xyz] *= min(1.0, LONGEST_MOVE / max(float(np.linalg.norm(step[xyz])), 1e-12))
            most = LARGEST_CHANGE * max(lowest - B_FLOOR, 1e-3)
            change = step[b] * (EIGHT_PI_SQUARED if last - first > 4 else 1.0)
            step[b] *= min(1.0, most / max(float(np.abs(change).max(initial=0.0)), 1e-12))
        return step


def state_of(model: Model) -> State:
    """Return the state of a model's atoms."""
    with torch.no_grad():
        return State(*(
            t().detach().double().cpu().numpy().copy()
            for t in (model.xyz, model.b_iso, model.u_aniso)
        ))  # fmt: skip


def give(model: Model, state: State) -> None:
    """Give a model the coordinates and displacements of a state."""
    model.xyz.set_values(torch.as_tensor(state.xyz))
    model.b_iso.set_values(torch.as_tensor(np.maximum(state.b_iso, 0.01)))
    model.u_aniso.set_values(torch.as_tensor(state.u_aniso))
