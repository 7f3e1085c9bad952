"""Atoms on special positions, and waters that are too close to be there at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.atoms.connections import WATERS
from multicopy_refinement.atoms.neighbours import near_pairs
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.occupancy.draft import Draft, DraftSet
from multicopy_refinement.occupancy.groups import OccupancyGroups
from multicopy_refinement.occupancy.values import (
    NEARLY_COMPLETE,
    SAME_OCCUPANCY,
    GroupingResult,
)

#: An atom whose image is nearer than this is on a special position, in A.
ON_ELEMENT = 0.3
#: Waters that are closer are not there at once, in A.
CLOSE_WATERS = 1.5


def multiplicities(xyz: FloatArray, cell: Cell, group: SpaceGroup) -> IntArray:
    """Return how many operations of the space group leave each site in place, ``[n]``."""
    place = xyz @ cell.fractionalization.T
    for _ in range(4):  # to the mean of the near images: beside an axis only some are near at first
        count = np.zeros(len(place), dtype=np.int64)
        total = np.zeros_like(place)
        for rotation, translation in zip(group.rotations, group.translations, strict=True):
            for centring in group.centrings:
                apart = place @ rotation.T + translation + centring - place
                apart -= np.rint(apart)
                near = np.linalg.norm(apart @ cell.orthogonalization.T, axis=1) < ON_ELEMENT
                count += near
                total[near] += apart[near]
        place = place + total / np.maximum(count, 1)[:, None]
    return np.maximum(count, 1)


def limit_special_positions(
    result: GroupingResult, crystal: tuple[Cell, SpaceGroup]
) -> GroupingResult:
    """Bound the occupancy of single atoms on special positions by 1/multiplicity.

    Every image of an atom counts, as PDB files mean it: a water that is fully there on a twofold
    axis has the occupancy 0.5. What the file says is kept as it is understood so; a full
    occupancy there is held as written, with a notice.
    """
    groups = result.groups
    single = np.bincount(groups.index, minlength=len(groups)) == 1
    candidates = np.flatnonzero(single)
    if len(candidates) == 0:
        return result
    times = multiplicities(groups.table.xyz[groups.first_atom[candidates]], *crystal)
    special = candidates[times > 1]
    if len(special) == 0:
        return result
    highest = dict(zip(special.tolist(), (1.0 / times[times > 1]).tolist(), strict=True))
    draft = Draft.of(groups)
    above: list[int] = []
    for group, most in highest.items():
        _limit(draft, group, most, highest, above)
    notices = list(result.notices)
    if above:
        atoms = groups.first_atom[above]
        labels = groups.table.labels(atoms)
        texts = [
            f"{label} ({groups.file_occupancy[g]:.2f}, at most {highest[g]:.2f})"
            for g, label in zip(above, labels, strict=True)
        ]
        notices.append(
            Notice(
                "special_position",
                f"{len(labels)} atoms on special positions have more than 1/multiplicity, so "
                f"that they overlap with their own images: {listed(texts)}",
                labels,
            )
        )
    return GroupingResult(draft.finished(), tuple(notices))


def _limit(
    draft: Draft, group: int, most: float, highest: dict[int, float], above: list[int]
) -> None:
    """Bound a group by its multiplicity, or the set that it is in when all members share it."""
    one = draft.groups[group]
    if draft.start.file_occupancy[group] > most + SAME_OCCUPANCY / 2 + 1e-9:
        above.append(group)
        if not one.refined:
            return
    detail = f"on a special position of multiplicity {round(1 / most)}"
    if one.set_number is None:
        if one.refined:
            draft.add_set(DraftSet([group], most, complete=False, detail=detail))
        return
    owner = draft.sets[one.set_number]
    alike = all(highest.get(member) == most for member in owner.members)
    by_rule = owner.detail is not None
    if alike and not by_rule and owner.parent is None and owner.total > most:
        owner.total, owner.detail = most, detail
        written = sum(draft.start.file_occupancy[member] for member in owner.members)
        owner.complete |= round(float(written), 6) >= NEARLY_COMPLETE * most


def mind_close_waters(result: GroupingResult, *, link: bool) -> GroupingResult:
    """Make partial waters that are closer than 1.5 A a set, or name them.

    They sum to 1 where the file's values do, and to at most 1 otherwise.
    """
    groups = result.groups
    clusters = _close_waters(groups)
    if not clusters:
        return result
    names = [", ".join(groups.names[g] for g in cluster) for cluster in clusters]
    atoms = groups.table.labels(groups.first_atom[[g for c in clusters for g in c]])
    if not link:
        notice = Notice(
            "close_waters",
            f"{len(clusters)} sets of partial waters are closer than {CLOSE_WATERS} A and could "
            f"share one site (--link-close-waters makes them sets): {listed(names)}",
            atoms,
        )
        return replace(result, notices=(*result.notices, notice))
    draft = Draft.of(groups)
    for cluster in clusters:
        total = sum(groups.file_occupancy[g] for g in cluster)
        draft.add_set(
            DraftSet(
                cluster, 1.0, complete=abs(total - 1) <= SAME_OCCUPANCY + 1e-9,
                detail=f"waters closer than {CLOSE_WATERS} A",
            )
        )  # fmt: skip
    notice = Notice(
        "close_waters_linked",
        f"{len(clusters)} sets of waters that are closer than {CLOSE_WATERS} A: {listed(names)}",
        atoms,
    )
    return GroupingResult(draft.finished(), (*result.notices, notice))


def _close_waters(groups: OccupancyGroups) -> list[list[int]]:
    """Return groups of partial waters of different residues that are close to each other."""
    table = groups.table
    water = np.isin(table.resname, WATERS) & (table.element == b"O") & (table.altloc == b"")
    atoms = np.flatnonzero(water & (groups.refined & (groups.set_index < 0))[groups.index])
    if len(atoms) < 2:
        return []
    model = table.model[atoms].astype(np.float64)
    places = np.column_stack((table.xyz[atoms], 1e3 * model))
    pairs = near_pairs(places, CLOSE_WATERS)
    if len(pairs) == 0:
        return []
    from scipy.cluster.hierarchy import DisjointSet

    together = DisjointSet(groups.index[atoms].tolist())
    for one, other in groups.index[atoms[pairs]].tolist():
        together.merge(one, other)
    return sorted(sorted(cluster) for cluster in together.subsets() if len(cluster) > 1)
