"""What a solution says of itself in the files that it leaves."""

from __future__ import annotations

import gemmi
import numpy as np

from multicopy_refinement import __version__
from multicopy_refinement._typing import FloatArray
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.crystal.hkl import unique_reflections
from multicopy_refinement.crystal.symmetry import VOIGT
from multicopy_refinement.io.ensembles import AltEnsemble
from multicopy_refinement.io.facts import RefinementFacts
from multicopy_refinement.io.write_structure import AtomValues
from multicopy_refinement.modes import Parameter, Radiation, TargetKind
from multicopy_refinement.notices import listed
from multicopy_refinement.posterior.agreement import r_factor
from multicopy_refinement.refinement import Solution
from multicopy_refinement.refinement.solution import Extinction
from multicopy_refinement.refinement.twinning import RefinedTwin
from multicopy_refinement.reflections import ReflectionData
from multicopy_refinement.results.maps import MapCoefficients
from multicopy_refinement.words import counted, with_su

_TARGETS = {
    TargetKind.ML: "MAXIMUM LIKELIHOOD",
    TargetKind.MLI: "MAXIMUM LIKELIHOOD OF INTENSITIES",
    TargetKind.LS: "LEAST SQUARES",
}
_CARBON = 6


def facts_of(
    solution: Solution, maps: MapCoefficients, table: AtomTable, values: AtomValues
) -> RefinementFacts:
    """Return what REMARK 3 and ``_refine`` have; ``values`` are what is written for the atoms."""
    data, scale = solution.experiment.data, solution.experiment.scale
    size = solution.experiment.observable.size(maps.model[: len(data)])
    used = ~data.left_out
    complete = completeness(data)
    final, xray = solution.final, solution.experiment.model.radiation is Radiation.XRAY
    b_iso, occupancy = values.b_iso, values.occupancy
    return RefinementFacts(
        version=__version__, radiation=solution.experiment.model.radiation,
        target=_TARGETS[solution.experiment.target_kind], refined=_refined(solution),
        d_min=data.d_min, d_max=data.d_max,
        n_work=int(data.work.sum()), n_free=int(data.free.sum()),
        n_outliers=data.n_outliers, completeness=100 * complete,
        free_set=_free_set(data), r_all=r_factor(data.f_obs[used], size[used]),
        r_work=final.r_work, r_free=final.r_free, k_sol=scale.k_sol, b_sol=scale.equivalent_b_sol,
        shrink=solution.experiment.grid.shrink,
        b_scale=cartesian_b(scale.b_cryst, data.cell.orthogonalization),
        b_mean=float(b_iso.mean()), b_range=(float(b_iso.min()), float(b_iso.max())),
        occupancy_range=(float(occupancy.min()), float(occupancy.max())),
        dpi_free=None if final.r_free is None or not xray else precision_index(
            atoms_in_carbons(table, occupancy), int(used.sum()), complete, final.r_free,
            data.d_min,
        ),
    )  # fmt: skip


def completeness(data: ReflectionData) -> float:
    """Return which part of the reflections between the limits of resolution has an amplitude."""
    possible = unique_reflections(data.cell, data.spacegroup, data.d_min)
    inside = data.cell.inverse_d_squared(possible) >= data.d_max**-2 * (1 - 1e-9)
    return min(1.0, int(data.observed.sum()) / max(int(inside.sum()), 1))


def atoms_in_carbons(table: AtomTable, occupancy: FloatArray) -> float:
    """Return the number of carbon atoms that scatter as much as all: sum q Z^2/36."""
    symbols, index = np.unique(table.element, return_inverse=True)
    z = np.array([gemmi.Element(symbol.decode()).atomic_number for symbol in symbols])
    return float(np.sum(occupancy * z[index] ** 2) / _CARBON**2)


def precision_index(
    n_atoms: float, n_observed: int, complete: float, r_free: float, d_min: float
) -> float:
    """Return sigma(x) = sqrt(n_atoms/n_observed) C^(-1/3) R_free d_min in A.

    That is the diffraction-component precision index of an atom of average B, with R_free and the
    number of observations (Cruickshank 1999, Acta Cryst. D55, 583).

    >>> round(precision_index(1000, 20000, 1.0, 0.2, 2.0), 4)
    0.0894
    """
    return float(np.sqrt(n_atoms / n_observed) * complete ** (-1 / 3) * r_free * d_min)


def cartesian_b(
    b_cryst: FloatArray, orthogonalization: FloatArray
) -> tuple[float, float, float, float, float, float]:
    """Return B in A^2 of which s'Bs is h'Bh: s = h F with F = O^-1, so that B_cart = O B O'.

    Both have the elements 11 22 33 12 13 23.
    """
    tensor = np.empty((3, 3))
    for (i, j), value in zip(VOIGT, b_cryst, strict=True):
        tensor[i, j] = tensor[j, i] = value
    turned = orthogonalization @ tensor @ orthogonalization.T
    one, two, three, four, five, six = (float(turned[i, j]) for i, j in VOIGT)
    return one, two, three, four, five, six


def _free_set(data: ReflectionData) -> str | None:
    labels = data.labels
    if labels.free_label is None:
        return None
    return f"{labels.free_label} = {labels.free_value} ({labels.choice})"


def _refined(solution: Solution) -> tuple[str, ...]:
    """Return in sentences what was refined, and what was not."""
    groups, names = solution.groups, list(solution.options.parameters)
    n = int(groups.refined.sum())
    atoms = int(groups.refined[groups.index].sum())
    n_sets = sum(bool(groups.refined[list(one.groups)].any()) for one in groups.sets)
    what = (
        f"Occupancies of {counted(n, 'group')} ({counted(atoms, 'atom')}, "
        f"{counted(n_sets, 'set')}) were refined"
    )
    others = [_WORDS.get(name, str(name)) for name in names if name != Parameter.OCCUPANCY]
    if others:
        what += f", with {' and '.join(others)}"
    beam = solution.experiment.model.beam
    return (
        f"Radiation: {beam.in_words()}.",
        f"{what}.",
        *([] if solution.twin is None else [_of_twin(solution.twin)]),
        *([] if solution.extinction is None else [_of_extinction(solution.extinction)]),
        "All else of the model is as in the input.",
    )


def _of_extinction(found: Extinction) -> str:
    value = with_su(found.coefficient, found.su)
    return f"Extinction as in SHELXL, coefficient {value}; F of maps are without it."


def _of_twin(twin: RefinedTwin) -> str:
    fraction = with_su(twin.fraction, twin.su)
    return f"Twin by {twin.law.name}, fraction {fraction}; F of maps are of the first domain."


_WORDS = {Parameter.B_GROUP: "one B shift of each group"}


def ensembles_of(solution: Solution) -> list[AltEnsemble]:
    """Return the conformers of all sets with their occupancies, one a group that has altlocs."""
    groups, table = solution.groups, solution.groups.table
    found = []
    for one in groups.sets:
        for g in one.groups:
            atoms = groups.members[g]
            letters = tuple(
                sorted({a.decode("latin-1") for a in table.altloc[atoms].tolist() if a})
            )
            if not letters:
                continue
            residues = list(dict.fromkeys(table.residue_label(a) for a in atoms.tolist()))
            su = float(solution.su[g])
            value = with_su(float(solution.occupancy[g]), su, 3)
            text = f"occupancy {value}, set {one.name}, {counted(len(atoms), 'atom')}"
            text += f" of {listed(residues)}"
            found.append(AltEnsemble(groups.names[g], letters, text))
    return found
