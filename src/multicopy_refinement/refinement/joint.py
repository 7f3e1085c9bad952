"""Occupancies, coordinates and displacements together: joint macrocycles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.atoms.neighbours import near_in_crystal
from multicopy_refinement.atoms.numbering import number_residues
from multicopy_refinement.geometry import Geometry
from multicopy_refinement.geometry.terms.base import State
from multicopy_refinement.model import Model
from multicopy_refinement.modes import Active, Parameter
from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.posterior.blocks import Kind, Point
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.posterior.joint import JointPosterior
from multicopy_refinement.posterior.moving import MovingAtoms, moving_atoms
from multicopy_refinement.posterior.priors import OccupancyPrior
from multicopy_refinement.refinement.b_groups import B_FLOOR, Displacements
from multicopy_refinement.refinement.b_spread import likely_spread
from multicopy_refinement.refinement.course import Moves, Relaxation
from multicopy_refinement.refinement.surroundings import one_displacement
from multicopy_refinement.scattering.atoms import atoms_of, symmetric_matrices
from multicopy_refinement.solve.conjugate import LARGEST_CHANGE, LONGEST_MOVE, step_from
from multicopy_refinement.targets.difference import Difference
from multicopy_refinement.units import EIGHT_PI_SQUARED

#: Unknowns whose information is a matrix; all else is known by products.
DENSE = (Kind.OCCUPANCY, Kind.SCALE, Kind.SOLVENT)
#: With ``active = partial`` residues that come within this of a refined group move, in A.
ACTIVE_REACH = 4.0
#: Converged when all unknowns move by less than this part of their su (rms), and every occupancy
#: by less than this part of its own.
SHIFT_OVER_SU, OCCUPANCY_OVER_SU = 0.1, 0.2
#: B goes no higher than this, in A^2: an atom that would is not there for the data.
B_CEILING = 300.0
#: Where the rms Z of bonds leaves this range, the weight of the restraints changes, by at most
#: these factors in a macrocycle: by a power of Z that brings it near the middle at once.
BOND_Z, _WEIGHT_CHANGE, _WEIGHT_POWER = (0.5, 1.0), (0.35, 3.0), 1.4
#: Z up to here may stay where the free set wants it.
_LARGEST_Z = 1.2
#: A weight is judged too small when coordinates move by less than this (rms, A).
_SETTLED = 0.08
#: The refinement ends after so many macrocycles in a row in which the free set's log-likelihood
#: has fallen.
_MOST_FALLS = 2
#: After this macrocycle, by when coordinates have nearly arrived, the mask's edge is found again.
_SHRINK_CYCLE = 2
#: Steps of a macrocycle.
_STEPS = 2
#: A step is damped as if coordinates were known to this (A), B to this part of it, occupancies to
#: this.
_DAMPING = (0.2, 0.4, 0.3)
#: A spread that differs by less than this part of it is the same.
_SAME_SPREAD = 0.03
#: It grows where a step does not gain, up to this factor: then none will.
_STIFFEST = 1e5


@dataclass(frozen=True, eq=False)
class _Best:
    """Where a joint refinement stood after the macrocycle with the best free set."""

    number: int
    r_work: float
    free: FloatArray
    state: State
    occupancy: FloatArray
    spread: float


class JointRefinement:
    """Macrocycles in which everything that is asked for moves at once.

    Parameters
    ----------
    model
        Takes what comes of each macrocycle.
    geometry
        Its restraints; their terms may be none.
    experiment
        Renewed after every macrocycle.
    refined, sums, prior
        The refined groups, what they sum to, and restraints on them.
    parameters
        What moves beside the occupancies.
    active
        Which atoms do.
    su
        Of the occupancies with coordinates and displacements held, ``[m]``; nan where the data do
        not determine one.
    """

    def __init__(
        self, model: Model, geometry: Geometry, experiment: Experiment, refined: IntArray,
        sums: SumConstraints, prior: OccupancyPrior, parameters: tuple[Parameter, ...],
        active: Active, su: FloatArray,
    ) -> None:  # fmt: skip
        self.model, self.geometry, self.experiment = model, geometry, experiment
        self.refined, self.sums, self.prior = refined, sums, prior
        self.parameters, self.su = parameters, su
        self.active = active_atoms(model, refined, active)
        with torch.no_grad():
            self.same = one_displacement(atoms_of(model), model.table.altloc)
        self.weight, self._stiff = 1.0, 1.0
        #: How alike B of bonded atoms are in this crystal, see `likely_spread`.
        self.spread = geometry.spread
        #: Weight, rms Z of bonds and log-likelihoods of the free set before the last change.
        self._before_change: tuple[float, float, FloatArray] | None = None
        self._lowest_weight, self._highest_weight = 0.0, np.inf
        self._best: _Best | None = None
        self._falls = self._cycles = 0
        self._rose = False
        moving_b = {Parameter.B_ISO, Parameter.U_ANISO} & set(parameters)
        self.b_of_all = bool(moving_b) and len(self.active) == len(model.table)

    def macrocycle(
        self, occupancy: FloatArray, dense: FloatArray
    ) -> tuple[FloatArray, torch.Tensor, Moves]:
        """Refine under the present mask, scale and errors; give the model what came of it.

        Parameters
        ----------
        occupancy
            Of the refined groups, ``[m]``.
        dense
            Information of occupancies, scale and solvent, as of a point nearby.

        Returns
        -------
        tuple
            The occupancies, F_model under the scale and errors as they are renewed, and how far
            everything moved.
        """
        joint, at = self.posterior(occupancy)
        joint.target = self.experiment.target_of_work(joint.size(at))
        moving = joint.moving
        damping = self.known(joint, *_DAMPING)
        products, gain, shift = 0, 0.0, 0.0
        taken, around = 0, None
        while taken < _STEPS and self._stiff < _STIFFEST:
            step = step_from(joint, at, dense, self._stiff * damping, self._limited(moving))
            at, products, gain = step.point, products + step.products, gain + step.gain
            around = step.around
            shift = max(shift, step.shift)
            if step.gain == 0:  # the quadratic model holds for shorter steps only
                self._stiff *= 10.0
                continue
            taken += 1
            # whole steps that gain say that it holds
            self._stiff = max(self._stiff * (0.3 if step.whole else 3.0), 0.1)
            if step.gain < 0.1:
                break
        state = moving.state(at)
        self._give(state)
        f_calc = torch.as_tensor(joint.f_calc(at))
        found = at[Kind.OCCUPANCY]
        self._assign(found)
        self._cycles += 1
        self.experiment.renew(f_calc, find_shrink=self._cycles == _SHRINK_CYCLE, in_turn=True)
        f_model = self.experiment.at_renewal(f_calc)
        if self.b_of_all:
            now = self._displacements(state)
            b = self.experiment.give_b_to_atoms(min(B_FLOOR - float(now.lowest_b.min()), 0.0))
            now = now.shifted(np.full(len(state.b_iso), b))
            self._give(replace(state, b_iso=now.b_iso, u_aniso=now.u_aniso))
        z = self._bond_z(state)
        moves = self._moves(moving, at, occupancy, (gain, shift, products), z)
        if Parameter.XYZ in self.parameters and np.isfinite(z) and gain > 0:
            self._weigh(z, moves.xyz < _SETTLED, f_model)
        if Parameter.B_ISO in self.parameters and around is not None:
            likely = likely_spread(self.restraints, moving, at, around)
            if abs(likely - self.spread) > _SAME_SPREAD * self.spread:
                self.spread = likely
        return found, f_model, moves

    def settled(self, moves: Moves) -> bool:
        """Return whether restraints are those that a macrocycle has used."""
        return self.weight == moves.weight and self.spread == moves.spread

    def leads_away(
        self, number: int, r_work: float, f_model: torch.Tensor, occupancy: FloatArray
    ) -> bool:
        """Return whether macrocycles have led away from the data, where this one has ended.

        The free set fits less well than after a macrocycle before, twice in a row, by more than two
        standard errors of its change. `why_away` then says why.
        """
        free = self.experiment.log_likelihood_of_free(f_model)
        best = self._best
        if best is None or len(free) == 0 or free.sum() >= best.free.sum():
            state = self.geometry.state(self.model)
            self._best = _Best(number, r_work, free, state, occupancy.copy(), self.spread)
            self._falls = 0
            return False
        change = Difference.of(free, best.free)
        self._falls = self._falls + 1 if change.value < 0 and change.telling else 0
        self._rose = r_work > best.r_work
        return self._falls >= _MOST_FALLS

    def why_away(self, number: int) -> str:
        """Return why they have, in words; ``number`` is the macrocycle that is kept.

        Restraints that are at odds with the data (contacts that cannot be) draw the model from
        them, the errors grow, data count less, and so on. Or there is more to move than data to
        say where.
        """
        fell = f"the log-likelihood of the free set fell after macrocycle {number}, which is kept"
        if self._rose:
            return (
                f"restraints and data are at odds: R-work rose and {fell}; look at the contacts of "
                "what is refined"
            )
        return (
            f"data do not say where all of it is: R-work fell and {fell}; refine less of it "
            "(--active partial, --parameters)"
        )

    def go_back(self) -> tuple[int, FloatArray]:
        """Give the model what it was after the best macrocycle; return its number, and q."""
        best = self._best
        assert best is not None  # there was one that this was worse than
        self._give(best.state)
        self.spread = best.spread
        self._assign(best.occupancy)
        joint, at = self.posterior(best.occupancy)
        self.experiment.renew(torch.as_tensor(joint.f_calc(at)), in_turn=True)
        return best.number, best.occupancy

    def _weigh(self, z: float, settled: bool, f_model: torch.Tensor) -> None:
        """Choose the weight of the next macrocycle by the rms Z of bonds, and by the free set.

        A change is taken back where the log-likelihood of the free reflections fell by more than
        its standard error, from one reflection to the other: what the data of the work set ask for
        under less weight then is their noise, and what more of it takes from them is not. But rms Z
        may not stay above `_LARGEST_Z` for that.
        """
        free = self.experiment.log_likelihood_of_free(f_model)
        if self._before_change is not None:
            weight, z_before, before = self._before_change
            self._before_change = None
            change = Difference.of(free, before)
            if change.value < -change.su:
                if weight > self.weight:
                    self.weight = self._lowest_weight = weight
                    return
                if z_before <= _LARGEST_Z:
                    self.weight = self._highest_weight = weight
                    return
                self._best = None  # what comes is to be judged under this weight
        if not (z < BOND_Z[0] or (z > BOND_Z[1] and settled)):
            return
        factor = float(np.clip((z / np.mean(BOND_Z)) ** _WEIGHT_POWER, *_WEIGHT_CHANGE))
        wanted = float(np.clip(self.weight * factor, self._lowest_weight, self._highest_weight))
        if wanted != self.weight and len(free):
            self._before_change = self.weight, z, free
        self.weight = wanted

    @property
    def restraints(self) -> Geometry:
        """The geometry with the present weight and spread."""
        return replace(self.geometry, weight=self.weight, spread=self.spread)

    def _moving(self, start: State) -> MovingAtoms:
        table, none = self.model.table, np.zeros(0, dtype=np.int64)
        xyz = self.active if Parameter.XYZ in self.parameters else none
        b = self.active if Parameter.B_ISO in self.parameters else none
        u = self.active if Parameter.U_ANISO in self.parameters else none
        return moving_atoms(
            start, table.anisotropic, self.model.cell, self.model.spacegroup,
            self.geometry.riding, xyz=xyz, b=b, u=u, same=self.same,
        )  # fmt: skip

    def posterior(self, occupancy: FloatArray) -> tuple[JointPosterior, Point]:
        """Return the posterior around the model as it is, and the point that it is at."""
        with torch.no_grad():
            atoms = atoms_of(self.model).double()
        moving = self._moving(self.geometry.state(self.model))
        members = [self.model.occupancy_groups.members[g] for g in self.refined.tolist()]
        joint = JointPosterior(
            self.experiment, atoms, members, self.refined, self.sums, self.prior, moving,
            self.restraints, b_of_all=self.b_of_all,
        )  # fmt: skip
        zeros = {b.kind: np.zeros(b.size) for b in moving.blocks}
        values = {Kind.OCCUPANCY: occupancy, **joint.scaled.point.values, **zeros}
        return joint, joint.space.point(values)

    def known(
        self, joint: JointPosterior, xyz: float, b_part: float, occupancy: float
    ) -> FloatArray:
        """Return the diagonal information of what is known to so much, ``[size]``.

        Coordinates in A, B as a part of it, occupancies.
        """
        moving = joint.moving
        found = np.zeros(joint.space.size)
        found[joint.space.place(Kind.OCCUPANCY)] = occupancy**-2
        n = moving.n_atoms
        every = np.zeros(10 * n)
        every[: 3 * n] = xyz**-2
        b = np.maximum(self._displacements(moving.start).lowest_b, 2.0)
        of_b = (b_part * b) ** -2.0
        every[3 * n : 4 * n] = of_b
        # the isotropic shift of a tensor has a third of each of three elements
        every[4 * n :] = np.repeat(of_b * EIGHT_PI_SQUARED**2 / 3, 6)
        squares = moving.matrix.copy()
        squares.data **= 2
        found[joint.space.indices([Kind.XYZ, Kind.DISPLACEMENT])] = squares.T @ every
        return found

    def _limited(self, moving: MovingAtoms) -> Callable[[Point, FloatArray], FloatArray]:
        """Return what shortens the moves of single atoms, and keeps displacements positive."""
        n, anisotropic = moving.n_atoms, self.model.table.anisotropic

        def limited(at: Point, d: FloatArray) -> FloatArray:
            step = Point(at.space, d.copy())
            change = moving.matrix @ moving.shifts(step)
            length = np.linalg.norm(change[: 3 * n].reshape(n, 3), axis=1)
            of_xyz = np.minimum(1.0, LONGEST_MOVE / np.maximum(length, 1e-12))
            state = moving.free_state(at)
            b = self._displacements(state).lowest_b
            diagonal = change[4 * n :].reshape(n, 6)[:, :3]
            fall = np.maximum(-change[3 * n : 4 * n], -EIGHT_PI_SQUARED * diagonal.min(axis=1))
            rise = np.maximum(change[3 * n : 4 * n], EIGHT_PI_SQUARED * diagonal.max(axis=1))
            most = LARGEST_CHANGE * np.maximum(b - B_FLOOR, 1e-3)
            highest = np.minimum(2 * np.maximum(b, 1.0), np.maximum(B_CEILING - b, 0.0))
            of_b = np.minimum(most / np.maximum(fall, 1e-12), highest / np.maximum(rise, 1e-12))
            of_b = np.minimum(of_b, _positive_part(state, change, anisotropic))
            for kind, share in ((Kind.XYZ, of_xyz), (Kind.DISPLACEMENT, np.minimum(of_b, 1.0))):
                if kind in at.space:
                    step[kind][:] *= share[moving.atom_of(kind)]
            return step.x

        return limited

    def _displacements(self, state: State) -> Displacements:
        return Displacements(state.b_iso, state.u_aniso, self.model.table.anisotropic)

    def _give(self, state: State) -> None:
        """Give the model its coordinates and displacements."""
        model = self.model
        if Parameter.XYZ in self.parameters:
            model.xyz.set_values(torch.as_tensor(state.xyz))
        if {Parameter.B_ISO, Parameter.U_ANISO} & set(self.parameters):
            model.b_iso.set_values(torch.as_tensor(np.maximum(state.b_iso, 0.01)))
            model.u_aniso.set_values(torch.as_tensor(state.u_aniso))

    def _assign(self, occupancy: FloatArray) -> None:
        """Give the model the occupancies of the refined groups."""
        full = self.model.group_occupancies()
        full[self.refined] = occupancy
        self.model.assign_group_occupancies(full)

    def _bond_z(self, state: State) -> float:
        """Return the rms Z of bonds that have an atom that moves."""
        bonds = self.geometry.topology.bonds
        moves = np.isin(bonds.atoms, self.active).any(axis=1)
        if not self.geometry.terms or not moves.any():
            return float("nan")
        return float(np.sqrt(np.mean(bonds.residuals(state)[moves] ** 2)))

    def _moves(
        self, moving: MovingAtoms, at: Point, before: FloatArray,
        of_steps: tuple[float, float, int], bond_z: float,
    ) -> Moves:  # fmt: skip
        gain, shift, products = of_steps
        n = moving.n_atoms
        change = moving.matrix @ moving.shifts(at)
        b = change[3 * n : 4 * n] + EIGHT_PI_SQUARED * (
            change[4 * n :].reshape(n, 6)[:, :3].mean(axis=1)
        )
        some = self.active
        return Moves(
            float(np.abs(at[Kind.OCCUPANCY] - before).max(initial=0.0)),
            _unsettled(at[Kind.OCCUPANCY] - before, self.su),
            _rms(np.linalg.norm(change[: 3 * n].reshape(n, 3)[some], axis=1)), _rms(b[some]),
            gain, shift, products, bond_z, self.weight, self.spread,
        )  # fmt: skip


def _positive_part(state: State, change: FloatArray, anisotropic: BoolArray) -> FloatArray:
    """Return which part of its change leaves each U positive definite, ``[n]``.

    One that is not may become no worse.
    """
    part = np.ones(len(anisotropic))
    six = change[4 * len(part) :].reshape(-1, 6)
    some = np.flatnonzero(anisotropic & six.any(axis=1))
    if len(some) == 0:
        return part

    def least(share: FloatArray) -> FloatArray:
        u = torch.as_tensor(state.u_aniso[some] + share[:, None] * six[some])
        return np.asarray(torch.linalg.eigvalsh(symmetric_matrices(u))[:, 0].numpy())

    floor = np.minimum(B_FLOOR / EIGHT_PI_SQUARED, least(np.zeros(len(some))) - 1e-9)
    share = np.ones(len(some))
    for _ in range(6):
        low = least(share) < floor
        if not low.any():
            break
        share[low] *= 0.5
    share[least(share) < floor] = 0.0
    part[some] = share
    return part


def _unsettled(change: FloatArray, su: FloatArray) -> float:
    """Return the largest change of an occupancy that is not small beside its su.

    What has none is not determined, and does not count.
    """
    large = np.abs(change) > OCCUPANCY_OVER_SU * su
    return float(np.abs(change[large]).max(initial=0.0))


def relaxation_of(geometry: Geometry, start: State, model: Model, same: IntArray) -> Relaxation:
    """Return what became of a start under the restraints of its end.

    ``same`` has a number for atoms that shared a shift of U.
    """
    end = geometry.state(model)
    moved = np.linalg.norm(end.xyz - start.xyz, axis=1)
    b_change = end.b_iso - start.b_iso
    own = model.table.anisotropic
    b_change[own] = EIGHT_PI_SQUARED * (end.u_aniso - start.u_aniso)[own, :3].mean(axis=1)
    b_end = np.where(own, EIGHT_PI_SQUARED * end.u_aniso[:, :3].mean(axis=1), end.b_iso)
    faint = np.flatnonzero((b_end > 0.95 * B_CEILING) & (b_change > 0))
    shared = np.flatnonzero((same >= 0) & (np.abs(b_change) > 0))
    return Relaxation(
        geometry.statistics(start), geometry.statistics(end), geometry.weight, geometry.spread,
        moved, b_change, faint, shared,
    )  # fmt: skip


def small(moves: Moves, tolerance: float) -> bool:
    """Return whether nothing moved by more than it may at the end, of a step that was taken."""
    return moves.gain > 0 and moves.unsettled < tolerance and moves.shift < SHIFT_OVER_SU


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2))) if len(values) else 0.0


def active_atoms(model: Model, refined: IntArray, active: Active) -> IntArray:
    """Return the atoms that move: all, or those of refined groups and of residues near them."""
    table, groups = model.table, model.occupancy_groups
    if active is Active.ALL:
        return np.arange(len(table))
    own = np.flatnonzero(np.isin(groups.index, refined))
    if len(own) == 0:
        return own
    near, _ = near_in_crystal(table.xyz, table.xyz[own], ACTIVE_REACH, model.cell, model.spacegroup)
    residue = number_residues(table)
    touched = np.unique(residue[np.unique(np.concatenate(near))])
    return np.flatnonzero(np.isin(residue, touched))
