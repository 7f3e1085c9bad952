"""Loops over the points of a periodic grid, given flat: what spheres cover, and what is near it.

Places are given in steps of the grid; ``steps`` are whole steps ``[n, 3]``, shorter than the grid.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def _wrapped(index: int, n: int) -> int:
    """Return an index that may be out of the cell by less than a cell, in it."""
    if index < 0:
        return index + n
    return index - n if index >= n else index


@njit(nogil=True, cache=True)
def _root(root: np.ndarray, i: int) -> int:
    """Return the first of what a member belongs to, and shorten the way to it."""
    while root[i] != i:
        root[i] = root[root[i]]
        i = root[i]
    return i


@njit(nogil=True, cache=True)
def _join(root: np.ndarray, i: int, j: int) -> None:
    """Make one of what two members belong to."""
    i, j = _root(root, i), _root(root, j)
    root[max(i, j)] = min(i, j)


@njit(nogil=True, cache=True)
def _run(du: float, dv: float, pw: float, radius: float, lattice: np.ndarray) -> tuple[int, int]:
    """Return the first point along w within a radius of a place, and how many there are.

    The place is ``du`` and ``dv`` steps away along the other axes, and at ``pw`` along w.
    """
    e0, e1, e2 = lattice[0, 2], lattice[1, 2], lattice[2, 2]
    ee = e0 * e0 + e1 * e1 + e2 * e2
    b0 = du * lattice[0, 0] + dv * lattice[0, 1] - pw * e0
    b1 = du * lattice[1, 0] + dv * lattice[1, 1] - pw * e1
    b2 = du * lattice[2, 0] + dv * lattice[2, 1] - pw * e2
    middle = -(b0 * e0 + b1 * e1 + b2 * e2) / ee
    half = (radius * radius - (b0 * b0 + b1 * b1 + b2 * b2)) / ee + middle * middle
    if half < 0:
        return 0, 0
    half = np.sqrt(half)
    first = int(np.ceil(middle - half))
    return first, int(np.floor(middle + half)) - first + 1


@njit(nogil=True, cache=True)
def fill(
    grid: np.ndarray, shape: np.ndarray, lattice: np.ndarray, places: np.ndarray,
    radii: np.ndarray, reach: np.ndarray,
) -> None:  # fmt: skip
    """Set the points within the radius of places to 1, in place; arguments as in `cover_each`."""
    nu, nv, nw = shape[0], shape[1], shape[2]
    for i in range(places.shape[0]):
        radius = radii[i]
        pu, pv, pw = places[i, 0], places[i, 1], places[i, 2]
        for u in range(int(np.ceil(pu - radius * reach[0])), int(pu + radius * reach[0]) + 1):
            row = (u % nu) * nv
            for v in range(int(np.ceil(pv - radius * reach[1])), int(pv + radius * reach[1]) + 1):
                first, n = _run(u - pu, v - pv, pw, radius, lattice)
                line, w = (row + v % nv) * nw, first % nw
                end = min(w + n, nw)
                for at in range(line + w, line + end):
                    grid[at] = 1
                for at in range(line, line + min(w + n - end, nw)):
                    grid[at] = 1


@njit(nogil=True, cache=True)
def cover_each(
    stamp: np.ndarray, value: int, found: np.ndarray, begin: np.ndarray, first: np.ndarray,
    shape: np.ndarray, lattice: np.ndarray, places: np.ndarray, radii: np.ndarray,
    reach: np.ndarray,
) -> None:  # fmt: skip
    """Put the points within the radius of the places of each group into ``found``, in order.

    Parameters
    ----------
    stamp
        Of each point, flat; points whose stamp is negative are left out. Takes the values.
    value
        The stamp of the first group, positive and not used yet; the others have those that follow.
    found, begin
        Takes the points, and where those of each group begin, ``[n_groups + 1]``.
    first
        The places of group g are those from ``first[g]`` to ``first[g + 1]``.
    shape
        Points along the axes.
    lattice
        Steps of the grid in A, as columns ``[3, 3]``.
    places, radii
        ``[n, 3]`` in steps, ``[n]`` in A.
    reach
        Steps along each axis that a radius of 1 A reaches to, ``[3]``.
    """
    nu, nv, nw = shape[0], shape[1], shape[2]
    count = 0
    for g in range(first.shape[0] - 1):
        own = value + g
        for i in range(first[g], first[g + 1]):
            radius = radii[i]
            pu, pv, pw = places[i, 0], places[i, 1], places[i, 2]
            far_u, far_v = radius * reach[0], radius * reach[1]
            for u in range(int(np.ceil(pu - far_u)), int(pu + far_u) + 1):
                row = (u % nu) * nv
                for v in range(int(np.ceil(pv - far_v)), int(pv + far_v) + 1):
                    start, n = _run(u - pu, v - pv, pw, radius, lattice)
                    line, w = (row + v % nv) * nw, start % nw - 1
                    for _ in range(n):
                        w = w + 1 if w + 1 < nw else 0
                        point = line + w
                        if stamp[point] >= 0 and stamp[point] != own:
                            stamp[point] = own
                            found[count] = point
                            count += 1
        found[begin[g] : count].sort()
        begin[g + 1] = count


@njit(nogil=True, cache=True)
def without_islands(solvent: np.ndarray, shape: np.ndarray, least: int) -> None:
    """Set to 0 what hangs together in fewer points than ``least``, in place.

    A point hangs together with the 26 around it. Runs of points along the last axis are joined to
    those that they touch; a run knows another of its island, and the first of all knows itself.
    """
    nu, nv, nw = shape[0], shape[1], shape[2]
    n_lines = nu * nv
    first_run = np.zeros(n_lines + 1, dtype=np.int64)
    for line in range(n_lines):
        row = solvent[line * nw : (line + 1) * nw]
        count = 0
        for w in range(nw):
            if row[w] != 0 and (w == 0 or row[w - 1] == 0):
                count += 1
        first_run[line + 1] = first_run[line] + count
    n = first_run[n_lines]
    begin, end = np.empty(n, dtype=np.int32), np.empty(n, dtype=np.int32)
    for line in range(n_lines):
        row, at = solvent[line * nw : (line + 1) * nw], first_run[line] - 1
        for w in range(nw):
            if row[w] != 0:
                if w == 0 or row[w - 1] == 0:
                    at += 1
                    begin[at] = w
                end[at] = w + 1
    root = np.arange(n)
    for line in range(n_lines):
        u, v = line // nv, line % nv
        start, last = first_run[line], first_run[line + 1]
        if last == start:
            continue
        if begin[start] == 0 and end[last - 1] == nw:
            _join(root, start, last - 1)
        for k in range(4):
            beside = u if k == 3 else (u + 1) % nu
            other = beside * nv + ((v + 1) % nv if k == 3 else (v + k - 1) % nv)
            i, j, stop = start, first_run[other], first_run[other + 1]
            if j == stop:
                continue
            if begin[i] == 0 and end[stop - 1] == nw:
                _join(root, i, stop - 1)
            if begin[j] == 0 and end[last - 1] == nw:
                _join(root, last - 1, j)
            while i < last and j < stop:
                if begin[i] <= end[j] and begin[j] <= end[i]:
                    _join(root, i, j)
                if end[i] < end[j]:
                    i += 1
                else:
                    j += 1
    size = np.zeros(n, dtype=np.int64)
    for i in range(n):
        size[_root(root, i)] += end[i] - begin[i]
    for line in range(n_lines):
        for i in range(first_run[line], first_run[line + 1]):
            if size[_root(root, i)] < least:
                solvent[line * nw + begin[i] : line * nw + end[i]] = 0


@njit(nogil=True, cache=True)
def grown(points: np.ndarray, shape: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """Return which points are within some steps of points that are 1, uint8 over the grid.

    A line along w is held in bits, so that a step moves 64 of its points at once.

    Parameters
    ----------
    points
        0 or 1 at each point, uint8, flat.
    shape
        Points along the axes.
    runs
        The steps: along u and v, and the first and last along w of those, ``[n, 4]``; along w at
        most 31.
    """
    nu, nv, nw = shape[0], shape[1], shape[2]
    longest, far = 0, 0
    for k in range(runs.shape[0]):
        longest = max(longest, runs[k, 3] - runs[k, 2] + 1)
        far = max(far, -runs[k, 2], runs[k, 3])
    width, one = nw + 2 * far, np.uint64(1)
    n_words = width // 64 + 2
    # of a line with what lies beyond its ends, what runs of one, two, three steps make of it
    wide = np.zeros((longest, n_words), dtype=np.uint64)
    found = np.zeros((nu * nv, n_words), dtype=np.uint64)
    for line in range(nu * nv):
        any_ = np.uint64(0)
        for j in range(n_words):
            bits = np.uint64(0)
            for w in range(64 * j - far, min(64 * j + 64, width) - far):
                at = line * nw + _wrapped(w, nw)
                bits |= np.uint64(points[at]) << np.uint64(w + far - 64 * j)
            wide[0, j] = bits
            any_ |= bits
        if any_ == 0:
            continue
        for i in range(1, longest):
            shift, carried = np.uint64(i), np.uint64(0)
            for j in range(n_words):
                wide[i, j] = wide[i - 1, j] | (wide[0, j] << shift) | carried
                carried = wide[0, j] >> (np.uint64(64) - shift)
        u, v = line // nv, line % nv
        for k in range(runs.shape[0]):
            other = _wrapped(u + runs[k, 0], nu) * nv + _wrapped(v + runs[k, 1], nv)
            own, down = runs[k, 3] - runs[k, 2], np.uint64(far - runs[k, 2])
            for j in range(n_words - 1):  # in two shifts: one of 64 is not defined
                up = (wide[own, j + 1] << (np.uint64(63) - down)) << one
                found[other, j] |= (wide[own, j] >> down) | up
    whole = np.empty(points.shape[0], dtype=np.uint8)
    for line in range(nu * nv):
        for w in range(nw):
            whole[line * nw + w] = (found[line, w // 64] >> np.uint64(w % 64)) & one
    return whole


@njit(nogil=True, cache=True)
def _only_family(
    family: np.ndarray, shape: np.ndarray, several: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return of each block of 4 x 4 x 4 points the only family, -1 for none, ``several`` for more.

    And how many blocks there are along each axis.
    """
    nu, nv, nw = shape[0], shape[1], shape[2]
    blocks = (shape + 3) // 4
    only = np.full(blocks[0] * blocks[1] * blocks[2], -1, dtype=np.int32)
    for line in range(nu * nv):
        row = ((line // nv // 4) * blocks[1] + line % nv // 4) * blocks[2]
        for w in range(nw):
            own = family[line * nw + w]
            if own >= 0 and only[row + w // 4] != own:
                only[row + w // 4] = own if only[row + w // 4] < 0 else several
    return only, blocks


@njit(nogil=True, cache=True)
def _blocks_near(n: int, far: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the blocks of 4 points within some steps of each point of an axis, and how many."""
    found, count = np.empty((n, far // 2 + 3), dtype=np.int64), np.zeros(n, dtype=np.int64)
    for x in range(n):
        for step in range(-far, far + 1):
            block = ((x + step) % n) // 4
            if count[x] == 0 or found[x, count[x] - 1] != block:
                found[x, count[x]] = block
                count[x] += 1
    return found, count


@njit(nogil=True, cache=True)
def families_near(
    points: np.ndarray, steps: np.ndarray, shape: np.ndarray, family: np.ndarray, several: int,
    first: np.ndarray, found: np.ndarray,
) -> int:  # fmt: skip
    """Find the families of the neighbours of each point, but for ``several``.

    Most points have one family around them, as blocks of the grid tell.

    Parameters
    ----------
    points, steps, shape
        Points, ``[n]``; all steps to a neighbour, ``[n_steps, 3]``; points along the axes.
    family
        Of each point of the grid, -1 where there is none, int32. Each of ``points`` has a neighbour
        with one.
    first, found
        Takes where the families of each point begin in ``found``, ``[n + 1]``, and takes these.

    Returns
    -------
    int
        How many there are; with more than ``found`` takes it is not complete.
    """
    nu, nv, nw = shape[0], shape[1], shape[2]
    only, blocks = _only_family(family, shape, several)
    near_u, count_u = _blocks_near(nu, np.abs(steps[:, 0]).max())
    near_v, count_v = _blocks_near(nv, np.abs(steps[:, 1]).max())
    near_w, count_w = _blocks_near(nw, np.abs(steps[:, 2]).max())
    own, total = np.empty(steps.shape[0], dtype=np.int64), 0
    for i in range(points.shape[0]):
        line, w = points[i] // nw, points[i] % nw
        u, v = line // nv, line % nv
        first[i] = total
        one = -1
        for a in range(count_u[u]):
            for b in range(count_v[v]):
                row = (near_u[u, a] * blocks[1] + near_v[v, b]) * blocks[2]
                for c in range(count_w[w]):
                    here = only[row + near_w[w, c]]
                    if here >= 0 and here != one:
                        one = here if one < 0 else several
        n = 0
        if one != several:
            own[0], n = one, 1
        else:
            for k in range(steps.shape[0]):
                row = _wrapped(u + steps[k, 0], nu) * nv + _wrapped(v + steps[k, 1], nv)
                here = family[row * nw + _wrapped(w + steps[k, 2], nw)]
                if here < 0 or here == several:
                    continue
                j = 0
                while j < n and own[j] != here:
                    j += 1
                if j == n:
                    own[n] = here
                    n += 1
        if total + n <= found.shape[0]:
            found[total : total + n] = own[:n]
        total += n
    first[points.shape[0]] = total
    return total


@njit(nogil=True, cache=True)
def reach(
    points: np.ndarray, steps: np.ndarray, shape: np.ndarray, stamp: np.ndarray, value: int
) -> None:
    """Stamp all neighbours of some points, in place."""
    nu, nv, nw = shape[0], shape[1], shape[2]
    for i in range(points.shape[0]):
        line, w = points[i] // nw, points[i] % nw
        u, v = line // nv, line % nv
        for k in range(steps.shape[0]):
            row = _wrapped(u + steps[k, 0], nu) * nv + _wrapped(v + steps[k, 1], nv)
            stamp[row * nw + _wrapped(w + steps[k, 2], nw)] = value


@njit(nogil=True, cache=True)
def nearest(
    points: np.ndarray, steps: np.ndarray, shape: np.ndarray, place: np.ndarray, left: np.ndarray
) -> np.ndarray:
    """Return the place with most solvent left among the neighbours of each point, the first."""
    nu, nv, nw = shape[0], shape[1], shape[2]
    found = np.empty(points.shape[0], dtype=np.int64)
    for i in range(points.shape[0]):
        line, w = points[i] // nw, points[i] % nw
        u, v = line // nv, line % nv
        best = -1
        for k in range(steps.shape[0]):
            row = _wrapped(u + steps[k, 0], nu) * nv + _wrapped(v + steps[k, 1], nv)
            at = place[row * nw + _wrapped(w + steps[k, 2], nw)]
            if at >= 0 and (best < 0 or left[at] > left[best]):
                best = at
        found[i] = best
    return found


@njit(nogil=True, cache=True)
def halved(fine: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Return means on every second point along each axis, weights 1/4, 1/2, 1/4, flat float32.

    ``shape`` is that of the coarse grid.
    """
    nu, nv, nw = shape[0], shape[1], shape[2]
    coarse = np.empty(nu * nv * nw, dtype=np.float32)
    # sums of a line, at most 16, the last also before the first: in bytes, which make vectors
    row = np.empty(2 * nw + 1, dtype=np.uint8)
    own = row[1:]
    for u in range(nu):
        for v in range(nv):
            row[:] = 0
            for du in range(-1, 2):
                for dv in range(-1, 2):
                    weight = np.uint8((2 - abs(du)) * (2 - abs(dv)))
                    line = _wrapped(2 * u + du, 2 * nu) * 2 * nv + _wrapped(2 * v + dv, 2 * nv)
                    line *= 2 * nw
                    part = fine[line : line + 2 * nw]
                    for w in range(2 * nw):
                        own[w] += np.uint8(weight * part[w])
            row[0] = row[2 * nw]
            begin = (u * nv + v) * nw
            for w in range(nw):
                total = (
                    np.int64(row[2 * w]) + 2 * np.int64(row[2 * w + 1]) + np.int64(row[2 * w + 2])
                )
                coarse[begin + w] = total / 64.0
    return coarse


@njit(nogil=True, cache=True)
def spread(
    points: np.ndarray, values: np.ndarray, shape: np.ndarray, grid: np.ndarray, found: np.ndarray
) -> int:
    """Add points of a grid twice as fine to ``grid``, the coarse one, as `halved` shares them.

    ``found`` takes the places on it that were 0, 8 for each point at most; returns how many. No
    value is negative.
    """
    nu, nv, nw = shape[0], shape[1], shape[2]
    count = 0
    for i in range(points.shape[0]):
        if values[i] == 0:
            continue
        line, w = points[i] // (2 * nw), points[i] % (2 * nw)
        u, v = line // (2 * nv), line % (2 * nv)
        n = (1 + u % 2) * (1 + v % 2) * (1 + w % 2)
        part = values[i] / (8 * n)
        for a in range(1 + u % 2):
            for b in range(1 + v % 2):
                row = ((u // 2 + a) % nu) * nv + (v // 2 + b) % nv
                for c in range(1 + w % 2):
                    at = row * nw + (w // 2 + c) % nw
                    if grid[at] == 0:
                        found[count] = at
                        count += 1
                    grid[at] += part
    return count
