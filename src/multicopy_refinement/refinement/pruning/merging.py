"""Conformers that may be one, and what that one is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.atoms.conformers import paired_atoms
from multicopy_refinement.atoms.numbering import number_residues
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.occupancy.groups import OccupancyGroups
from multicopy_refinement.units import EIGHT_PI_SQUARED

#: Conformers whose atoms are nowhere farther apart than this part of d_min are not told apart by
#: their peaks; beyond the second, in A, the mean of two has bonds that are too short by 0.05 A.
TOO_CLOSE, LONGEST = 0.5, 0.8
#: Atoms of a coordinate file that coincide differ by less than this, in A.
COINCIDENT = 0.0015


@dataclass(frozen=True, eq=False)
class Merge:
    """Conformers of a residue as one.

    Attributes
    ----------
    name
        For example ``A/25/ALA:A+C``.
    atoms
        Those of each conformer, side by side; the first ones are what stays, ``[n, n_conformers]``.
    groups, members
        Of the conformers, and their names.
    always
        Whether these are all that the residue has: what is merged is there always.
    apart
        How far atoms are apart at most, A.
    xyz, b_iso, u_aniso
        Of the one conformer: A, A^2, A^2.
    n_parameters
        Coordinates, displacements and occupancies that the others have, hydrogens apart.
    """

    name: str
    atoms: IntArray
    groups: tuple[int, ...]
    members: tuple[str, ...]
    always: bool
    apart: float
    xyz: FloatArray
    b_iso: FloatArray
    u_aniso: FloatArray
    n_parameters: int

    @property
    def coincide(self) -> bool:
        """Whether all atoms are at one place."""
        return self.apart < COINCIDENT


def possible_merges(
    groups: OccupancyGroups, occupancy: FloatArray, d_min: float, protected: BoolArray
) -> list[Merge]:
    """Return pairs of conformers that may be one, and residues whose conformers may all be.

    Parameters
    ----------
    groups, occupancy
        The groups, and their occupancies now.
    d_min
        Resolution in A.
    protected
        Atoms that stay as they are, ``[n_atoms]``.
    """
    limit = min(TOO_CLOSE * d_min, LONGEST)
    open_sets = _open_sets(groups)
    found = []
    for name, conformers in _residues(groups.table, ~protected):
        letters = sorted(conformers)
        held = {letter: np.unique(groups.index[conformers[letter]]) for letter in letters}
        if any(len(g) != 1 for g in held.values()):
            continue
        group = {letter: int(g[0]) for letter, g in held.items()}
        numbers = {int(groups.set_index[g]) for g in group.values()}
        if len(numbers) != 1 or not numbers <= open_sets or len(set(group.values())) < len(letters):
            continue
        members = groups.sums.members[next(iter(numbers))]
        everything = sorted(group.values()) == members.tolist() and bool(
            groups.sums.complete[next(iter(numbers))]
        )
        own = all(len(groups.members[group[x]]) == len(conformers[x]) for x in letters)
        choices: list[tuple[bytes, ...]] = list(combinations(letters, 2)) if own else []
        if everything and (len(letters) > 2 or not own):
            choices.append(tuple(letters))
        for chosen in choices:
            one = _merge(
                groups, name, {x: conformers[x] for x in chosen},
                {x: group[x] for x in chosen}, occupancy,
                always=everything and len(chosen) == len(letters),
            )  # fmt: skip
            if one is not None and one.apart <= limit:
                found.append(one)
    return found


def _open_sets(groups: OccupancyGroups) -> set[int]:
    """Return the sets whose members may be merged: all refined, in no restraint, no parents."""
    bound = {g for r in groups.restraints for g in r.groups}
    bound |= {int(p) for p in groups.sums.parent.tolist() if p >= 0}
    bound |= set(groups.special)
    return {
        number
        for number, members in enumerate(groups.sums.members)
        if groups.refined[members].all() and not bound & set(members.tolist())
        and groups.sums.parent[number] < 0
        and (groups.sums.totals[number] > 1 - 1e-6)
    }  # fmt: skip


def _residues(table: AtomTable, wanted: BoolArray) -> Iterator[tuple[str, dict[bytes, IntArray]]]:
    """Yield residues with several altlocs, and the atoms of each, where all are wanted."""
    residue = number_residues(table)
    lettered = np.flatnonzero(table.altloc != b"")
    order = lettered[np.argsort(residue[lettered], kind="stable")]
    edges = np.flatnonzero(np.diff(residue[order])) + 1
    for atoms in np.split(order, edges):
        letters = np.unique(table.altloc[atoms])
        if len(atoms) and len(letters) > 1 and wanted[atoms].all():
            parts = {letter: atoms[table.altloc[atoms] == letter] for letter in letters.tolist()}
            yield table.residue_label(int(atoms[0])), parts


def _merge(
    groups: OccupancyGroups, name: str, conformers: dict[bytes, IntArray], group: dict[bytes, int],
    occupancy: FloatArray, *, always: bool,
) -> Merge | None:  # fmt: skip
    """Return conformers as one, or None where their atoms are not the same.

    x = sum w x_i and U = sum w (U_i + d_i d_i') with w_i = q_i/sum q and d_i = x_i - x: first and
    second moment of the density of the conformers. Isotropic atoms stay so, with the mean of the
    three directions: B = sum w B_i + 8 pi^2/3 sum w |d_i|^2.
    """
    table, letters = groups.table, list(conformers)
    first = conformers[letters[0]]
    columns = [first]
    for letter in letters[1:]:
        other = conformers[letter]
        pairs = paired_atoms(table, first, other)
        if len(pairs) != len(first) or len(pairs) != len(other):
            return None
        columns.append(pairs[:, 1])
    atoms = np.column_stack(columns)
    same = (table.resname[atoms] == table.resname[first][:, None]).all()
    same &= (table.element[atoms] == table.element[first][:, None]).all()
    same &= (table.anisotropic[atoms] == table.anisotropic[first][:, None]).all()
    if not same:
        return None
    q = np.array([occupancy[group[letter]] for letter in letters])
    w = q / q.sum() if q.sum() > 0 else np.full(len(q), 1 / len(q))
    xyz = np.einsum("ack,c->ak", table.xyz[atoms], w)
    d = table.xyz[atoms] - xyz[:, None]
    variance = np.einsum("aci,acj,c->aij", d, d, w)
    trace = np.trace(variance, axis1=1, axis2=2)
    b_iso = table.b_iso[atoms] @ w + EIGHT_PI_SQUARED / 3 * trace
    anisotropic = table.anisotropic[first]
    mean_u = np.einsum("ack,c->ak", table.u_aniso[atoms], w)
    u_aniso = np.where(anisotropic[:, None], mean_u + _voigt(variance), 0.0)
    b_iso = np.where(anisotropic, EIGHT_PI_SQUARED * u_aniso[:, :3].mean(axis=1), b_iso)
    apart = table.xyz[atoms][:, :, None] - table.xyz[atoms][:, None]
    heavy = ~table.hydrogen[first]
    each = np.where(anisotropic, 9, 4)[heavy].sum()
    return Merge(
        f"{name}:{'+'.join(x.decode('latin-1') for x in letters)}", atoms,
        tuple(group[x] for x in letters), tuple(groups.names[group[x]] for x in letters), always,
        float(np.linalg.norm(apart, axis=3).max()), xyz, b_iso, u_aniso,
        (len(letters) - 1) * (int(each) + 1),
    )  # fmt: skip


def _voigt(matrices: FloatArray) -> FloatArray:
    """Return the elements 11 22 33 12 13 23 of symmetric matrices ``[n, 3, 3]``."""
    rows, columns = [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]
    return np.asarray(matrices[:, rows, columns])


def compatible(merges: list[Merge]) -> list[Merge]:
    """Return merges of the list, the first ones first, no two of which share a group."""
    taken: set[int] = set()
    chosen: list[Merge] = []
    for one in merges:
        if not taken & set(one.groups) or (one.always and _only_residue(one, chosen)):
            chosen.append(one)
            taken |= set(one.groups)
    return chosen


def _only_residue(one: Merge, chosen: list[Merge]) -> bool:
    """Return whether what shares groups with a merge merges other residues as a whole."""
    mine, groups = set(one.atoms.ravel().tolist()), set(one.groups)
    beside = [other for other in chosen if groups & set(other.groups)]
    return all(other.always and not mine & set(other.atoms.ravel().tolist()) for other in beside)
