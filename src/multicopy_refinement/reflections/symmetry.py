"""In which space group data are merged: their own, or the model's where it has more symmetry."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.crystal.hkl import to_asymmetric_unit
from multicopy_refinement.errors import ReflectionFileError
from multicopy_refinement.notices import Notice
from multicopy_refinement.reflections.observations import Observations
from multicopy_refinement.reflections.preparation import unique_observations
from multicopy_refinement.words import counted

#: Equivalents agree when sum |x - mean| / sum mean of those above 3 sigma is at most this.
AGREE_AMPLITUDES, AGREE_INTENSITIES = 0.10, 0.20
#: As many reflections with equivalents are needed to tell, and this part of all.
ENOUGH_EQUIVALENTS, PART_WITH_EQUIVALENTS = 20, 0.1
#: Reflections that a centring forbids may have this part of the mean of all others, no more.
FORBIDDEN_AMPLITUDE, FORBIDDEN_INTENSITY = 0.3, 0.15
#: What is forbidden and only noise has amplitudes of about 2 sigma, and intensities of 0.
NOISE_AMPLITUDE, NOISE_INTENSITY = 3.0, 1.5
_ABOVE = 3.0


def group_to_merge_by(
    rows: Observations, cell: Cell, mine: SpaceGroup, model: SpaceGroup | None, what: str
) -> tuple[SpaceGroup, list[Notice]]:
    """Return the space group by which rows are merged and freed of absences.

    Data that are listed in a lower symmetry than the model's (a sphere in P 1) are merged by the
    model's, where equivalents agree. Where nothing can be said, the group of the data stays, and
    what compares crystals refuses it.

    Raises
    ------
    ReflectionFileError
        Equivalents by the model's symmetry that differ, or strong reflections that the centring
        of the lattice forbids.
    """
    _check_centring(rows, mine, what)
    if model is None or model.name == mine.name:
        return mine, []
    if same_point_group(mine, model):
        if not same_centring(mine, model):
            return mine, []
        text = (
            f"space group {mine.name} of the data is not {model.name} of the model, which is used"
        )
        return model, [Notice("spacegroup_differs", text)]
    unsymmetric = len(mine.rotations) == 1 and len(mine.centrings) == 1
    if not _laue(mine) < _laue(model) or not (unsymmetric or same_centring(mine, model)):
        return mine, []
    factor, n_equivalents, n_unique = _disagreement(rows, cell, mine, model)
    if n_equivalents < max(ENOUGH_EQUIVALENTS, PART_WITH_EQUIVALENTS * n_unique):
        return mine, []
    _check_centring(rows, model, what)
    measured = f"R = {factor:.3f} of {what} over {n_equivalents} reflections with equivalents"
    if factor > (AGREE_AMPLITUDES if what == "amplitude" else AGREE_INTENSITIES):
        raise ReflectionFileError(
            f"the data are of space group {mine.name}, and do not have the symmetry of the model, "
            f"{model.name}: equivalents differ by {measured}; take a model of this symmetry"
        )
    text = f"data of space group {mine.name} are merged in {model.name}, that of the model: "
    return model, [Notice("merged_by_model", f"{text}{measured}, {n_unique} unique ones")]


def same_point_group(one: SpaceGroup, other: SpaceGroup) -> bool:
    """Return whether two groups have the same rotations in the same setting."""
    return _rotations(one.rotations) == _rotations(other.rotations)


def same_centring(one: SpaceGroup, other: SpaceGroup) -> bool:
    """Return whether two groups have lattices of the same centring."""
    return _rows(np.round(one.centrings % 1, 3)) == _rows(np.round(other.centrings % 1, 3))


def _laue(group: SpaceGroup) -> frozenset[tuple[int, ...]]:
    return _rotations(np.concatenate([group.rotations, -group.rotations]))


def _rotations(rotations: IntArray) -> frozenset[tuple[int, ...]]:
    return frozenset(tuple(row) for row in rotations.reshape(-1, 9).tolist())


def _rows(values: FloatArray) -> frozenset[tuple[float, ...]]:
    return frozenset(tuple(row) for row in values.tolist())


def _disagreement(
    rows: Observations, cell: Cell, mine: SpaceGroup, model: SpaceGroup
) -> tuple[float, int, int]:
    """Return sum |x - mean| / sum mean of strong equivalents, how many have some, and all."""
    unique, _ = unique_observations(rows, cell, mine, d_min=None)
    unique = unique.select(~unique.missing & ~model.absent(unique.hkl))
    if len(unique.hkl) == 0:
        return 0.0, 0, 0
    mapped = to_asymmetric_unit(unique.hkl, model)
    _, number = np.unique(mapped, axis=0, return_inverse=True)
    number = number.reshape(-1)
    count = np.bincount(number)
    mean = np.bincount(number, unique.value) / count
    error = np.bincount(number, unique.sigma) / count
    several = count > 1
    strong = several & (mean > _ABOVE * error)
    used = strong[number]
    total = (mean * count)[strong].sum()
    differences = np.abs(unique.value - mean[number])[used].sum()
    return float(differences / total) if total > 0 else np.inf, int(several.sum()), len(count)


def _check_centring(rows: Observations, group: SpaceGroup, what: str) -> None:
    """Refuse strong reflections that the centring forbids: then the lattice is not centred."""
    there = ~rows.missing
    forbidden = there & (group.centring_factor(rows.hkl) == 0)
    if int(forbidden.sum()) < ENOUGH_EQUIVALENTS:
        return
    amplitude = what == "amplitude"
    part = float(rows.value[forbidden].mean() / max(rows.value[there & ~forbidden].mean(), 1e-300))
    above = float(np.median(rows.value[forbidden] / rows.sigma[forbidden]))
    if part > (FORBIDDEN_AMPLITUDE if amplitude else FORBIDDEN_INTENSITY) and above > (
        NOISE_AMPLITUDE if amplitude else NOISE_INTENSITY
    ):
        n = int(forbidden.sum())
        raise ReflectionFileError(
            f"{counted(n, 'reflection')} that the centring of {group.name} forbids "
            f"{'has' if n == 1 else 'have'} {100 * part:.0f}% of the mean {what} of the "
            "others: the lattice is not centred so"
        )
