"""Bulk solvent that groups of partial occupancy displace in part."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from multicopy_refinement._typing import (
    BoolArray,
    ComplexArray,
    FloatArray,
    IntArray,
)
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.occupancy.groups import OccupancyGroups
from multicopy_refinement.occupancy.molecule import most_frequent
from multicopy_refinement.parallel import in_threads
from multicopy_refinement.scaling.mask import MaskGrid, density_structure_factors
from multicopy_refinement.scaling.probed import ProbedSolvent
from multicopy_refinement.scaling.solvent import Displaced, PartialGroups
from multicopy_refinement.scaling.sparse_transform import SparseTransform

#: By how much the narrower and the wider probe differ from that of the grid, in A.
DOUBT = 0.15
PROBES = (-DOUBT, 0.0, DOUBT)
#: Displaced solvent is left out where S is less than this part of k_sol.
FAINT = 1e-2
#: By how much further it is made than is needed, since the limit changes from cycle to cycle.
_FURTHER = 1.2
#: Where more than this part of the reflections is concerned, all are: whole rows are quicker.
_MOST = 0.6
#: A group leaves the most frequent molecule, or becomes a part of it, by this much beyond a half.
_STEADY = 0.05
#: The transform of a group's region is made anew when it has changed by more than this part.
_STALE = 0.005

_A = TypeVar("_A")
_B = TypeVar("_B")
#: Points that a group keeps free of solvent, and by how much for q = 1, by each probe that counts.
_Region = list[tuple[IntArray, FloatArray]]


class DisplacedSolvent:
    """The solvent of a crystal as a function of the occupancies of groups.

    The mean of what three probes leave to it, the outer ones by `MaskGrid.blend` each. Whether
    solvent gets through a bottleneck or into a crevice is a matter of a hundredth of an A for one
    probe; atoms vibrate, and are not known so well: it does in a part of the molecules.

    Parameters
    ----------
    grid
        Of the crystal.
    probes
        By how much wider than that of the grid each probe is, in A, in ascending order: three, or
        one that has it all.
    each
        The solvent that each of them leaves, made when it is first asked for.
    """

    def __init__(self, grid: MaskGrid, probes: Sequence[float], each: Sequence[_Part]) -> None:
        self.grid, self.probes, self._each = grid, tuple(probes), tuple(each)
        self.cell, self.group, self.shape = grid.cell, grid.group, grid.shape
        self.groups = self._each[0].groups
        shares = (grid.blend, 1 - 2 * grid.blend, grid.blend) if len(self._each) > 1 else (1.0,)
        # those that count, and by how much
        some = [(share, part) for share, part in zip(shares, self._each, strict=True) if share > 0]
        self._shares = [share for share, _ in some]
        self._parts = _at_once(lambda part: part.made, [part for _, part in some])
        self.base = self._mean([part.base for part in self._parts])
        self._low: IntArray | None = None
        self._reach = 0.0
        self._made: _Made | None = None

    @classmethod
    def of(
        cls, table: AtomTable, xyz: FloatArray, held: BoolArray, groups: PartialGroups,
        grid: MaskGrid, probes: Sequence[float] = PROBES,
    ) -> DisplacedSolvent:  # fmt: skip
        """Return it; the arguments are those of `ProbedSolvent`, with the grid of the crystal."""
        of = table, xyz.copy(), held  # that of a model of doubles moves with it
        each = [_Part(of, groups, one) for one in _grids(grid, probes)]
        return cls(grid, probes, each)

    @property
    def parts(self) -> list[ProbedSolvent]:
        """The solvent that each of the probes leaves."""
        return _at_once(lambda part: part.made, self._each)

    def regrown(self, grid: MaskGrid) -> DisplacedSolvent:
        """Return the solvent on a grid that differs in how far it grows back alone, or in blend."""
        return self._changed(self.groups, grid)

    def judged_by(self, groups: PartialGroups) -> DisplacedSolvent:
        """Return the solvent with another most frequent molecule of the same groups."""
        return self._changed(groups, self.grid)

    def _changed(self, groups: PartialGroups, grid: MaskGrid) -> DisplacedSolvent:
        grids = _grids(grid, self.probes)
        each = [part.changed(groups, one) for part, one in zip(self._each, grids, strict=True)]
        return DisplacedSolvent(grid, self.probes, each)

    def is_of(
        self, xyz: FloatArray, held: BoolArray, groups: PartialGroups, grid: MaskGrid
    ) -> bool:
        """Return whether it is that of these places, atoms, groups and grid, whatever molecule."""
        return self.grid == grid and self._parts[0].is_of(xyz, held, groups)

    def all_there(self, grid: MaskGrid) -> FloatArray:
        """Return `base` on a grid that differs in how far solvent grows back alone."""
        grids = _grids(grid, [part.grid.wider - self.grid.wider for part in self._parts])
        pairs = list(zip(self._parts, grids, strict=True))
        return self._mean(_at_once(lambda pair: pair[0].all_there(pair[1]), pairs))

    def for_other_data(self) -> DisplacedSolvent:
        """Return the solvent of the same crystal for other reflections; the grids are shared."""
        other = copy(self)
        other._low = other._made = None
        return other

    def _mean(self, densities: Sequence[FloatArray]) -> FloatArray:
        """Return the mean over the probes that count."""
        if len(densities) == 1:
            return densities[0]
        terms = [share * one for share, one in zip(self._shares, densities, strict=True)]
        return np.asarray(sum(terms))

    # ------------------------------------------------------------------ solvent

    @property
    def fraction(self) -> float:
        """Part of the cell that is solvent where all groups are there."""
        return float(self.base.mean())

    @property
    def has_ways(self) -> bool:
        """Whether occupancies say in which part of the molecules solvent gets somewhere."""
        return any(part.has_ways for part in self._parts)

    def density(self, occupancy: FloatArray, beside: BoolArray | None = None) -> FloatArray:
        """Return how much solvent each point of the grid holds.

        Where there is solvent if these atoms alone are there, nothing else is, ``[n_atoms]``.
        """
        return self._mean(_at_once(lambda part: part.density(occupancy, beside), self._parts))

    def prepare_blend(self) -> None:
        """Make what `blended` needs that does not depend on the grid's radius."""
        if len(self._each) > 1:
            _at_once(lambda part: part.prepare(), self._each)

    def blended(self, occupancy: FloatArray) -> FloatArray | None:
        """Return what the density grows by with `MaskGrid.blend`; None with one probe alone."""
        if len(self._each) == 1:
            return None
        narrow, own, wide = _at_once(lambda part: part.made.density(occupancy), self._each)
        return np.asarray(narrow + wide - 2 * own)

    def mask_of(self, atoms: BoolArray) -> FloatArray:
        """Return how much solvent there is at each point when these atoms alone are there."""
        return self._mean(_at_once(lambda part: part.mask_of(atoms), self._parts))

    def f_mask(self, occupancy: FloatArray, hkl: IntArray) -> ComplexArray:
        """Return F of the solvent for a density of 1, complex ``[n]``."""
        return density_structure_factors(self.density(occupancy), self.cell, self.group, hkl)

    def displaced(
        self, occupancy: FloatArray, chosen: IntArray, hkl: IntArray, s_squared_max: float
    ) -> Displaced:
        """Return M of chosen groups around present occupancies of all groups, ``[n_groups]``.

        It is needed up to ``s_squared_max`` in 1/A^2, and made a little further: that changes.
        """
        if self._low is None or s_squared_max > self._reach:
            self._made, self._reach = None, _FURTHER * s_squared_max
            low = np.flatnonzero(self.cell.inverse_d_squared(hkl) < self._reach)
            self._low = low if len(low) < _MOST * len(hkl) else np.arange(len(hkl))
            self._sum = SparseTransform(self.shape, hkl[self._low], self.cell.volume)
        kept = self._made
        if kept is None or not np.array_equal(kept.chosen, chosen):
            kept = self._made = None
        regions = [self._region(g, occupancy) for g in chosen.tolist()]
        stale = [
            i for i, region in enumerate(regions)
            if kept is None or not _alike(kept.regions[i], region)
        ]  # fmt: skip
        last = None if kept is None else kept.last()
        if last is not None and not stale:
            return last
        if kept is None:
            columns = np.zeros((len(chosen), len(self._low)), dtype=np.complex64)
        else:  # a gigabyte where groups are many: in its memory, if nobody uses what is in it
            columns = kept.columns if last is None else kept.columns.copy()
        self._transform(self._sum, [regions[i] for i in stale], columns, stale)
        made_from = list(kept.regions) if kept is not None else regions
        for i in stale:
            made_from[i] = regions[i]
        in_doubt = self._in_doubt(occupancy.copy(), chosen.copy(), hkl[self._low], columns)
        found = Displaced(self._low, columns, in_doubt)
        self._made = _Made(chosen.copy(), columns, made_from, weakref.ref(found))
        return found

    def _transform(
        self, transform: SparseTransform, regions: Sequence[_Region], columns: np.ndarray,
        rows: Sequence[int],
    ) -> None:  # fmt: skip
        """Put the transform of each region into its row, in place."""

        def work(first: int, last: int) -> None:
            density = np.zeros(self.shape)
            flat = density.reshape(-1)
            for row, region in zip(rows[first:last], regions[first:last], strict=True):
                new = [self.grid.add(density, points, values) for points, values in region]
                at = np.concatenate(new)
                columns[row] = transform(at, flat[at])
                flat[at] = 0.0

        in_threads(work, len(rows))

    def _region(self, group: int, occupancy: FloatArray) -> _Region:
        found = []
        for share, part in zip(self._shares, self._parts, strict=True):
            points, values = part.region(group, occupancy)
            found.append((points, share * values))
        return found

    def _in_doubt(
        self, occupancy: FloatArray, chosen: IntArray, hkl: IntArray, columns: np.ndarray
    ) -> Callable[[IntArray], np.ndarray] | None:
        """Return what gives `Displaced.in_doubt` at some places of ``hkl``; M is ``columns``."""
        if len(self._each) == 1:
            return None

        def in_doubt(places: IntArray) -> np.ndarray:
            transform = SparseTransform(self.shape, hkl[places], self.cell.volume)

            def of_probe(part: ProbedSolvent) -> np.ndarray:
                if self._parts == [part]:
                    return columns[:, places]
                found = np.zeros((len(chosen), len(places)), dtype=np.complex64)
                regions = [[part.region(g, occupancy)] for g in chosen.tolist()]
                self._transform(transform, regions, found, range(len(chosen)))
                return found

            narrow, own, wide = (of_probe(part) for part in self.parts)
            return np.concatenate([narrow - own, own - wide])

        return in_doubt


def displaced_solvent(
    groups: OccupancyGroups, partial: IntArray, present: BoolArray, xyz: FloatArray,
    grid: MaskGrid, occupancy: FloatArray, last: DisplacedSolvent | None = None,
    probes: tuple[float, ...] = PROBES,
) -> DisplacedSolvent:  # fmt: skip
    """Return the solvent around a model in which some groups are partial.

    Parameters
    ----------
    groups
        All groups of the model.
    partial
        Indices of those that are or may become partial, in ascending order.
    present
        Whether an atom is there, for the atoms of all other groups, ``[n_atoms]``.
    xyz
        Of all atoms, in A.
    grid
        Of the crystal.
    occupancy
        Of all groups: how often solvent finds a way out depends on them.
    last
        One that was made before; what does not depend on the occupancies is that of it, if it is
        of the same atoms at the same places.
    probes
        By how much wider than that of the grid each is, in A: three, or one alone.
    """
    set_index = groups.set_index[partial]
    family = np.where(set_index >= 0, set_index, len(groups.sums) + np.arange(len(partial)))
    owner = np.full(len(partial), -1)
    nested = set_index >= 0
    owner[nested] = groups.sums.parent[set_index[nested]]
    place = np.full(len(groups) + 1, -1)
    place[partial] = np.arange(len(partial))
    members = tuple(groups.members[g] for g in partial.tolist())
    sums, whole = groups.sums, np.zeros(len(groups), dtype=bool)
    never_away = sums.complete & ((sums.parent >= 0) | (sums.totals >= 1))
    for number in np.flatnonzero(never_away).tolist():
        whole[sums.members[number]] = True
    made = PartialGroups(
        members, family, place[owner], whole[partial], most_frequent(groups, occupancy)[partial],
        occupancy[partial],
    )  # fmt: skip
    if last is not None and last.groups.alike(made):
        # what is there in about half of the molecules is not to come and go from cycle to cycle
        steady = occupancy.copy()
        steady[partial] += np.where(last.groups.frequent, _STEADY, -_STEADY)
        made = replace(made, frequent=most_frequent(groups, steady)[partial])
    if last is not None and last.is_of(xyz, present, made, grid):
        return last.judged_by(made)
    return DisplacedSolvent.of(groups.table, xyz, present, made, grid, probes)


class _Part:
    """What one probe leaves to the solvent, made when it is first asked for.

    Parameters
    ----------
    of
        All atoms, their places, and which of them are there outside of the groups.
    groups, grid
        As `ProbedSolvent` has them.
    last
        One of the same probe and atoms that was made before.
    """

    def __init__(
        self, of: tuple[AtomTable, FloatArray, BoolArray], groups: PartialGroups, grid: MaskGrid,
        last: ProbedSolvent | None = None,
    ) -> None:  # fmt: skip
        self._of, self.groups, self.grid, self._last = of, groups, grid, last
        self._lock = threading.Lock()

    @property
    def made(self) -> ProbedSolvent:
        """The solvent."""
        with self._lock:
            return self._prepared().grown()

    def prepare(self) -> None:
        """Make all of it that does not depend on how far it grows back."""
        with self._lock:
            self._prepared()

    def _prepared(self) -> ProbedSolvent:
        made = self._last
        if made is None:
            made = ProbedSolvent(*self._of, self.groups, self.grid)
        elif made.groups is not self.groups or made.grid != self.grid:
            made = made.changed(self.groups, self.grid)
        self._last = made
        return made

    def changed(self, groups: PartialGroups, grid: MaskGrid) -> _Part:
        """Return it of another most frequent molecule, or that grows back to another distance."""
        return _Part(self._of, groups, grid, self._last)


@dataclass(frozen=True, eq=False)
class _Made:
    """Columns of the last `Displaced`, what they were made from, and it, as long as it is used."""

    chosen: IntArray
    columns: np.ndarray
    regions: list[_Region]
    last: Callable[[], Displaced | None]


def _alike(one: _Region, other: _Region) -> bool:
    """Return whether regions differ by little."""
    return all(_same(*a, *b) for a, b in zip(one, other, strict=True))


def _same(
    points: IntArray, values: FloatArray, other_points: IntArray, other_values: FloatArray
) -> bool:
    """Return whether what one probe leaves to a group differs by little."""
    most = _STALE * float(np.abs(values).sum())
    if len(points) == len(other_points) and np.array_equal(points, other_points):
        return bool(np.abs(values - other_values).sum() <= most)
    unique, inverse = np.unique(np.concatenate([points, other_points]), return_inverse=True)
    signed = np.concatenate([values, -other_values])
    return bool(np.abs(np.bincount(inverse, signed, minlength=len(unique))).sum() <= most)


def _grids(grid: MaskGrid, probes: Sequence[float]) -> list[MaskGrid]:
    """Return the grid with each probe."""
    return [grid.with_probe(grid.wider + wider).with_blend(0.0) for wider in probes]


def _at_once(call: Callable[[_A], _B], of: Sequence[_A]) -> list[_B]:
    """Return what a call makes of each, at the same time."""
    found: list[_B | None] = [None] * len(of)

    def work(first: int, last: int) -> None:
        for i in range(first, last):
            found[i] = call(of[i])

    in_threads(work, len(of), one_by_one=True)
    return [one for one in found if one is not None]
