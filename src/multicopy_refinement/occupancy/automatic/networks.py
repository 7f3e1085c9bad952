"""The ``connected`` rule: altlocs of residues that belong together share one parameter a letter."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.atoms.connections import (
    ResiduePairs,
    bonded_residues,
    is_polymer,
    part_of_polymer,
    touching_residues,
)
from multicopy_refinement.atoms.numbering import number_residues
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.occupancy.draft import Draft, DraftSet
from multicopy_refinement.occupancy.groups import OccupancyGroups, Why
from multicopy_refinement.occupancy.values import (
    NEARLY_COMPLETE,
    RESOLUTION,
    SAME_OCCUPANCY,
    GroupingResult,
    not_full,
)
from multicopy_refinement.words import counted

#: Joints that a group's reason names; the others are counted.
_NAMED = 3


class _Networks:
    """Residues with altloc parts, gathered into networks that share their parameters.

    Attributes
    ----------
    residue
        Number of the residue of each atom.
    parts
        Groups of each residue by letter.
    joints
        A residue of the network and what joined it, in order.
    """

    def __init__(
        self, groups: OccupancyGroups, residue: IntArray, among: frozenset[int] | None
    ) -> None:
        from scipy.cluster.hierarchy import DisjointSet

        self.parts: dict[int, dict[bytes, list[int]]] = {}
        altloc = groups.table.altloc[groups.first_atom]
        for group in np.flatnonzero(groups.rule == Why.ALTLOC).tolist():
            number = int(residue[groups.first_atom[group]])
            if among is not None and number not in among:
                continue
            mine = self.parts.setdefault(number, {})
            mine.setdefault(bytes(altloc[group]), []).append(group)
        self.residue = residue
        self.joints: list[tuple[int, str]] = []
        self._together = DisjointSet(self.parts)
        self._letters = {number: frozenset(mine) for number, mine in self.parts.items()}

    def letters(self, residue: int) -> frozenset[bytes]:
        """Return the letters of the network of a residue."""
        return self._letters[self._together[residue]]

    def members(self, residue: int) -> set[int]:
        """Return the residues of the network of a residue."""
        return set(self._together.subset(residue))

    def connected(self, one: int, other: int) -> bool:
        """Return whether two residues are in one network."""
        return bool(self._together.connected(one, other))

    def join(self, host: int, guest: int, joint: str) -> None:
        """Let the network of a guest become part of that of the host."""
        letters = self.letters(host)
        self._together.merge(host, guest)
        self._letters[self._together[host]] = letters
        self.joints.append((host, joint))

    def __iter__(self) -> Iterator[tuple[list[list[int]], list[str], IntArray]]:
        """Yield groups letter by letter, joints and residues of each network of two or more."""
        joints: dict[int, list[str]] = {}
        for number, joint in self.joints:
            joints.setdefault(self._together[number], []).append(joint)
        for members in self._together.subsets():
            if len(members) > 1:
                letters: dict[bytes, list[int]] = {}
                for number in sorted(members):
                    for letter, groups in self.parts[number].items():
                        letters.setdefault(letter, []).extend(groups)
                root = self._together[next(iter(members))]
                found = np.array(sorted(members))
                yield [sorted(g) for g in letters.values()], joints[root], found


def connect(
    result: GroupingResult, contact_distance: float, among: frozenset[int] | None = None
) -> GroupingResult:
    """Join the altloc parts of connected residues letter by letter.

    Two residues with the same letters are connected by a bond (`bonded_residues`), or by atoms of
    one letter within ``contact_distance`` in A. A ligand or water, whose letters are a part of
    those of a network that it touches, joins that network; of several, the closest. The order in
    the file plays no part, and symmetry mates are not looked at. ``among`` are the numbers of the
    residues that are looked at; all when left out.
    """
    groups = result.groups
    table = groups.table
    residue = number_residues(table)
    networks = _Networks(groups, residue, among)
    if not networks.parts:
        return result
    inside = np.isin(residue, list(networks.parts))
    bonds = bonded_residues(table, residue, inside)
    contacts = touching_residues(table, residue, inside, contact_distance)
    _join_alike(networks, table, bonds, contacts)
    _join_visitors(networks, table, residue, contacts)
    return _merged(result, networks)


def _join_alike(
    networks: _Networks, table: AtomTable, bonds: ResiduePairs, contacts: ResiduePairs
) -> None:
    """Join the networks of residues with the same letters."""
    for pairs, kind in ((bonds, "bond"), (contacts, "contact")):
        joints = zip(
            pairs.residues.tolist(), pairs.atoms.tolist(), pairs.distance.tolist(), strict=True
        )
        for (one, other), atoms, distance in joints:
            alike = networks.letters(one) == networks.letters(other)
            if alike and not networks.connected(one, other):
                networks.join(one, other, f"{kind} {_joint(table, atoms, distance)}")


def _join_visitors(
    networks: _Networks, table: AtomTable, residue: IntArray, contacts: ResiduePairs
) -> None:
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
                fits = networks.letters(guest) < networks.letters(host)
                if not fits or any(polymer[r] for r in networks.members(guest)):
                    continue
                joint = _joint(table, contacts.atoms[i].tolist(), float(contacts.distance[i]))
                networks.join(host, guest, f"contact {joint}")
                waiting = True
                break


def _joint(table: AtomTable, atoms: list[int], distance: float) -> str:
    one, other = (table.label(atom) for atom in atoms)
    return f"{one} - {other} {distance:.1f} A"


def _merged(result: GroupingResult, networks: _Networks) -> GroupingResult:
    """Return the groups with those of each network joined."""
    draft = Draft.of(result.groups)
    before = draft.start.occupancy[draft.start.index]
    dissolved = set()
    for letters, joints, residues in networks:
        shown = joints[:_NAMED]
        more = len(joints) - len(shown)
        detail = f"{len(residues)} residues: {'; '.join(shown)}"
        detail += f"; and {more} more" if more else ""
        old_sets = {draft.groups[g].set_number for members in letters for g in members}
        members = []
        for letter in letters:
            first = draft.join(letter, Why.CONNECTED, detail)
            draft.groups[first].set_number = None
            members.append(first)
        dissolved |= old_sets - {None}
        if len(members) > 1:
            total = sum(draft.groups[m].occupancy for m in members)
            partial = round(total, 6) < NEARLY_COMPLETE and not (
                part_of_polymer(draft.start.table, networks.residue, residues).any()
            )
            draft.add_set(DraftSet(sorted(members), complete=not partial))
        for member in members:
            full = not not_full(np.array([draft.groups[member].occupancy]))[0]
            draft.groups[member].refined = len(members) > 1 or not full
    for number in dissolved:
        if number is not None:
            draft.sets[number].members = []
    groups = draft.finished()
    shared = notice_shared(groups, before, "connected_values", "connected residues")
    return GroupingResult(groups, (*result.notices, *shared))


def notice_shared(
    groups: OccupancyGroups, before: FloatArray, code: str, whom: str
) -> tuple[Notice, ...]:
    """Name the atoms whose occupancy is another now, because it is the mean of several groups.

    Parameters
    ----------
    before
        Occupancy of each atom, ``[n_atoms]``.
    code, whom
        Of the notice, and in words whose mean it is.
    """
    change = np.abs(groups.occupancy[groups.index] - before)
    changed = change > SAME_OCCUPANCY / 2 + RESOLUTION / 2
    if not changed.any():
        return ()
    labels = groups.table.labels(changed)
    message = (
        f"{counted(len(labels), 'atom', 'take')} the mean of the {whom}: {listed(list(labels))}"
    )
    return (Notice(code, message, labels),)
