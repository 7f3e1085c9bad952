"""Holes beside a state of which it is in doubt whether solvent gets into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from multicopy_refinement._typing import ComplexArray, FloatArray, IntArray
from multicopy_refinement.atoms.neighbours import near_in_crystal
from multicopy_refinement.scaling.mask import MaskGrid
from multicopy_refinement.scaling.sparse_transform import SparseTransform

#: Points that a narrower probe leaves more of to solvent than this are of a hole.
_PART = 0.3
#: Smaller holes, in A^3, are none of their own.
_SMALLEST = 5.0
#: Holes that are further than this from all atoms of a state are not its own, in A.
_FAR = 8.0


@dataclass(frozen=True, eq=False)
class Hole:
    """Where it is in doubt whether solvent gets to, in molecules without a state and with it.

    Attributes
    ----------
    points, values
        Places of a grid, flat, and how much solvent is in doubt there: without the state, with it.
    """

    points: tuple[IntArray, IntArray]
    values: tuple[FloatArray, FloatArray]


@dataclass(eq=False)
class Holes:
    """The holes beside a state, and how much of each is filled beside what the mask says.

    Attributes
    ----------
    shape
        Of the grid that they are on.
    each
        All of them.
    filled
        How much of each is, ``[n_holes]``.
    """

    shape: tuple[int, ...] = (1, 1, 1)
    each: tuple[Hole, ...] = ()
    filled: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        self.filled = np.zeros(len(self))

    def __len__(self) -> int:
        return len(self.each)

    def f(self, hkl: IntArray, volume: float) -> ComplexArray:
        """Return F of each for a density of 1, without the state and with it.

        Parameters
        ----------
        hkl
            Miller indices, ``[n, 3]``.
        volume
            Of the cell, in A^3.

        Returns
        -------
        ndarray
            complex64 ``[2, n_holes, n]``.
        """
        transform = SparseTransform(self.shape, hkl, volume)
        made = np.zeros((2, len(self), len(hkl)), dtype=np.complex64)
        for i, hole in enumerate(self.each):
            made[0, i] = transform(hole.points[0], hole.values[0])
            same = hole.points[1] is hole.points[0]
            made[1, i] = made[0, i] if same else transform(hole.points[1], hole.values[1])
        return np.asarray(made)

    def f_filled(self, hkl: IntArray, volume: float) -> ComplexArray:
        """Return F of all that is filled, without the state and with it, ``[2, n]``."""
        if not self.filled.any():
            return np.zeros((2, len(hkl)), dtype=np.complex64)
        transform, found = SparseTransform(self.shape, hkl, volume), []
        for end in (0, 1):
            points = np.concatenate([hole.points[end] for hole in self.each])
            amounts = zip(self.filled, self.each, strict=True)
            found.append(transform(points, np.concatenate([a * h.values[end] for a, h in amounts])))
        return np.stack(found)

    @classmethod
    def of(
        cls, probes: Sequence[tuple[FloatArray, FloatArray]], xyz: FloatArray, regions: IntArray,
        grid: MaskGrid,
    ) -> Holes:  # fmt: skip
        """Find them.

        What hangs together is a hole with its images; one that the state does not change is one
        hole of both, of others what is without the state and what is with it are each a hole. Of
        what hangs together with little, all that a region changes is taken as one.

        Parameters
        ----------
        probes
            The solvent without the state and with it, ``[nu, nv, nw]``, with a narrower probe,
            the present one, and a wider one.
        xyz, regions
            Atoms of the state and of what it replaces, in A, and the region of each, from 0 on.
        grid
            Of the crystal.
        """
        ends = [np.ravel(narrow - wide) for narrow, wide in zip(*probes[::2], strict=True)]
        alike = np.logical_and.reduce([np.ravel(a == b) for a, b in probes])
        numbers = [_parted(end, grid) for end in ends]
        places = np.flatnonzero((ends[0] != 0) | (ends[1] != 0))
        region = _nearest(places, xyz, regions, grid)
        near = places[region >= 0]
        made, nowhere = [], np.zeros(0, dtype=np.int64)

        def one_of(end: int, points: IntArray) -> Hole:
            pair = (points, nowhere) if end == 0 else (nowhere, points)
            return Hole(pair, (ends[0][pair[0]], ends[1][pair[1]]))

        for end, (mine, other) in enumerate((numbers, numbers[::-1])):
            for number in np.unique(mine[near[mine[near] >= 0]]).tolist():
                points = np.flatnonzero(mine == number)
                theirs = other[points[0]]
                if not alike[points].all() or (other == theirs).sum() != len(points):
                    made.append(one_of(end, points))
                elif end == 0:
                    made.append(Hole((points, points), (ends[0][points],) * 2))
            rest = (mine[places] < 0) & ~alike[places] & (ends[end][places] != 0)
            for number in range(int(regions.max(initial=-1)) + 1):
                points = places[rest & (region == number)]
                if len(points):
                    made.append(one_of(end, points))
        return cls(grid.shape, tuple(made))


def _nearest(places: IntArray, xyz: FloatArray, regions: IntArray, grid: MaskGrid) -> IntArray:
    """Return the region of the atom that is nearest to each place, -1 where none is near."""
    at = np.stack(np.unravel_index(places, grid.shape), axis=1) / grid.shape
    at = at @ grid.cell.orthogonalization.T
    near, distance = near_in_crystal(xyz, at, _FAR, grid.cell, grid.group)
    return np.array(
        [regions[a[np.argmin(d)]] if len(a) else -1 for a, d in zip(near, distance, strict=True)],
        dtype=np.int64,
    )


def _parted(density: FloatArray, grid: MaskGrid) -> IntArray:
    """Return the number of the hole at each point, flat, -1 where none is; images are one hole."""
    places = np.flatnonzero(density.reshape(-1) > _PART)
    found = np.full(density.size, -1)
    if not len(places):
        return found
    at = np.stack(np.unravel_index(places, grid.shape), axis=1)
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    images = np.rint(grid.group.images(at / grid.shape) * grid.shape).astype(np.int64)
    for image in (*(at + step for step in np.eye(3, dtype=np.int64)), *images):
        flat = np.ravel_multi_index(tuple((image % grid.shape).T), grid.shape)
        place = np.minimum(np.searchsorted(places, flat), len(places) - 1)
        same = places[place] == flat
        pairs.append(np.stack([np.flatnonzero(same), place[same]], axis=1))
    first, second = np.concatenate(pairs).T
    graph = sparse.coo_matrix((np.ones(len(first)), (first, second)), shape=(len(places),) * 2)
    count, label = connected_components(graph, directed=False)
    voxel = grid.cell.volume / density.size
    volume = np.bincount(label, density.reshape(-1)[places], minlength=count) * voxel
    large = volume / grid.group.order > _SMALLEST
    found[places] = np.where(large[label], label, -1)
    return found
