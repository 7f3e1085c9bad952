"""Secondary extinction: strong reflections of a good crystal are weaker than |F|^2."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor, as_tensor

from multicopy_refinement._typing import ComplexArray, FloatArray
from multicopy_refinement.posterior.blocks import Block, Kind, Point, Space
from multicopy_refinement.posterior.observable import Amplitude
from multicopy_refinement.scaling import Scale


@dataclass(frozen=True, eq=False)
class ExtinguishedAmplitude(Amplitude):
    """A = |F| y with y = (1 + e)^(-1/4), e = 0.001 x |F_0|^2 lambda^3/sin 2theta.

    F_0 is F on the absolute scale, F = k F_0; x is the coefficient of SHELXL (Larson 1970, in
    Crystallographic Computing, ed. Ahmed, p. 291; Sheldrick 2015, Acta Cryst. C71, 3). With u =
    F/|F|

        dA = y [1 - e/(2 (1 + e))] Re(conj(u) dF),   dA/dx = -A e/(4 x (1 + e)).

    Attributes
    ----------
    coefficient
        x, not negative.
    unit
        0.001 lambda^3/(k^2 sin 2theta), so that e = x unit |F|^2, ``[n]``.
    """

    coefficient: float
    unit: FloatArray

    @classmethod
    def of(
        cls, coefficient: float, scale: Scale, hkl: np.ndarray, s_squared: FloatArray,
        wavelength: float,
    ) -> ExtinguishedAmplitude:  # fmt: skip
        """Return it for reflections with 1/d^2 in 1/A^2 and a wavelength in A."""
        sine = np.minimum(np.sqrt(s_squared) * wavelength / 2, 1.0)
        of_twice = np.maximum(2 * sine * np.sqrt(1 - sine**2), 1e-3)
        return cls(coefficient, 1e-3 * wavelength**3 / of_twice / scale.overall(hkl) ** 2)

    @property
    def fitted(self) -> Point:
        """x, not negative."""
        block = Block(Kind.EXTINCTION, np.zeros(1), np.full(1, np.inf), nuisance=True)
        return Space((block,)).point({Kind.EXTINCTION: np.array([self.coefficient])})

    def at(self, point: Point) -> ExtinguishedAmplitude:
        """Return it with the x of a point, if the point has one."""
        value = point.get(Kind.EXTINCTION)
        return self if value is None else replace(self, coefficient=float(value[0]))

    def moved(self, step: Point) -> ExtinguishedAmplitude:
        """Return it after a step of x, which stays above 0."""
        value = step.get(Kind.EXTINCTION)
        if value is None:
            return self
        return replace(self, coefficient=max(self.coefficient + float(value[0]), 0.0))

    def factor(self, f: ComplexArray) -> FloatArray:
        """Return y, ``[n]``."""
        return np.asarray((1 + self.coefficient * self._strength(f)) ** -0.25)

    def size(self, f: ComplexArray) -> FloatArray:
        """Return A, ``[n]``."""
        return np.asarray(np.abs(f) * self.factor(f))

    def amplitude(self, f: Tensor) -> Tensor:
        """Return A, differentiable, ``[n]``."""
        e = self.coefficient * as_tensor(self.unit) * (f.real**2 + f.imag**2)
        weakened: Tensor = f.abs() * (1 + e) ** -0.25
        return weakened

    def along(self, overall: FloatArray, f: ComplexArray, size: FloatArray) -> ComplexArray:
        """Return k u dA/d|F|, complex ``[n]``."""
        e = self.coefficient * self._strength(f)
        slope = (1 + e) ** -0.25 * (1 - e / (2 * (1 + e)))
        return np.asarray(overall * slope / np.maximum(np.abs(f), 1e-300) * f)

    def own_slopes(self, f: ComplexArray, size: FloatArray) -> dict[Kind, FloatArray]:
        """Return dA/dx, ``[1, n]``."""
        strength = self._strength(f)
        slope = -size * strength / (4 * (1 + self.coefficient * strength))
        return {Kind.EXTINCTION: slope[None]}

    def refitted(
        self, f: ComplexArray, f_obs: FloatArray, root: FloatArray
    ) -> ExtinguishedAmplitude:
        """Return it with the x of one step of least squares, the overall scale beside it.

        ``root`` is the root of the weight of each reflection, ``[n]``.
        """
        slopes = self._slopes(f, root)
        unit = np.maximum(np.linalg.norm(slopes, axis=1), 1e-300)
        off = (f_obs - self.size(f)) * root
        step = np.linalg.lstsq((slopes / unit[:, None]).T, off, rcond=1e-8)[0]
        return replace(self, coefficient=max(self.coefficient + float(step[1] / unit[1]), 0.0))

    def su_of_coefficient(self, f: ComplexArray, root: FloatArray) -> float:
        """Return the su of x beside the overall scale, for roots of weights ``[n]``."""
        scale, own = self._slopes(f, root)
        left = own - scale * float(scale @ own) / max(float(scale @ scale), 1e-300)
        return float(1 / np.sqrt(max(float(left @ left), 1e-300)))

    def _slopes(self, f: ComplexArray, root: FloatArray) -> FloatArray:
        """Return dA by ln k and by x, each times the root of the weight, ``[2, n]``."""
        size = self.size(f)
        return np.stack([size, self.own_slopes(f, size)[Kind.EXTINCTION][0]]) * root

    def _strength(self, f: ComplexArray) -> FloatArray:
        """Return e/x, ``[n]``."""
        return np.asarray(self.unit * (f * f.conj()).real)
