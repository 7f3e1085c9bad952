"""A mixed tensor whose stored values are tied by sums: sets of groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from multicopy_refinement.errors import OccupancyError
from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.parameters.collapse import SUM_TOLERANCE, scale_partners, share_out
from multicopy_refinement.parameters.groups import SetMembers
from multicopy_refinement.parameters.mixed import MixedTensor

#: Members of a set of at most a total, and the room that it leaves, are no smaller parts of it.
ODDS_MARGIN = 1e-6
#: Logits beyond this are taken as this inside a set, so that no sum of sigmoids underflows.
LOGIT_LIMIT = 30.0


class TiedTensor(MixedTensor):
    """A `MixedTensor` of values in [0, 1] in which the members of sets share what a set sums to.

    A subclass says which values are stored, and calls `_tie` with the sets.

    Attributes
    ----------
    n_sets
        Number of sets.
    use_sigmoid
        Whether logits are stored, and not the values themselves.
    """

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
    use_sigmoid: bool
    n_sets: int

    # ------------------------------------------------------------------ evaluation

    def _constrain(self, free: Tensor) -> Tensor:
        """Share, in each set, what its held members leave among the refinable ones."""
        if self.n_sets == 0:
            return free
        raw = self.refinable_params.to(self.fixed_values.dtype)[self._free_place]
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

    # ------------------------------------------------------------------ sets

    def _tie(self, members: SetMembers, values: Tensor) -> None:
        """Tie stored values by sets: at the end of the constructor of a subclass.

        Raises
        ------
        ValueError
            Held members that leave no way for their set to reach its sum.
        """
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
