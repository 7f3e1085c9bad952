"""Occupancies with one stored parameter for each group of atoms."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from multicopy_refinement.errors import OccupancyError
from multicopy_refinement.parameters.collapse import (
    check_range,
    clamped_set,
    group_any,
    group_means,
    per_atom_mask,
)
from multicopy_refinement.parameters.groups import (
    AltlocGroups,
    SetMembers,
    SharingGroups,
    expansion_from_groups,
    members_from_lists,
    members_from_sums,
)
from multicopy_refinement.parameters.mixed import as_float_tensor
from multicopy_refinement.parameters.tied import TiedTensor
from multicopy_refinement.parameters.transforms import Sigmoid, Transform, UnitClamp

if TYPE_CHECKING:
    import pandas as pd


class OccupancyTensor(TiedTensor):
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
        self._tie(members, values)

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
        if occupancy.shape != (len(table),):
            raise OccupancyError(
                f"{cls.__name__}: values must have shape ({len(table)},), one for each atom, "
                f"not {occupancy.shape}"
            )
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

    def _expand_values(self, collapsed: Tensor) -> Tensor:
        """Return the occupancy of each atom, ``[n_atoms]``."""
        self._check_shape(collapsed, self.collapsed_shape)
        return collapsed.index_select(0, self.expansion_mask)  # its backward is faster than []'s

    def _collapse_values(self, values: Tensor) -> Tensor:
        """Return the mean occupancy of each group, ``[n_collapsed]``; exact for uniform groups."""
        self._check_shape(values, self.shape)
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
