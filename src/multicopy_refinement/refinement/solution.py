"""What a refinement returns."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from html import escape
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from multicopy_refinement._typing import BoolArray, ComplexArray, FloatArray, IntArray
from multicopy_refinement.errors import UnknownNameError
from multicopy_refinement.notices import Notice
from multicopy_refinement.occupancy.groups import OccupancyGroups
from multicopy_refinement.posterior.experiment import Statistics
from multicopy_refinement.refinement.anomalous import AnomalousResults
from multicopy_refinement.refinement.twinning import RefinedTwin, Twinning
from multicopy_refinement.words import counted, probability, with_su

if TYPE_CHECKING:
    import pandas as pd

    from multicopy_refinement.geometry.statistics import Statistics as GeometryStatistics
    from multicopy_refinement.posterior.experiment import Experiment
    from multicopy_refinement.refinement.options import RefineOptions

#: Rows of a table in a notebook.
MOST_ROWS = 12


class Flag(StrEnum):
    """What to know of a group's occupancy."""

    UNDETERMINED = "undetermined"
    NOT_SUPPORTED = "not_supported"
    AT_BOUND = "at_bound"
    INDISTINGUISHABLE_FROM_0 = "indistinguishable_from_0"
    INDISTINGUISHABLE_FROM_1 = "indistinguishable_from_1"
    CORRELATED_WITH_B = "correlated_with_b"
    POOR_FIT = "poor_fit"
    HELD_OFF = "held_off"


@dataclass(frozen=True)
class Status:
    """How the refinement ended, in words."""

    converged: bool
    reason: str
    cycles: int


@dataclass(frozen=True)
class State:
    """A sum of a set's members: a state of the model, or what is determined where they are not.

    Attributes
    ----------
    name
        For example ``bound:C+D`` or ``A/10/ARG:A+B``.
    groups
        Indices of the members.
    occupancy, su, su_conditional
        Of their sum.
    delta_log_likelihood, delta_log_likelihood_free, wald, p_absent, flags
        As for groups, were all members absent.
    """

    name: str
    groups: tuple[int, ...]
    occupancy: float
    su: float
    su_conditional: float
    delta_log_likelihood: float
    delta_log_likelihood_free: float
    wald: float
    p_absent: float
    flags: tuple[Flag, ...] = ()


@dataclass(frozen=True)
class Ligand:
    """A residue that is no polymer, water or common ion.

    Attributes
    ----------
    name
        For example ``A/1101/LIG``.
    groups
        Indices of the groups whose occupancies add up to its own.
    atoms
        Its atoms, counted from 0 in the order of the file.
    beside
        Other residues that share these occupancies.
    refined
        Whether any of the groups is.
    initial, occupancy, su
        The sum in the file, and as it was found; the su is nan where the data do not determine it,
        and 0 where a set does.
    delta_log_likelihood, delta_log_likelihood_free, wald, p_absent, flags
        As for groups, were all of it absent.
    """

    name: str
    groups: tuple[int, ...]
    atoms: tuple[int, ...]
    beside: tuple[str, ...]
    refined: bool
    initial: float
    occupancy: float
    su: float
    delta_log_likelihood: float
    delta_log_likelihood_free: float
    wald: float
    p_absent: float
    flags: tuple[Flag, ...] = ()


@dataclass(frozen=True)
class Exchanged:
    """A site with H and D.

    Attributes
    ----------
    residue
        For example ``A/10/ARG``.
    site, parent, altloc
        Names of D and of the atom that it is bound to, and the altloc of that.
    groups
        Indices of the groups of H and D.
    fraction, su
        The part of D, nan where the data do not determine it.
    flags
        `Flag.UNDETERMINED` or none.
    """

    residue: str
    site: str
    parent: str
    altloc: str
    groups: tuple[int, int]
    fraction: float
    su: float
    flags: tuple[Flag, ...] = ()


@dataclass(frozen=True)
class Moves:
    """How far a macrocycle went.

    Attributes
    ----------
    occupancy, unsettled
        Largest change, and the largest that exceeds a fifth of its su.
    xyz, b
        Rms shifts in A and A^2.
    gain
        Of the log posterior.
    shift
        Of all unknowns in units of their su, rms, of the largest step: d'g/n, H d = g.
    products
        With the information matrix.
    bond_z
        Rms Z of the bonds that move, nan without any.
    weight
        Of the restraints.
    """

    occupancy: float
    unsettled: float
    xyz: float
    b: float
    gain: float
    shift: float
    products: int
    bond_z: float
    weight: float


@dataclass(frozen=True)
class Cycle:
    """Where the refinement stood after a macrocycle, with the scale and errors of that moment.

    Attributes
    ----------
    largest_change
        Of an occupancy in the cycle; None for the start.
    moves
        How far coordinates and displacements went, where they are refined.
    """

    number: int
    largest_change: float | None
    statistics: Statistics
    moves: Moves | None = None


@dataclass(frozen=True, eq=False)
class Correlations:
    """Correlations of the occupancies that depend on each other most.

    Attributes
    ----------
    groups
        Indices of the groups.
    matrix
        ``[n, n]``.
    """

    groups: tuple[int, ...]
    matrix: FloatArray


@dataclass(frozen=True)
class Extinction:
    """The coefficient of extinction, as SHELXL has it, and its su, nan where none was made."""

    coefficient: float
    su: float


@dataclass(frozen=True, eq=False)
class GroupResults:
    """What was found for each group; nan where nothing was, all ``[n_groups]``.

    Attributes
    ----------
    su
        Standard uncertainty of the occupancy: scale, solvent and B shift count in it, and
        coordinates and B nearby unless they are taken as known.
    su_conditional
        The same, were all of them known.
    delta_b, delta_b_su
        B shift in A^2.
    b_correlation
        Of occupancy and B shift.
    delta_log_likelihood, delta_log_likelihood_free
        Gain of the work and the free set over the best model without the group: its set
        renormalised, mask, scale and errors renewed.
    wald
        (q/su)^2/2, the gain by the curvature at the maximum.
    p_absent
        Probability of such a gain were the group absent.
    misfit
        The su by the scatter of the reflections over su; 1 where the model of errors is right.
    su_xyz, b_su
        Of the coordinates and B of its atoms, the mean, in A and A^2, where they count.
    share_factor
        Whether the scale can undo a common factor of these occupancies, bool.
    flags
        `Flag` values of each group.
    of_differences
        What of ``delta_log_likelihood`` is that of Bijvoet differences, where these are data.
    relaxed
        The occupancy were coordinates and B near it refined with it, to first order, within its
        bounds; nan where they are, or count as known.
    """

    su: FloatArray
    su_conditional: FloatArray
    delta_b: FloatArray
    delta_b_su: FloatArray
    b_correlation: FloatArray
    delta_log_likelihood: FloatArray
    delta_log_likelihood_free: FloatArray
    wald: FloatArray
    p_absent: FloatArray
    misfit: FloatArray
    su_xyz: FloatArray
    b_su: FloatArray
    share_factor: BoolArray
    flags: tuple[tuple[Flag, ...], ...]
    of_differences: FloatArray
    relaxed: FloatArray

    @classmethod
    def nothing(cls, n: int) -> GroupResults:
        """Return the results of groups of which nothing is known."""
        blank = np.full(n, np.nan)
        return cls(*(blank,) * 12, np.zeros(n, dtype=bool), ((),) * n, blank, blank)


@dataclass(frozen=True, eq=False)
class Relaxation:
    """What coordinates and displacements did in a joint refinement.

    Attributes
    ----------
    before, after
        Deviations from the restraints.
    weight
        Of the restraints at the end.
    shift, b_change
        Of each atom in A and A^2, ``[n_atoms]``.
    faint
        Atoms whose B went to the highest that it may be.
    shared
        Atoms whose U, the same in several conformers of the file, moved as one.
    """

    before: GeometryStatistics
    after: GeometryStatistics
    weight: float
    shift: FloatArray
    b_change: FloatArray
    faint: IntArray
    shared: IntArray


@dataclass(frozen=True, eq=False)
class AtomUncertainties:
    """su of the coordinates (A) and B (A^2) of atoms of refined groups, nan for others.

    Attributes
    ----------
    xyz
        The root of the mean variance over x, y and z, ``[n_atoms]``.
    b
        ``[n_atoms]``.
    """

    xyz: FloatArray
    b: FloatArray


class Found(NamedTuple):
    """What was found of one group, state or ligand; nan where nothing was."""

    name: str
    occupancy: float
    su: float
    delta_log_likelihood: float
    delta_log_likelihood_free: float
    p_absent: float
    flags: tuple[Flag, ...]

    def __str__(self) -> str:
        return f"{self.name}  {with_su(self.occupancy, self.su)}"


@dataclass(frozen=True, eq=False)
class Solution:
    """Refined occupancies with their agreement to the data.

    Attributes
    ----------
    groups
        The occupancy groups.
    occupancy
        Of each group, ``[n_groups]``.
    results
        `GroupResults`: uncertainties, B shifts, evidence and flags.
    states
        Those of the model, and determined combinations of members that are not determined alone.
    initial, final
        Agreement before, as the file is written, and after. Both log-likelihoods are evaluated with
        the scale and the error model of the end, so that they can be compared; the R factors have
        each its own scale.
    status
        How it ended.
    notices
        What was noticed on the way.
    seconds
        Wall time of ``scale`` (mask, scale, errors of the start) and of ``refine``.
    experiment
        The forward model in its final state.
    listed_f_calc
        F_calc at ``data.listed_hkl``, complex.
    options
        What was asked for.
    history
        The start and every macrocycle.
    correlations
        Of the groups that depend on each other most, beyond their sets; None without su.
    ligands
        What is no polymer, water or common ion: its occupancy, over all its conformers.
    r_free_change
        Of R-free from before to after, and its su; None without a free set.
    conditional_on
        What the su take as known.
    n_decoys
        Decoys that the support of groups in doubt was measured with; 0 without.
    relaxation
        Of coordinates and displacements; None where they are held.
    atom_su
        Of the atoms of refined groups; None where they are taken as known.
    exchange
        Of H and D, where the model has both at one site.
    twinning
        What the data say of it; None where the lattice allows none.
    twin
        The law and the fraction that were refined against; None of a single crystal.
    anomalous
        What Bijvoet differences say; None where they were no data.
    extinction
        Of strong reflections; None where it was not refined.
    """

    groups: OccupancyGroups
    occupancy: FloatArray
    results: GroupResults
    states: tuple[State, ...]
    initial: Statistics
    final: Statistics
    status: Status
    notices: tuple[Notice, ...]
    seconds: dict[str, float]
    experiment: Experiment
    listed_f_calc: ComplexArray
    options: RefineOptions
    history: tuple[Cycle, ...] = ()
    correlations: Correlations | None = None
    ligands: tuple[Ligand, ...] = ()
    r_free_change: tuple[float, float] | None = None
    conditional_on: tuple[str, ...] = ()
    n_decoys: int = 0
    relaxation: Relaxation | None = None
    atom_su: AtomUncertainties | None = None
    exchange: tuple[Exchanged, ...] = ()
    twinning: Twinning | None = None
    twin: RefinedTwin | None = None
    anomalous: AnomalousResults | None = None
    extinction: Extinction | None = None

    @property
    def su(self) -> FloatArray:
        """Standard uncertainty of each occupancy, nan where there is none, ``[n_groups]``."""
        return self.results.su

    def __getitem__(self, name: str) -> Found:
        """Return what was found of a group, a state or a ligand, by its name as it is printed.

        A name of a ligand is that of all its conformers together.

        Raises
        ------
        UnknownNameError
            With the names that are most like it.
        """
        sums: tuple[Ligand | State, ...] = (*self.ligands, *self.states)
        for sum_ in sums:
            if sum_.name == name:
                return Found(
                    name, sum_.occupancy, sum_.su, sum_.delta_log_likelihood,
                    sum_.delta_log_likelihood_free, sum_.p_absent, sum_.flags,
                )  # fmt: skip
        if name in self.groups.names:
            g, found = self.groups.names.index(name), self.results
            return Found(
                name, float(self.occupancy[g]), float(found.su[g]),
                float(found.delta_log_likelihood[g]),
                float(found.delta_log_likelihood_free[g]), float(found.p_absent[g]),
                found.flags[g],
            )  # fmt: skip
        known = [*self.groups.names, *(one.name for one in sums)]
        near = get_close_matches(str(name), known, 3, 0.5)
        hint = f"; like it: {', '.join(near)}" if near else ""
        raise UnknownNameError(f"no group, state or ligand {name!r}{hint}")

    def to_dataframe(self) -> pd.DataFrame:
        """Return the refined groups as a data frame, one row each, their names as index."""
        import pandas as pd

        rows, groups, found = np.flatnonzero(self.groups.refined), self.groups, self.results
        columns = {
            "initial": groups.file_occupancy[rows], "occupancy": self.occupancy[rows],
            "su": found.su[rows], "su_conditional": found.su_conditional[rows],
            "delta_b": found.delta_b[rows], "delta_b_su": found.delta_b_su[rows],
            "delta_log_likelihood": found.delta_log_likelihood[rows],
            "delta_log_likelihood_free": found.delta_log_likelihood_free[rows],
            "wald": found.wald[rows], "p_absent": found.p_absent[rows],
            "misfit": found.misfit[rows], "relaxed": found.relaxed[rows],
            "set": [
                groups.sets[n].name if n >= 0 else None for n in groups.set_index[rows].tolist()
            ],
            "n_atoms": [len(groups.members[g]) for g in rows.tolist()],
            "flags": [", ".join(found.flags[g]) for g in rows.tolist()],
        }  # fmt: skip
        if self.anomalous is not None:
            columns |= {
                "delta_log_likelihood_anomalous": self.anomalous.gain[rows],
                "occupancy_anomalous": self.anomalous.occupancy[rows],
                "su_anomalous": self.anomalous.su[rows],
            }
        names = pd.Index([groups.names[g] for g in rows.tolist()], name="group")
        return pd.DataFrame(columns, index=names)

    def _repr_html_(self) -> str:
        """Return the agreement and the largest changes as tables, for notebooks."""
        before, after = self.initial, self.final
        rows = [("R-work", before.r_work, after.r_work), ("R-free", before.r_free, after.r_free),
                ("log-likelihood", before.log_likelihood, after.log_likelihood)]  # fmt: skip
        agreement = "".join(
            f"<tr><th>{label}</th><td>{_number(a, d)}</td><td>{_number(b, d)}</td></tr>"
            for (label, a, b), d in zip(rows, (4, 4, 1), strict=True)
        )
        groups, written = self.groups, self.groups.file_occupancy
        refined = np.flatnonzero(groups.refined)
        order = refined[np.argsort(-np.abs((self.occupancy - written)[refined]), kind="stable")]
        changes = "".join(
            f"<tr><th>{escape(groups.names[g])}</th><td>{written[g]:.2f}</td>"
            f"<td>{self.occupancy[g]:.3f}</td><td>{_number(self.su[g], 3)}</td>"
            f"<td>{escape(', '.join(f.replace('_', ' ') for f in self.results.flags[g]))}</td></tr>"
            for g in order[:MOST_ROWS].tolist()
        )
        more = f"<p>and {len(order) - MOST_ROWS} more</p>" if len(order) > MOST_ROWS else ""
        return (
            f"<p>{counted(len(refined), 'group')} refined; {escape(self.status.reason)}</p>"
            f"<table><tr><th></th><th>before</th><th>after</th></tr>{agreement}</table>"
            "<table><tr><th>group</th><th>before</th><th>after</th><th>su</th><th>flags</th></tr>"
            f"{changes}</table>{more}"
        )

    def __str__(self) -> str:
        lines = [
            f"{one.name}  {with_su(one.occupancy, one.su)}  "
            + (f"p absent {probability(_known(one.p_absent))}" if one.refined else "not refined")
            for one in self.ligands
        ]
        return "\n".join([*lines, repr(self)])

    def __repr__(self) -> str:
        free = (self.initial.r_free, self.final.r_free)
        r_free = "" if None in free else f", R-free {free[0]:.4f} -> {free[1]:.4f}"
        return (
            f"Solution({counted(int(self.groups.refined.sum()), 'group')} refined, R-work "
            f"{self.initial.r_work:.4f} -> {self.final.r_work:.4f}{r_free}, "
            f"{self.status.reason})"
        )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None or np.isnan(value) else f"{value:.{digits}f}"
