"""What a refinement returns."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from multicopy_refinement._typing import ComplexArray, FloatArray
from multicopy_refinement.errors import UnknownNameError
from multicopy_refinement.notices import Notice
from multicopy_refinement.occupancy.groups import OccupancyGroups
from multicopy_refinement.posterior.agreement import Statistics
from multicopy_refinement.refinement.anomalous import AnomalousResults
from multicopy_refinement.refinement.course import Cycle, Relaxation, Status
from multicopy_refinement.refinement.found import (
    AtomUncertainties,
    Correlations,
    Exchanged,
    Found,
    GroupResults,
    Ligand,
    State,
)
from multicopy_refinement.refinement.twinning import RefinedTwin, Twinning
from multicopy_refinement.words import counted, probability, with_su

if TYPE_CHECKING:
    import pandas as pd

    from multicopy_refinement.posterior.experiment import Experiment
    from multicopy_refinement.refinement.options import RefineOptions

#: Rows of a table in a notebook.
MOST_ROWS = 12


@dataclass(frozen=True)
class Extinction:
    """The coefficient of extinction, as SHELXL has it, and its su, nan where none was made."""

    coefficient: float
    su: float


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
