"""Errors of Bijvoet differences: the figure of merit of phases, and a variance by resolution."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import i0e, i1e

from multicopy_refinement._typing import BoolArray, ComplexArray, FloatArray
from multicopy_refinement.reflections.data import ReflectionData
from multicopy_refinement.targets.shells import Shells, make_shells
from multicopy_refinement.targets.sigma_a import ErrorModel

#: Pairs of a shell of resolution.
PER_SHELL = 300
#: A difference that is off by more standard deviations is one of errors of measurement.
OUTLIER = 5.0
_ROUNDS, _STEPS, _SETTLED = 4, 30, 1e-6


@dataclass(frozen=True, eq=False)
class PhaseErrors:
    """What is known of the phase of F, that of F_model being phi.

    F is known by its model, a complex Gaussian around alpha F_model with the variance eps beta, and
    by its measured amplitude. With F its mean modulus under both, Fo and alpha F_model weighted by
    1/noise and 1/(eps beta), the error of the phase has the density exp(X cos)/(2 pi I0(X)),
    X = 2 alpha F |F_model|/(eps beta) (Sim 1959, Acta Cryst. 12, 813). Errors of measurement do not
    turn a phase: of a perfect model m is 1.

    Attributes
    ----------
    merit, second
        <cos> = I1(X)/I0(X) and <cos 2> = I2(X)/I0(X) of the error, ``[n]``.
    modulus
        F, ``[n]``.
    """

    merit: FloatArray
    second: FloatArray
    modulus: FloatArray

    @classmethod
    def of(cls, data: ReflectionData, errors: ErrorModel, size: FloatArray) -> PhaseErrors:
        """Return it for an |F_model|, ``[n]``."""
        expected, noise = errors.alpha * size, data.rice_noise
        of_model = np.maximum(errors.variance - noise, 1e-12 * errors.variance)
        modulus = (of_model * data.rice_f + noise * expected) / (of_model + noise)
        x = np.maximum(2 * modulus * expected / of_model, 1e-6)
        merit = i1e(x) / i0e(x)
        return cls(merit, 1 - 2 * merit / x, modulus)


@dataclass(frozen=True, eq=False)
class BijvoetErrors:
    """What Bijvoet differences err, beside m times those of the model.

    Attributes
    ----------
    merit
        m, ``[n]``: the figure of merit times sqrt(1 - Re(conj(u) F'')^2/F^2), which is 1 but for
        reflections as weak as F''.
    noise
        sigma(+)^2 + sigma(-)^2 (1 where there is no difference), and what errors of phases add:
        with b = conj(u) F'', 2 (Im b)^2 (1 + <cos 2> - 2 m^2) + 2 (Re b)^2 (1 - <cos 2>), ``[n]``.
        It grows with F'', so that reflections that show much err more.
    shells
        Of resolution.
    of_model
        The variance that the model adds in each shell: what f'' and missing anomalous scatterers
        err, ``[n_shells]``.
    s_squared
        1/d^2, ``[n]``.
    used
        Bool ``[n]``: differences that are none of outliers.
    """

    merit: FloatArray
    noise: FloatArray
    shells: Shells
    of_model: FloatArray
    s_squared: FloatArray
    used: BoolArray

    @classmethod
    def of(
        cls, data: ReflectionData, errors: ErrorModel, f_model: ComplexArray, f_second: ComplexArray
    ) -> BijvoetErrors:
        """Return it with the errors of the mean at a model, and no variance of the model's own.

        ``f_second`` is F''; both F are on the scale of the data.
        """
        assert data.bijvoet is not None
        known = data.bijvoet.known & ~data.left_out
        size = np.maximum(np.abs(f_model), 1e-300)
        phases = PhaseErrors.of(data, errors, size)
        m, second = phases.merit, phases.second
        projected = f_model.conj() * f_second / size
        along, across = projected.real**2, projected.imag**2
        turning = 2 * across * (1 + second - 2 * m**2) + 2 * along * (1 - second)
        noise = np.where(known, data.bijvoet.sigma, 1.0) ** 2 + np.maximum(turning, 0.0)
        shells = make_shells(data.s_squared, known & data.work, per_shell=PER_SHELL)
        # F(+)^2 - F(-)^2 is 4 F_0.iF'', and F_0^2 the square of the mean less that of what lies
        # along F_0 of F''
        part = 1 - along / np.maximum(phases.modulus, 1e-300) ** 2
        return cls(
            m * np.sqrt(np.clip(part, 0.0, 1.0)), noise, shells, np.zeros(len(shells.count)),
            data.s_squared, known,
        )  # fmt: skip

    @property
    def variance(self) -> FloatArray:
        """Of each difference, ``[n]``."""
        return self.noise + self.shells.interpolate(self.of_model, self.s_squared)

    def weights(self, rows: BoolArray) -> FloatArray:
        """Return 1/variance of the differences of some reflections that are used, 0 of others."""
        return np.where(rows & self.used, 1 / self.variance, 0.0)

    def without_outliers(self, residual: FloatArray, work: BoolArray) -> BijvoetErrors:
        """Return it with the variance of the model estimated, outliers left out in turns."""
        found = self
        for _ in range(_ROUNDS):
            found = found.renewed(residual, work)
            used = self.used & (residual**2 < OUTLIER**2 * found.variance)
            if np.array_equal(used, found.used):
                break
            found = replace(found, used=used)
        return found

    def renewed(self, residual: FloatArray, work: BoolArray) -> BijvoetErrors:
        """Return it with the variance v of the model that is most likely in each shell.

        sum [r^2/(noise + v) + ln(noise + v)] at its least over v >= 0, by Fisher scoring; shells
        are then averaged with their neighbours.
        """
        rows = work & self.used
        number, squares, noise = self.shells.number[rows], residual[rows] ** 2, self.noise[rows]
        n = len(self.of_model)
        v = np.maximum(self.of_model, 0.0)
        for _ in range(_STEPS):
            weight = 1 / (noise + v[number]) ** 2
            off = np.bincount(number, weight * (squares - noise - v[number]), minlength=n)
            step = off / np.maximum(np.bincount(number, weight, minlength=n), 1e-300)
            before, v = v, np.maximum(v + step, 0.0)
            if np.abs(v - before).max(initial=0.0) <= _SETTLED * np.abs(v).max(initial=0.0):
                break
        return replace(self, of_model=self.shells.smooth(v))

    def log_densities(self, residual: FloatArray) -> FloatArray:
        """Return log p of each difference, 0 of those that are not used, ``[n]``."""
        variance = self.variance
        each = -0.5 * (residual**2 / variance + np.log(2 * np.pi * variance))
        return np.where(self.used, each, 0.0)
