"""What a refinement finds of groups, states, ligands and atoms."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray
from multicopy_refinement.words import with_su


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


@dataclass(frozen=True, eq=False)
class GroupResults:
    """What was found for each group; nan where nothing was, all ``[n_groups]``.

    Attributes
    ----------
    su
        Standard uncertainty of the occupancy: scale, solvent and B shift count in it, and
        coordinates and B nearby unless they are taken as known.
    su_conditional
        The same with coordinates and B taken as known.
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
