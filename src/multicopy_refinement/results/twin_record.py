"""What the record says of twinning."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from multicopy_refinement.refinement.twinning import Twinning
from multicopy_refinement.reflections.twinning import LTest, TwinFraction


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FractionRecord(_Record):
    """A part of the second domain, with its standard uncertainty, of so many pairs."""

    value: float
    su: float
    n_pairs: int

    @classmethod
    def of(cls, found: TwinFraction | None) -> FractionRecord | None:
        """Return it, or None of nothing."""
        return None if found is None else cls(**vars(found))


class LawRecord(_Record):
    """A twin law that the lattice allows; obliquity in degrees.

    ``h_test`` is the fraction by statistics of the intensities, ``beside_model`` by the model.
    """

    law: str
    obliquity: float
    h_test: FractionRecord | None
    beside_model: FractionRecord | None


class LTestRecord(_Record):
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


class TwinRecord(_Record):
    """Laws that the lattice allows, and the L-test."""

    laws: list[LawRecord]
    l_test: LTestRecord | None

    @classmethod
    def of(cls, found: Twinning | None) -> TwinRecord | None:
        """Return what is known, or None where the lattice allows no law."""
        if found is None:
            return None
        laws = [
            LawRecord(
                law=one.law.name, obliquity=round(one.law.obliquity, 3),
                h_test=FractionRecord.of(one.by_statistics),
                beside_model=FractionRecord.of(one.beside_model),
            )
            for one in found.laws
        ]  # fmt: skip
        return cls(laws=laws, l_test=LTestRecord.of(found.l_test))
