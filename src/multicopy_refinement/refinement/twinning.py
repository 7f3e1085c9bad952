"""What is known of the twinning of a crystal before its refinement, and when to say it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.crystal.twins import TwinLaw, twin_law, twin_laws
from multicopy_refinement.errors import InputError
from multicopy_refinement.model import Model
from multicopy_refinement.modes import TargetKind
from multicopy_refinement.notices import Notice
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.refinement.options import FOUND, RefineOptions
from multicopy_refinement.reflections import ReflectionData
from multicopy_refinement.reflections.twin_mates import with_mates
from multicopy_refinement.reflections.twinning import (
    PERFECT_L,
    UNTWINNED_L,
    BrittonPlot,
    LTest,
    TwinFraction,
    britton_plot,
    fraction_beside_model,
    fraction_by_statistics,
    l_test,
)
from multicopy_refinement.words import with_su

#: A fraction that is told of is larger than this and than so many of its su. 0.008 is the largest
#: of the untwinned crystals that it was tried on.
_LEAST, _SUS = 0.05, 5.0
#: Where <|L|> is larger than this a fraction must be larger than the second: what looks like a
#: small one can be non-crystallographic symmetry that the model lacks.
_NO_TWIN_L, _LEAST_ALONE = 0.49, 0.15
#: Where refinement begins with nothing known, and how near to 0 and 1.
_START, _LARGEST = 0.25, 0.99
#: <|L|> below which intensities are those of a twin whatever the laws; alpha is about 0.15 then.
TWIN_L = 0.44


@dataclass(frozen=True)
class LawSeen:
    """A law that the lattice allows, and what is seen of it.

    Attributes
    ----------
    law
        Of the twin.
    by_statistics, beside_model
        alpha by the H-test, and by the model; None of too few pairs.
    britton
        The plot of Britton; None of too few pairs.
    """

    law: TwinLaw
    by_statistics: TwinFraction | None
    beside_model: TwinFraction | None
    britton: BrittonPlot | None

    @property
    def told(self) -> bool:
        """Whether the model shows a fraction that is more than an error."""
        found = self.beside_model
        return found is not None and found.value > max(_LEAST, _SUS * found.su)


@dataclass(frozen=True)
class Twinning:
    """The L-test of a data set, and the laws that its lattice allows."""

    l_test: LTest | None
    laws: tuple[LawSeen, ...]

    @classmethod
    def of(cls, data: ReflectionData, size: FloatArray | None = None) -> Twinning | None:
        """Return it, with |F_model| of one domain where there is one; None without any law."""
        laws = twin_laws(data.cell, data.spacegroup)
        if not laws:
            return None
        seen = tuple(
            LawSeen(
                law, fraction_by_statistics(data, law),
                None if size is None else fraction_beside_model(data, law, size),
                britton_plot(data, law),
            )
            for law in laws
        )  # fmt: skip
        return cls(l_test(data), seen)

    @property
    def found(self) -> LawSeen | None:
        """The law of the twin, if the data are of one."""
        told = [one for one in self.laws if one.told]
        if not told:
            return None
        best = max(told, key=_of_model)
        normal = self.l_test is not None and self.l_test.mean > _NO_TWIN_L
        return None if normal and _of_model(best) < _LEAST_ALONE else best

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What is to be said of it before a refinement."""
        return self.said("occupancies are biased without --twin={law}")

    def said(self, advice: str) -> tuple[Notice, ...]:
        """Return what is to be said of it; ``advice`` has the place {law}."""
        found = self.found
        if found is None or found.beside_model is None:
            return ()
        alpha = with_su(found.beside_model.value, found.beside_model.su)
        said = [] if self.l_test is None else [l_in_words(self.l_test)]
        if found.britton is not None:
            plot = found.britton.fraction
            said.insert(0, f"Britton plot {with_su(plot.value, plot.su)}")
        if found.by_statistics is not None:
            said.insert(0, f"H-test {with_su(found.by_statistics.value, found.by_statistics.su)}")
        beside = f" ({'; '.join(said)})" if said else ""
        name = found.law.name
        return (
            Notice(
                "twinned",
                f"the crystal is a twin by {name}: beside the model alpha is {alpha}{beside}; "
                + advice.format(law=name),
            ),
        )


@dataclass(frozen=True)
class RefinedTwin:
    """The law of a twin, and the refined fraction of its second domain.

    Attributes
    ----------
    law
        Of the twin.
    fraction, su
        alpha, and its standard uncertainty, nan without uncertainties.
    """

    law: TwinLaw
    fraction: float
    su: float


def settle_twin(
    model: Model, data: ReflectionData, options: RefineOptions
) -> tuple[Twinning | None, tuple[TwinLaw, float], ReflectionData]:
    """Return what is seen of a twin, the law that options ask for, and data with all mates.

    With the law comes the fraction beside the model, where refinement begins.

    Raises
    ------
    InputError
        A lattice that allows no law, or what is none of it.
    """
    crystal = data.on_crystal(model.cell, model.spacegroup)
    named = None
    if options.twin != FOUND:
        named = twin_law(str(options.twin), model.cell, model.spacegroup)
    observed, size = beside_model(model, data, options.target)
    seen = Twinning.of(observed, size)
    if named is None:
        if seen is None:
            raise InputError(
                f"twin: the lattice has no symmetry beyond {model.spacegroup.name}, so that there "
                "is no law; leave --twin out"
            )
        named = max(seen.laws, key=_of_model).law
    start = fraction_beside_model(observed, named, size)
    fraction = _START if start is None else float(np.clip(start.value, 1 - _LARGEST, _LARGEST))
    return seen, (named, fraction), with_mates(crystal, named)


def beside_model(
    model: Model, data: ReflectionData, target: TargetKind | None = None
) -> tuple[ReflectionData, FloatArray]:
    """Return data without outliers, and |F_model| of one domain on their scale, ``[n]``."""
    with torch.no_grad():
        experiment = Experiment(model, data, target=target)
        return experiment.data, experiment.size(experiment.forward())


def _of_model(seen: LawSeen) -> float:
    return 0.0 if seen.beside_model is None else seen.beside_model.value


def l_in_words(found: LTest) -> str:
    """Return the L-test as text."""
    return (
        f"<|L|> {found.mean:.3f}, {UNTWINNED_L[0]:g} without and {PERFECT_L[0]:g} of a perfect "
        f"twin, to {found.d_min:.2f} A"
    )


def lawless(data: ReflectionData) -> tuple[Notice, ...]:
    """Return a notice where intensities are those of a twin, and the lattice allows no law."""
    found = l_test(data)
    if found is None or found.mean > TWIN_L or twin_laws(data.cell, data.spacegroup):
        return ()
    return (
        Notice(
            "twin_without_law",
            f"the intensities are those of a twin ({l_in_words(found)}), and the lattice has no "
            f"symmetry beyond {data.spacegroup.name}: a perfect twin of lower symmetry was merged "
            "in this group, or the crystal was split",
        ),
    )
