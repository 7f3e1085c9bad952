"""What the data of each set say of the fractions by each reflection, and how that is alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.posterior.blocks import Kind
from multicopy_refinement.posterior.data_term import SampledSlopes
from multicopy_refinement.series.crystal import positions
from multicopy_refinement.series.fraction import SetOfSeries

#: Shells of resolution in which residuals are compared, and reflections that a comparison needs.
SHELLS, _FEWEST = 12, 40
#: B of the same atoms in isomorphous crystals differ by so much of it beside what the scale takes:
#: three crystals of BAZ2B whose cells differ by 0.3 to 0.4%, each refined by itself, by 0.079 and
#: 0.085 (standard deviation of ln B over 1151 atoms).
OWN_B = 0.08


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of the fractions of regions in one data set, all that is its own projected out.

    The log-likelihood's gradient is c u and its expected information c c': c are derivatives of |F|
    by root W, u = (dlog p/d|F|)/root W residuals of unit variance, W the information on |F|. Scale,
    solvent, and by how much B of each region differs in this crystal, are marginalised; what is
    known of the latter beside the data are further observations, at the end.

    Attributes
    ----------
    columns
        c, ``[n_regions, n + n_regions]``, 0 at reflections outside of the work set.
    residual
        u, ``[n + n_regions]``.
    place
        Of each reflection among those of all data sets, ``[n]``.
    slopes
        By all unknowns, nothing projected out.
    own
        Those in what is marginalised, ``[n_own, n + n_regions]``.
    """

    columns: NDArray[np.float32]
    residual: FloatArray
    place: IntArray
    slopes: SampledSlopes
    own: FloatArray

    @classmethod
    def of(cls, one: SetOfSeries, everything: IntArray, own_b: float) -> Scores:
        """Return those of a data set at its present fraction.

        ``own_b`` is by which part B differs from crystal to crystal (one sigma).
        """
        posterior = one.posterior(by_region=True)
        at, term, data = one.at(posterior), posterior.data, one.data
        slopes = term.sampled_slopes(at, np.arange(len(data)))
        found = term.target.derivatives(np.abs(term.forward.f_model(at)))
        root = np.sqrt(np.maximum(found.information, 1e-300) * term.variance_factor)
        residual = np.where(data.work, found.slope / root, 0.0)
        n = len(one.added)
        own = np.concatenate([_scale(slopes), _own_b(one, slopes, own_b)])
        known = np.concatenate([np.zeros((len(own) - n, n)), np.eye(n)])
        own = np.concatenate([own, known], axis=1)
        return cls(
            projected(slopes.of[Kind.OCCUPANCY], own), np.concatenate([residual, np.zeros(n)]),
            positions(data.hkl, everything), slopes, own,
        )  # fmt: skip

    @cached_property
    def information(self) -> FloatArray:
        """The information c c', ``[n_regions, n_regions]``."""
        return np.asarray((self.columns @ self.columns.T).astype(np.float64))

    @cached_property
    def gradient(self) -> FloatArray:
        """The gradient c u, ``[n_regions]``."""
        return np.asarray(self.columns @ self.residual)

    @property
    def misfit(self) -> float:
        """The su of the common fraction by the scatter of its scores over that by information.

        The sandwich of White (1982, Econometrica 50, 1); 1 where the model of errors is right.
        """
        total = self.columns.sum(axis=0, dtype=np.float64)
        square = float((total**2).sum())
        return float(np.sqrt(((total * self.residual) ** 2).sum() / square)) if square > 0 else 1.0


def _scale(slopes: SampledSlopes) -> FloatArray:
    """Return the slopes in scale and solvent, ``[n_unknowns, n]``."""
    rows = [v for kind, v in slopes.of.items() if kind is not Kind.OCCUPANCY]
    return np.concatenate(rows).astype(np.float64)


def _own_b(one: SetOfSeries, slopes: SampledSlopes, own_b: float) -> FloatArray:
    """Return the slopes in B of the regions, in units of what is known of that, ``[n_regions, n]``.

    d|F|/de = -(s^2/4) B Re(conj(u) F_r), F_r of a region's atoms as they are now.
    """
    b = one.crystal.mean_b
    f = one.before + np.float32(one.fraction) * one.added
    along = (slopes.along.conj() * (-one.data.s_squared / 4)).astype(np.complex64)
    return np.asarray(own_b * b[:, None] * (f * along).real.astype(np.float64))


def projected(rows: NDArray[np.float32], away: FloatArray) -> NDArray[np.float32]:
    """Return rows without their parts along others: what is left when those are marginalised.

    ``away`` may be longer: there rows are 0.
    """
    more = away.shape[1] - rows.shape[1]
    rows = np.concatenate([rows, np.zeros((len(rows), more), dtype=np.float32)], axis=1)
    length = np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-300)
    basis = np.linalg.qr((away / length).T)[0].astype(np.float32)
    return np.asarray(rows - (rows @ basis) @ basis.T)


@dataclass(frozen=True, eq=False)
class CommonErrors:
    """Correlation of the residuals that two data sets have at the same reflections.

    What is wrong with a model that data sets share is wrong in all of them: it does not average
    out over data sets, and cancels in their differences.

    Attributes
    ----------
    shell
        Of each reflection of all data sets, ``[n]``.
    correlation
        In each shell, positive semidefinite, ``[n_shells, n_sets, n_sets]``.
    """

    shell: IntArray
    correlation: FloatArray

    @classmethod
    def of(cls, scores: Sequence[Scores], s_squared: FloatArray, kin: FloatArray) -> CommonErrors:
        """Measure it; ``kin`` is 0 for pairs of data sets that share no crystal form."""
        order = np.argsort(s_squared, kind="stable")
        shell = np.zeros(len(order), dtype=np.int64)
        shell[order] = np.arange(len(order)) * SHELLS // max(len(order), 1)
        residuals = np.zeros((len(scores), len(order)))
        for row, one in zip(residuals, scores, strict=True):
            # a few outliers would decide
            row[one.place] = np.clip(one.residual[: len(one.place)], -4.0, 4.0)
        found = np.tile(np.eye(len(scores)), (SHELLS, 1, 1))
        for b in range(SHELLS):
            part = residuals[:, shell == b]
            seen = (part != 0).astype(np.float64)
            square = (part**2) @ seen.T
            both = seen @ seen.T
            scale = np.sqrt(np.maximum(square * square.T, 1e-300))
            r = np.where(both >= _FEWEST, (part @ part.T) / scale, 0.0) * kin
            found[b] = _positive(np.maximum(r, 0.0))
        return cls(shell, found)

    def products(
        self, columns: Sequence[NDArray[np.float32]], places: Sequence[IntArray]
    ) -> FloatArray:
        """Return the covariance of the scores c u of all data sets.

        K_de = sum_h r_de(h) c_d(h) c_e(h)', over the reflections that both have, and what is known
        beside them in each data set; ``[n_sets n_columns, n_sets n_columns]``.
        """
        n_sets, width = len(columns), len(columns[0])
        total = np.zeros((n_sets * width, n_sets * width))
        place = np.full(len(self.shell), -1)
        for b in range(len(self.correlation)):
            mine = np.flatnonzero(self.shell == b)
            place[:] = -1
            place[mine] = np.arange(len(mine))
            block = np.zeros((n_sets * width, len(mine)), dtype=np.float32)
            for d, (c, at) in enumerate(zip(columns, places, strict=True)):
                inside = place[at] >= 0
                block[d * width : (d + 1) * width, place[at][inside]] = c[:, : len(at)][:, inside]
            r = np.kron(self.correlation[b], np.ones((width, width)))
            total += (block @ block.T) * r
        for d, (c, at) in enumerate(zip(columns, places, strict=True)):
            part, known = slice(d * width, (d + 1) * width), c[:, len(at) :]
            total[part, part] += known @ known.T
        return total

    def mean(self, scores: Sequence[Scores]) -> FloatArray:
        """Return the correlation as the common fraction meets it, ``[n_sets, n_sets]``."""
        columns = [one.columns.sum(axis=0, keepdims=True) for one in scores]
        k = self.products(columns, [one.place for one in scores])
        size = np.sqrt(np.maximum(np.diag(k), 1e-300))
        return np.asarray(k / np.outer(size, size))


def _positive(matrix: FloatArray) -> FloatArray:
    """Return the nearest correlation matrix without negative eigenvalues."""
    np.fill_diagonal(matrix, 1.0)
    values, vectors = np.linalg.eigh(matrix)
    made = (vectors * np.maximum(values, 0.0)) @ vectors.T
    size = np.sqrt(np.diag(made))
    return np.asarray(made / np.outer(size, size))
