"""What advice is made of, and what it is."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from multicopy_refinement.atoms.connections import WATERS
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.results.real_space import GroupDensity
from multicopy_refinement.results.record import Group, LigandRecord, RunRecord

#: An occupancy that is at its bound of 1, as it is printed.
FULL = 0.995


@dataclass(frozen=True)
class Advice:
    """One thing to do.

    Attributes
    ----------
    title
        What, in a few words.
    text
        Why, and what could be done.
    groups
        Names of the groups, or of ligands that are held, those first that need it most.
    serious
        Whether the result should not be used before.
    good
        Whether it is no fault, but what one hopes for.
    command
        What does it, to be typed; empty where nothing does.
    """

    title: str
    text: str
    groups: tuple[str, ...]
    serious: bool = False
    good: bool = False
    command: str = ""


@dataclass(frozen=True, eq=False)
class Findings:
    """What advice is made of."""

    record: RunRecord
    table: AtomTable
    density: dict[str, GroupDensity]

    @property
    def refined(self) -> list[Group]:
        """The refined groups."""
        return [g for g in self.record.groups if g.refined]

    @property
    def held_ligands(self) -> list[LigandRecord]:
        """Ligands that were not refined."""
        return [one for one in self.record.ligands if not one.refined]

    def is_water(self, group: Group) -> bool:
        """Return whether a group begins with an atom of a water."""
        return bool(self.table.resname[group.atom_indices[0]] in WATERS)

    def command(self, verb: str) -> str:
        """Return the command that carries out advice on this run: ``prune`` or ``merge``."""
        out = self._out or "DIR"
        return shlex.join(["multicopy-refine", verb, out, "--out", f"{out}-{verb}d"])

    def again(self, *words: str, name: str = "") -> str:
        """Return the command of this run with other words, for a folder with a name added."""
        provenance = self.record.provenance
        if provenance is None or not self._out or provenance.command[1:2] != ["refine"]:
            return ""
        place = provenance.command.index("--out")
        kept = provenance.command[:place] + provenance.command[place + 2 :]
        name = name or words[-1].lstrip("-")
        return shlex.join([*kept, *words, "--out", f"{self._out}-{name}"])

    @property
    def _out(self) -> str:
        words = [] if self.record.provenance is None else self.record.provenance.command
        return words[words.index("--out") + 1] if "--out" in words[:-1] else ""


def is_absent(group: Group) -> bool:
    """Return whether a group is better explained as absent."""
    absent = group.occupancy < 0.05 and "at_bound" in group.flags
    return ("not_supported" in group.flags or absent) and "undetermined" not in group.flags
