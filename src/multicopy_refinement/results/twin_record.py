"""What the record says of twinning."""

from __future__ import annotations

import math

from multicopy_refinement.refinement.twinning import RefinedTwin, Twinning
from multicopy_refinement.reflections.twinning import BrittonPlot, LTest, TwinFraction
from multicopy_refinement.results.base import Record
from multicopy_refinement.words import with_su


class FractionRecord(Record):
    """A part of the second domain, with its standard uncertainty, of so many pairs."""

    value: float
    su: float
    n_pairs: int

    @classmethod
    def of(cls, found: TwinFraction | None) -> FractionRecord | None:
        """Return it, or None of nothing."""
        return None if found is None else cls(**vars(found))


class BrittonRecord(Record):
    """The part of negative intensities by the fraction that is assumed, and what comes of it."""

    alphas: list[float]
    negative: list[float]
    fraction: FractionRecord

    @classmethod
    def of(cls, found: BrittonPlot | None) -> BrittonRecord | None:
        """Return it, or None of nothing."""
        if found is None:
            return None
        fraction = FractionRecord(**vars(found.fraction))
        return cls(alphas=list(found.alphas), negative=list(found.negative), fraction=fraction)


class LawRecord(Record):
    """A twin law that the lattice allows; obliquity in degrees.

    ``h_test`` is the fraction by statistics of the intensities, ``beside_model`` by the model.
    """

    law: str
    obliquity: float
    h_test: FractionRecord | None
    beside_model: FractionRecord | None
    britton: BrittonRecord | None = None


class LTestRecord(Record):
    """<|L|> and <L^2> of so many pairs, to a resolution in A."""

    mean: float
    square: float
    n_pairs: int
    d_max: float
    d_min: float

    @classmethod
    def of(cls, found: LTest | None) -> LTestRecord | None:
        """Return it, or None of nothing."""
        return None if found is None else cls(**vars(found))


class RefinedRecord(Record):
    """The law that was refined against, and the fraction of its second domain."""

    law: str
    fraction: float
    su: float | None

    @property
    def in_words(self) -> str:
        """As text."""
        return f"twin by {self.law}, fraction {with_su(self.fraction, self.su)}"


class TwinRecord(Record):
    """Laws that the lattice allows, the L-test, and what was refined against, if a twin."""

    laws: list[LawRecord]
    l_test: LTestRecord | None
    refined: RefinedRecord | None = None

    @classmethod
    def of(cls, found: Twinning | None, twin: RefinedTwin | None = None) -> TwinRecord | None:
        """Return what is known, or None where the lattice allows no law."""
        refined = None if twin is None else RefinedRecord(
            law=twin.law.name, fraction=twin.fraction,
            su=None if math.isnan(twin.su) else twin.su,
        )  # fmt: skip
        if found is None:
            return None if refined is None else cls(laws=[], l_test=None, refined=refined)
        laws = [
            LawRecord(
                law=one.law.name, obliquity=round(one.law.obliquity, 3),
                h_test=FractionRecord.of(one.by_statistics),
                beside_model=FractionRecord.of(one.beside_model),
                britton=BrittonRecord.of(one.britton),
            )
            for one in found.laws
        ]  # fmt: skip
        return cls(laws=laws, l_test=LTestRecord.of(found.l_test), refined=refined)
