"""Which columns of a reflection file hold the observations, told by their types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from multicopy_refinement.errors import ReflectionFileError


class Quantity(StrEnum):
    """What was observed."""

    AMPLITUDE = "amplitude"
    INTENSITY = "intensity"


@dataclass(frozen=True)
class ObservedColumns:
    """Labels of value and sigma, or of the four columns of Friedel mates."""

    quantity: Quantity
    labels: tuple[str, ...]

    @property
    def friedel_pair(self) -> bool:
        """Whether the columns hold F(+) and F(-) apart."""
        return len(self.labels) == 4


#: MTZ types of a value and of its sigma.
_MEAN = {Quantity.AMPLITUDE: ("F", "Q"), Quantity.INTENSITY: ("J", "Q")}
_PAIR = {Quantity.AMPLITUDE: ("G", "L"), Quantity.INTENSITY: ("K", "M")}
_COMMON = ("FP", "F", "FOBS", "F-OBS", "FMEAN", "FO", "FTOXD3", "IMEAN", "I", "IOBS", "I-OBS")
_CALCULATED = re.compile(r"^(FC|F_?CALC|F-?MODEL|FMODEL|2?FOFC|FWT|DELFWT|FOM|PHI)", re.IGNORECASE)


def find_columns(
    columns: Sequence[tuple[str, str]], labels: Sequence[str] | None = None
) -> tuple[ObservedColumns, tuple[ObservedColumns, ...]]:
    """Return the observations of (label, MTZ type) columns, and the alternatives left aside.

    Amplitudes come before intensities, means before Friedel mates, usual names before others.

    >>> find_columns([("H", "H"), ("IOBS", "J"), ("SIGIOBS", "Q")])[0].labels
    ('IOBS', 'SIGIOBS')
    """
    if labels is not None:
        return _as_asked(columns, labels), ()
    found: list[ObservedColumns] = []
    for types in (_MEAN, _PAIR):
        for quantity in Quantity:
            found += _candidates(columns, quantity, types[quantity], pair=types is _PAIR)
    if not found:
        there = ", ".join(f"{name} ({kind})" for name, kind in columns if kind != "H")
        raise ReflectionFileError(
            "no column of amplitudes or intensities with its sigma; columns (MTZ type): "
            f"{there or 'none'}; name them with --labels F,SIGF"
        )
    return found[0], tuple(found[1:])


def _candidates(
    columns: Sequence[tuple[str, str]], quantity: Quantity, types: tuple[str, str], *, pair: bool
) -> list[ObservedColumns]:
    values = [
        (name, columns[i + 1][0])
        for i, (name, kind) in enumerate(columns[:-1])
        if kind == types[0] and columns[i + 1][1] == types[1] and not _CALCULATED.match(name)
    ]
    if pair:
        return [
            ObservedColumns(quantity, (*values[i], *values[i + 1]))
            for i in range(0, len(values) - 1, 2)
        ]
    values.sort(key=lambda labels: _usual(labels[0]))
    return [ObservedColumns(quantity, labels) for labels in values]


def _usual(label: str) -> int:
    plain = label.upper().replace("_", "-")
    return _COMMON.index(plain) if plain in _COMMON else len(_COMMON)


def _as_asked(columns: Sequence[tuple[str, str]], labels: Sequence[str]) -> ObservedColumns:
    types = dict(columns)
    for label in labels:
        if label not in types:
            raise ReflectionFileError(f"no column {label!r}; columns: {', '.join(types)}")
    if len(labels) not in (2, 4):
        raise ReflectionFileError(
            "--labels takes a value and its sigma (F,SIGF) or two such "
            f"pairs for Friedel mates, not {len(labels)} names"
        )
    wanted = ("FJGK", "QLM") * 2
    for label, kinds in zip(labels, wanted, strict=False):
        if types[label] not in kinds:
            what = "amplitudes or intensities" if kinds == "FJGK" else "sigmas"
            raise ReflectionFileError(
                f"--labels: column {label!r} has type {types[label]} and "
                f"cannot hold {what} (types {', '.join(kinds)})"
            )
    intensity = types[labels[0]] in {"J", "K"}
    quantity = Quantity.INTENSITY if intensity else Quantity.AMPLITUDE
    return ObservedColumns(quantity, tuple(labels))
