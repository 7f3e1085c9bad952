"""The ``connected`` rule: altlocs of residues that belong together share one parameter a letter."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from multicopy_refinement._typing import IntArray
from multicopy_refinement.atoms.connections import (
    ResiduePairs,
    bonded_residues,
    is_polymer,
    touching_residues,
)
from multicopy_refinement.atoms.numbering import number_residues
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.occupancy.draft import Draft, DraftSet
from multicopy_refinement.occupancy.groups import OccupancyGroups, Why
from multicopy_refinement.occupancy.values import (
    RESOLUTION,
    SAME_OCCUPANCY,
    GroupingResult,
    not_full,
)

#: Joints that a group's reason names; the others are counted.
_NAMED = 3


@dataclass
class _Network:
    """Residues that share their parameters."""

    residues: list[int]
    letters: dict[bytes, list[int]]  # groups by letter
    joints: list[str] = field(default_factory=list)


def connect(result: GroupingResult, contact_distance: float) -> GroupingResult:
    """Join the altloc parts of connected residues letter by letter.

    Two residues with the same letters are connected by a bond (`bonded_residues`), or by atoms of
    one letter within ``contact_distance`` in A. A ligand or water, whose letters are a part of
    those of a network that it touches, joins that network; of several, the closest. The order in
    the file plays no part, and symmetry mates are not looked at.
    """
    groups = result.groups
    table = groups.table
    residue = number_residues(table)
    networks = _single_residues(groups, residue)
    if not networks:
        return result
    inside = np.isin(residue, list(networks))
    bonds = bonded_residues(table, residue, inside)
    contacts = touching_residues(table, residue, inside, contact_distance)
    home = _joined(networks, table, bonds, contacts)
    home = _with_visitors(home, networks, table, residue, contacts)
    return _merged(result, home)


def _single_residues(groups: OccupancyGroups, residue: IntArray) -> dict[int, _Network]:
    """Return each residue that has altloc parts as a network of its own."""
    found: dict[int, _Network] = {}
    altloc = groups.table.altloc[groups.first_atom]
    for group in np.flatnonzero(groups.rule == Why.ALTLOC).tolist():
        number = int(residue[groups.first_atom[group]])
        network = found.setdefault(number, _Network([number], {}))
        network.letters.setdefault(bytes(altloc[group]), []).append(group)
    return found


def _joined(
    networks: dict[int, _Network], table: AtomTable, bonds: ResiduePairs, contacts: ResiduePairs
) -> dict[int, _Network]:
    """Return the network of each residue, those with the same letters joined."""
    home = dict(networks)
    for pairs, kind in ((bonds, "bond"), (contacts, "contact")):
        joints = zip(
            pairs.residues.tolist(), pairs.atoms.tolist(), pairs.distance.tolist(), strict=True
        )
        for (one, other), atoms, distance in joints:
            mine, theirs = home[one], home[other]
            if mine is theirs or mine.letters.keys() != theirs.letters.keys():
                continue
            if len(mine.residues) < len(theirs.residues):
                mine, theirs = theirs, mine
            _absorb(mine, theirs, f"{kind} {_joint(table, atoms, distance)}", home)
    return home


def _with_visitors(
    home: dict[int, _Network], networks: dict[int, _Network], table: AtomTable, residue: IntArray,
    contacts: ResiduePairs,
) -> dict[int, _Network]:  # fmt: skip
    """Let ligands and waters join the network that they touch, the closest first."""
    first = np.zeros(int(residue.max()) + 1, dtype=np.int64)
    first[residue[::-1]] = np.arange(len(residue))[::-1]
    polymer = is_polymer(table.resname[first])
    order = np.argsort(contacts.distance, kind="stable").tolist()
    pairs = contacts.residues.tolist()
    waiting = True
    while waiting:  # a water may touch a ligand that has joined meanwhile
        waiting = False
        for i in order:
            for guest, host in (pairs[i], pairs[i][::-1]):
                mine, theirs = home[guest], home[host]
                fits = mine.letters.keys() < theirs.letters.keys()
                if mine is theirs or not fits or any(polymer[r] for r in mine.residues):
                    continue
                joint = _joint(table, contacts.atoms[i].tolist(), float(contacts.distance[i]))
                _absorb(theirs, mine, f"contact {joint}", home)
                waiting = True
                break
    return home


def _absorb(mine: _Network, theirs: _Network, joint: str, home: dict[int, _Network]) -> None:
    for letter, groups in theirs.letters.items():
        mine.letters[letter] += groups
    mine.residues += theirs.residues
    mine.joints += [joint, *theirs.joints]
    for number in theirs.residues:
        home[number] = mine


def _joint(table: AtomTable, atoms: list[int], distance: float) -> str:
    one, other = (table.label(atom) for atom in atoms)
    return f"{one} - {other} {distance:.1f} A"


def _merged(result: GroupingResult, home: dict[int, _Network]) -> GroupingResult:
    """Return the groups with those of each network joined."""
    draft = Draft.of(result.groups)
    before = draft.start.occupancy[draft.start.index]
    dissolved = set()
    by_identity = {id(network): network for network in home.values()}
    for network in by_identity.values():
        if len(network.residues) == 1:
            continue
        shown = network.joints[:_NAMED]
        more = len(network.joints) - len(shown)
        detail = f"{len(network.residues)} residues: {'; '.join(shown)}"
        detail += f"; and {more} more" if more else ""
        old_sets = {
            draft.groups[g].set_number for members in network.letters.values() for g in members
        }
        members = []
        for letter in network.letters.values():
            first = draft.join(sorted(letter), Why.CONNECTED, detail)
            draft.groups[first].set_number = None
            members.append(first)
        dissolved |= old_sets - {None}
        if len(members) > 1:
            draft.add_set(DraftSet(sorted(members)))
        for member in members:
            full = not not_full(np.array([draft.groups[member].occupancy]))[0]
            draft.groups[member].refined = len(members) > 1 or not full
    for number in dissolved:
        if number is not None:
            draft.sets[number].members = []
    groups = draft.finished()
    notices = list(result.notices)
    change = np.abs(groups.occupancy[groups.index] - before)
    changed = change > SAME_OCCUPANCY / 2 + RESOLUTION / 2
    if changed.any():
        labels = groups.table.labels(changed)
        notices.append(
            Notice(
                "connected_values",
                f"{len(labels)} atoms take the mean of the residues that they are "
                f"connected with: {listed(list(labels))}",
                labels,
            )
        )
    return GroupingResult(groups, tuple(notices))
