"""How the occupancies of a run answer to what it holds: coordinates, B and displaced solvent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from multicopy_refinement.places import in_runs
from multicopy_refinement.solve import local
from multicopy_refinement.solve.gauss_newton import null_space

#: Unknown k of atom i has the name OF_ATOM i + k; no atom has as many.
OF_ATOM = 16


@dataclass(frozen=True, eq=False)
class Answer:
    """That of one occupancy.

    Attributes
    ----------
    name
        What each of the held unknowns is, those of two runs alike, ``[n]``.
    slope
        dq/dtheta of the occupancy at the maximum of the likelihood, ``[n]``.
    errors
        Covariance of the held unknowns, of what the data and all else say of them, ``[n, n]``.
    """

    name: np.ndarray
    slope: np.ndarray
    errors: np.ndarray

    def slope_by(self, name: np.ndarray) -> np.ndarray:
        """Return dq/dtheta by some held unknowns, 0 by those that it does not answer to."""
        at = {own: i for i, own in enumerate(self.name.tolist())}
        return np.array([self.slope[at[n]] if n in at else 0.0 for n in name.tolist()])

    def apart(self, one: Answer, other: Answer) -> float:
        """Return (c - c')S(c - c'): what two runs differ by that hold the same, S of this one."""
        difference = one.slope_by(self.name) - other.slope_by(self.name)
        return float(difference @ self.errors @ difference)


@contextmanager
def answers() -> Iterator[dict[int, Answer]]:
    """Collect the answers of all refined groups of a run with marginal su, while it runs."""
    found: dict[int, Answer] = {}
    here = threading.local()
    schur, block = local._schur, local.Local.block

    def noted(h: np.ndarray, said: np.ndarray, n: int, lost: float = 0.0) -> tuple:
        here.seen.append((h, said))
        return schur(h, said, n, lost)

    def block_and_answers(self: local.Local, number: int) -> local.Block:
        here.seen = []
        made = block(self, number)
        found.update(_answers_of(self, number, here.seen[-1], len(here.seen[-2][0])))
        return made

    local._schur, local.Local.block = noted, block_and_answers
    try:
        yield found
    finally:
        local._schur, local.Local.block = schur, block


def _answers_of(
    of: local.Local, number: int, seen: tuple[np.ndarray, np.ndarray], n_known: int
) -> dict[int, Answer]:
    """Return the answers of one set; unknowns of ``seen`` are in the order of `Local.block`."""
    (h, said), own, near = seen, of.around.sets[number], of.around.near[number]
    groups = of.around.group_of_atom[near]
    others = np.unique(groups[(groups >= 0) & ~np.isin(groups, own)])
    n_own, n_fitted = len(own), len(own) + len(of.scale)
    n_solvent = n_known - len(others)
    fitted = np.r_[n_own:n_fitted, n_solvent:n_known]
    held = np.r_[n_fitted:n_solvent, n_known : len(h)]
    x = np.r_[:n_own, held]
    answer = np.linalg.solve((h + said)[np.ix_(fitted, fitted)], h[np.ix_(fitted, x)])
    s = h[np.ix_(x, x)] - h[np.ix_(x, fitted)] @ answer
    free = null_space(of._rows(own), n_own)
    own_free = free.T @ s[:n_own, :n_own] @ free
    least = local.UNSEEN_SU**-2 * np.eye(len(own_free))
    covariance = free @ np.linalg.inv(own_free + least) @ free.T
    slope = -covariance @ s[:n_own, n_own:]
    information = s[n_own:, n_own:] + said[np.ix_(held, held)] + s[n_own:, :n_own] @ slope
    name = _names(of, np.concatenate([own, others]), near)
    errors = np.linalg.inv(information)
    return {int(g): Answer(name, slope[i], errors) for i, g in enumerate(own.tolist())}


def _names(of: local.Local, both: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Return a number for each held unknown, of solvent below 0."""
    twice = np.append(both, both + len(of.of_groups))
    displaced = both[of.displaced[both].any(axis=1)]
    in_doubt = twice[of.pockets[twice].any(axis=1)] + len(of.of_groups)
    places = of.place[near]
    sizes = (of.offset[places + 1] - of.offset[places]).astype(np.int64)
    of_atoms = np.repeat(OF_ATOM * near, sizes) + in_runs(np.zeros_like(sizes), sizes)
    return np.concatenate([-1 - displaced, -1 - in_doubt, of_atoms])
