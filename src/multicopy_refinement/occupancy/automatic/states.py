"""The ``states`` rule: each state of the model has one occupancy, and those sum to 1."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from multicopy_refinement.atoms.connections import touching_residues
from multicopy_refinement.atoms.numbering import number_residues
from multicopy_refinement.errors import RuleError
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.occupancy.automatic.letters import (
    Conformers,
    LetteredState,
    Letters,
    Told,
    nothing_tells,
    spelled,
    told_by_letters,
    told_by_ligands,
)
from multicopy_refinement.occupancy.automatic.networks import connect, notice_shared
from multicopy_refinement.occupancy.draft import Draft, DraftSet
from multicopy_refinement.occupancy.groups import ModelState, OccupancyGroups, Why
from multicopy_refinement.occupancy.values import GroupingResult

#: Residues that a reason names; the others are counted.
_NAMED = 4


@dataclass(frozen=True, eq=False)
class _Network:
    """Connected residues, and the group of each letter that they have.

    Attributes
    ----------
    by_letter
        Numbers of groups.
    residues
        Numbers of residues.
    complete
        Whether the letters sum to 1.
    """

    by_letter: dict[bytes, int]
    residues: frozenset[int]
    complete: bool

    def of(self, state: LetteredState) -> Letters:
        """Return the letters of a state that the network has."""
        return state.letters & frozenset(self.by_letter)


def group_by_state(result: GroupingResult, contact_distance: float) -> GroupingResult:
    """Let each state of a model have one occupancy.

    Residues with different conformers in all states, and the ligands and waters that belong to
    them by contact (`connect`), share one occupancy a letter over the whole model. All letters sum
    to 1, and the occupancy of a state is the sum of its letters: conformers that coincide are one
    for it, others have a fraction of it each. Where one network has a single letter for a state,
    several letters of another network sum to the occupancy of that one. What has the same
    conformers in all states stays as the ``residue`` rule has it, and so do complete sets with
    letters of some states only.

    Raises
    ------
    RuleError
        A model whose states cannot be told.
    """
    conformers = Conformers(result.groups)
    told = told_by_ligands(conformers) or _told_by_letters(result, conformers, contact_distance)
    core = _core(conformers, told)
    if not core:
        raise RuleError(
            f"--grouping states: {told.by}, so that the states are {told.in_words}, but no residue "
            "has different conformers in all of them; take --grouping connected, or rules (share)"
        )
    visitors = {n for n in conformers.parts if not conformers.complete(n)}
    met = connect(result, contact_distance, frozenset(core | visitors)).groups
    inside = [n.residues for n in _networks(met, core | told.ligands)]
    linked = connect(result, contact_distance, frozenset().union(*inside)).groups
    ties = _Ties(linked, conformers, told)
    ties.tie(_networks(linked, core | told.ligands), core)
    groups = ties.draft.finished()
    before = result.groups.occupancy[result.groups.index]
    shared = notice_shared(groups, before, "states_values", "conformers of the state")
    return GroupingResult(groups, (*result.notices, *ties.notices, *shared))


def offer_states(
    residues: OccupancyGroups, result: GroupingResult, contact_distance: float
) -> GroupingResult:
    """Return groups of another rule, with a notice where the model looks like one of states.

    It does where a ligand tells them, touches a residue with different conformers in all of them,
    and several sets would take part. ``residues`` are the groups of the ``residue`` rule.
    """
    conformers = Conformers(residues)
    told = told_by_ligands(conformers) if conformers.ligands else None
    if told is None:
        return result
    core = _core(conformers, told)
    several = len(_networks(result.groups, core | told.ligands)) > 1
    if not several or not _touch(conformers, core, told.ligands, contact_distance):
        return result
    message = (
        f"{told.by}: --grouping states refines one occupancy for each state of the model, "
        f"{told.in_words}"
    )
    atoms = result.groups.table.labels(np.isin(conformers.residue, list(told.ligands)))
    return replace(result, notices=(*result.notices, Notice("states", message, atoms)))


def _told_by_letters(
    result: GroupingResult, conformers: Conformers, contact_distance: float
) -> Told:
    """Return the states that the sets tell by themselves."""
    groups = connect(result, contact_distance).groups
    network = {int(conformers.residue[atom]): int(groups.set_index[groups.index[atom]])
               for parts in conformers.parts.values()
               for atom in result.groups.first_atom[list(parts.values())].tolist()}  # fmt: skip
    told = told_by_letters(conformers, network)
    if told is None:
        raise nothing_tells(conformers)
    return told


def _core(conformers: Conformers, told: Told) -> set[int]:
    """Return the residues with different conformers in all states, which sum to 1."""
    return {
        n for n in conformers.parts
        if told.spans(conformers.letters(n)) and conformers.complete(n)
        and not conformers.same_in_all(n, told.states)
    }  # fmt: skip


def _touch(conformers: Conformers, core: set[int], ligands: frozenset[int], reach: float) -> bool:
    """Return whether a ligand touches one of some residues."""
    chosen = np.isin(conformers.residue, list(core | ligands))
    pairs = touching_residues(conformers.groups.table, conformers.residue, chosen, reach)
    return any(len({*pair} & ligands) == 1 for pair in pairs.residues.tolist())


def _networks(groups: OccupancyGroups, wanted: Iterable[int]) -> list[_Network]:
    """Return the networks with one of some residues, as they come in the file."""
    residue, wanted = number_residues(groups.table), frozenset(wanted)
    members: dict[tuple[bool, int], list[int]] = {}
    for g in np.flatnonzero(np.isin(groups.rule, (Why.ALTLOC, Why.CONNECTED))).tolist():
        number = int(groups.set_index[g])
        members.setdefault((number < 0, g if number < 0 else number), []).append(g)
    found = []
    for (alone, number), mine in members.items():
        letters = {bytes(groups.table.altloc[groups.first_atom[g]]): g for g in mine}
        inside = frozenset(r for g in mine for r in residue[groups.members[g]].tolist())
        complete = not alone and bool(groups.sums.complete[number])
        found.append(_Network(letters, inside, complete))
    return [network for network in found if network.residues & wanted]


@dataclass(eq=False)
class _Ties:
    """Ties the networks of a model to its states.

    Attributes
    ----------
    draft
        The groups while they are tied.
    notices
        What was noticed.
    joined
        Groups that become one, by the letter of the network that carries the states.
    nested
        Groups of letters that sum to a letter of that network: by the letter, and by what else
        tells them apart.
    """

    groups: OccupancyGroups
    conformers: Conformers
    told: Told
    notices: list[Notice] = field(default_factory=list)
    joined: dict[bytes, list[int]] = field(default_factory=dict)
    nested: dict[tuple[bytes, Letters, int], dict[bytes, list[int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.draft = Draft.of(self.groups)

    def tie(self, networks: list[_Network], core: set[int]) -> None:
        """Tie networks; that of the core with the fewest letters carries the states."""
        base = min((n for n in networks if n.residues & core), key=lambda n: len(n.by_letter))
        left = [n for n in networks if n is not base and not self._fits(n, base)]
        for number, network in enumerate([base, *(n for n in networks if n is not base)]):
            if network not in left:
                self._take(network, base, number)
        self._carry()
        if left:
            names = [self._named(n.residues) for n in left]
            self.notices.append(
                Notice(
                    "states_left_out",
                    f"{'; '.join(names)}: of the states {self.told.in_words} they have letters "
                    "that do not fit with those of the others; they stay sets of their own",
                )
            )
        self._notice_fractions([n for n in networks if n not in left], base)

    def _fits(self, network: _Network, base: _Network) -> bool:
        """Return whether it can be said what the letters of a network are for the base."""
        return all(
            self._shares(network, base, s) or len(base.of(s)) == 1
            for s in self.told.states
            if network.of(s)
        ) and (network.complete or len(self._unshared(network, base)) != 1)

    def _unshared(self, network: _Network, base: _Network) -> list[bytes]:
        """Return the letters of states whose letters are not those of the base."""
        return [
            letter for s in self.told.states if not self._shares(network, base, s)
            for letter in sorted(network.of(s))
        ]  # fmt: skip

    @staticmethod
    def _shares(network: _Network, base: _Network, state: LetteredState) -> bool:
        """Return whether the letters of a network are, one by one, those of the base."""
        mine, theirs = network.of(state), base.of(state)
        return mine == theirs or (not network.complete and len(theirs) > 1 and mine <= theirs)

    def _take(self, network: _Network, base: _Network, number: int) -> None:
        """Note which groups of a network are joined with those of the base, and which sum to it."""
        for group in network.by_letter.values():
            self.draft.leave_set(group)
        for state in self.told.states:
            mine, theirs = sorted(network.of(state)), base.of(state)
            if self._shares(network, base, state):
                for letter in mine:
                    self.joined.setdefault(letter, []).append(network.by_letter[letter])
            elif len(mine) == 1:
                self.joined.setdefault(min(theirs), []).append(network.by_letter[mine[0]])
            else:  # those that coincide everywhere are one for all networks
                key = min(theirs), frozenset(mine), -1 if self._is_one(network, state) else number
                for letter in mine:
                    same = self.nested.setdefault(key, {}).setdefault(letter, [])
                    same.append(network.by_letter[letter])

    def _is_one(self, network: _Network, state: LetteredState) -> bool:
        return all(self.conformers.is_one(r, state.letters) for r in network.residues)

    def _carry(self) -> None:
        """Join the groups, and make the sets."""
        draft = self.draft
        carrier = {letter: self._one(self.joined[letter]) for letter in sorted(self.joined)}
        for state in self.told.states:
            mine = [letter for letter in sorted(carrier) if letter in state.letters]
            for letter in mine:
                draft.groups[carrier[letter]].label = f"{state.name}:{letter.decode()}"
            name = f"{state.name}:{'+'.join(letter.decode() for letter in mine)}"
            draft.states.append(ModelState(name, tuple(carrier[letter] for letter in mine)))
        members = sorted(carrier.values())
        draft.add_set(DraftSet(members, label="states", detail=self.told.by))
        for (letter, _, _), parts in self.nested.items():
            members = sorted(self._one(groups) for groups in parts.values())
            detail = f"{len(members)} letters for one of the state"
            draft.add_set(DraftSet(members, 0.0, parent=carrier[letter], detail=detail))

    def _one(self, groups: list[int]) -> int:
        """Make several groups one, with its residues as the reason."""
        atoms = np.concatenate([self.groups.members[g] for g in groups])
        names = self._named(self.conformers.residue[atoms].tolist())
        return self.draft.join(groups, Why.STATE, names)

    def _named(self, residues: Iterable[int]) -> str:
        numbers = sorted(set(residues))
        return listed([self.conformers.label(n) for n in numbers], _NAMED)

    def _notice_fractions(self, networks: list[_Network], base: _Network) -> None:
        """Name networks that have the fractions of a state in common though they do not touch."""
        for state in self.told.states:
            mixed = [
                n for n in networks
                if len(base.of(state)) > 1 and self._shares(n, base, state)
                and not self._is_one(n, state)
            ]  # fmt: skip
            if len(mixed) > 1:
                names = "; ".join(self._named(n.residues) for n in mixed)
                self.notices.append(
                    Notice(
                        "states_fractions",
                        f"the conformers {spelled(state.letters)} of the state {state.name} differ "
                        f"in residues that do not touch, and have one fraction each for all of "
                        f"them: {names}",
                    )
                )
