"""What the occupancies of a model are like: the validation that the groups allow."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.atoms.numbering import number_residues
from multicopy_refinement.occupancy.groups import OccupancyGroups
from multicopy_refinement.occupancy.values import not_full
from multicopy_refinement.words import counted


@dataclass(frozen=True)
class PartialResidue:
    """A residue with atoms whose occupancy is not 1.

    Attributes
    ----------
    name
        For example ``A/10/ARG``.
    parts
        Altloc (blank where there is none) and occupancy of each of its groups.
    total
        Sum of the occupancies of its altlocs, or None where it has none.
    """

    name: str
    parts: tuple[tuple[str, float], ...]
    total: float | None


@dataclass(frozen=True)
class OccupancySummary:
    """Residues with partial occupancy, altlocs, and the compression that was reached.

    Attributes
    ----------
    n_atoms, n_residues, n_groups, n_refined, n_sets
        Numbers of each; refined are parameters of the refinement.
    partial_residues
        Residues with an occupancy other than 1.
    residues_by_altlocs
        How many residues have 1, 2, ... altlocs.
    altloc_atoms
        Atoms of each altloc.
    off_sums
        Residues with altlocs that do not sum to 1 (by more than 0.01), with their sums.
    """

    n_atoms: int
    n_residues: int
    n_groups: int
    n_refined: int
    n_sets: int
    partial_residues: tuple[PartialResidue, ...]
    residues_by_altlocs: dict[int, int]
    altloc_atoms: dict[str, int]
    off_sums: dict[str, float]

    @property
    def compression(self) -> float:
        """Atoms for each stored occupancy."""
        return self.n_atoms / max(self.n_groups, 1)

    def in_words(self) -> str:
        """Return the summary as lines of text."""
        altlocs = ", ".join(
            f"{count} with {n}" for n, count in sorted(self.residues_by_altlocs.items())
        )
        lines = [
            f"{counted(self.n_atoms, 'atom')} in {counted(self.n_groups, 'group')} "
            f"({self.compression:.1f} atoms for each occupancy); "
            f"{counted(self.n_refined, 'group', 'are')} refined, "
            f"{counted(self.n_groups - self.n_refined, 'group', 'are')} held.",
            f"{len(self.partial_residues)} of {self.n_residues} residues are partly occupied; "
            f"altlocs: {altlocs or 'none'}.",
        ]
        if self.off_sums:
            texts = [f"{name} ({total:.2f})" for name, total in self.off_sums.items()]
            more = f" and {len(texts) - 6} more" if len(texts) > 6 else ""
            lines.append(f"Altlocs that do not sum to 1: {', '.join(texts[:6])}{more}.")
        return "\n".join(lines)


def summary_of(groups: OccupancyGroups, occupancy: FloatArray | None = None) -> OccupancySummary:
    """Return the summary of groups, for occupancies ``[n_groups]`` other than those they have."""
    table = groups.table
    values = groups.occupancy if occupancy is None else occupancy
    residue = number_residues(table)
    parts: dict[int, dict[str, dict[int, None]]] = {}
    columns = zip(residue.tolist(), table.altloc.tolist(), groups.index.tolist(), strict=True)
    for number, altloc, group in columns:
        parts.setdefault(number, {}).setdefault(altloc.decode(), {})[group] = None
    first = np.zeros(len(parts), dtype=np.int64)
    first[residue[::-1]] = np.arange(len(residue))[::-1]
    partial, off, by_count = [], {}, Counter[int]()
    full = ~not_full(values)
    for number, letters in parts.items():
        lettered = {letter: list(mine) for letter, mine in letters.items() if letter}
        if lettered:
            by_count[len(lettered)] += 1
        total = sum(float(values[mine].mean()) for mine in lettered.values()) if lettered else None
        if all(full[g] for mine in letters.values() for g in mine):
            continue
        name = table.residue_label(int(first[number]))
        rows = [(letter, float(values[g])) for letter, mine in letters.items() for g in mine]
        partial.append(PartialResidue(name, tuple(rows), total))
        if total is not None and len(lettered) > 1 and abs(total - 1) > 0.01:
            off[name] = round(total, 4)
    counts = Counter(a.decode() for a in table.altloc.tolist() if a)
    return OccupancySummary(
        len(table), len(parts), len(groups), int(groups.refined.sum()), len(groups.sets),
        tuple(partial), dict(by_count), dict(sorted(counts.items())), off,
    )  # fmt: skip
