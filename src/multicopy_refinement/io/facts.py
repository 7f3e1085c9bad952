"""What the files of a refinement say of it: who made it, against which data, how well it fits."""

from __future__ import annotations

from dataclasses import dataclass

from multicopy_refinement.modes import Radiation

#: Name of the program in the files that it writes.
PROGRAM = "multicopy_refinement"


@dataclass(frozen=True)
class RefinementFacts:
    """What REMARK 3 of a PDB file and ``_refine`` of mmCIF have of a refinement.

    Attributes
    ----------
    version
        Of the program.
    target
        In words, for example ``MAXIMUM LIKELIHOOD``.
    refined
        What was refined, and what was held, in sentences.
    d_min, d_max
        Limits of resolution in A.
    n_work, n_free, n_outliers
        Numbers of reflections; outliers are in neither set.
    completeness
        Reflections with an amplitude of those that are possible between the limits, in percent.
    free_set
        How the free set was told; None where there is none.
    r_all, r_work, r_free
        R factors at the end; the last is None without a free set.
    k_sol, b_sol
        Of the bulk solvent, in the unit of F over A^3, and A^2: its density falls to 1/e of k_sol
        at s^2 = 4/B_sol.
    shrink
        Radius by which the bulk solvent grows back from where the probe fits, in A.
    b_scale
        Anisotropic B of the scale exp(-s'Bs/4) in the Cartesian frame, elements 11 22 33 12 13 23,
        A^2.
    b_mean, b_range
        Mean, and least and largest B of the atoms, A^2.
    occupancy_range
        Least and largest occupancy of the atoms.
    radiation
        What the data were measured with.
    dpi_free
        Precision index of the coordinates in A; None without a free set, and where atoms do not
        scatter as their number of electrons.
    """

    version: str
    target: str
    refined: tuple[str, ...]
    d_min: float
    d_max: float
    n_work: int
    n_free: int
    n_outliers: int
    completeness: float
    free_set: str | None
    r_all: float
    r_work: float
    r_free: float | None
    k_sol: float
    b_sol: float
    shrink: float
    b_scale: tuple[float, float, float, float, float, float]
    b_mean: float
    b_range: tuple[float, float]
    occupancy_range: tuple[float, float]
    dpi_free: float | None
    radiation: Radiation = Radiation.XRAY

    @property
    def n_used(self) -> int:
        """Reflections of both sets."""
        return self.n_work + self.n_free

    @property
    def free_percent(self) -> float:
        """Size of the free set in percent of both."""
        return 100 * self.n_free / self.n_used


def is_ours(name: str) -> bool:
    """Return whether a name of a program, with a version or without, is that of this one.

    >>> is_ours("MULTICOPY_REFINEMENT 0.1.0"), is_ours("REFMAC 5.8")
    (True, False)
    """
    return name.strip().lower().startswith(PROGRAM)
