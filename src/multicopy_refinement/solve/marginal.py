"""Marginal uncertainties of occupancies: coordinates and displacements near them count in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.parallel import in_threads
from multicopy_refinement.posterior.bijvoet import SampledDifferences
from multicopy_refinement.posterior.blocks import Kind, Point
from multicopy_refinement.posterior.data_term import SampledSlopes
from multicopy_refinement.posterior.posterior import Posterior
from multicopy_refinement.scattering.atom_slopes import unknowns_of_atoms
from multicopy_refinement.solve.covariance import Covariance, flat_sds
from multicopy_refinement.solve.local import Block, Local, Surroundings

#: Reflections for an unknown of the largest surroundings, and at least: su from a sample of so many
#: are within 3% of those from all, and by 0.1 to 0.7% too small in the mean (1g8a, mpro, 4cjl).
#: With half as many at least, for which many groups have to do, they are within 5%. Where solvent
#: alone is not known for certain they are within 1% (ten data sets).
_FOR_AN_UNKNOWN, _FEWEST, _FEWEST_OF_MANY = 5, 3000, 1500
_MANY = 400
#: Of many sets so many are worked on as one, where they share half of what is near them.
_TOGETHER = 3
#: A group displaces more or less solvent than the model of it says, by this part (one sigma).
SOLVENT_SIGMA = 0.3
#: How much of the solvent is in a hole where it is in doubt whether it gets there (one sigma).
POCKET_SIGMA = 0.5
#: Of how much solvent is displaced, or in holes, data have to see this part of what is known of it.
_SEEN = 0.01
#: Elements of the slopes of atoms that are kept at once.
_ELEMENTS = 20_000_000
#: Atoms of a set and near it that count; the nearest do where there are more.
MOST_ATOMS = 300


@dataclass(frozen=True, eq=False)
class Marginal:
    """Uncertainties with coordinates and displacements counted in.

    Attributes
    ----------
    covariance
        Of the occupancies.
    su_xyz, su_b
        Of the coordinates of atoms of the groups (A, the root of the mean variance over x, y, z)
        and of their B (A^2, of an anisotropic atom the equivalent one), nan for others,
        ``[n_atoms]``.
    change
        By how much the occupancies would change were coordinates and displacements refined with
        them, to first order; nan where they are at their best, ``[n_groups]``.
    """

    covariance: Covariance
    su_xyz: FloatArray
    su_b: FloatArray
    change: FloatArray


def dependent_sets(sums: SumConstraints) -> tuple[IntArray, ...]:
    """Return the groups that sums tie to one another, alone those that none does."""
    n = len(sums.set_index)
    root = np.arange(n)
    for number, members in enumerate(sums.members):
        parent = int(sums.parent[number])
        tied = members if parent < 0 else np.append(members, parent)
        if len(tied):
            root[np.isin(root, root[tied])] = root[tied].min()
    return tuple(np.flatnonzero(root == r) for r in np.unique(root))


def with_surroundings(
    posterior: Posterior, at: Point, found: Covariance, around: Surroundings
) -> Marginal:
    """Return the covariance in which coordinates and displacements are marginalised, too.

    For the groups q of each set, with p the other groups nearby, scale and solvent, how much of it
    the groups displace, whether it gets to where they are not, and the coordinates and
    displacements of the atoms of the set and near it, R what is known of these,

        cov(q) = Z [Z'(H_qq - H_qp (H_pp + R)^-1 H_pq) Z]^-1 Z'.

    H is that of a sample of the reflections, drawn evenly over resolution; what a sample takes from
    the information beyond its share is given back: with n reflections for p determined unknowns
    the Schur complement is (n - p)/n of the right one in the mean (Muirhead 1982, Aspects of
    Multivariate Statistical Theory, theorem 3.2.10). Correlations between sets are those
    that they had.

    With g the derivatives of log p, where coordinates and displacements are not at their best,

        dq = cov(q) [g_q - H_qp (H_pp + R)^-1 g_p]

    is what refining all of it would change, to first order: one step of Gauss & Newton.
    """
    whole = posterior.with_nuisance(at)
    offset = unknowns_of_atoms(around.tensor)
    sizes = np.diff(offset)
    fewest = _FEWEST
    largest = max((int(sizes[near].sum()) for near in around.near), default=0)
    if largest and len(around.sets) >= _MANY:
        around, fewest = _together(around), _FEWEST_OF_MANY
        largest = max(int(sizes[near].sum()) for near in around.near)
    n = len(around.order)
    wanted = max(fewest, _FOR_AN_UNKNOWN * largest)
    step = max(1, n // wanted)
    rows = posterior.data.observable.closed(np.sort(around.order[step // 2 :: step]))
    slopes = posterior.data.sampled_slopes(whole, rows)
    measured: list[SampledSlopes | SampledDifferences] = [slopes]
    if posterior.differences is not None:
        measured.append(posterior.differences.sampled_slopes(whole, rows))
    unsampled = 1 - len(rows) / n
    of_groups = _beside([one.of[Kind.OCCUPANCY] for one in measured])
    kinds = [kind for kind in slopes.of if kind is not Kind.OCCUPANCY]
    scale = np.concatenate([of_groups[:0], *(_beside([o.of[k] for o in measured]) for k in kinds)])
    displaced = _felt(_beside([SOLVENT_SIGMA * one.displaced for one in measured]))
    pockets = _felt(_beside([POCKET_SIGMA * one.pockets for one in measured]))
    used = max(slopes.n_used, 1)
    gradients = None
    if around.pull is not None:
        gradient = Point(whole.space, posterior.scaled_gradient(whole))
        gradients = gradient[Kind.OCCUPANCY], gradient.x[whole.space.indices(kinds)]
    equalities = posterior.sums.equalities[0]
    blocks: list[Block | None] = [None] * len(around.sets)
    for batch in _batches(around, sizes, len(rows)):
        atoms = np.unique(np.concatenate([around.near[i] for i in batch]))
        place = np.full(len(sizes), -1)
        place[atoms] = np.arange(len(atoms))
        tensor = around.tensor[atoms]
        of_atoms = _beside(
            [one.of_atoms(around.atoms, atoms, around.hkl[rows], tensor) for one in measured]
        )
        local = Local(
            equalities, around, of_groups, scale, displaced, pockets, of_atoms, place,
            unknowns_of_atoms(tensor), unsampled, used, offset, gradients,
        )  # fmt: skip

        def work(first: int, last: int, local: Local = local, batch: list[int] = batch) -> None:
            for i in range(first, last):
                blocks[batch[i]] = local.block(batch[i])

        in_threads(work, len(batch))
    su_xyz, su_b = np.full((2, len(sizes)), np.nan)
    change = np.full(len(of_groups), np.nan)
    made = [block for block in blocks if block is not None]
    for own, block in zip(around.sets, made, strict=True):
        su_xyz[block.atoms], su_b[block.atoms] = block.su_xyz, block.su_b
        change[own] = block.change
    return Marginal(_widened(found, around.sets, made), su_xyz, su_b, change)


def _beside(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return slopes of several kinds of observations beside one another."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _felt(slopes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return slopes in units of what is known of each; 0 of those that data see next to nothing of.

    They would widen no su by more than half of that part.
    """
    return np.asarray(slopes * ((slopes**2).sum(axis=1, keepdims=True) > _SEEN))


def _batches(around: Surroundings, sizes: IntArray, n_rows: int) -> list[list[int]]:
    """Return sets that are worked on together, so that the slopes of their atoms fit."""
    batches: list[list[int]] = [[]]
    taken = np.full(len(sizes), -1)
    unknowns = 0
    for i in _along_the_cell(around):
        near = around.near[i]
        more = int(sizes[near[taken[near] < len(batches) - 1]].sum())
        if batches[-1] and (unknowns + more) * n_rows > _ELEMENTS:
            batches.append([])
            unknowns, more = 0, int(sizes[near].sum())
        taken[near] = len(batches) - 1
        unknowns += more
        batches[-1].append(i)
    return [batch for batch in batches if batch]


def _together(around: Surroundings) -> Surroundings:
    """Return neighbours among many sets as one: what is near one of them counts for all."""
    set_of_group = np.full(int(around.group_of_atom.max(initial=-1)) + 2, -1)
    for i, own in enumerate(around.sets):
        set_of_group[own] = i
    near = [set(atoms.tolist()) for atoms in around.near]
    beside = [set_of_group[around.group_of_atom[atoms]].tolist() for atoms in around.near]
    taken, found, sets = [False] * len(near), [], []
    for i in _along_the_cell(around):
        if taken[i]:
            continue
        taken[i], one, union = True, [i], near[i].copy()
        for j in beside[i]:
            if len(one) == _TOGETHER or len(union) > MOST_ATOMS // 2:
                break
            if j >= 0 and not taken[j] and 2 * len(near[j] - union) <= len(near[j]):
                taken[j] = True
                one.append(j)
                union |= near[j]
        atoms = np.concatenate([around.near[j] for j in one])
        _, first = np.unique(atoms, return_index=True)
        found.append(atoms[np.sort(first)])
        sets.append(np.concatenate([around.sets[j] for j in one]))
    return replace(around, near=tuple(found), sets=tuple(sets))


def _along_the_cell(around: Surroundings) -> list[int]:
    """Return the sets in the order of the place of their nearest atom along the longest axis."""
    cell = around.atoms.cell
    axis = int(np.argmax(cell.parameters[:3]))
    along = around.atoms.xyz.double().numpy() @ cell.fractionalization[axis] % 1.0
    place = [float(along[near[0]]) if len(near) else 0.0 for near in around.near]
    return [int(i) for i in np.argsort(place, kind="stable")]


def _widened(found: Covariance, sets: tuple[IntArray, ...], blocks: list[Block]) -> Covariance:
    """Return a covariance with other blocks for the sets; su_conditional is that of held atoms."""
    held, conditional, moving = (
        [getattr(block, name) for block in blocks] for name in ("held", "conditional", "moving")
    )
    alone, of_held = found.data_alone, found.conditional
    if alone is not None:
        alone = replace(alone, matrix=_wider(alone.matrix, sets, held, moving))
    if of_held is not None:
        of_held = replace(of_held, matrix=_wider(found.matrix, sets, held, conditional))
    variance = np.diag(found.matrix).copy()
    for own, before, after in zip(sets, held, conditional, strict=True):
        variance[own] *= _growth(before, after)
    su = np.sqrt(np.maximum(variance, 0.0))
    su[np.isnan(found.su_conditional) | (su > flat_sds(found.sums))] = np.nan
    return replace(
        found, matrix=_wider(found.matrix, sets, held, moving), data_alone=alone,
        conditional=of_held, su_conditional=su,
    )  # fmt: skip


def _wider(
    matrix: FloatArray, sets: tuple[IntArray, ...], held: list[FloatArray],
    others: list[FloatArray],
) -> FloatArray:  # fmt: skip
    """Return a covariance whose blocks grow as those of ``held`` do that become ``others``."""
    ratio = np.ones(len(matrix))
    for own, before, after in zip(sets, held, others, strict=True):
        ratio[own] = np.sqrt(np.maximum(_growth(before, after), 1.0))
    wide = matrix * ratio
    wide *= ratio[:, None]
    for own, before, after in zip(sets, held, others, strict=True):
        size = np.sqrt(np.maximum(np.diag(before), 1e-300))
        square = np.ix_(own, own)
        gain = np.sqrt(np.maximum(np.diag(matrix[square]), 0.0)) / size
        wide[square] = after * np.outer(gain, gain)
    return wide


def _growth(before: FloatArray, after: FloatArray) -> FloatArray:
    """Return by what variances grow; 1 of a set whose members coincide, if nothing is seen."""
    old = np.diag(before)
    return np.asarray(np.where(old > 0, np.diag(after), 1.0) / np.where(old > 0, old, 1.0))
