"""Occupancies with one stored parameter for each group of atoms."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from multicopy_refinement.errors import OccupancyError
from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.parameters.collapse import (
    SUM_TOLERANCE,
    check_range,
    clamped_set,
    group_any,
    group_means,
    per_atom_mask,
    scale_partners,
    share_out,
)
from multicopy_refinement.parameters.groups import (
    AltlocGroups,
    SetMembers,
    SharingGroups,
    expansion_from_groups,
    members_from_lists,
    members_from_sums,
)
from multicopy_refinement.parameters.mixed import MixedTensor, as_float_tensor
from multicopy_refinement.parameters.transforms import Sigmoid, Transform, UnitClamp

if TYPE_CHECKING:
    import pandas as pd

#: Members of a set of at most a total, and the room that it leaves, are no smaller parts of it.
ODDS_MARGIN = 1e-6
#: Logits beyond this are taken as this inside a set, so that no sum of sigmoids underflows.
LOGIT_LIMIT = 30.0


class OccupancyTensor(MixedTensor):
    r"""Occupancies of atoms, stored once for each sharing group.

    An atom's value is that of its group, ``q_atom = q[expansion_mask]``. A group outside any set
    has :math:`q_i = \sigma(l_i)`. In a complete set the refinable members share what its held
    members leave,

    .. math:: q_i = (1 - \sum_{held} q_k)\, \sigma(l_i) / \sum_{j\,free} \sigma(l_j),

    so that the sum is 1 at every evaluation. Sets of other sums come as `SetMembers`: their total
    takes the place of 1, and so does the occupancy of a parent group (nested states). In a set of
    at most a total T the stored values are logarithms of odds against the room that is left over,
    :math:`q_i = T\, e^{l_i} / (1 + \sum_j e^{l_j})`: for one group that is T times the sigmoid.

    Parameters
    ----------
    initial_values
        Occupancy of each atom, ``[n_atoms]``, in [0, 1]; a group takes the mean of its atoms.
    refinable_mask
        Bool, ``[n_atoms]``; a group is refinable when any of its atoms is.
    sharing_groups
        Lists of atom indices, or the collapsed index of each atom as an integer tensor.
    altloc_groups
        Sets of conformations, each a list of atom indices, or `SetMembers`.
    requires_grad, dtype, device, name
        As for `MixedTensor`.
    use_sigmoid
        False stores occupancies themselves, held to [0, 1], in place of logits.

    Raises
    ------
    ValueError
        What breaks a rule; the message names the index, the value and the rule.

    Examples
    --------
    >>> import torch
    >>> q = OccupancyTensor(
    ...     torch.tensor([1.0, 0.6, 0.6, 0.4, 0.4]),
    ...     sharing_groups=[[1, 2], [3, 4]], altloc_groups=[[[1, 2], [3, 4]]],
    ... )
    >>> q.collapsed_shape, q.expansion_mask.tolist()
    ((3,), [2, 0, 0, 1, 1])
    >>> q.set_group_occupancy(0, 0.7)
    >>> round(q.get_group_occupancy(1), 4)
    0.3
    """

    expansion_mask: Tensor
    _set_group: Tensor
    _set_index: Tensor
    _set_total: Tensor
    _set_complete: Tensor
    _set_parent: Tensor
    _set_level: Tensor
    _free_place: Tensor
    _free_set: Tensor
    _held_group: Tensor
    _held_set: Tensor

    def __init__(
        self,
        initial_values: Tensor,
        refinable_mask: Tensor | None = None,
        sharing_groups: SharingGroups | None = None,
        altloc_groups: AltlocGroups | SetMembers | None = None,
        *,
        requires_grad: bool = True,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        name: str | None = None,
        use_sigmoid: bool = True,
    ) -> None:
        values = as_float_tensor(initial_values, dtype, device)
        check_range(values, name or type(self).__name__)
        expansion = expansion_from_groups(sharing_groups, len(values)).to(values.device)
        mask = per_atom_mask(refinable_mask, values)
        # plain attributes: they may be set before nn.Module is initialised, and the transform must
        self.use_sigmoid = use_sigmoid
        self.transform: Transform = Sigmoid() if use_sigmoid else UnitClamp()
        super().__init__(
            group_means(values, expansion),
            group_any(mask, expansion),
            requires_grad=requires_grad,
            name=name,
        )
        self.register_buffer("expansion_mask", expansion)
        members = altloc_groups
        if not isinstance(members, SetMembers):
            members = members_from_lists(members or [], expansion)
        self.register_buffer("_set_group", members.group.to(values.device))
        self.register_buffer("_set_index", members.set_index.to(values.device))
        self.n_sets = members.n_sets
        self._register_sums(members, values)
        for table in ("_free_place", "_free_set", "_held_group", "_held_set"):
            self.register_buffer(table, torch.empty(0, dtype=torch.long), persistent=False)
        self._check_sets(self._held, self.refinable_mask)
        self._tabulate_sets()
        if self._any_odds:
            self._store(self._held, self.refinable_mask)

    @classmethod
    def from_residue_groups(
        cls, initial_values: Tensor, pdb_dataframe: pd.DataFrame, **kwargs: Any
    ) -> OccupancyTensor:
        """Return a tensor grouped by the default ``residue`` rules.

        Parameters
        ----------
        initial_values
            Occupancy of each atom, ``[n_atoms]``.
        pdb_dataframe
            One row an atom, with the columns of ``Model.pdb``.
        kwargs
            Passed to the constructor; ``refinable_mask``, ``sharing_groups`` and
            ``altloc_groups`` overrule what the rules give.
        """
        # grouping belongs to the layer above; it is called from here for the reader's convenience
        from multicopy_refinement.atoms.table import AtomTable
        from multicopy_refinement.occupancy.automatic.residues import group_by_residue

        table = AtomTable.from_frame(pdb_dataframe)
        occupancy = torch.as_tensor(initial_values).detach().double().cpu().numpy()
        groups = group_by_residue(table.with_occupancy(occupancy)).groups
        options: dict[str, Any] = {
            "refinable_mask": torch.as_tensor(groups.refined[groups.index]),
            "sharing_groups": torch.as_tensor(groups.index),
            "altloc_groups": members_from_sums(groups.sums),
        }
        if "sharing_groups" in kwargs:  # other indices: name the members by their atoms
            options["altloc_groups"] = [
                [groups.members[g].tolist() for g in one.groups] for one in groups.sets
            ]
        return cls(initial_values, **{**options, **kwargs})

    # ------------------------------------------------------------------ evaluation

    def _constrain(self, free: Tensor) -> Tensor:
        """Share, in each set, what its held members leave among the refinable ones."""
        if self.n_sets == 0:
            return free
        raw = self.refinable_params[self._free_place]
        limited = raw.clamp(-LOGIT_LIMIT, LOGIT_LIMIT) if self.use_sigmoid else raw.clamp_min(1e-12)
        weight = self.transform.forward(limited)
        nothing = weight.new_zeros(self.n_sets)
        slack = nothing
        if self._any_odds:  # sets of at most a total: odds against what is left over
            odds = ~self._set_complete
            weight = torch.where(odds[self._free_set], limited.exp(), weight)
            slack = odds.to(weight)
        total = slack.index_add(0, self._free_set, weight)
        fixed = self._fixed_part()
        held = nothing.index_add(0, self._held_set, fixed[self._held_group])
        for level in range(self._n_levels):
            wanted = self._set_total if level == 0 else self._wanted(free, fixed)
            left = (wanted - held).clamp_min(0.0)
            share = weight / total[self._free_set] * left[self._free_set]
            if not self.use_sigmoid:
                fits = ~self._set_complete & (total <= left)
                share = torch.where(fits[self._free_set], weight, share)
            if self._n_levels == 1:
                return free.index_copy(0, self._free_place, share)
            mine = self._set_level[self._free_set] == level
            free = free.index_copy(0, self._free_place[mine], share[mine])
        return free

    def _wanted(self, free: Tensor, fixed: Tensor) -> Tensor:
        """Return what each set sums to, or to at most, with the present values of parents."""
        nested = self._set_parent >= 0
        parent = self._set_parent[nested]
        above = fixed[parent]
        if len(free):
            place = torch.cumsum(self.refinable_mask.long(), 0) - 1
            present = free[place[parent].clamp(0, len(free) - 1)]
            above = torch.where(self.refinable_mask[parent], present, above)
        return self._set_total.index_put((nested,), self._set_total[nested] + above)

    def _expand_values(self, collapsed: Tensor) -> Tensor:
        """Return the occupancy of each atom, ``[n_atoms]``."""
        return collapsed.index_select(0, self.expansion_mask)  # its backward is faster than []'s

    def _collapse_values(self, values: Tensor) -> Tensor:
        """Return the mean occupancy of each group, ``[n_collapsed]``; exact for uniform groups."""
        return group_means(values, self.expansion_mask)

    # ------------------------------------------------------------------ description

    @property
    def shape(self) -> tuple[int, ...]:
        """``(n_atoms,)``, the shape of what ``forward()`` returns."""
        return (len(self.expansion_mask),)

    @property
    def collapsed_shape(self) -> tuple[int, ...]:
        """``(n_collapsed,)``, the number of stored values."""
        return tuple(self.fixed_values.shape)

    def collapsed_values(self) -> Tensor:
        """Return the occupancy of each group, ``[n_collapsed]``, differentiable."""
        return self._stored_values()

    def extra_repr(self) -> str:
        """Say what the tensor is, for ``repr``."""
        return f"{super().extra_repr()}, groups={self.collapsed_shape[0]}, sets={self.n_sets}"

    def get_group_occupancy(self, group_idx: int) -> float:
        """Return the occupancy of a group."""
        self._check_group(group_idx)
        with torch.no_grad():
            return float(self._stored_values()[group_idx])

    # ------------------------------------------------------------------ changes

    def set_group_occupancy(self, group_idx: int, value: float) -> None:
        """Assign the occupancy of a group; the refinable rest of its set is scaled to fit.

        Raises
        ------
        ValueError
            A value outside [0, 1], or one that the held members of the set do not allow.
        """
        self._check_group(group_idx)
        where = f"{self._label()}: group {group_idx}"
        if not 0.0 <= value <= 1.0:
            raise OccupancyError(f"{where}: value {value} must lie in [0, 1]")
        with torch.no_grad():
            values = self._stored_values().clone()
            values[group_idx] = value
            number = self._set_of(group_idx)
            if number >= 0:
                self._make_room(values, group_idx, number, where)
            self._store(self._nested_follow(values), self.refinable_mask)

    def move_inside(self, distance: float = 0.01) -> list[int]:
        """Move refinable groups at 0 or 1 inside by ``distance`` and return their indices.

        Sigmoids are flat at 0 and 1: a gradient optimiser in logits leaves such a start slowly
        or not at all. In a set the other members make room, ratios kept.
        """
        with torch.no_grad():
            values = self._stored_values()
            outside = self.refinable_mask & ((values < distance) | (values > 1 - distance))
            inside = torch.where(outside, values.clamp(distance, 1 - distance), values)
            outside |= self._off_limits(inside, distance)
            if bool(outside.any()):
                self._store(inside, self.refinable_mask)
            moved = outside & (self._stored_values() != values)
        return [int(i) for i in torch.nonzero(moved)[:, 0]]

    def _off_limits(self, values: Tensor, distance: float) -> Tensor:
        """Scale sets of at most a total to leave room, in place, and return whose values change."""
        before = values.clone()
        for number in torch.nonzero(~self._set_complete)[:, 0].tolist():
            members = self._set_group[self._set_index == number]
            free = members[self.refinable_mask[members]]
            most = float(self._wanted_of(values)[number]) * (1 - distance)
            total = float(values[members].sum())
            if total > most and float(values[free].sum()) > 0:
                values[free] *= max(1 - (total - most) / float(values[free].sum()), 0.0)
        return values != before

    def clamp(
        self, min_value: float | None = None, max_value: float | None = None
    ) -> OccupancyTensor:
        """Return a copy with all occupancies in [min_value, max_value], sets still summing to 1.

        Raises
        ------
        ValueError
            Bounds outside [0, 1] or crossed, or that no set of this size can obey.
        """
        low = 0.0 if min_value is None else min_value
        high = 1.0 if max_value is None else max_value
        if not 0.0 <= low <= high <= 1.0:
            raise OccupancyError(
                f"{self._label()}: clamp needs 0 <= min <= max <= 1, not {low} and {high}"
            )
        clamped = copy.deepcopy(self)
        with torch.no_grad():
            before = self._stored_values()
            values = before.clamp(low, high)
            for number in torch.argsort(self._set_level, stable=True).tolist():
                free, left = self._free_and_room(values, number)
                if len(free) and (
                    bool(self._set_complete[number]) or float(values[free].sum()) > left
                ):
                    values[free] = clamped_set(before[free], low, high, number, left)
            clamped._store(values, self.refinable_mask)
        return clamped

    # ------------------------------------------------------------------ storage

    def _register_sums(self, members: SetMembers, values: Tensor) -> None:
        """Note what the members of each set sum to, and in which order sets are evaluated."""
        sums = members.sums
        if sums is None:
            sums = SumConstraints.complete_sets(np.arange(members.n_sets))
        for name, table in (
            ("_set_complete", sums.complete),
            ("_set_parent", sums.parent),
            ("_set_level", sums.level),
        ):
            self.register_buffer(name, torch.as_tensor(table, device=values.device))
        self.register_buffer("_set_total", torch.as_tensor(sums.totals).to(values))
        self._count_sums()

    def _count_sums(self) -> None:
        self._n_levels = int(self._set_level.max()) + 1 if len(self._set_level) else 0
        self._any_odds = self.use_sigmoid and not bool(self._set_complete.all())

    def _check_values(self, values: Tensor) -> None:
        check_range(values, self._label())

    def _check_group(self, group_idx: int) -> None:
        if not 0 <= group_idx < self.collapsed_shape[0]:
            raise OccupancyError(
                f"{self._label()}: group index {group_idx} is out of range "
                f"0..{self.collapsed_shape[0] - 1}"
            )

    def _stored_mask(self, mask: Tensor) -> Tensor:
        """Take a mask of atoms, or of groups where their number differs from that of atoms."""
        given = torch.as_tensor(mask, device=self.fixed_values.device)
        if tuple(given.shape) == self.shape:
            return group_any(given.bool(), self.expansion_mask)
        return super()._stored_mask(given)

    def _set_of(self, group: int) -> int:
        mine = self._set_index[self._set_group == group]
        return int(mine[0]) if len(mine) else -1

    def _make_room(self, values: Tensor, group: int, number: int, where: str) -> None:
        """Scale the refinable partners of a group so that its set reaches its sum, ratios kept."""
        members = self._set_group[self._set_index == number]
        partners = members[members != group]
        wanted = float(self._wanted_of(values)[number])
        complete = bool(self._set_complete[number])
        scale_partners(values, group, partners, self.refinable_mask, where, wanted, complete)

    def _nested_follow(self, values: Tensor) -> Tensor:
        """Return values whose nested sets follow their parents, ratios of refinable members kept.

        Sets that are nested in none are left to the caller.
        """
        for level in range(1, self._n_levels):
            for number in torch.nonzero(self._set_level == level)[:, 0].tolist():
                free, room = self._free_and_room(values, number)
                share_out(values, free, room, complete=bool(self._set_complete[number]))
        return values

    def _free_and_room(self, values: Tensor, number: int) -> tuple[Tensor, float]:
        """Return the refinable members of a set, and what its held members leave to them."""
        members = self._set_group[self._set_index == number]
        free = members[self.refinable_mask[members]]
        held = float(values[members].sum() - values[free].sum())
        return free, float(self._wanted_of(values)[number]) - held

    def _to_raw(self, values: Tensor, mask: Tensor) -> Tensor:
        """Return logits; for refinable members of sets of at most a total logs of their odds."""
        raw = super()._to_raw(values, mask)
        if getattr(self, "_any_odds", False):  # sets are not known yet while the parent is made
            member = mask[self._set_group] & ~self._set_complete[self._set_index]
            group, number = self._set_group[member], self._set_index[member]
            held = self._set_group[~mask[self._set_group]]
            nothing = values.new_zeros(self.n_sets)
            fixed = nothing.index_add(0, self._set_index[~mask[self._set_group]], values[held])
            room = (self._wanted_of(values) - fixed).clamp_min(1e-12)
            part = (values[group] / room[number]).clamp_min(ODDS_MARGIN)
            left = (1.0 - nothing.index_add(0, number, part)).clamp_min(ODDS_MARGIN)
            raw = raw.index_copy(0, group, torch.log(part / left[number]))
        return raw

    def _store(self, values: Tensor, mask: Tensor) -> None:
        self._check_sets(values, mask)
        super()._store(values, mask)
        self._tabulate_sets()

    def _check_sets(self, values: Tensor, mask: Tensor) -> None:
        """Refuse held members that leave no way for their set to reach its sum."""
        if self.n_sets == 0:
            return
        free = mask[self._set_group]
        nothing = values.new_zeros(self.n_sets)
        held = nothing.index_add(0, self._set_index[~free], values[self._set_group[~free]])
        has_free = torch.zeros(self.n_sets, dtype=torch.bool, device=values.device)
        has_free[self._set_index[free]] = True
        wanted = self._wanted_of(values)
        short = ~has_free & self._set_complete & (held < wanted - SUM_TOLERANCE)
        bad = (held > wanted + SUM_TOLERANCE) | short
        if bool(bad.any()):
            number = int(torch.nonzero(bad)[0, 0])
            groups = self._set_group[(self._set_index == number) & ~free].tolist()
            total = f"{float(wanted[number]):.6g}"
            at_most = bool(has_free[number]) or not bool(self._set_complete[number])
            raise OccupancyError(
                f"{self._label()}: set {number}: its fixed members (groups {groups}) sum to "
                f"{float(held[number]):.6g}; with {'a' if has_free[number] else 'no'} refinable "
                f"member they must sum to {'at most ' + total if at_most else total}"
            )

    def _wanted_of(self, values: Tensor) -> Tensor:
        """Return what each set sums to, or to at most, for given values of the groups."""
        above = values[self._set_parent.clamp_min(0)]
        return self._set_total.to(values) + torch.where(self._set_parent >= 0, above, 0.0)

    def _tabulate_sets(self) -> None:
        """Note where the refinable and the held members of the sets are stored."""
        free = self.refinable_mask[self._set_group]
        place = torch.cumsum(self.refinable_mask.long(), 0) - 1
        self._free_place = place[self._set_group[free]]
        self._free_set = self._set_index[free]
        self._held_group = self._set_group[~free]
        self._held_set = self._set_index[~free]

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self.n_sets = int(self._set_index.max()) + 1 if len(self._set_index) else 0
        self._count_sums()
        self._tabulate_sets()
