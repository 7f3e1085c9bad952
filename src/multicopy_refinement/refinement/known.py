"""What is known of the groups where a refinement has ended: su, evidence and verdicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.geometry import Geometry
from multicopy_refinement.model import Model
from multicopy_refinement.modes import Step, UncertaintyKind
from multicopy_refinement.occupancy.groups import OccupancyGroups
from multicopy_refinement.parallel import at_once
from multicopy_refinement.posterior.blocks import Kind, Point
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.posterior.posterior import Posterior
from multicopy_refinement.refinement.audit import audited
from multicopy_refinement.refinement.found import (
    AtomUncertainties,
    Correlations,
    GroupResults,
    Ligand,
    State,
)
from multicopy_refinement.refinement.ligands import ligand_sites, ligands_of, with_ligands
from multicopy_refinement.refinement.options import RefineOptions
from multicopy_refinement.refinement.pull import pull_on_atoms
from multicopy_refinement.refinement.support import Candidates, Lost, lost_without
from multicopy_refinement.refinement.surroundings import surroundings_as_held, surroundings_of
from multicopy_refinement.refinement.verdicts import (
    determined_states,
    group_results,
    state_members,
    worst_correlations,
)
from multicopy_refinement.solve.covariance import Covariance, covariance, misfit
from multicopy_refinement.solve.evidence import at_bound
from multicopy_refinement.solve.marginal import with_surroundings

#: Groups times reflections above which su and evidence are not made at the same time: each of them
#: uses all threads well then, and their memory would add up.
_TOO_LARGE = 20_000_000


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of groups, states and ligands.

    Attributes
    ----------
    results, states, ligands, correlations
        As in `Solution`.
    covariance
        With coordinates and B as they are held; None where nobody asked.
    atom_su
        Of the atoms of the groups; None where coordinates and B are taken as known.
    n_decoys
        The most that a group was judged with.
    """

    results: GroupResults
    states: tuple[State, ...]
    ligands: tuple[Ligand, ...]
    correlations: Correlations | None = None
    covariance: Covariance | None = None
    atom_su: AtomUncertainties | None = None
    n_decoys: int = 0

    @classmethod
    def nothing(cls, groups: OccupancyGroups, occupancy: FloatArray) -> Known:
        """Return what is known where nobody asked: which ligands there are."""
        ligands = ligands_of(groups, ligand_sites(groups), occupancy)
        return cls(GroupResults.nothing(len(groups)), (), ligands)


@dataclass(frozen=True, eq=False)
class _Counted:
    """The covariance that counts what is held, and what comes with it."""

    covariance: Covariance
    change: FloatArray
    atom_su: AtomUncertainties | None


@dataclass(frozen=True, eq=False)
class Ended:
    """A refinement that has ended: a posterior at its maximum, and what its crystal is.

    Attributes
    ----------
    model, experiment
        The crystal.
    posterior, at
        At its maximum.
    refined
        The groups that are refined.
    options
        What is asked for.
    geometry
        Gives the restraints, if they are needed.
    """

    model: Model
    experiment: Experiment
    posterior: Posterior
    at: Point
    refined: IntArray
    options: RefineOptions
    geometry: Callable[[], Geometry]

    def known(self, occupancy: FloatArray, progress: Callable[..., None]) -> Known:
        """Return what is known.

        Parameters
        ----------
        occupancy
            Of all groups.
        progress
            Called with a step when it begins, with how much of it is done and of how much.
        """
        progress(Step.ERRORS)
        groups, sums = self.model.occupancy_groups, self.posterior.sums
        found = covariance(self.posterior, self.at)
        together = state_members(groups, self.refined, found)
        alone = [np.array([i]) for i in range(len(self.refined))]
        sites = ligand_sites(groups)
        members, index = with_ligands(
            [*alone, *(one.places for one in together)], sites, self.refined
        )
        flat = [one.flat for one in together]
        others = [None] * (len(members) - len(alone) - len(flat))
        candidates = Candidates(members, [*flat, *others], len(alone))

        def counted() -> _Counted:
            return self._counted(found)

        def lost_and_misfit() -> tuple[Lost, FloatArray]:
            lost = lost_without(
                candidates, groups, self.refined, self.experiment, self.posterior, self.at, found,
                self.options.decoys, joint=self.options.joint,
            )  # fmt: skip
            return lost, misfit(self.posterior, self.at, found)

        if len(self.refined) * len(self.experiment.data) > _TOO_LARGE:
            counts, (lost, fit) = counted(), lost_and_misfit()
        else:
            counts, (lost, fit) = at_once(counted, lost_and_misfit)
        wide = counts.covariance
        if self.options.uncertainty is UncertaintyKind.AUDIT:
            wide = audited(
                self.model, self.geometry(), self.experiment, self.refined, self.posterior,
                self.at, wide, lambda done, total: progress(Step.ERRORS, done, total),
            )  # fmt: skip
        progress(Step.EVIDENCE)
        su = candidates.su(wide)
        support = lost.support(su)
        of_groups, of_states = support.split(len(alone))
        bounded = at_bound(sums, self.at[Kind.OCCUPANCY])
        results = group_results(
            groups, self.refined, self.at, wide, of_groups, bounded, fit, counts.atom_su,
            counts.change,
        )  # fmt: skip
        states = determined_states(
            self.refined, self.at, together, of_states, su[len(alone) :],
            candidates.su(wide.conditional or wide)[len(alone) :],
        )  # fmt: skip
        ligands = ligands_of(groups, sites, occupancy, (index, su, support), results.flags)
        return Known(
            results, states, ligands, worst_correlations(wide, self.refined, sums), found,
            counts.atom_su, int(of_groups.n_decoys.max(initial=0)),
        )  # fmt: skip

    def _counted(self, found: Covariance) -> _Counted:
        """Return the covariance that counts what is held, and what refining that would change."""
        data, sums = self.experiment.data, self.posterior.sums
        if self.options.uncertainty is UncertaintyKind.CONDITIONAL:  # of solvent it is not
            around = surroundings_as_held(self.model, data, self.refined, sums)
            wide = with_surroundings(self.posterior, self.at, found, around).covariance
            return _Counted(wide, np.full(len(self.refined), np.nan), None)
        around = surroundings_of(
            self.model, data, self.refined, sums,
            None if self.options.no_restraints else self.geometry(),
        )  # fmt: skip
        if not self.options.joint:  # what is held may be off
            pull = pull_on_atoms(self.posterior, self.at, data, around)
            around = replace(around, pull=pull)
        marginal = with_surroundings(self.posterior, self.at, found, around)
        atom_su = AtomUncertainties(marginal.su_xyz, marginal.su_b)
        return _Counted(marginal.covariance, marginal.change, atom_su)
