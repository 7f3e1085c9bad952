"""Values of atoms and of their groups: means, ranges, and scaling within sets."""

from __future__ import annotations

import torch
from torch import Tensor

from multicopy_refinement.errors import OccupancyError

#: How far members of a set may be from what they must sum to.
SUM_TOLERANCE = 1e-5


def group_means(values: Tensor, index: Tensor) -> Tensor:
    """Return the mean of the values of each group, bit for bit where they are all the same."""
    n_groups = int(index.max()) + 1 if len(index) else 0
    any_member = values.new_zeros(n_groups).scatter(0, index, values)
    if not bool((any_member[index] != values).any()):  # the usual case, in a few passes
        return any_member
    low = values.new_zeros(n_groups).scatter_reduce(0, index, values, "amin", include_self=False)
    high = values.new_zeros(n_groups).scatter_reduce(0, index, values, "amax", include_self=False)
    total = values.new_zeros(n_groups).index_add(0, index, values)
    count = torch.bincount(index, minlength=n_groups).to(values.dtype)
    return torch.where(low == high, low, total / count)


def group_any(mask: Tensor, index: Tensor) -> Tensor:
    """Return, for each group, whether the mask holds for any of its atoms."""
    n_groups = int(index.max()) + 1 if len(index) else 0
    return torch.bincount(index, mask.to(torch.float32), minlength=n_groups) > 0


def check_range(values: Tensor, label: str) -> None:
    """Refuse occupancies that are not one-dimensional, finite and in [0, 1]."""
    if values.ndim != 1:
        raise OccupancyError(
            f"{label}: occupancies must be one-dimensional, one for each atom, "
            f"not of shape {tuple(values.shape)}"
        )
    if len(values) == 0 or (float(values.min()) >= 0 and float(values.max()) <= 1):
        return  # min and max are nan where any value is
    bad = torch.nonzero(~((values >= 0) & (values <= 1)))
    if len(bad):
        index = int(bad[0])
        raise OccupancyError(
            f"{label}: value {float(values[index])} at index {index} must be "
            "finite and lie in [0, 1]"
        )


def per_atom_mask(mask: Tensor | None, values: Tensor) -> Tensor:
    """Return a mask of one value an atom, all refinable where none is given."""
    if mask is None:
        return torch.ones(len(values), dtype=torch.bool, device=values.device)
    given = torch.as_tensor(mask, device=values.device).bool()
    if given.shape != values.shape:
        raise OccupancyError(
            f"refinable_mask must have shape {tuple(values.shape)}, one for each "
            f"atom, not {tuple(given.shape)}"
        )
    return given


def scale_partners(
    values: Tensor, group: int, partners: Tensor, refinable: Tensor, where: str, wanted: float,
    complete: bool,
) -> None:  # fmt: skip
    """Scale the refinable partners of a group so that the set reaches its sum, ratios kept."""
    free = partners[refinable[partners]]
    held = float(values[partners[~refinable[partners]]].sum())
    left = wanted - float(values[group]) - held
    if left < -SUM_TOLERANCE or (complete and len(free) == 0 and left > SUM_TOLERANCE):
        rule = f"must sum to {'' if complete else 'at most '}{wanted:.6g}"
        raise OccupancyError(
            f"{where}: value {float(values[group]):.6g} cannot be: the fixed "
            f"members of its set hold {held:.6g}, and the set {rule}"
        )
    share_out(values, free, left, complete=complete)


def share_out(values: Tensor, free: Tensor, room: float, *, complete: bool) -> None:
    """Scale the values of ``free`` in place, ratios kept, to fill a room, or to fit into it."""
    present = values[free]
    total = float(present.sum())
    if len(free) == 0 or (not complete and total <= room):
        return
    share = present / total if total > 0 else torch.full_like(present, 1.0 / len(free))
    values[free] = (share * max(room, 0.0)).clamp(0.0, 1.0)


def clamped_set(values: Tensor, low: float, high: float, number: int, wanted: float) -> Tensor:
    """Return the point of the set's simplex within the bounds that keeps ratios where it can."""
    n = len(values)
    if low * n > wanted + SUM_TOLERANCE or high * n < wanted - SUM_TOLERANCE:
        raise OccupancyError(
            f"set {number}: {n} occupancies in [{low}, {high}] cannot sum to {wanted:g}"
        )
    base = values.clamp_min(1e-12).double()
    down, up = 0.0, max(1.0, wanted) / float(base.min())
    for _ in range(100):  # bisection on the factor: the clamped sum grows with it
        factor = 0.5 * (down + up)
        if float((base * factor).clamp(low, high).sum()) < wanted:
            down = factor
        else:
            up = factor
    return (base * up).clamp(low, high).to(values.dtype)
