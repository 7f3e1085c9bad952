"""Loops that find out in which part of all molecules there is a way out for solvent.

Groups are there or not independently but for those of a set, so that the part is a sum over states
of the groups that decide: one after the other is taken to be there and away, until a way is open
or shut whatever the others are (factoring: Ball, Colbourn & Provan 1995, Handbooks in Operations
Research and Management Science 7, 673).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from multicopy_refinement.scaling.kernels.pockets import WAY_OUT

#: What a group is in a state of the molecule.
AWAY, THERE, UNKNOWN = 0, 1, 2
#: What unknown groups are taken for: all there, all away, or as in the most frequent molecule.
_THERE, _AWAY, _LIKELY = 0, 1, 2
#: In the place of a group that decides: whatever groups are there, a way is open, or shut.
_OPEN, _SHUT = -1, -2
#: States in which more groups are known than this are taken with all else as in the most frequent
#: molecule.
_LEVELS = 24
_NOTHING = 1e-9


@njit(nogil=True, cache=True)
def _stands(
    g: int, taken: int, state: np.ndarray, parent: np.ndarray, frequent: np.ndarray
) -> bool:
    """Return whether a group is there with what it is nested in, unknown ones as ``taken``."""
    while g >= 0:
        own = state[g]
        if own == AWAY:
            return False
        if own == UNKNOWN and (taken == _AWAY or (taken == _LIKELY and not frequent[g])):
            return False
        g = parent[g]
    return True


@njit(nogil=True, cache=True)
def _walk(
    start: int, taken: int, tag: int, graph: tuple, state: np.ndarray, seen: np.ndarray,
    before: np.ndarray, queue: np.ndarray,
) -> tuple[int, int]:  # fmt: skip
    """Walk from a cell to where solvent comes from.

    Returns
    -------
    int
        The last cell of the way, or -1 where none leads out.
    int
        How many cells there are in ``queue``: those that were walked through.
    """
    touched, first_touched, size, first, groups, parent, frequent, known, most = graph
    queue[0], seen[start], before[start] = start, tag, start
    n, at, room = 1, 0, size[start]
    if known[start] or room >= most:
        return start, n
    while at < n:
        here = queue[at]
        at += 1
        for k in range(first_touched[here], first_touched[here + 1]):
            cell = touched[k]
            if cell == WAY_OUT:
                return here, n
            if seen[cell] == tag:
                continue
            shut = False
            for j in range(first[cell], first[cell + 1]):
                if _stands(groups[j], taken, state, parent, frequent):
                    shut = True
                    break
            if shut:
                continue
            queue[n], seen[cell], before[cell] = cell, tag, here
            n += 1
            room += size[cell]
            if known[cell] or room >= most:
                return cell, n
    return -1, n


@njit(nogil=True, cache=True)
def _decides(start: int, tag: np.ndarray, graph: tuple, state: np.ndarray, work: tuple) -> int:
    """Return an unknown group that shuts a way out of a cell, or `_OPEN` or `_SHUT`."""
    first, groups, parent, frequent = graph[3], graph[4], graph[5], graph[6]
    lower, upper, before, queue = work
    tag[0] += 1
    end, _ = _walk(start, _THERE, tag[0], graph, state, lower, before, queue)
    if end >= 0:
        return _OPEN
    end, n = _walk(start, _AWAY, tag[0], graph, state, upper, before, queue)
    if end < 0:
        return _SHUT
    shut, cell = -1, end  # the first cell of the way that may be shut
    while cell != start:
        if lower[cell] != tag[0]:
            shut = cell
        cell = before[cell]
    if shut < 0:  # there is room enough, not on the way alone
        for k in range(n):
            if lower[queue[k]] != tag[0]:
                shut = queue[k]
                break
    for k in range(first[shut], first[shut + 1]):
        if _stands(groups[k], _THERE, state, parent, frequent):
            found, g = -1, groups[k]
            while g >= 0:  # what it is nested in first
                if state[g] == UNKNOWN:
                    found = g
                g = parent[g]
            return found
    return _OPEN


@njit(nogil=True, cache=True)
def _shares(own: int, fixed: np.ndarray, sets: tuple, parent: np.ndarray) -> tuple[float, float]:
    """Return how often none of a family's unknown members is there, and how often one is.

    In all molecules in which what is known of it is so.
    """
    whole, occupancy, first_member, members, bare = sets
    begin, end = first_member[own], first_member[own + 1]
    above = parent[members[begin]]
    none, one = occupancy[above] if above >= 0 else 1.0, 0.0
    for k in range(begin, end):
        g = members[k]
        none -= occupancy[g]
        if not fixed[g]:
            one += occupancy[g] * bare[g]
    return (0.0 if whole[members[begin]] else max(none, 0.0)), one


@njit(nogil=True, cache=True)
def _take(
    own: int, option: int, state: np.ndarray, fixed: np.ndarray, sets: tuple, parent: np.ndarray
) -> float:
    """Let one member of a family be there, or none (the last option); return how often it is so."""
    whole, occupancy, first_member, members, bare = sets
    begin, n = first_member[own], first_member[own + 1] - first_member[own]
    best = -1
    for k in range(begin, begin + n):
        g = members[k]
        if fixed[g]:
            continue
        state[g] = AWAY
        if best < 0 or occupancy[g] > occupancy[best]:
            best = g
    one = -1
    if option < n:
        one = members[begin + option]
        if fixed[one]:
            return 0.0
        state[one] = THERE
    none, some = _shares(own, fixed, sets, parent)
    if none + some < _NOTHING:
        return 1.0 if one == (best if whole[members[begin]] else -1) else 0.0
    here: float = occupancy[one] * bare[one] if one >= 0 else none
    return here / (none + some)


@njit(nogil=True, cache=True)
def _chance(
    start: int, tag: np.ndarray, graph: tuple, family: np.ndarray, sets: tuple,
    state: np.ndarray, fixed: np.ndarray, work: tuple, stack: tuple, rare: float,
) -> float:  # fmt: skip
    """Return how often a way leads out of a cell, over the states of unknown groups."""
    first_member, members, parent = sets[2], sets[3], graph[5]
    own, option, weight = stack
    decides = _decides(start, tag, graph, state, work)
    if decides < 0:
        return 1.0 if decides == _OPEN else 0.0
    own[0], option[0], weight[0] = family[decides], 0, 1.0
    level, found = 0, 0.0
    while level >= 0:
        begin, end = first_member[own[level]], first_member[own[level] + 1]
        if option[level] > end - begin:  # all options have been taken
            for k in range(begin, end):
                if not fixed[members[k]]:
                    state[members[k]] = UNKNOWN
            level -= 1
            continue
        here = weight[level] * _take(own[level], option[level], state, fixed, sets, parent)
        option[level] += 1
        if here < _NOTHING:
            continue
        decides = _decides(start, tag, graph, state, work)
        if decides == _OPEN:
            found += here
        elif decides != _SHUT:
            if here < rare or level + 1 == own.shape[0]:
                tag[0] += 1
                last, _ = _walk(start, _LIKELY, tag[0], graph, state, work[1], work[2], work[3])
                if last >= 0:
                    found += here
            else:
                level += 1
                own[level], option[level], weight[level] = family[decides], 0, here
    return found


@njit(nogil=True, cache=True)
def chances(
    cells: np.ndarray, there: np.ndarray, away: np.ndarray, rare: float, tag: np.ndarray,
    graph: tuple, family: np.ndarray, sets: tuple, state: np.ndarray, fixed: np.ndarray,
    work: tuple, memory: tuple,
) -> np.ndarray:  # fmt: skip
    """Return how often solvent gets to each of some cells, in those molecules that have a state.

    Parameters
    ----------
    cells
        Those that are asked about, none of which is covered in that state.
    there, away
        Groups that are known to be there, and away.
    rare
        States that are in a smaller part of these molecules are taken with all else as in the most
        frequent one.
    tag
        The last number that was used to tell walks apart, ``[1]``.
    graph
        ``touched, first_touched, size, first, groups, parent, frequent, known, most``. Cell i
        touches ``touched[first_touched[i]:first_touched[i + 1]]``, `WAY_OUT` among them where there
        is a way out, has ``size[i]`` points and is covered by
        ``groups[first[i]:first[i + 1]]``. ``parent`` is the group in which each is nested or -1,
        ``frequent`` whether it is in the most frequent molecule, ``known`` whether a way leads out
        of a cell with all groups there; fewer than ``most`` points that hang together with nothing
        else are an island.
    family, sets
        Of each group the number of its family, and
        ``whole, occupancy, first_member, members, bare``: of each group whether its family is never
        all away, q, and 1; the groups of family f are
        ``members[first_member[f]:first_member[f + 1]]``.
    state, fixed
        Of each group, `UNKNOWN` and False; they are so again afterwards, as is ``bare``: how often
        what is nested in a group and known to be away is away where that is there.
    work, memory
        Room for each cell: ``lower, upper, before, queue``, and ``region, tag, chance``.
    """
    whole, occupancy, first_member, members, bare = sets
    region, of_tag, of_cell = memory
    parent = graph[5]
    levels = (np.empty(_LEVELS, np.int64), np.empty(_LEVELS, np.int64), np.empty(_LEVELS))
    for g in there:
        state[g], fixed[g] = THERE, True
    possible = True
    for g in away:
        state[g], fixed[g] = AWAY, True
        above = parent[g]
        if above >= 0 and occupancy[above] > _NOTHING:  # then that is less likely there, too
            bare[above] = max(bare[above] - occupancy[g] / occupancy[above], 0.0)
    for g in away:
        if not whole[g]:
            continue
        n, last = 0, -1  # somebody of its family is there
        for k in range(first_member[family[g]], first_member[family[g] + 1]):
            mate = members[k]
            if not fixed[mate] or state[mate] == THERE:
                n, last = n + 1, mate
        if n == 0:
            possible = False
        elif n == 1:
            state[last] = THERE  # not fixed: it is taken with certainty
    found = np.zeros(cells.shape[0])
    tag[0] += 1
    base = tag[0]
    for i in range(cells.shape[0]):
        if not possible:
            break
        cell = cells[i]
        if of_tag[cell] != base:
            # where a way leads on in any case the chance is the same
            tag[0] += 1
            end, n = _walk(cell, _THERE, tag[0], graph, state, work[0], work[2], region)
            chance = 1.0
            if end < 0:
                chance = _chance(cell, tag, graph, family, sets, state, fixed, work, levels, rare)
            for k in range(n):
                of_tag[region[k]], of_cell[region[k]] = base, chance
        found[i] = of_cell[cell]
    for g in there:
        state[g], fixed[g] = UNKNOWN, False
    for g in away:
        state[g], fixed[g] = UNKNOWN, False
        if parent[g] >= 0:
            bare[parent[g]] = 1.0
        if whole[g]:
            for k in range(first_member[family[g]], first_member[family[g] + 1]):
                if not fixed[members[k]]:
                    state[members[k]] = UNKNOWN
    return found


@njit(nogil=True, cache=True)
def chances_where_away(
    order: np.ndarray, begin: np.ndarray, rare: float, tag: np.ndarray, graph: tuple,
    family: np.ndarray, sets: tuple, state: np.ndarray, fixed: np.ndarray, work: tuple,
    memory: tuple,
) -> np.ndarray:  # fmt: skip
    """Return for each cell how often solvent gets there in molecules in which it is not covered.

    ``order`` are cells, those that the same groups cover beside one another, and ``begin`` where
    each of these begins. ``rare`` is a part of all molecules, the others are as in `chances`.
    """
    first, groups, occupancy = graph[3], graph[4], sets[1]
    found, none = np.zeros(first.shape[0] - 1), np.empty(0, dtype=np.int64)
    for run in range(begin.shape[0] - 1):
        cells = order[begin[run] : begin[run + 1]]
        away = groups[first[cells[0]] : first[cells[0] + 1]]
        often = 1.0
        for i in range(away.shape[0]):
            here = 0.0  # of its family, once
            for j in range(away.shape[0]):
                if family[away[j]] == family[away[i]]:
                    here = here + occupancy[away[j]] if j >= i else 2.0
            if here < 2.0:
                often *= max(1 - here, 0.0)
        found[cells] = chances(
            cells,
            none,
            away,
            rare / max(often, rare),
            tag,
            graph,
            family,
            sets,
            state,
            fixed,
            work,
            memory,
        )
    return found


@njit(nogil=True, cache=True)
def chances_where_there(
    chance: np.ndarray, order: np.ndarray, begin: np.ndarray, own_cells: np.ndarray,
    first_own: np.ndarray, rare: float, tag: np.ndarray, graph: tuple, family: np.ndarray,
    sets: tuple, state: np.ndarray, fixed: np.ndarray, work: tuple, memory: tuple,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Find how often solvent gets to the cells of a family where each of its groups is there.

    And where all of them are away.

    Parameters
    ----------
    chance
        Of each cell; takes that of the families that may be away as a whole, and of others the
        largest with one of their groups there.
    order, begin
        The cells of family f are ``order[begin[f]:begin[f + 1]]``.
    own_cells, first_own
        Group g covers ``own_cells[first_own[g]:first_own[g + 1]]``.
    rare, tag, graph, family, sets, state, fixed, work, memory
        As in `chances`.

    Returns
    -------
    ndarray, ndarray, ndarray
        For each group the cells of its family that it does not cover, one after the other, how
        often solvent gets there where it is, and where those of each group begin.
    """
    whole, first_member, members, parent = sets[0], sets[2], sets[3], graph[5]
    n_groups, none = family.shape[0], np.empty(0, dtype=np.int64)
    first = np.zeros(n_groups + 1, dtype=np.int64)
    for g in range(n_groups):
        first[g + 1] = first[g] + begin[family[g] + 1] - begin[family[g]]
    cells, found = np.empty(first[n_groups], dtype=np.int64), np.empty(first[n_groups])
    covers = np.zeros(chance.shape[0], dtype=np.bool_)
    there, away = np.empty(n_groups, dtype=np.int64), np.empty(n_groups, dtype=np.int64)
    n = 0
    for g in range(n_groups):
        f = family[g]
        own = order[begin[f] : begin[f + 1]]
        mates = members[first_member[f] : first_member[f + 1]]
        if g == mates[0] and not whole[g]:
            chance[own] = chances(
                own, none, mates, rare, tag, graph, family, sets, state, fixed, work, memory
            )  # fmt: skip
        covered = own_cells[first_own[g] : first_own[g + 1]]
        covers[covered] = True
        first[g] = n
        for cell in own:
            if not covers[cell]:
                cells[n] = cell
                n += 1
        covers[covered] = False
        n_there, n_away, one = 0, 0, g  # with what it is nested in
        while one >= 0:
            there[n_there] = one
            n_there += 1
            for k in range(first_member[family[one]], first_member[family[one] + 1]):
                if members[k] != one:
                    away[n_away] = members[k]
                    n_away += 1
            one = parent[one]
        free = cells[first[g] : n]
        found[first[g] : n] = chances(
            free, there[:n_there], away[:n_away], rare, tag, graph, family, sets, state, fixed,
            work, memory,
        )  # fmt: skip
        if whole[g]:
            for k in range(first[g], n):
                chance[cells[k]] = max(chance[cells[k]], found[k])
    first[n_groups] = n
    return cells[:n], found[:n], first
