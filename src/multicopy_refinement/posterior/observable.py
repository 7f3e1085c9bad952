"""What is measured of F_model: its amplitude, or that of a twin of two domains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from multicopy_refinement._typing import ComplexArray, FloatArray, IntArray
from multicopy_refinement.posterior.blocks import Block, Kind, Point, Space

Real = NDArray[np.floating]


class Observable(Protocol):
    """A(h), a function of F_model at some reflections: the seam for what is measured.

    Slopes are dA = sum over the domains of Re(conj(along) dF) x weight, F without overall scale.
    """

    @property
    def fitted(self) -> Point:
        """Its own unknowns as they were fitted."""
        ...

    def at(self, point: Point) -> Observable:
        """Return it with its own unknowns where a point has them, and as they are elsewhere."""
        ...

    def moved(self, step: Point) -> Observable:
        """Return it after a step of its own unknowns, within their bounds."""
        ...

    def size(self, f: ComplexArray) -> FloatArray:
        """Return A, ``[n]``."""
        ...

    def amplitude(self, f: Tensor) -> Tensor:
        """Return A, differentiable, ``[n]``."""
        ...

    def along(self, overall: FloatArray, f: ComplexArray, size: FloatArray) -> ComplexArray:
        """Return what derivatives of F are projected on, complex ``[n]``."""
        ...

    def slopes(self, projected: Real, rows: slice, size: FloatArray) -> Real:
        """Return dA of Re(conj(along) dF) at a range of reflections, ``[size, n_rows]``."""
        ...

    def weighted(
        self, rows: IntArray, size: FloatArray, root: FloatArray
    ) -> tuple[FloatArray, Callable[[Real], Real]]:
        """Return how root dA is made at some reflections that `closed` has made whole.

        By which factor along is multiplied, ``[n_rows]``, and what Re(conj(along) dF) goes through.
        """
        ...

    def weights(self, slope: FloatArray, size: FloatArray) -> FloatArray:
        """Return w with which sum slope dA = sum w Re(conj(along) dF), ``[n]``."""
        ...

    def own_slopes(self, f: ComplexArray, size: FloatArray) -> dict[Kind, FloatArray]:
        """Return dA of its own unknowns, ``[size, n]`` of each kind."""
        ...

    def whole(self, blocks: Iterable[slice], n: int) -> Iterator[slice]:
        """Yield ranges of reflections that do not part what is measured together."""
        ...

    def closed(self, rows: IntArray) -> IntArray:
        """Return some reflections with what is measured together with them, in order."""
        ...


@dataclass(frozen=True)
class Amplitude:
    """A = |F|, dA = Re(conj(u) dF) with u = F/|F|."""

    @property
    def fitted(self) -> Point:
        """No unknowns."""
        return Space(()).point({})

    def at(self, point: Point) -> Amplitude:
        """Return itself."""
        return self

    def moved(self, step: Point) -> Amplitude:
        """Return itself."""
        return self

    def size(self, f: ComplexArray) -> FloatArray:
        """Return |F|, ``[n]``."""
        return np.abs(f)

    def amplitude(self, f: Tensor) -> Tensor:
        """Return |F|, differentiable, ``[n]``."""
        return f.abs()

    def along(self, overall: FloatArray, f: ComplexArray, size: FloatArray) -> ComplexArray:
        """Return k u, complex ``[n]``."""
        return np.asarray(overall / np.maximum(size, 1e-300) * f)

    def slopes(self, projected: Real, rows: slice, size: FloatArray) -> Real:
        """Return Re(conj(k u) dF): it is dA."""
        return projected

    def weighted(
        self, rows: IntArray, size: FloatArray, root: FloatArray
    ) -> tuple[FloatArray, Callable[[Real], Real]]:
        """Return the weight itself, and nothing to be done after it."""
        return root, lambda projected: projected

    def weights(self, slope: FloatArray, size: FloatArray) -> FloatArray:
        """Return the slope itself."""
        return slope

    def own_slopes(self, f: ComplexArray, size: FloatArray) -> dict[Kind, FloatArray]:
        """Return nothing."""
        return {}

    def whole(self, blocks: Iterable[slice], n: int) -> Iterator[slice]:
        """Yield the ranges as they are."""
        yield from blocks

    def closed(self, rows: IntArray) -> IntArray:
        """Return the reflections as they are."""
        return rows


@dataclass(frozen=True, eq=False)
class TwinAmplitude:
    """A(h) = sqrt((1 - alpha) |F(h)|^2 + alpha |F(Rh)|^2) of a twin with the law R.

    dA = [(1 - alpha) Re(conj(F(h)) dF(h)) + alpha Re(conj(F(Rh)) dF(Rh))]/A, and
    dA/dalpha = (|F(Rh)|^2 - |F(h)|^2)/(2A).

    Attributes
    ----------
    mate
        Where Rh is among the reflections, int ``[n]``; mate[mate] is the identity, and mates stand
        side by side.
    fraction
        alpha.
    """

    mate: IntArray
    fraction: float

    @property
    def fitted(self) -> Point:
        """alpha, between 0 and 1."""
        block = Block(Kind.TWIN, np.zeros(1), np.ones(1), nuisance=True)
        return Space((block,)).point({Kind.TWIN: np.array([self.fraction])})

    def at(self, point: Point) -> TwinAmplitude:
        """Return it with the alpha of a point, if the point has one."""
        value = point.get(Kind.TWIN)
        return self if value is None else replace(self, fraction=float(value[0]))

    def moved(self, step: Point) -> TwinAmplitude:
        """Return it after a step of alpha, within 0 and 1."""
        value = step.get(Kind.TWIN)
        if value is None:
            return self
        return replace(self, fraction=float(np.clip(self.fraction + value[0], 0.0, 1.0)))

    def size(self, f: ComplexArray) -> FloatArray:
        """Return A, ``[n]``."""
        return np.asarray(np.sqrt(self._mixed((f * f.conj()).real, self.mate)))

    def amplitude(self, f: Tensor) -> Tensor:
        """Return A, differentiable, ``[n]``."""
        square = f.real**2 + f.imag**2
        mixed: Tensor = (1 - self.fraction) * square + self.fraction * square[self.mate]
        return mixed.sqrt()

    def along(self, overall: FloatArray, f: ComplexArray, size: FloatArray) -> ComplexArray:
        """Return k F, complex ``[n]``."""
        return np.asarray(overall * f)

    def slopes(self, projected: Real, rows: slice, size: FloatArray) -> Real:
        """Return dA of Re(conj(k F) dF) at a range of whole pairs, ``[size, n_rows]``."""
        local = self.mate[rows] - rows.start
        return self._times(self._mixed(projected, local), 1 / np.maximum(size[rows], 1e-300))

    def weighted(
        self, rows: IntArray, size: FloatArray, root: FloatArray
    ) -> tuple[FloatArray, Callable[[Real], Real]]:
        """Return 1, and what mixes mates and multiplies by root/A."""
        local = np.searchsorted(rows, self.mate[rows])
        factor = root / np.maximum(size[rows], 1e-300)
        return np.ones(len(rows)), lambda some: self._times(self._mixed(some, local), factor)

    def weights(self, slope: FloatArray, size: FloatArray) -> FloatArray:
        """Return (1 - alpha) slope/A here and alpha slope/A at the mate, ``[n]``."""
        return np.asarray(self._mixed(slope / np.maximum(size, 1e-300), self.mate))

    def own_slopes(self, f: ComplexArray, size: FloatArray) -> dict[Kind, FloatArray]:
        """Return dA/dalpha, ``[1, n]``."""
        square = (f * f.conj()).real
        return {Kind.TWIN: ((square[self.mate] - square) / (2 * np.maximum(size, 1e-300)))[None]}

    def whole(self, blocks: Iterable[slice], n: int) -> Iterator[slice]:
        """Yield ranges with their ends moved to where no pair is parted."""
        start = 0
        for block in blocks:
            stop = block.stop
            stop += int(stop < n and self.mate[stop] < stop)
            if stop > start:
                yield slice(start, stop)
            start = stop

    def closed(self, rows: IntArray) -> IntArray:
        """Return some reflections and their mates, in order."""
        return np.union1d(rows, self.mate[rows])

    def _mixed(self, values: Any, place: IntArray) -> Any:
        """Return (1 - alpha) v here and alpha v at the mate, along the last axis."""
        own, other = values.dtype.type(1 - self.fraction), values.dtype.type(self.fraction)
        return own * values + other * values[..., place]

    @staticmethod
    def _times(values: Real, factor: FloatArray) -> Real:
        values *= factor.astype(values.dtype)
        return values


#: |F|, of a single crystal.
AMPLITUDE = Amplitude()
