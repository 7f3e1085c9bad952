"""Occupancies, and B shifts of groups, as the only unknowns: what a solver sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multicopy_refinement._typing import BoolArray, ComplexArray, FloatArray, IntArray
from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.posterior.priors import OccupancyPrior
from multicopy_refinement.scattering.basis import GroupBasis
from multicopy_refinement.scattering.columns import GroupColumns, StoredColumns
from multicopy_refinement.targets import Derivatives, Target


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """Quadratic model of the log-likelihood around a point: L + g'd - d'Hd/2.

    Attributes
    ----------
    value
        L of the work set.
    gradient
        g = J' dlog p/dF.
    information
        H = J' W J with the expected information W of each reflection.
    """

    value: float
    gradient: FloatArray
    information: FloatArray


@dataclass(frozen=True, eq=False)
class OccupancyProblem:
    """Maximise sum log p(|F_model(q, b)|) over the work set, and the prior of restraints.

    F_model = k(h) (A(h) + sum_g q_g exp(-b_g s^2/4) G_g(h)) with A the held atoms and the solvent,
    and b_g = 0 unless B shifts are refined.

    Attributes
    ----------
    held
        A, complex ``[n]``.
    overall
        k, ``[n]``.
    columns
        G of the groups, at these reflections and perhaps more.
    s_squared
        1/d^2 in 1/A^2, ``[n]``.
    target
        Log-likelihood of each reflection.
    work
        Bool ``[n]``.
    sums
        What the occupancies of sets sum to.
    prior
        Restraints on occupancies, or None.
    """

    held: ComplexArray
    overall: FloatArray
    columns: GroupColumns
    s_squared: FloatArray
    target: Target
    work: BoolArray
    sums: SumConstraints
    prior: OccupancyPrior | None = None

    @property
    def set_index(self) -> IntArray:
        """Set of each group or -1, ``[n_groups]``."""
        return self.sums.set_index

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return self.columns.n_groups

    @property
    def constraints(self) -> tuple[FloatArray, FloatArray]:
        """Matrix A and right side b of the sums A q = b."""
        return self.sums.equalities

    def holding(self, group: int, occupancy: float) -> OccupancyProblem:
        """Return the problem of the other groups, with one held at an occupancy."""
        others = np.delete(np.arange(self.n_groups), group)
        column = self.columns.members(np.array([group]))[0, : len(self.held)]
        return replace(
            self, held=self.held + occupancy * column,
            columns=StoredColumns(self.columns.members(others)),
            sums=self.sums.holding(group, occupancy),
            prior=None if self.prior is None else self.prior.restricted(
                others, np.where(np.arange(self.n_groups) == group, occupancy, 0.0)
            ),
        )  # fmt: skip

    # ------------------------------------------------------------------ arrays

    def f_model(self, occupancy: FloatArray, b_shift: FloatArray | None = None) -> ComplexArray:
        """Return F_model, complex ``[n]``."""
        f = self.held.copy()
        for rows in self._blocks():
            real, imaginary = self._columns(rows, b_shift)
            f[rows] += occupancy @ real + 1j * (occupancy @ imaginary)
        return self.overall * f

    def change(
        self, members: IntArray, occupancy: FloatArray, b_shift: FloatArray | None = None
    ) -> ComplexArray:
        """Return what changes of a few groups' occupancies add to F_model, complex ``[n]``."""
        part = self.columns.members(members)[:, : len(self.held)]
        if b_shift is not None:
            part = part * np.exp(-b_shift[members, None] * self.s_squared / 4)
        return np.asarray(self.overall * (occupancy @ part.real + 1j * (occupancy @ part.imag)))

    def value(self, occupancy: FloatArray, b_shift: FloatArray | None = None) -> float:
        """Return the log-likelihood of the work set, and the log prior of restraints."""
        return self.value_at(self.f_model(occupancy, b_shift)) + self.log_prior(occupancy)

    def log_prior(self, occupancy: FloatArray) -> float:
        """Return what restraints add to the log-likelihood."""
        return 0.0 if self.prior is None else self.prior.value(occupancy)

    def value_at(self, f_model: ComplexArray) -> float:
        """Return the log-likelihood of the work set for an F_model."""
        return float(self.target.values(np.abs(f_model))[self.work].sum())

    def reduced_chi_square(self, occupancy: FloatArray, b_shift: FloatArray | None = None) -> float:
        """Return sum slope^2/information over the degrees of freedom of the work set."""
        found = self.target.derivatives(np.abs(self.f_model(occupancy, b_shift)))
        squares = (found.slope**2 / found.information)[self.work].sum()
        n_parameters = self.n_groups - len(self.constraints[1])
        return float(squares / max(int(self.work.sum()) - n_parameters, 1))

    def normal_equations(
        self, occupancy: FloatArray, b_shift: FloatArray | None = None, *, scale: bool = False,
        precise: bool = True,
    ) -> NormalEquations:  # fmt: skip
        """Return value, gradient and information in (q, b if given, ln k and overall B if asked).

        dF/dq_g = k Re(conj(F) G_g)/|F|, dF/db_g = -(s^2/4) q_g dF/dq_g, dF/dln k = F,
        dF/dB = -(s^2/4) F. Single precision (``precise`` false) is twice as fast and errs by less
        than a thousandth of an su in a step.
        """
        f = self.f_model(occupancy, b_shift)
        derivatives = self.target.derivatives(np.abs(f))
        n = self.n_groups * (1 if b_shift is None else 2) + (2 if scale else 0)
        gradient, information = np.zeros(n), np.zeros((n, n))
        for rows in self._blocks():
            # free reflections count with weight 0: leaving them out would copy every column
            dtype = np.float64 if precise else np.float32
            jacobian = self._jacobian(rows, f, occupancy, b_shift, scale=scale, dtype=dtype)
            gradient += jacobian @ (derivatives.slope[rows] * self.work[rows]).astype(dtype)
            jacobian *= np.sqrt(derivatives.information[rows] * self.work[rows]).astype(dtype)
            information += jacobian @ jacobian.T
        value, q = _work_sum(derivatives, self.work), slice(0, self.n_groups)
        if self.prior is not None:
            value += self.prior.value(occupancy)
            gradient[q] += self.prior.gradient(occupancy)
            information[q, q] += self.prior.information
        return NormalEquations(value, gradient, information)

    def _jacobian(
        self, rows: slice, f: ComplexArray, occupancy: FloatArray, b_shift: FloatArray | None,
        *, scale: bool, dtype: type[np.floating],
    ) -> NDArray[np.floating]:  # fmt: skip
        """Return dF/d(parameters) for a block of reflections, ``[n_parameters, n_block]``."""
        real, imaginary = self._columns(rows, b_shift, dtype)
        size = np.maximum(np.abs(f[rows]), 1e-300)
        along = self.overall[rows] / size * f[rows]
        parts = [real * along.real.astype(dtype) + imaginary * along.imag.astype(dtype)]
        slope = -self.s_squared[rows] / 4
        if b_shift is not None:
            parts.append(parts[0] * occupancy[:, None].astype(dtype) * slope.astype(dtype))
        if scale:
            parts.append(np.stack([size, size * slope]).astype(dtype))
        return np.concatenate(parts)

    def _columns(
        self, rows: slice, b_shift: FloatArray | None, dtype: type[np.floating] = np.float64
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        block = self.columns.block(rows)
        real, imaginary = block.real.astype(dtype), block.imag.astype(dtype)
        if b_shift is None:
            return real, imaginary
        fall = np.exp(-b_shift[:, None] * self.s_squared[rows] / 4).astype(dtype)
        return real * fall, imaginary * fall

    def _blocks(self) -> Iterator[slice]:
        for start in range(0, len(self.held), self.columns.block_size):
            yield slice(start, min(start + self.columns.block_size, len(self.held)))

    # ------------------------------------------------------------------ torch

    @cached_property
    def _tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """K A, k G as real above imaginary parts ``[2 n, n_groups]``, and the work set."""
        columns = self.columns.members(np.arange(self.n_groups))[:, : len(self.held)]
        parts = [part * self.overall for part in (columns.real, columns.imag)]
        matrix = np.ascontiguousarray(np.concatenate(parts, axis=1).T)
        return (
            torch.as_tensor(self.overall * self.held),
            torch.as_tensor(matrix),
            torch.as_tensor(self.work),
        )

    def log_likelihood(self, occupancy: Tensor) -> Tensor:
        """Return the log-likelihood of the work set and the log prior, differentiable."""
        held, matrix, work = self._tensors
        real, imaginary = (matrix @ occupancy).reshape(2, -1)
        f = held + torch.complex(real, imaginary)
        total = self.target.log_likelihood(f.abs())[work].sum()
        return total if self.prior is None else total + self.prior.log_prior(occupancy)


def _work_sum(derivatives: Derivatives, work: BoolArray) -> float:
    return float(derivatives.value[work].sum())


def occupancy_problem(
    experiment: Experiment,
    basis: GroupBasis,
    sums: SumConstraints | IntArray,
    prior: OccupancyPrior | None = None,
) -> OccupancyProblem:
    """Return the problem of the present scale and error model.

    ``sums`` may be the complete set of each group or -1, ``[n_groups]``.
    """
    if not isinstance(sums, SumConstraints):
        sums = SumConstraints.complete_sets(sums)
    overall, solvent = experiment.held_parts()
    n = len(overall)  # the basis may go on with reflections that were not observed
    return OccupancyProblem(
        basis.fixed[:n] + solvent, overall, basis.columns, experiment.data.s_squared,
        experiment.target, experiment.data.work, sums, prior,
    )  # fmt: skip
