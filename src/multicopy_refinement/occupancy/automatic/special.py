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
from multicopy_refinement.words import counted

#: An atom whose image is nearer than this is on a special position, in A: that of cctbx.
ON_ELEMENT = 0.5
#: Programs for which an atom on a special position is there once, however many images it has.
_COUNT_ONCE = ("PHENIX", "CCTBX")
#: Programs for which every image counts.
_COUNT_IMAGES = ("REFMAC", "SERVALCAT", "SHELX")
#: Waters that are closer are not there at once, in A.
CLOSE_WATERS = 1.5


def multiplicities(xyz: FloatArray, cell: Cell, group: SpaceGroup) -> IntArray:
    """Return how many operations of the space group leave each site in place, ``[n]``."""
    place = xyz @ cell.fractionalization.T
    found = np.ones(len(place), dtype=np.int64)
    if group.order == 1:
        return found
    near = np.flatnonzero(_near_images(place, cell, group)[0] > 1)  # most sites have none
    place = place[near]
    for _ in range(4):  # to the mean of the near images: beside an axis only some are near at first
        count, total = _near_images(place, cell, group)
        place = place + total / np.maximum(count, 1)[:, None]
    found[near] = np.maximum(count, 1)
    return found


def _near_images(place: FloatArray, cell: Cell, group: SpaceGroup) -> tuple[IntArray, FloatArray]:
    """Return how many images of each site are near it, and the sum of the ways to them."""
    count = np.zeros(len(place), dtype=np.int64)
    total = np.zeros_like(place)
    for image in group.images(place):
        apart = image - place
        apart -= np.rint(apart)
        near = np.linalg.norm(apart @ cell.orthogonalization.T, axis=1) < ON_ELEMENT
        count += near
        total[near] += apart[near]
    return count, total


def limit_special_positions(
    result: GroupingResult, crystal: tuple[Cell, SpaceGroup]
) -> GroupingResult:
    """Bound the occupancy of groups with atoms on special positions by 1/multiplicity.

    Every image of an atom counts, as PDB files mean it: a water that is fully there on a twofold
    axis has the occupancy 0.5, with its hydrogens or without. What the file says is kept as it is
    understood so; a full occupancy there is held as written, with a notice.
    """
    groups = result.groups
    times, atoms = _multiplicities_of_groups(groups, crystal)
    special = {g: int(times[g]) for g in np.flatnonzero(times > 1).tolist()}
    if not special:
        return result
    highest = {g: 1.0 / times for g, times in special.items()}
    draft = Draft.of(groups)
    above: list[int] = []
    for group, most in highest.items():
        _limit(draft, group, most, highest, above)
    notices = list(result.notices)
    if above:
        notices.append(_notice_above(draft, above, special, atoms))
    finished = replace(draft.finished(), special=special)
    return GroupingResult(finished, tuple(notices))


def _multiplicities_of_groups(
    groups: OccupancyGroups, crystal: tuple[Cell, SpaceGroup]
) -> tuple[IntArray, IntArray]:
    """Return the highest multiplicity in each group, hydrogens left out, and its atom."""
    table = groups.table
    times, where = np.ones(len(groups), dtype=np.int64), groups.first_atom.copy()
    if crystal[1].order == 1:
        return times, where
    heavy = np.bincount(groups.index[~table.hydrogen], minlength=len(groups))
    atoms = np.flatnonzero(~table.hydrogen | (heavy == 0)[groups.index])
    found = multiplicities(table.xyz[atoms], *crystal)
    for atom, most in zip(atoms[found > 1].tolist(), found[found > 1].tolist(), strict=True):
        group = int(groups.index[atom])
        if most > times[group]:
            times[group], where[group] = most, atom
    return times, where


def _notice_above(
    draft: Draft, above: list[int], special: dict[int, int], atoms: IntArray
) -> Notice:
    """Name what has more than 1/multiplicity, and what the user can do about it."""
    groups = draft.start
    table = groups.table
    labels = table.labels([atoms[g] for g in above])
    texts = [
        f"{label} ({draft.groups[g].occupancy:.2f}, at most {1 / special[g]:.2f})"
        for g, label in zip(above, labels, strict=True)
    ]
    sites = [g for g in above if np.count_nonzero(~table.hydrogen[draft.members[g]]) < 2]
    held = [g for g in sites if not draft.groups[g].refined]
    advice = f". {_convention(draft, sites, special)}" if sites else ""
    if held:
        value = f"{1 / special[held[0]]:.4g}"
        advice += f'; a rule for a full site: fix = "{groups.names[held[0]]}", value = {value}'
    one = len(labels) == 1
    return Notice(
        "special_position",
        f"{counted(len(labels), 'atom')} on special positions {'has' if one else 'have'} more than "
        f"1/multiplicity, so that {'it overlaps with its' if one else 'they overlap with their'} "
        f"own images: {listed(texts)}{advice}",
        labels,
    )


def _convention(draft: Draft, above: list[int], special: dict[int, int]) -> str:
    """Return in words what a full site has in this file, by its program or by its other sites."""
    program = draft.start.table.program
    counts_once = "a full site is 1.00 there and 1/multiplicity here, where every image counts"
    if any(name in program.upper() for name in _COUNT_ONCE):
        return f"The file is of {program}: {counts_once}"
    if any(name in program.upper() for name in _COUNT_IMAGES):
        return f"The file is of {program}, for which a full site is 1/multiplicity as it is here"
    values = {g: draft.start.file_occupancy[g] for g in special}
    obeyed = [g for g in special if abs(values[g] - 1 / special[g]) < SAME_OCCUPANCY]
    if obeyed:
        name = draft.start.names[obeyed[0]]
        return f"Others of the file are at 1/multiplicity ({name}), as it is meant here"
    if len(above) > 1 and all(values[g] > 1 - SAME_OCCUPANCY for g in special):
        return f"All of them are at 1.00, as phenix writes them: {counts_once}"
    return "phenix writes a full site there as 1.00, others, and this program, as 1/multiplicity"


def _limit(
    draft: Draft, group: int, most: float, highest: dict[int, float], above: list[int]
) -> None:
    """Bound a group by its multiplicity, or the set that it is in when all members share it."""
    one = draft.groups[group]
    detail = f"on a special position of multiplicity {round(1 / most)}"
    if one.occupancy > most + SAME_OCCUPANCY / 2 + 1e-9:
        above.append(group)
        if not one.refined:
            return
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
            f"{counted(len(clusters), 'set')} of partial waters that are closer than "
            f"{CLOSE_WATERS} A and could share one site (--link-close-waters ties them): "
            f"{listed(names)}",
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
        f"{counted(len(clusters), 'set')} of waters that are closer than {CLOSE_WATERS} A: "
        f"{listed(names)}",
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
