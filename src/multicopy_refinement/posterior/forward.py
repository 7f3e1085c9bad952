"""F_model of a crystal in which groups of atoms have occupancies and B shifts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multicopy_refinement._typing import ComplexArray, FloatArray, IntArray
from multicopy_refinement.places import ranges
from multicopy_refinement.posterior.blocks import Kind, Point, Space
from multicopy_refinement.posterior.scale import ScaledMask
from multicopy_refinement.scaling.solvent import Displaced
from multicopy_refinement.scattering.columns import (
    GroupColumns,
    LowColumns,
    faded_parts,
    products,
    weighted_sum,
)
from multicopy_refinement.scattering.rows import (
    real_parts,
    weighted_complex_rows,
    weighted_rows,
)

Real = NDArray[np.floating]

#: Elements of the slopes that are made at once, and reflections of them at least.
_ELEMENTS, _FEWEST = 12_000_000, 1024
#: As much of a hole is taken to be empty at least where it is in doubt what fills it.
_EMPTY = 0.5


class Jacobian(Protocol):
    """J = dF/d(unknowns of one block), F without the overall scale: the seam for engines."""

    def times(self, v: FloatArray) -> ComplexArray:
        """Return J v, complex ``[n]``."""
        ...

    def adjoint(self, c: ComplexArray) -> FloatArray:
        """Return Re(J* c), ``[size]``."""
        ...

    def columns(self, rows: slice, along: ComplexArray, dtype: type[np.floating]) -> Real:
        """Return Re(conj(along) J) of some reflections, ``[size, n_rows]``."""
        ...


class Forward(Protocol):
    """F_model as a function of blocks of unknowns."""

    @property
    def kinds(self) -> frozenset[Kind]:
        """What it depends on."""
        ...

    @property
    def fitted(self) -> Point:
        """Scale and solvent as they were fitted."""
        ...

    def f_model(self, at: Point) -> ComplexArray:
        """Return F_model, complex ``[n]``."""
        ...

    def overall(self, at: Point) -> FloatArray:
        """Return k(h), by which F without the overall scale is multiplied, ``[n]``."""
        ...

    def change(self, at: Point, groups: IntArray, occupancy: FloatArray) -> ComplexArray:
        """Return what changes of a few groups' occupancies add to F_model, complex ``[n]``."""
        ...

    def rescaling(self, at: Point) -> Rescaling:
        """Return what changes of scale and solvent make of an F_model near that of a point."""
        ...

    def rest(self, at: Point, occupancy: FloatArray) -> ComplexArray:
        """Return F_calc without some occupancies, solvent and overall scale, complex ``[n]``."""
        ...

    def jacobians(self, at: Point) -> dict[Kind, Jacobian]:
        """Return the Jacobian of each kind that the point's space has."""
        ...

    def displaced_slopes(self, at: Point, rows: IntArray, along: ComplexArray) -> Real:
        """Return Re(conj(along) S M_g q_g) of some reflections, ``[n_groups, n_rows]``."""
        ...

    def pocket_slopes(self, at: Point, rows: IntArray, along: ComplexArray) -> Real:
        """Return Re(conj(along) S D_g (1 - q_g)) of some reflections, ``[2 n_groups, n_rows]``.

        D of each group, two of them, is `Displaced.in_doubt`; 0 where that is not known.
        """
        ...

    def blocks(self) -> Iterator[slice]:
        """Yield ranges of reflections that are best worked on at once."""
        ...

    def f_model_of(self, values: Mapping[Kind, Tensor]) -> Tensor:
        """Return F_model, differentiable in the values."""
        ...


@dataclass(frozen=True, eq=False)
class Rescaling:
    """Changes of scale and solvent as they change an F_model.

    Attributes
    ----------
    space
        All unknowns but the occupancies; what is neither scale nor solvent stays.
    quadratic
        h'B_i h of the tensors of the scale, ``[n_b, n]``.
    solvent
        dF_model/d(k_sol, B_sol, C_sol), complex ``[3, n]``, or none.
    """

    space: Space
    quadratic: FloatArray
    solvent: ComplexArray

    def __call__(self, f_model: ComplexArray, change: FloatArray) -> ComplexArray:
        """Return F_model after a change; the scale counts in full, solvent to first order."""
        if len(self.solvent):
            moved = Point(self.space, change)[Kind.SOLVENT]
            f_model = f_model + weighted_complex_rows(self.solvent, moved)
        return np.asarray(f_model * self.stretch(change))

    def stretch(self, change: FloatArray) -> FloatArray:
        """Return by what the overall scale is multiplied in a change, ``[n]``."""
        # no product of BLAS: several threads would wait for one another
        moved = Point(self.space, change)[Kind.SCALE]
        return np.asarray(np.exp(moved[0] - weighted_rows(self.quadratic, moved[1:] / 4)))


@dataclass(frozen=True, eq=False)
class OccupancyJacobian:
    """dF/dq_g = exp(-b_g s^2/4) G_g - S M_g.

    ``less`` is S M with the fitted S, of which the information is made, and ``now`` with that of
    the point: the gradient goes by it, so that a search ends where the gradient vanishes.
    """

    group_columns: GroupColumns
    s_squared: FloatArray
    b_shift: FloatArray | None = None
    less: LowColumns | None = None
    now: LowColumns | None = None
    _last: list[Any] = field(default_factory=lambda: [None, None], init=False)

    def columns(self, rows: slice, along: ComplexArray, dtype: type[np.floating]) -> Real:
        """Return Re(conj(along) J), ``[n_groups, n_rows]``."""
        found = self.of_atoms(rows, along, dtype)
        if self.less is None:
            return found
        if self.b_shift is not None:  # it is asked for once more
            found = found.copy()
        self.less.subtract_along(found, rows, along)
        return found

    def of_atoms(self, rows: slice, along: ComplexArray, dtype: type[np.floating]) -> Real:
        """Return Re(conj(along) exp(-b_g s^2/4) G_g): what `columns` is without solvent."""
        if self._last[0] is along:  # the Jacobian of the B shifts asks for the same
            return np.asarray(self._last[1])
        real, imaginary = self._parts(rows, dtype)
        found = real_parts(real, imaginary, along, dtype)
        if self.b_shift is not None:
            self._last[:] = along, found
        return np.asarray(found)

    def times(self, v: FloatArray) -> ComplexArray:
        """Return J v, complex ``[n]``."""
        f = self.times_atoms(v)
        if self.less is not None:
            f[self.less.places] -= self.less.weighted_sum(v)
        return f

    def times_atoms(self, v: FloatArray) -> ComplexArray:
        """Return sum_g v_g exp(-b_g s^2/4) G_g, complex ``[n]``."""
        return weighted_sum(self.group_columns, v, self.s_squared, self.b_shift)

    def adjoint(self, c: ComplexArray) -> FloatArray:
        """Return Re(J* c), ``[n_groups]``."""
        total = self.adjoint_atoms(c)
        less = self.less if self.now is None else self.now
        return total if less is None else total - less.products(c)

    def adjoint_atoms(self, c: ComplexArray) -> FloatArray:
        """Return Re(J* c) without solvent, ``[n_groups]``."""
        return products(self.group_columns, c, self.s_squared, self.b_shift)

    def _parts(self, rows: slice, dtype: type[np.floating]) -> tuple[Real, Real]:
        return faded_parts(self.group_columns, rows, dtype, self.s_squared, self.b_shift)


@dataclass(frozen=True, eq=False)
class BShiftJacobian:
    """dF/db_g = -(s^2/4) q_g dF/dq_g."""

    of_occupancy: OccupancyJacobian
    occupancy: FloatArray

    @property
    def _slope(self) -> FloatArray:
        return -self.of_occupancy.s_squared / 4

    def columns(self, rows: slice, along: ComplexArray, dtype: type[np.floating]) -> Real:
        """Return Re(conj(along) J), ``[n_groups, n_rows]``."""
        columns = self.of_occupancy.of_atoms(rows, along, dtype)
        return np.asarray(
            columns * self.occupancy[:, None].astype(dtype) * self._slope[rows].astype(dtype)
        )

    def times(self, v: FloatArray) -> ComplexArray:
        """Return J v, complex ``[n]``."""
        return np.asarray(self._slope * self.of_occupancy.times_atoms(self.occupancy * v))

    def adjoint(self, c: ComplexArray) -> FloatArray:
        """Return Re(J* c), ``[n_groups]``."""
        return np.asarray(self.occupancy * self.of_occupancy.adjoint_atoms(self._slope * c))


@dataclass(frozen=True, eq=False)
class GroupForward:
    """F_model(h) = k(h) (F_fixed + sum_g q_g exp(-b_g s^2/4) G_g + S(h) F_mask(q)).

    F_mask(q) = F_mask(0) - sum_g q_g M_g, with M_g the solvent that a group displaces.

    Attributes
    ----------
    fixed
        F of the atoms outside of the groups, complex ``[n]``.
    columns
        G, at these reflections and perhaps more.
    s_squared
        1/d^2 in 1/A^2, ``[n]``.
    scaled
        k(h), and S(h) F_mask(0).
    displaced
        M, or None where groups displace nothing.
    """

    fixed: ComplexArray
    columns: GroupColumns
    s_squared: FloatArray
    scaled: ScaledMask
    displaced: Displaced | None = None
    _last: list[Any] = field(default_factory=lambda: [None, None], init=False)
    _mask: list[Any] = field(default_factory=lambda: [None, None], init=False)
    _overall: list[Any] = field(default_factory=lambda: [None, None], init=False)
    _doubt: list[Any] = field(default_factory=lambda: [None, None], init=False)

    @property
    def kinds(self) -> frozenset[Kind]:
        """What F_model depends on."""
        return frozenset({Kind.OCCUPANCY, Kind.B_GROUP, Kind.SCALE, Kind.SOLVENT})

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return self.columns.n_groups

    @property
    def fitted(self) -> Point:
        """Scale and solvent as they were fitted."""
        return self.scaled.point

    def overall(self, at: Point) -> FloatArray:
        """Return k(h), ``[n]``; that of the last point is kept."""
        kept = self._overall  # another thread may put a pair there at any time, whole
        if kept[0] is not at:
            kept = self._overall[:] = [at, self.scaled.overall(at)]
        return np.asarray(kept[1])

    def total(self, at: Point) -> ComplexArray:
        """Return F without the overall scale, complex ``[n]``; that of the last point is kept."""
        if self._last[0] is not at:
            self._last[:] = at, self._total(at)
        return np.asarray(self._last[1])

    def _total(self, at: Point) -> ComplexArray:
        q, jacobian = at[Kind.OCCUPANCY], self._of_occupancy(at)
        if Kind.SOLVENT in at.space and self.displaced is not None:  # S moves: M apart from G
            atoms = OccupancyJacobian(self.columns, self.s_squared, at.get(Kind.B_GROUP))
            return self.fixed + atoms.times(q) + self.scaled.solvent(at, self._mask_at(at))
        return self.fixed + self.scaled.solvent(at, self.scaled.f_mask) + jacobian.times(q)

    def f_mask(self, occupancy: FloatArray) -> ComplexArray:
        """Return F of the solvent at some occupancies, complex ``[n]``."""
        return self.scaled.f_mask_with(self.displaced, occupancy)

    def f_model(self, at: Point) -> ComplexArray:
        """Return F_model, complex ``[n]``."""
        return self.overall(at) * self.total(at)

    def change(self, at: Point, groups: IntArray, occupancy: FloatArray) -> ComplexArray:
        """Return what changes of a few groups' occupancies add to F_model, complex ``[n]``."""
        b_shift, less, n = at.get(Kind.B_GROUP), self._less, len(self.fixed)
        if b_shift is None:
            added = self.columns.sum_of(groups, occupancy)[:n]
        else:
            parts = [part[:, :n] for part in self.columns.members(groups)]
            fall = np.exp(-b_shift[groups, None] * self.s_squared / 4)
            added = occupancy @ (parts[0] * fall) + 1j * (occupancy @ (parts[1] * fall))
        if less is not None:
            added[less.places] -= less.weighted_sum(occupancy, groups)
        return np.asarray(self.overall(at) * added)

    def rescaling(self, at: Point) -> Rescaling:
        """Return what changes of scale and solvent make of an F_model near that of a point."""
        kinds = [kind for kind in at.space.kinds if kind is not Kind.OCCUPANCY]
        others = Space(tuple(b for b in at.space.blocks if b.kind in kinds))
        columns = np.zeros((0, len(self.fixed)), dtype=np.complex128)
        if Kind.SOLVENT in others:
            mask = self.f_mask(at[Kind.OCCUPANCY])
            found = self.scaled.jacobians(at, self.fixed, mask)[Kind.SOLVENT]
            columns = self.overall(at) * found.matrix
        return Rescaling(others, np.ascontiguousarray(self.scaled.quadratic.T), columns)

    def rest(self, at: Point, occupancy: FloatArray) -> ComplexArray:
        """Return F_calc without some occupancies, solvent and overall scale, complex ``[n]``."""
        atoms = OccupancyJacobian(self.columns, self.s_squared, at.get(Kind.B_GROUP))
        return np.asarray(self.fixed + atoms.times(at[Kind.OCCUPANCY] - occupancy))

    def jacobians(self, at: Point) -> dict[Kind, Jacobian]:
        """Return the Jacobian of each kind that the point's space has."""
        of_occupancy = self._of_occupancy(at)
        found: dict[Kind, Jacobian] = {Kind.OCCUPANCY: of_occupancy}
        if Kind.B_GROUP in at.space:
            found[Kind.B_GROUP] = BShiftJacobian(of_occupancy, at[Kind.OCCUPANCY])
        if Kind.SCALE in at.space or Kind.SOLVENT in at.space:
            mask = self._mask_at(at)
            found |= self.scaled.jacobians(at, self.total(at), mask)
        return found

    def displaced_slopes(self, at: Point, rows: IntArray, along: ComplexArray) -> Real:
        """Return Re(conj(along) S M_g q_g) of some reflections, ``[n_groups, n_rows]``."""
        return self._low_slopes(self._less, at[Kind.OCCUPANCY], rows, along)

    def pocket_slopes(self, at: Point, rows: IntArray, along: ComplexArray) -> Real:
        """Return Re(conj(along) S D_g (1 - q_g)) of some reflections, ``[2 n_groups, n_rows]``.

        Of 1 - q_g a half at least.
        """
        less, displaced = self._less, self.displaced
        doubt, empty = None, np.tile(1 - at[Kind.OCCUPANCY], 2)
        if less is not None and displaced is not None and displaced.in_doubt is not None:
            if self._doubt[0] is not rows:  # Bijvoet differences ask for the same
                some = np.flatnonzero(np.isin(less.low, rows))
                made = LowColumns(less.low[some], displaced.in_doubt(some), less.fall[some])
                self._doubt[:] = rows, made
            doubt = self._doubt[1]
        # a group that took up the solvent of its hole has been given too high an occupancy by it
        return self._low_slopes(doubt, np.maximum(empty, _EMPTY), rows, along)

    def _low_slopes(
        self, columns: LowColumns | None, times: FloatArray, rows: IntArray, along: ComplexArray
    ) -> Real:
        """Return Re(conj(along) M_g t_g) of some reflections, 0 where M is not needed."""
        found = np.zeros((len(times), len(rows)), dtype=np.float32)
        if columns is None:
            return found
        here = np.isin(rows, columns.low)
        place = np.searchsorted(columns.low, rows[here])
        t = times[:, None].astype(np.float32)
        found[:, here] = t * columns.along(place, along[here], np.float32)
        return found

    def blocks(self) -> Iterator[slice]:
        """Yield ranges of reflections in which the columns are best asked for."""
        size = min(self.columns.block_size, max(_ELEMENTS // max(self.n_groups, 1), _FEWEST))
        return ranges(len(self.fixed), size)

    def _of_occupancy(self, at: Point) -> OccupancyJacobian:
        return OccupancyJacobian(
            self.columns, self.s_squared, at.get(Kind.B_GROUP), self._less, self._less_at(at)
        )

    def _less_at(self, at: Point) -> LowColumns | None:
        """Return S M with the solvent of a point, where it moves."""
        less = self._less
        if less is None or Kind.SOLVENT not in at.space:
            return None
        return replace(less, fall=self.scaled.density(at, less.low))

    def _mask_at(self, at: Point) -> ComplexArray:
        """Return F of the solvent at the occupancies of a point; that of the last is kept."""
        if self._mask[0] is not at:
            self._mask[:] = at, self.f_mask(at[Kind.OCCUPANCY])
        return np.asarray(self._mask[1])

    @cached_property
    def _less(self) -> LowColumns | None:
        """Return S M at the fitted solvent."""
        if self.displaced is None or len(self.displaced.low) == 0:
            return None
        low = self.displaced.low
        return LowColumns(
            low, self.displaced.columns, self.scaled.scale.solvent(self.s_squared[low])
        )

    # ------------------------------------------------------------------ torch

    @cached_property
    def _tensors(self) -> tuple[Tensor, Tensor]:
        """K A, and k G as real above imaginary parts ``[2 n, n_groups]``."""
        overall, solvent = self.scaled.held
        members = self.columns.members(np.arange(self.n_groups))
        parts = [part[:, : len(self.fixed)] * overall for part in members]
        if self._less is not None:
            places, less = self._less.places, self._less.columns * self._less.fall
            for part, own in zip(parts, (less.real, less.imag), strict=True):
                part[:, places] -= own * overall[places]
        matrix = np.ascontiguousarray(np.concatenate(parts, axis=1).T)
        return torch.as_tensor(overall * (self.fixed + solvent)), torch.as_tensor(matrix)

    def f_model_of(self, values: Mapping[Kind, Tensor]) -> Tensor:
        """Return F_model, differentiable in the occupancies; B shifts, scale, solvent are held."""
        held, matrix = self._tensors
        real, imaginary = (matrix @ values[Kind.OCCUPANCY]).reshape(2, -1)
        return held + torch.complex(real, imaginary)
