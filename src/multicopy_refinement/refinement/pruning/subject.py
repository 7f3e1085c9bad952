"""A model that is made smaller step by step: its file, and its groups."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.atoms.connections import part_of_polymer
from multicopy_refinement.atoms.numbering import number_residues
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.crystal.beam import PLAIN, Beam
from multicopy_refinement.io.edit import without_atoms
from multicopy_refinement.io.structure import StructureFile
from multicopy_refinement.io.write_structure import AtomValues
from multicopy_refinement.model import Model
from multicopy_refinement.occupancy.groups import OccupancyGroups
from multicopy_refinement.occupancy.reduced import nested_within, reduced, settled
from multicopy_refinement.refinement.pruning.merging import Merge

#: A ligand or water keeps its letter where another residue has it within this distance, in A.
COMPANY = 4.0


@dataclass(frozen=True, eq=False)
class Subject:
    """A model before or after a step.

    Attributes
    ----------
    source
        Its file.
    groups
        Of the atoms of the file; their table has the occupancies with all decimals.
    origin
        Place of each atom in the file that pruning began with, ``[n_atoms]``.
    beam
        What it is measured with.
    """

    source: StructureFile
    groups: OccupancyGroups
    origin: IntArray
    beam: Beam = PLAIN

    @classmethod
    def of(cls, source: StructureFile, groups: OccupancyGroups, beam: Beam = PLAIN) -> Subject:
        """Return it for a file whose atoms are in groups."""
        table = source.table.with_occupancy(groups.occupancy[groups.index])
        groups = replace(groups, table=table)
        return cls(replace(source, table=table), groups, np.arange(len(table)), beam)

    def model(self) -> Model:
        """Return it as a model to be refined."""
        model = Model(dtype_float=torch.float64).adopt(self.source, self.groups)
        model.beam = self.beam
        return model

    def without(
        self, occupancy: FloatArray, gone: list[int], merges: list[Merge] | None = None
    ) -> Subject:
        """Return it without groups, and with conformers merged.

        What is left of a residue loses its altloc where that is the only one and means nothing:
        what is there always, and what has no company of the same letter.

        Parameters
        ----------
        occupancy
            Of all groups now, ``[n_groups]``.
        gone
            Groups to remove; what sums to one of them goes, too.
        merges
            Conformers that become one.
        """
        groups, table = self.groups, self.groups.table
        kept = ~np.isin(groups.index, nested_within(groups.sums, gone))
        touched = ~kept
        index, q = groups.index.copy(), list(occupancy)
        xyz, b_iso, u_aniso = table.xyz.copy(), table.b_iso.copy(), table.u_aniso.copy()
        for one in merges or []:
            first = one.atoms[:, 0]
            touched[one.atoms] = True
            kept[one.atoms[:, 1:]] = False
            xyz[first], b_iso[first], u_aniso[first] = one.xyz, one.b_iso, one.u_aniso
            if one.always:
                index[first] = len(q)
                q.append(1.0)
            else:
                q[one.groups[0]] = float(sum(occupancy[list(one.groups)]))
        now = np.array(q)
        altloc = self._altlocs(kept, touched, index, len(now))
        values = AtomValues(now[index], xyz, b_iso, u_aniso)
        source = without_atoms(self.source, values, kept, altloc)
        made = reduced(groups, source.table, kept, index, now)
        return replace(Subject.of(source, made, self.beam), origin=self.origin[kept])

    def _altlocs(
        self, kept: BoolArray, touched: BoolArray, index: IntArray, n_groups: int
    ) -> np.ndarray:
        """Return the altlocs of all atoms: none where one is left of a residue, and means nothing.

        Where a residue still has several, all stay.
        """
        table, altloc = self.groups.table, self.groups.table.altloc.copy()
        residue = number_residues(table)
        always = np.arange(n_groups) >= len(self.groups)
        left = np.zeros(n_groups, dtype=bool)
        left[index[kept]] = True
        always[settled(self.groups.sums, left[: len(self.groups)])] = True
        for number in np.unique(residue[touched]).tolist():
            atoms = np.flatnonzero((residue == number) & kept & (altloc != b""))
            if len(np.unique(altloc[atoms])) != 1:
                continue
            polymer = bool(part_of_polymer(table, residue, np.array([number]))[0])
            alone = not polymer and not _in_company(table, atoms, kept & (residue != number))
            if always[index[atoms]].all() or alone:
                altloc[atoms] = b""
        return altloc


def _in_company(table: AtomTable, atoms: IntArray, others: BoolArray) -> bool:
    """Return whether other atoms with the altloc of some are near them."""
    same = np.flatnonzero(others & (table.altloc == table.altloc[atoms[0]]))
    apart = table.xyz[same][:, None] - table.xyz[atoms][None]
    return bool((np.linalg.norm(apart, axis=2) < COMPANY).any())
