"""What the record says of Bijvoet differences."""

from __future__ import annotations

import math

from multicopy_refinement.refinement.anomalous import AnomalousResults, DifferenceAgreement
from multicopy_refinement.results.base import Record
from multicopy_refinement.words import counted


class DifferenceAgreementRecord(Record):
    """Correlation and log-likelihood of the differences; null where there is no free set."""

    cc_work: float
    cc_free: float | None
    log_likelihood: float
    log_likelihood_free: float | None

    @classmethod
    def of(cls, found: DifferenceAgreement) -> DifferenceAgreementRecord:
        """Return it as it is recorded."""
        return cls(**vars(found))


class AnomalousRecord(Record):
    """Pairs of F(+) and F(-), how well phases are known, and how their differences agree.

    ``labels`` are columns of the data, ``figure_of_merit`` the mean of the pairs. Both agreements
    are with the errors of the end.
    """

    labels: list[str]
    n_work: int
    n_free: int
    n_outliers: int
    figure_of_merit: float | None
    initial: DifferenceAgreementRecord
    final: DifferenceAgreementRecord

    @property
    def in_words(self) -> str:
        """Where they come from, and how many there are."""
        merit = "" if self.figure_of_merit is None else f", <m> {self.figure_of_merit:.2f}"
        left = f", {self.n_outliers} left out" if self.n_outliers else ""
        return (
            f"{','.join(self.labels)}, {counted(self.n_work, 'work pair')} and {self.n_free} free"
            f"{left}{merit}"
        )

    @classmethod
    def of(
        cls, found: AnomalousResults | None, labels: tuple[str, ...]
    ) -> AnomalousRecord | None:  # fmt: skip
        """Return what is known, or None where differences were no data."""
        if found is None:
            return None
        return cls(
            labels=list(labels), n_work=found.n_work, n_free=found.n_free,
            n_outliers=found.n_outliers,
            figure_of_merit=None if math.isnan(found.merit) else found.merit,
            initial=DifferenceAgreementRecord.of(found.initial),
            final=DifferenceAgreementRecord.of(found.final),
        )  # fmt: skip
