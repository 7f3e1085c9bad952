"""What the selections of a rule mean for groups that are being changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from multicopy_refinement._typing import BoolArray
from multicopy_refinement.atoms.kinds import ligand_atoms, water_atoms
from multicopy_refinement.atoms.selection import ResidueNames, select_cid
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.errors import RuleError
from multicopy_refinement.notices import listed
from multicopy_refinement.occupancy.draft import Draft
from multicopy_refinement.occupancy.groups import OccupancyGroups

#: A name or a CID expression, or places of atoms in the file, counted from 0.
Selection = str | tuple[int, ...]
#: Words that select all residues of a kind.
KINDS_OF_RESIDUES: Mapping[str, Callable[[AtomTable], BoolArray]] = {
    "ligands": ligand_atoms,
    "waters": water_atoms,
}


class RuleSelection:
    """Groups and atoms that rules name.

    Attributes
    ----------
    draft
        The groups as they are now.
    by_name
        Groups by name; rules add to it.
    where
        The rule that is applied, for messages.
    spoken_of
        Atoms that have been selected so far, ``[n_atoms]``.
    """

    def __init__(self, groups: OccupancyGroups) -> None:
        self.table = groups.table
        self.draft = Draft.of(groups)
        self.by_name: dict[str, int] = {name: g for g, name in enumerate(groups.names)}
        self._names = dict(enumerate(groups.names))  # of groups that are their own
        self._rank = {name: rank for rank, name in enumerate(self.by_name)}
        self._followed = 0
        self._sets = {one.name: one.groups for one in groups.sets}
        self._residues: ResidueNames | None = None
        self.where = ""
        self.spoken_of = self._nothing()

    def fault(self, message: str) -> RuleError:
        """Return an error that says where the present rule stands."""
        return RuleError(f"{self.where}: {message}")

    def residues(self, residues: Sequence[tuple[int, str]]) -> BoolArray:
        """Return the atoms of residues given as (number, chain)."""
        selected = np.zeros(len(self.table), dtype=bool)
        for number, chain in residues:
            found = (self.table.resseq == number) & (self.table.chain == chain.encode())
            if not found.any():
                raise self.fault(f"no residue {number} in chain {chain!r}")
            selected |= found
        self.spoken_of |= selected
        return selected

    def atoms(self, selection: Selection) -> BoolArray:
        """Return the atoms of a selection.

        In this order: places in the file; the name of a group; all that `named` knows; a CID.
        """
        found = self._nothing()
        if not isinstance(selection, str):
            outside = [a for a in selection if not 0 <= a < len(self.table)]
            if outside:
                raise self.fault(f"atom {outside[0]} is not in 0..{len(self.table) - 1}")
            if not selection:
                raise self.fault("an empty selection")
            found[list(selection)] = True
        elif not selection.strip():
            raise self.fault("an empty selection")
        elif selection in self.by_name:
            found[self.draft.atoms(self.by_name[selection])] = True
        else:
            found = self.named(selection)
        found = found if found.any() else self._by_cid(str(selection))
        self.spoken_of |= found
        return found

    def asked(self, selection: Selection) -> BoolArray:
        """Return the atoms of a selection; a name means all that goes by it."""
        found = self.named(selection) if isinstance(selection, str) else self.atoms(selection)
        found = found if found.any() else self.atoms(selection)
        self.spoken_of |= found
        return found

    def named(self, name: str) -> BoolArray:
        """Return all atoms that go by a name, none if it is not known.

        It may be that of a group, a set or a residue (`ResidueNames.atoms`), ``ligands`` or
        ``waters``.
        """
        if name in KINDS_OF_RESIDUES:
            return KINDS_OF_RESIDUES[name](self.table)
        found = self.residue_names.atoms(name) if name.strip() else self._nothing()
        groups = [
            *self._sets.get(name, ()),
            *([self.by_name[name]] if name in self.by_name else ()),
        ]
        for group in groups:
            found[self.draft.atoms(group)] = True
        return found

    @property
    def residue_names(self) -> ResidueNames:
        """Residues by their names, made when they are asked for."""
        if self._residues is None:
            self._residues = ResidueNames.of(self.table)
        return self._residues

    def _nothing(self) -> BoolArray:
        return np.zeros(len(self.table), dtype=bool)

    def _by_cid(self, cid: str) -> BoolArray:
        """Return the atoms of a CID, or raise an error that proposes what has a name like it."""
        message = f"{cid!r} selects no atom"
        try:
            found = select_cid(self.table, cid)
        except RuleError as fault:
            message = str(fault)
        else:
            if found.any():
                return found
        near = self.residue_names.like(cid, [*self.by_name, *self._sets])
        raise self.fault(message + (f"; nearest: {listed(near)}" if near else ""))

    def whole_groups(self, selections: Sequence[Selection]) -> list[int]:
        """Return the groups that selections hold as a whole."""
        found: list[int] = []
        for selection in selections:
            atoms = self.atoms(selection)
            found += self.uncut(self.draft.touched(atoms), atoms, selection)
        return list(dict.fromkeys(found))

    def uncut(self, groups: list[int], atoms: BoolArray, selection: Selection) -> list[int]:
        """Return groups that selected atoms hold as a whole, or say of which they are a part."""
        for group in groups:
            members = self.draft.atoms(group)
            inside = int(atoms[members].sum())
            if inside < len(members):
                outside = listed(list(self.table.labels(members[~atoms[members]])))
                raise self.fault(
                    f"{selection!r} selects {inside} of the {len(members)} atoms of group "
                    f"{self.name(group)}, not {outside}; name the group, or separate it first"
                )
        return groups

    def name(self, group: int) -> str:
        """Return the name of a group."""
        for old, new in self.draft.absorbed[self._followed :]:
            self._rename(new, self._names.get(old))
        self._followed = len(self.draft.absorbed)
        group = self.draft.find(group)
        return self._names.get(group) or self.table.label(int(self.draft.atoms(group)[0]))

    def add_name(self, group: int, name: str) -> None:
        """Let a group be known by a name; one that it had before stays its name in messages."""
        self.by_name[name] = group
        self._rank.setdefault(name, len(self._rank))
        self._rename(group, name)

    def _rename(self, group: int, name: str | None) -> None:
        """Give a group a name if that is older than the one it has."""
        known = self._names.get(group)
        if name is not None and (known is None or self._rank[name] < self._rank[known]):
            self._names[group] = name

    def names(self, groups: Sequence[int]) -> str:
        """Return the names of groups as a list."""
        return listed([self.name(g) for g in groups], 12)
