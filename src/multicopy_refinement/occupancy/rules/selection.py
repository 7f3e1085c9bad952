"""What the selections of a rule mean for groups that are being changed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multicopy_refinement._typing import BoolArray
from multicopy_refinement.atoms.selection import select_cid
from multicopy_refinement.errors import RuleError
from multicopy_refinement.notices import listed
from multicopy_refinement.occupancy.draft import Draft
from multicopy_refinement.occupancy.groups import OccupancyGroups

#: A CID expression or the name of a group, or places of atoms in the file, counted from 0.
Selection = str | tuple[int, ...]


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
    """

    def __init__(self, groups: OccupancyGroups) -> None:
        self.table = groups.table
        self.draft = Draft.of(groups)
        self.by_name: dict[str, int] = {name: g for g, name in enumerate(groups.names)}
        self._names = dict(enumerate(groups.names))  # of groups that are their own
        self._rank = {name: rank for rank, name in enumerate(self.by_name)}
        self._followed = 0
        self.where = ""

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
        return selected

    def atoms(self, selection: Selection) -> BoolArray:
        """Return the atoms of a selection: the name of a group, a CID, or places in the file."""
        found = np.zeros(len(self.table), dtype=bool)
        if not isinstance(selection, str):
            outside = [a for a in selection if not 0 <= a < len(self.table)]
            if outside:
                raise self.fault(f"atom {outside[0]} is not in 0..{len(self.table) - 1}")
            found[list(selection)] = True
        elif not selection.strip():
            raise self.fault("an empty selection")
        elif selection in self.by_name:
            found[self.draft.atoms(self.by_name[selection])] = True
        else:
            try:
                found = select_cid(self.table, selection)
            except RuleError as fault:
                raise self.fault(str(fault)) from None
        if not found.any():
            raise self.fault(f"{selection!r} selects no atom")
        return found

    def whole_groups(self, selections: Sequence[Selection]) -> list[int]:
        """Return the groups that selections hold as a whole."""
        found: list[int] = []
        for selection in selections:
            atoms = self.atoms(selection)
            for group in self.draft.touched(atoms):
                members = self.draft.atoms(group)
                inside = int(atoms[members].sum())
                if inside < len(members):
                    outside = listed(list(self.table.labels(members[~atoms[members]])))
                    raise self.fault(
                        f"{selection!r} selects {inside} of the {len(members)} atoms of group "
                        f"{self.name(group)}, not {outside}; name the group, or separate it first"
                    )
                if group not in found:
                    found.append(group)
        return found

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
