"""The posterior: a sum of terms over blocks of unknowns, under the sums of occupancies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from torch import Tensor

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.occupancy.sums import SumConstraints
from multicopy_refinement.posterior.bijvoet import BijvoetTerm
from multicopy_refinement.posterior.blocks import Kind, Point, Space
from multicopy_refinement.posterior.data_term import DataTerm
from multicopy_refinement.posterior.terms import Normal, Term
from multicopy_refinement.targets import Target


@dataclass(frozen=True, eq=False)
class Posterior:
    """log p(unknowns | data) without its constant, and the sums that occupancies obey.

    Attributes
    ----------
    space
        The unknowns that a search moves.
    terms
        Data sets and priors; their log densities add up.
    sums
        What the occupancies of sets sum to.
    nuisance
        Unknowns that a search holds and every covariance counts, with their values.
    """

    space: Space
    terms: tuple[Term, ...]
    sums: SumConstraints
    nuisance: Point

    @property
    def data(self) -> DataTerm:
        """The data set."""
        (found,) = (term for term in self.terms if isinstance(term, DataTerm))
        return found

    @property
    def differences(self) -> BijvoetTerm | None:
        """The Bijvoet differences of the data set, where they are told apart."""
        return next((term for term in self.terms if isinstance(term, BijvoetTerm)), None)

    @property
    def measured(self) -> tuple[DataTerm | BijvoetTerm, ...]:
        """What was measured: the data set, and its Bijvoet differences."""
        found = self.differences
        return (self.data,) if found is None else (self.data, found)

    def value(self, at: Point) -> float:
        """Return the log posterior."""
        return sum(term.value(at) for term in self.terms)

    def log_prior(self, at: Point) -> float:
        """Return what all terms but the data say."""
        return sum(term.value(at) for term in self.terms if not isinstance(term, DataTerm))

    def gradient(self, at: Point) -> FloatArray:
        """Return the derivatives of the log posterior in the unknowns of the point."""
        found = np.zeros(at.space.size)
        for term in self.terms:
            found += term.gradient(at)
        return found

    def scaled_gradient(self, at: Point) -> FloatArray:
        """Return `gradient` with each term divided by its variance factor."""
        found = np.zeros(at.space.size)
        for term in self.terms:
            found += term.gradient(at) / term.variance_factor
        return found

    def normal(self, at: Point, *, precise: bool = True) -> Normal:
        """Return value, gradient and information of all terms in the unknowns of the point."""
        first, *others = (term.normal(at, precise=precise) for term in self.terms)
        for other in others:
            first = first + other
        return first

    def information_of(self, at: Point, kinds: Iterable[Kind]) -> FloatArray:
        """Return the information on some kinds of unknowns, in their order in the space."""
        chosen = at.space.indices(kinds)
        return np.asarray(self.normal(at).information[np.ix_(chosen, chosen)])

    def informations(
        self, at: Point, *, precise: bool = True
    ) -> tuple[FloatArray, FloatArray | None]:
        """Return the information of all but restraints on occupancies, and that of these, if any.

        Each divided by its variance factor.
        """
        found: list[FloatArray | None] = [None, None]
        for term in self.terms:
            own = term.normal(at, precise=precise).information
            own /= term.variance_factor
            which = int(term.touches == {Kind.OCCUPANCY})
            one = found[which]
            found[which] = own if one is None else np.add(one, own, out=one)
        seen, said = found
        assert seen is not None  # the data
        return seen, said

    def with_target(self, target: Target) -> Posterior:
        """Return the posterior with another target of the data."""
        return self._with_data(replace(self.data, target=target))

    def with_reduced_chi_square(self, at: Point, taken: float = 0.0) -> Posterior:
        """Return the posterior whose data count by how well they are fitted at a point.

        ``taken`` is the part of the data that was taken up by a fit of more than its unknowns.
        """
        n_parameters = self.space.size - len(self.equalities) + taken * self.data.work.sum()
        factor = self.data.reduced_chi_square(at, n_parameters)
        return self._with_data(replace(self.data, variance_factor=factor))

    def _with_data(self, data: DataTerm) -> Posterior:
        terms = (data if isinstance(t, DataTerm) else t for t in self.terms)
        return replace(self, terms=tuple(terms))

    def with_nuisance(self, at: Point) -> Point:
        """Return a point of the search in the space of all unknowns."""
        whole = self.space.joined(self.nuisance.space.blocks)
        return whole.point({**at.values, **self.nuisance.values})

    def holding(self, kind: Kind, index: int, value: float) -> Posterior:
        """Return the posterior of the other unknowns, with one held at a value."""
        return replace(self, space=self.space.holding(kind, index, value))

    def log_density(self, values: Mapping[Kind, Tensor]) -> Tensor:
        """Return the log posterior as a scalar that is differentiable in the values."""
        first, *others = (term.log_density(values) for term in self.terms)
        for other in others:
            first = first + other
        return first

    # ------------------------------------------------------------------ sums

    @cached_property
    def equalities(self) -> FloatArray:
        """Rows A of A x = b over the whole space, ``[n, size]``."""
        return self._over_space(self.sums.equalities[0])

    @cached_property
    def limits(self) -> FloatArray:
        """Rows C of C x <= c over the whole space, ``[n, size]``."""
        return self._over_space(self.sums.limits[0])

    def room(self, at: Point) -> FloatArray:
        """Return how much is left to the upper limits of sums, ``[n]``."""
        rows, most = self.sums.limits
        return np.asarray(most - rows @ at[Kind.OCCUPANCY])

    def _over_space(self, rows: FloatArray) -> FloatArray:
        over = np.zeros((len(rows), self.space.size))
        over[:, self.space.place(Kind.OCCUPANCY)] = rows
        return over
