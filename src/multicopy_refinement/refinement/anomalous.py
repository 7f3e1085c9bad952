"""Bijvoet differences in a refinement: their errors between macrocycles, and what they say."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from multicopy_refinement._typing import BoolArray, ComplexArray, FloatArray, IntArray
from multicopy_refinement.errors import InputError
from multicopy_refinement.model import Model
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.occupancy.groups import OccupancyGroups
from multicopy_refinement.posterior.bijvoet import BijvoetTerm, bijvoet_difference
from multicopy_refinement.posterior.blocks import Kind, Point
from multicopy_refinement.posterior.experiment import MOST_SCREENINGS, Experiment
from multicopy_refinement.posterior.posterior import Posterior
from multicopy_refinement.reflections import ReflectionData
from multicopy_refinement.scattering.anomalous import AnomalousColumns, anomalous_columns
from multicopy_refinement.targets.bijvoet import BijvoetErrors
from multicopy_refinement.words import with_su

#: f'' in electrons that an atom of a group has whose differences are told apart in tables.
STRONG = 0.5
#: f'' of an element that makes data with mates apart worth a hint.
WORTH_A_HINT = 1.0
#: A signal is looked for where it should be as many of its su, and missed where it is less than so
#: many; mates are exchanged where it is as many below 0.
_EXPECTED, _SEEN = 6.0, 3.0
#: Occupancies by amplitudes and by differences that are as many su apart are told of.
_APART = 4.0


@dataclass(frozen=True)
class DifferenceAgreement:
    """Agreement of Bijvoet differences with those of a model; None where there is no free set.

    Attributes
    ----------
    cc_work, cc_free
        sum w dF D/sqrt(sum w dF^2 sum w D^2), w = 1/variance: their correlation around 0.
    log_likelihood, log_likelihood_free
        Of the differences.
    """

    cc_work: float
    cc_free: float | None
    log_likelihood: float
    log_likelihood_free: float | None


@dataclass(frozen=True, eq=False)
class AnomalousResults:
    """What Bijvoet differences say at the end of a refinement.

    Attributes
    ----------
    initial, final
        Agreement where refinement began and ended, with the errors of the end.
    n_work, n_free, n_outliers
        Pairs of the work and the free set, and those that are used in neither.
    merit
        Mean figure of merit of the pairs.
    f_double_prime
        The largest f'' of an atom of each group, in electrons, ``[n_groups]``.
    gain
        Their part of the log-likelihood that is lost without a group, nan of those that are not
        refined.
    occupancy, su
        What they alone would have for a group, all others held, nan without f''; ``[n_groups]``.
    observed, calculated
        m (F(+) - F(-)) and D of every reflection, 0 where there is no pair or it is left out,
        ``[n]``: coefficients of maps.
    """

    initial: DifferenceAgreement
    final: DifferenceAgreement
    n_work: int
    n_free: int
    n_outliers: int
    merit: float
    f_double_prime: FloatArray
    gain: FloatArray
    occupancy: FloatArray
    su: FloatArray
    observed: FloatArray
    calculated: FloatArray


class AnomalousSignal:
    """F'' of a model, and the errors of the differences, which are renewed with those of the mean.

    Parameters
    ----------
    model
        Whose beam has f''.
    data
        With Bijvoet differences.
    refined
        Groups whose occupancies are unknown.

    Raises
    ------
    InputError
        Data without Bijvoet differences, or with none in the work set.
    """

    errors: BijvoetErrors

    def __init__(self, model: Model, data: ReflectionData, refined: IntArray) -> None:
        if data.bijvoet is None:
            raise InputError(
                "anomalous: the data have no F(+) - F(-); read them with anomalous=True"
            )
        if not (data.bijvoet.known & data.work).any():
            raise InputError("anomalous: no reflection of the work set has both mates")
        self.columns: AnomalousColumns = anomalous_columns(model, data.hkl, refined)
        self._renewals = 0
        self._used: BoolArray | None = None
        #: The signal in units of the model's, where refinement began, and its su.
        self.seen: tuple[float, float] | None = None

    def renew(
        self, experiment: Experiment, f_calc: torch.Tensor, occupancy: FloatArray,
        b_shift: FloatArray | None,
    ) -> None:  # fmt: skip
        """Estimate figures of merit and the variance of the model at a point, just renewed."""
        data = experiment.data
        assert data.bijvoet is not None
        f_model: ComplexArray = experiment.at_renewal(f_calc).numpy()
        k = experiment.scale.overall(data.hkl)
        observed = np.where(data.bijvoet.known, data.bijvoet.value, 0.0)
        second = k * self.columns.f_second(occupancy, b_shift)
        self.errors = BijvoetErrors.of(data, experiment.errors, f_model, second)
        calculated = bijvoet_difference(self.errors.merit, f_model, second)
        residual = observed - calculated
        if self._renewals < MOST_SCREENINGS:
            self.errors = self.errors.without_outliers(residual, data.work)
            self._used = self.errors.used
        elif self._used is not None:  # what is left out is held, so that the search can end
            used = self._used & self.errors.used
            self.errors = replace(self.errors, used=used).renewed(residual, data.work)
        self._renewals += 1
        if self.seen is None:
            weight = self.errors.weights(data.work)
            square = max(float(weight @ calculated**2), 1e-300)
            self.seen = float(weight @ (observed * calculated)) / square, square**-0.5

    def results(
        self, posterior: Posterior, start: Point, at: Point, groups: OccupancyGroups,
        refined: IntArray, gain: FloatArray,
    ) -> AnomalousResults:  # fmt: skip
        """Return what the differences say at the maximum."""
        term = posterior.differences
        assert term is not None
        used, n = term.errors.used, len(groups)
        second = self.columns.atoms.factors.a[:, 0][self.columns.atoms.element.numpy()]
        largest = np.array([second[own].max(initial=0.0) for own in groups.members])
        occupancy, su = np.full((2, n), np.nan)
        if len(refined):
            here, q = term.normal(at), at.space.place(Kind.OCCUPANCY)
            known = np.diag(here.information)[q]
            own = (known > 0) & (largest[refined] > 0)
            rows = refined[own]
            occupancy[rows] = at[Kind.OCCUPANCY][own] + here.gradient[q][own] / known[own]
            su[rows] = known[own] ** -0.5
        return AnomalousResults(
            agreement(term, start), agreement(term, at), int((used & term.work).sum()),
            int((used & term.free).sum()), int(((term.observed != 0) & ~used).sum()),
            float(term.errors.merit[used].mean()) if used.any() else float("nan"),
            largest, gain, occupancy, su,
            np.where(used, term.errors.merit * term.observed, 0.0),
            np.where(used, term.calculated(at), 0.0),
        )  # fmt: skip

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What is odd in the signal, where refinement began with enough of one."""
        if self.seen is None or self.seen[1] * _EXPECTED > 1:
            return ()
        ratio, su = self.seen
        told = f"{with_su(ratio, su)} of what the model has at its start"
        if ratio < -_SEEN * su:
            text = (
                f"the Bijvoet differences have the other sign than the model's ({told}): F(+) and "
                "F(-) are exchanged, or the model has the wrong hand"
            )
            return (Notice("bijvoet_exchanged", text),)
        if ratio < _SEEN * su:
            text = (
                f"the Bijvoet differences show no anomalous signal ({told}): the wavelength, f'' "
                "or the element is another, or Friedel mates were merged before"
            )
            return (Notice("no_anomalous_signal", text),)
        return ()


def agreement(term: BijvoetTerm, at: Point) -> DifferenceAgreement:
    """Return the agreement of differences with those of a point."""
    calculated = term.calculated(at)
    each = term.errors.log_densities(term.observed - calculated)
    some = bool((term.free & term.errors.used).any())
    return DifferenceAgreement(
        _correlation(term, calculated, term.work),
        _correlation(term, calculated, term.free) if some else None,
        float(each[term.work].sum()), float(each[term.free].sum()) if some else None,
    )  # fmt: skip


def _correlation(term: BijvoetTerm, calculated: FloatArray, rows: BoolArray) -> float:
    weight = term.errors.weights(rows)
    squares = float(weight @ term.observed**2) * float(weight @ calculated**2)
    return float(weight @ (term.observed * calculated) / np.sqrt(max(squares, 1e-300)))


def other_elements(
    results: AnomalousResults, groups: OccupancyGroups, occupancy: FloatArray, su: FloatArray
) -> tuple[Notice, ...]:
    """Return a notice of groups that the differences would have at another occupancy.

    ``occupancy`` and ``su`` are as refined: mostly what the amplitudes say.
    """
    with np.errstate(invalid="ignore"):
        off = np.abs(results.occupancy - occupancy) > _APART * np.hypot(results.su, su)
    chosen = np.flatnonzero(off & (results.f_double_prime >= STRONG))
    if len(chosen) == 0:
        return ()
    named = [
        f"{groups.names[g]} ({with_su(float(results.occupancy[g]), float(results.su[g]))}, and "
        f"{with_su(float(occupancy[g]), float(su[g]))} as refined)"
        for g in chosen.tolist()
    ]
    text = (
        "Bijvoet differences ask for other occupancies than amplitudes, as where an atom is of "
        f"another element or f'' is another: {listed(named)}"
    )
    return (Notice("element_doubtful", text, groups.table.labels(np.isin(groups.index, chosen))),)


def hint(model: Model, data: ReflectionData) -> tuple[Notice, ...]:
    """Return that data have mates apart, where the model has something that they would show."""
    wavelength = model.beam.wavelength
    if not data.labels.mates or wavelength is None or data.centric.all():
        return ()
    from multicopy_refinement.io.radiation import cromer_liberman_second, present_elements

    found = cromer_liberman_second(present_elements(model.table), wavelength)
    strong = [f"{s} {value:.1f}" for s, value in found.items() if value > WORTH_A_HINT]
    if not strong:
        return ()
    text = (
        f"F(+) and F(-) are apart in the data ({','.join(data.labels.mates)}), and f'' at "
        f"{wavelength:g} A is large ({', '.join(strong)} e): --anomalous takes the occupancies of "
        "these from Bijvoet differences, too"
    )
    return (Notice("anomalous_possible", text),)
