"""Ligands: what a run is about, as sums of the groups that their atoms are in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.atoms.kinds import ligand_atoms
from multicopy_refinement.atoms.numbering import number_residues
from multicopy_refinement.occupancy.groups import OccupancyGroups
from multicopy_refinement.refinement.found import Flag, Ligand
from multicopy_refinement.refinement.support import Support


@dataclass(frozen=True)
class LigandSite:
    """A residue that is no polymer, water or common ion, and the groups that its presence is.

    Attributes
    ----------
    name
        For example ``A/1101/LIG``.
    atoms
        Its atoms.
    groups
        Whose occupancies add up to its own: those of its altlocs, or the one that holds most of
        its atoms without altloc, since these are there with every altloc.
    """

    name: str
    atoms: tuple[int, ...]
    groups: tuple[int, ...]


def ligand_sites(groups: OccupancyGroups) -> tuple[LigandSite, ...]:
    """Return the ligands of a model in the order of the file."""
    table, residue = groups.table, number_residues(groups.table)
    mine = np.flatnonzero(ligand_atoms(table))
    sites = []
    for number in dict.fromkeys(residue[mine].tolist()):
        atoms = mine[residue[mine] == number]
        heavy = atoms[~table.hydrogen[atoms]]
        blank = groups.index[heavy[table.altloc[heavy] == b""]]
        if len(blank):
            found = (int(np.bincount(blank).argmax()),)
        else:
            found = tuple(dict.fromkeys(groups.index[heavy].tolist()))
        name = table.residue_label(int(atoms[0]))
        sites.append(LigandSite(name, tuple(atoms.tolist()), found))
    return tuple(sites)


def with_ligands(
    candidates: list[IntArray], sites: tuple[LigandSite, ...], refined: IntArray
) -> tuple[list[IntArray], tuple[int, ...]]:
    """Return candidates with ligands after them, and which is that of each ligand.

    A ligand that is a candidate already is not judged twice; -1 where none of it is refined.
    """
    place = {group: i for i, group in enumerate(refined.tolist())}
    known = {tuple(sorted(members.tolist())): i for i, members in enumerate(candidates)}
    candidates, index = list(candidates), []
    for site in sites:
        members = tuple(sorted(place[g] for g in site.groups if g in place))
        if not members:
            index.append(-1)
            continue
        if members not in known:
            known[members] = len(candidates)
            candidates.append(np.array(members))
        index.append(known[members])
    return candidates, tuple(index)


def ligands_of(
    groups: OccupancyGroups, sites: tuple[LigandSite, ...], occupancy: FloatArray,
    judged_as: tuple[tuple[int, ...], FloatArray, Support] | None = None,
    flags_of_groups: Sequence[tuple[Flag, ...]] = (),
) -> tuple[Ligand, ...]:  # fmt: skip
    """Return the ligands with what was found of them; occupancies are those of all groups.

    ``judged_as`` is which candidate each is, or -1, with the su and the support of all candidates.
    """
    nothing = ((-1,) * len(sites), np.zeros(0), None)
    index, su, support = nothing if judged_as is None else judged_as
    found = []
    for site, i in zip(sites, index, strict=True):
        members = list(site.groups)
        flags: tuple[Flag, ...] = ()
        judged = (float("nan"),) * 5
        if support is not None and i >= 0:
            judged = (
                float(su[i]), float(support.gain[i]), float(support.gain_free[i]),
                float(support.wald[i]), float(support.p_absent[i]),
            )  # fmt: skip
            flags = _flags(float(su[i]), supported=bool(support.supported[i]))
            if any(Flag.HELD_OFF in flags_of_groups[g] for g in members):
                flags = (*flags, Flag.HELD_OFF)
        found.append(
            Ligand(
                site.name, site.groups, site.atoms, _beside(groups, site),
                bool(groups.refined[members].any()), float(groups.file_occupancy[members].sum()),
                float(occupancy[members].sum()), *judged, flags,
            )
        )  # fmt: skip
    return tuple(found)


def _flags(su: float, *, supported: bool) -> tuple[Flag, ...]:
    if np.isnan(su):
        return (Flag.UNDETERMINED,)
    return () if supported else (Flag.NOT_SUPPORTED,)


def _beside(groups: OccupancyGroups, site: LigandSite) -> tuple[str, ...]:
    """Return the other residues that share the groups of a ligand."""
    table, residue = groups.table, number_residues(groups.table)
    atoms = np.concatenate([groups.atoms(g) for g in site.groups])
    own = residue[site.atoms[0]]
    _, first = np.unique(residue[atoms], return_index=True)
    others = [a for a in atoms[np.sort(first)].tolist() if residue[a] != own]
    return tuple(dict.fromkeys(table.residue_label(a) for a in others))
