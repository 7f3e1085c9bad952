"""Overall scale, anisotropic B and bulk solvent by least squares on amplitudes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from multicopy_refinement._typing import BoolArray, ComplexArray, FloatArray, IntArray
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.modes import Radiation

#: Starts of the search: k_sol in the unit of F over A^3, the first of which is what is usual, and
#: B_sol in A^2. Water has 0.334 e/A^3, for electrons 0.10 A/A^3; for neutrons D2O has 0.64 and H2O
#: -0.056 fm/A^3, and a crystal any mixture of them.
_STARTS = {
    Radiation.XRAY: ((0.35, 46.0), (0.25, 80.0), (0.5, 30.0), (0.0, 46.0)),
    Radiation.ELECTRON: ((0.1, 46.0), (0.07, 80.0), (0.15, 30.0), (0.0, 46.0)),
    Radiation.NEUTRON: ((0.6, 46.0), (0.3, 46.0), (0.6, 80.0), (-0.05, 46.0), (0.0, 46.0)),
}
#: Bounds of k_sol.
_K_BOUNDS = {
    Radiation.XRAY: (0.0, 1.2), Radiation.ELECTRON: (0.0, 0.4), Radiation.NEUTRON: (-0.3, 1.2),
}  # fmt: skip
#: Reflections that the search for a start is made on.
_SEARCH = 4000
#: Bounds of B_sol and C_sol, and their values without solvent; below this part of solvent the term
#: is left out.
B_BOUNDS, C_BOUNDS, _NO_SOLVENT = (5.0, 400.0), (0.0, 2000.0), (46.0, 0.0)
#: C_sol in A^4 before anything is known of it, with its standard deviation: real crystals have 70
#: to 170. Where there is hardly any solvent it stays there, and does not wander from fit to fit.
_USUAL_C = (50.0, 50.0)
SMALLEST_SOLVENT = 0.02


def usual_k_sol(radiation: Radiation) -> float:
    """Return a usual k_sol: of water for X-rays and electrons, of D2O for neutrons."""
    return _STARTS[radiation][0][0]


@dataclass(frozen=True, eq=False)
class Scale:
    """F_model(h) = k exp(-h'B h/4) (F_calc + S F_mask), S = k_sol exp(-B_sol s^2/4 - C_sol s^4).

    With C_sol 0 that is the flat solvent of Jiang & Brunger (1994, J. Mol. Biol. 243, 100). Real
    solvent falls off later and then more steeply: it is as dense as far away, or denser, beside a
    molecule, and its edge is sharp.

    Attributes
    ----------
    k
        Overall scale from F to the data.
    b_cryst
        B in the basis of the Miller indices (dimensionless exponent h'Bh), elements
        11 22 33 12 13 23; obeys the crystal's point group.
    k_sol, b_sol
        In the unit of F over A^3, and A^2; 0 without solvent. The first is of either sign for
        neutrons.
    radiation
        What F is of.
    c_sol
        In A^4.
    """

    k: float
    b_cryst: FloatArray
    k_sol: float
    b_sol: float
    radiation: Radiation = Radiation.XRAY
    c_sol: float = 0.0

    @property
    def has_solvent(self) -> bool:
        """Whether there is a solvent term."""
        return self.k_sol != 0

    @property
    def k_bounds(self) -> tuple[float, float]:
        """Least and largest k_sol."""
        return _K_BOUNDS[self.radiation]

    def isotropic_b(self, cell: Cell) -> float:
        """Return a third of the trace of B in Cartesian axes, in A^2."""
        return float(isotropic_parts(self.b_cryst[None], cell)[0])

    def with_b_given_away(self, b: float, cell: Cell) -> Scale:
        """Return the scale of a model all of whose atoms have a B larger by ``b``: F is the same.

        Solvent is not of the atoms: its B_sol grows by as much.
        """
        f = cell.fractionalization
        metric = f @ f.T  # h' f f' h is s^2
        six = metric[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
        return replace(self, b_cryst=self.b_cryst - b * six, b_sol=self.b_sol + b)

    def overall(self, hkl: IntArray) -> FloatArray:
        """Return k exp(-h'Bh/4), ``[n]``."""
        return np.asarray(self.k * np.exp(-(quadratic_terms(hkl) @ self.b_cryst) / 4))

    def solvent(self, s_squared: FloatArray) -> FloatArray:
        """Return S = k_sol exp(-B_sol s^2/4 - C_sol s^4), ``[n]``."""
        return self.k_sol * solvent_fall(self.b_sol, self.c_sol, s_squared)

    @property
    def equivalent_b_sol(self) -> float:
        """Return the B_sol in A^2 that falls to 1/e where S does: 4/s^2; B_sol with C_sol 0."""
        return 4 / self.solvent_limit(float(np.exp(-1)))

    def solvent_limit(self, part: float) -> float:
        """Return the s^2 in 1/A^2 from which on S is less than a part of k_sol."""
        half, depth = self.b_sol / 8, -np.log(part)
        return float(depth / (half + np.sqrt(half**2 + self.c_sol * depth)))


def solvent_fall(b_sol: float, c_sol: float, s_squared: FloatArray) -> FloatArray:
    """Return exp(-B_sol s^2/4 - C_sol s^4), ``[n]``."""
    return np.asarray(np.exp(-(b_sol / 4 + c_sol * s_squared) * s_squared))


def isotropic_parts(tensors: FloatArray, cell: Cell) -> FloatArray:
    """Return a third of the trace in Cartesian axes, in A^2, of tensors h'Bh, ``[n, 6]``."""
    o = cell.orthogonalization
    order = [0, 3, 4, 3, 1, 5, 4, 5, 2]
    matrices = tensors[:, order].reshape(-1, 3, 3)
    return np.asarray(np.einsum("ij,njk,ik->n", o, matrices, o) / 3)


def quadratic_terms(hkl: IntArray) -> FloatArray:
    """Return the factors of B11 B22 B33 B12 B13 B23 in h'Bh, ``[n, 6]``."""
    h, k, m = np.asarray(hkl, dtype=np.float64).T
    return np.stack([h * h, k * k, m * m, 2 * h * k, 2 * h * m, 2 * k * m], axis=1)


@dataclass(frozen=True, eq=False)
class _Problem:
    """Weighted squares of |F_model| - F_obs in (ln k, b along the allowed tensors, solvent)."""

    f_calc: ComplexArray
    f_mask: ComplexArray
    f_obs: FloatArray
    root_weight: FloatArray
    s_squared: FloatArray
    quadratic: FloatArray
    with_solvent: bool
    radiation: Radiation = Radiation.XRAY

    def thinned(self, most: int) -> _Problem:
        """Return the problem of every n-th reflection, at most about ``most`` of them."""
        every = slice(None, None, max(1, len(self.f_obs) // most))
        return replace(
            self, f_calc=self.f_calc[every], f_mask=self.f_mask[every], f_obs=self.f_obs[every],
            root_weight=self.root_weight[every], s_squared=self.s_squared[every],
            quadratic=self.quadratic[:, every],
        )  # fmt: skip

    def model(self, p: FloatArray) -> tuple[FloatArray, ComplexArray, FloatArray]:
        n_b = len(self.quadratic)
        overall = np.exp(p[0] - p[1 : 1 + n_b] @ self.quadratic / 4)
        total, solvent = self.f_calc, np.zeros(0)
        if self.with_solvent:
            solvent = solvent_fall(p[-2], p[-1], self.s_squared)
            total = self.f_calc + p[-3] * solvent * self.f_mask
        return overall, total, solvent

    def size_and_slopes(self, p: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return |F_model| ``[n]``, and its derivatives ``[n_p, n]``."""
        overall, total, solvent = self.model(p)
        size, n_b = np.abs(total), len(self.quadratic)
        slopes = np.empty((len(p), len(size)))
        np.multiply(overall, size, out=slopes[0])
        np.multiply(self.quadratic, slopes[0] / -4, out=slopes[1 : 1 + n_b])
        if self.with_solvent:
            along = (total.conj() * self.f_mask).real / np.maximum(size, 1e-12)
            np.multiply(overall * along, solvent, out=slopes[-3])
            np.multiply(slopes[-3], self.s_squared * (-p[-3] / 4), out=slopes[-2])
            np.multiply(slopes[-2], 4 * self.s_squared, out=slopes[-1])
        return slopes[0].copy(), slopes

    def weighted(self, p: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the residuals ``[n]`` and their slopes ``[n_p, n]``."""
        size, slopes = self.size_and_slopes(p)
        slopes *= self.root_weight
        return (size - self.f_obs) * self.root_weight, slopes

    def bounds(self, n: int) -> tuple[FloatArray, FloatArray]:
        """Return the least and largest values of the n unknowns."""
        low, high = np.full(n, -np.inf), np.full(n, np.inf)
        if self.with_solvent:
            low[-3:], high[-3:] = np.array([_K_BOUNDS[self.radiation], B_BOUNDS, C_BOUNDS]).T
        return low, high


@dataclass(frozen=True, eq=False)
class _TwinProblem:
    """Weighted squares of sqrt((1 - alpha) |F(h)|^2 + alpha |F(Rh)|^2) - F_obs, alpha held."""

    first: _Problem
    second: _Problem
    fraction: float

    def thinned(self, most: int) -> _TwinProblem:
        """Return the problem of every n-th reflection, at most about ``most`` of them."""
        return replace(self, first=self.first.thinned(most), second=self.second.thinned(most))

    def weighted(self, p: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the residuals ``[n]`` and their slopes ``[n_p, n]``."""
        (one, slopes), (other, of_other) = (
            problem.size_and_slopes(p) for problem in (self.first, self.second)
        )
        both = np.sqrt((1 - self.fraction) * one**2 + self.fraction * other**2)
        over = self.first.root_weight / np.maximum(both, 1e-12)
        slopes *= (1 - self.fraction) * one * over
        slopes += self.fraction * other * over * of_other
        return (both - self.first.f_obs) * self.first.root_weight, slopes

    def bounds(self, n: int) -> tuple[FloatArray, FloatArray]:
        """Return the least and largest values of the n unknowns."""
        return self.first.bounds(n)


def fit_scale(
    f_calc: ComplexArray, f_mask: ComplexArray, f_obs: FloatArray, hkl: IntArray,
    s_squared: FloatArray, group: SpaceGroup, use: BoolArray, solvent_fraction: float,
    variance: FloatArray | None = None, start: Scale | None = None,
    radiation: Radiation = Radiation.XRAY, twin: tuple[IntArray, float] | None = None,
) -> Scale:  # fmt: skip
    """Return the scale that minimises sum (|F_model| - F_obs)^2/v over the reflections of ``use``.

    Parameters
    ----------
    f_calc, f_mask
        Complex ``[n]``.
    f_obs
        ``[n]``.
    hkl, s_squared
        ``[n, 3]`` and 1/d^2 in 1/A^2.
    group
        Whose point group the anisotropic B obeys.
    use
        Bool ``[n]``: the work set, so that R-free stays free.
    solvent_fraction
        Of the mask; below 2% there is no solvent term.
    variance
        v of each reflection, ``[n]``: that of the likelihood, so that scale and target agree on
        what a reflection is worth; 1 when left out.
    start
        A scale to start from in place of the search.
    radiation
        What F is of: it says where k_sol is looked for.
    twin
        Where the twin mate of each reflection is, ``[n]``, and the fraction of the second domain.
        The fraction is held: by least squares a second domain would make up for what is wrong with
        a model, since its intensities are nearly a constant beside those of the first.
    """
    basis = group.adp_basis
    weight = np.ones(int(use.sum())) if variance is None else np.min(variance[use]) / variance[use]
    single = _Problem(
        f_calc[use], f_mask[use], f_obs[use], np.sqrt(weight), s_squared[use],
        basis @ quadratic_terms(hkl[use]).T, solvent_fraction >= SMALLEST_SOLVENT,
        radiation,
    )  # fmt: skip
    starts = _starts(single, basis, start)
    hold = 0.0  # of C_sol, in the unit of the residuals
    if single.with_solvent and variance is not None:
        hold = float(np.sqrt(np.min(variance[use]))) / _USUAL_C[1]
    problem: _Problem | _TwinProblem = single
    if twin is not None:
        other = twin[0][use]
        problem = _TwinProblem(single, replace(
            single, f_calc=f_calc[other], f_mask=f_mask[other], s_squared=s_squared[other],
            quadratic=basis @ quadratic_terms(hkl[other]).T,
        ), twin[1])  # fmt: skip
    if len(starts) > 1:  # which start leads furthest shows on a part of the data
        part = problem.thinned(_SEARCH)
        starts = [min((_fit(part, p, hold) for p in starts), key=lambda r: r[0])[1]]
    best = _fit(problem, starts[0], hold)[1]
    n_b = len(basis)
    k_sol, b_sol, c_sol = best[-3:].tolist() if single.with_solvent else (0.0, *_NO_SOLVENT)
    k, tensor = float(np.exp(best[0])), best[1 : 1 + n_b] @ basis
    return Scale(k, tensor, k_sol, b_sol, radiation, c_sol)


def _starts(problem: _Problem, basis: FloatArray, start: Scale | None) -> list[FloatArray]:
    zero = np.zeros(len(basis))
    if start is not None:
        solvent = [start.k_sol, start.b_sol, start.c_sol] if problem.with_solvent else []
        return [np.array([np.log(start.k), *(basis @ start.b_cryst), *solvent])]
    starts = []
    tried = _STARTS[problem.radiation] if problem.with_solvent else ((0.0, _NO_SOLVENT[0]),)
    for k_sol, b_sol in tried:
        solvent = [k_sol, b_sol, _USUAL_C[0]] if problem.with_solvent else []
        size = np.abs(problem.model(np.array([0.0, *zero, *solvent]))[1])
        weighted = size * problem.root_weight**2
        k = max(float(problem.f_obs @ weighted / max(float(size @ weighted), 1e-300)), 1e-12)
        starts.append(np.array([np.log(k), *zero, *solvent]))
    return starts


def _fit(
    problem: _Problem | _TwinProblem, p: FloatArray, hold: float
) -> tuple[float, FloatArray]:  # fmt: skip
    """Return the cost and the unknowns of a fit in which C_sol has a prior of weight hold^2."""
    from scipy.optimize import least_squares

    made = _Compressed(problem, hold)
    low, high = problem.bounds(len(p))
    p = np.clip(p, low + 1e-6, high - 1e-6)
    found = least_squares(
        lambda p: made.at(p)[0],
        p,
        jac=lambda p: made.at(p)[1],
        bounds=(low, high),
        x_scale="jac",
        ftol=1e-9,
        xtol=1e-9,
        gtol=1e-9,
        max_nfev=100,
    )
    return float(found.cost), found.x


@dataclass(eq=False)
class _Compressed:
    """Residuals r and their slopes J as few numbers: the solver decomposes J at each step.

    With (J D)'(J D) = V W V', D what makes columns of J of length 1, the square matrix
    sqrt(W) V' D^-1 and the vector W^-1/2 V' D J'r have the J'J and J'r of all reflections; one more
    residual, with no slope, has the rest of r'r.
    """

    problem: _Problem | _TwinProblem
    hold: float
    _last: tuple[FloatArray, FloatArray, FloatArray] | None = None

    def at(self, p: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return residuals ``[n_p + 1]`` and slopes ``[n_p + 1, n_p]``; the last are kept."""
        if self._last is None or not np.array_equal(self._last[0], p):
            self._last = p.copy(), *self._made(p)
        return self._last[1:]

    def _made(self, p: FloatArray) -> tuple[FloatArray, FloatArray]:
        residual, slopes = self.problem.weighted(p)
        off = self.hold * (p[-1] - _USUAL_C[0])
        product, slope = slopes @ slopes.T, slopes @ residual
        product[-1, -1] += self.hold**2
        slope[-1] += self.hold * off
        total = float(residual @ residual) + off**2
        if not np.isfinite(product).all() or not np.isfinite(total):  # the solver steps back
            return np.full(len(p) + 1, np.inf), np.zeros((len(p) + 1, len(p)))
        length = np.sqrt(np.diag(product))
        length[length == 0] = 1.0
        weight, vectors = np.linalg.eigh(product / np.outer(length, length))
        weight[weight < len(p) * np.finfo(float).eps * weight[-1]] = 0.0  # nothing but rounding
        root = np.sqrt(weight)
        few = vectors.T @ (slope / length) / np.where(root > 0, root, np.inf)
        rest = max(total - float(few @ few), 0.0)
        return (
            np.append(few, np.sqrt(rest)),
            np.vstack([root[:, None] * vectors.T * length, np.zeros(len(p))]),
        )
