"""Which columns of a reflection file hold the observations: by types, partners and values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.errors import ReflectionFileError

Columns = Sequence[tuple[str, str]]


class Quantity(StrEnum):
    """What was observed."""

    AMPLITUDE = "amplitude"
    INTENSITY = "intensity"
    DIFFERENCE = "difference"


@dataclass(frozen=True)
class ObservedColumns:
    """Labels of a value and its sigma, of a value alone, or of the four of Friedel mates."""

    quantity: Quantity
    labels: tuple[str, ...]

    @property
    def friedel_pair(self) -> bool:
        """Whether the columns hold F(+) and F(-) apart."""
        return len(self.labels) == 4

    @property
    def has_sigma(self) -> bool:
        """Whether there is a sigma."""
        return len(self.labels) > 1

    @property
    def values(self) -> tuple[str, ...]:
        """Labels without the sigmas."""
        return self.labels[::2]


#: MTZ types of a value and of its sigma.
_MEAN = {Quantity.AMPLITUDE: ("F", "Q"), Quantity.INTENSITY: ("J", "Q")}
_PAIR = {Quantity.AMPLITUDE: ("G", "L"), Quantity.INTENSITY: ("K", "M")}
#: Types of F(+) - F(-) and its sigma.
_DIFFERENCE = ("D", "Q")
_QUANTITY = {"F": Quantity.AMPLITUDE, "G": Quantity.AMPLITUDE,
             "J": Quantity.INTENSITY, "K": Quantity.INTENSITY}  # fmt: skip
_SIGMA_TYPES = frozenset("QLM")
#: Types of a column that is a sigma when it is called one.
_SIGMA_BY_NAME = _SIGMA_TYPES | frozenset("RFJ")
_COMMON = ("FP", "F", "FOBS", "F-OBS", "FMEAN", "FO", "FTOXD3", "IMEAN", "I", "IOBS", "I-OBS")
_CALCULATED = re.compile(r"^(FC|F_?CALC|F-?MODEL|FMODEL|2?FOFC|FWT|DELFWT|FOM|PHI)", re.IGNORECASE)
_SIGMA = re.compile(r"^(sigma|sig|esd|sd)|(sigma|sig|esd|sd)$", re.IGNORECASE)
#: Whole numbers of which there are no more different ones than this, many times each, are counts.
_FEW_VALUES, _TIMES_EACH = 100, 10
#: As few values of any kind are no measurements.
_MARKS = 10
NO_VALUES = "no values"
#: More negative values than this part belong to differences, not to amplitudes.
_NEGATIVE = 0.1


def unfit_columns(columns: Columns, values: Mapping[str, FloatArray]) -> dict[str, str]:
    """Return labels of columns whose values cannot be what their type says, and the reason."""
    reasons = {}
    for label, kind in columns:
        reason = ""
        if kind in _QUANTITY:
            reason = _unfit(values[label], _QUANTITY[kind])
        elif kind in _SIGMA_TYPES and not (values[label] > 0).any():
            known = bool(np.isfinite(values[label]).any())
            reason = "no sigma is positive" if known else NO_VALUES
        if reason:
            reasons[label] = reason
    return reasons


def _unfit(values: FloatArray, quantity: Quantity) -> str:
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return NO_VALUES
    different = np.unique(known)
    if len(different) == 1:
        return f"all values are {different[0]:g}" if len(known) > 1 else ""
    few = len(different) <= min(_FEW_VALUES, len(known) / _TIMES_EACH)
    if few and (different == np.rint(different)).all():
        return f"counts or flags, {len(different)} different whole numbers"
    if few and len(different) <= _MARKS:
        return f"{len(different)} different values only"
    if quantity is Quantity.AMPLITUDE and (known < 0).mean() > _NEGATIVE:
        return f"{100 * (known < 0).mean():.0f}% of the values are negative"
    return ""


def find_columns(
    columns: Columns,
    labels: Sequence[str] | None = None,
    unfit: Mapping[str, str] | None = None,
    *,
    prefer: Quantity = Quantity.INTENSITY,
) -> tuple[ObservedColumns, tuple[ObservedColumns, ...]]:
    """Return the observations of (label, MTZ type) columns, and the alternatives left aside.

    Intensities come before amplitudes, means before Friedel mates, usual names before others; means
    of either before mates where amplitudes are preferred. A sigma is the column that is called
    after its value, or else the one behind it; values without one are taken where there are no
    others. Columns of ``unfit`` are not taken unasked.

    >>> find_columns([("H", "H"), ("IOBS", "J"), ("SIGIOBS", "Q")])[0].labels
    ('IOBS', 'SIGIOBS')
    """
    if labels is not None:
        return _as_asked(columns, labels), ()
    unfit = unfit or {}
    fit = _fit(columns, unfit)
    found: list[ObservedColumns] = []
    for types in (_MEAN, _PAIR):
        for quantity, (kind, sigma) in types.items():
            paired = _with_sigmas(columns, fit, kind, sigma)
            found += _mates(quantity, paired) if types is _PAIR else _means(quantity, paired)
    if prefer is Quantity.INTENSITY:
        found.sort(key=lambda columns: columns.quantity is not prefer)
    found.sort(key=lambda columns: any(label in unfit for label in columns.labels))
    if not found:
        found = _without_sigma(columns, [name for name, kind in fit if kind in "FJ"])
    if not found:
        raise ReflectionFileError(_none_found(columns, unfit))
    return found[0], tuple(found[1:])


def bijvoet_columns(
    columns: Columns, chosen: ObservedColumns, unfit: Mapping[str, str] | None = None
) -> ObservedColumns | None:
    """Return the columns that tell Friedel mates apart, or None of none.

    Those of the observations where these are of mates; otherwise mates of the same quantity, of the
    other one, or F(+) - F(-) with its sigma beside amplitudes.

    >>> columns = [("F", "F"), ("SIGF", "Q"), ("DANO", "D"), ("SIGDANO", "Q")]
    >>> bijvoet_columns(columns, find_columns(columns)[0]).labels
    ('DANO', 'SIGDANO')
    """
    if chosen.friedel_pair:
        return _plus_first(chosen)
    unfit = unfit or {}
    fit = _fit(columns, unfit)
    found = [
        mates
        for quantity, (kind, sigma) in _PAIR.items()
        for mates in _mates(quantity, _with_sigmas(columns, fit, kind, sigma))
        if not unfit.keys() & set(mates.labels)
    ]
    found.sort(key=lambda mates: mates.quantity is not chosen.quantity)
    if not found and chosen.quantity is Quantity.AMPLITUDE:
        found = _means(Quantity.DIFFERENCE, _with_sigmas(columns, fit, *_DIFFERENCE))
    return _plus_first(found[0]) if found else None


def _plus_first(mates: ObservedColumns) -> ObservedColumns:
    """Return the columns of mates with those of F(+) first, as far as their names say."""
    if mates.friedel_pair and re.search(r"\(-\)|minus", mates.labels[0]):
        return replace(mates, labels=(*mates.labels[2:], *mates.labels[:2]))
    return mates


def _fit(columns: Columns, unfit: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the columns that can be values of observations."""
    named = {_plain(name) for name, _ in columns}
    return [
        (name, kind)
        for name, kind in columns
        if not (name in unfit or _CALCULATED.match(name) or _is_sigma(name, named))
    ]


def _with_sigmas(
    columns: Columns, fit: Columns, kind: str, sigma: str
) -> list[tuple[str, str]]:  # fmt: skip
    """Return the values of a type that have a sigma, with it."""
    labelled = [name for name, its_kind in fit if its_kind == kind]
    return [(n, s) for n in labelled if (s := _sigma_of(columns, n, sigma))]


def _none_found(columns: Columns, unfit: Mapping[str, str]) -> str:
    there = ", ".join(f"{name} ({kind})" for name, kind in columns if kind != "H")
    reasons = "".join(f"; {name}: {reason}" for name, reason in unfit.items())
    return (
        "no column of amplitudes or intensities with its sigma; columns (MTZ type): "
        f"{there or 'none'}{reasons}; name them with --labels F,SIGF"
    )


def _means(quantity: Quantity, paired: list[tuple[str, str]]) -> list[ObservedColumns]:
    ordered = sorted(paired, key=lambda labels: _usual(labels[0]))
    return [ObservedColumns(quantity, labels) for labels in ordered]


def _mates(quantity: Quantity, paired: list[tuple[str, str]]) -> list[ObservedColumns]:
    """Return pairs of mates: by the sign in their names, or else in the order of the file."""
    found, left = [], list(paired)
    while len(left) > 1:
        plus = left.pop(0)
        name = _of_other_sign(plus[0])
        minus = left[0] if name is None else next((p for p in left if p[0] == name), None)
        if minus is None:
            continue
        left.remove(minus)
        found.append(ObservedColumns(quantity, (*plus, *minus)))
    return found


def _of_other_sign(label: str) -> str | None:
    """Return what the mate of a column should be called, or None where it has no sign."""
    for sign, other in (("(+)", "(-)"), ("(-)", "(+)"), ("plus", "minus"), ("minus", "plus")):
        if sign in label:
            return label.replace(sign, other)
    return None


def _sigma_of(columns: Columns, value: str, kind: str) -> str | None:
    """Return the sigma of a value: called after it, or else behind it and of nobody else."""
    for name, its_kind in columns:
        if its_kind in _SIGMA_BY_NAME and name != value and _called_after(name) == _plain(value):
            return name
    place = [name for name, _ in columns].index(value)
    if place + 1 == len(columns) or columns[place + 1][1] != kind:
        return None
    behind = columns[place + 1][0]
    others = {_plain(name) for name, its_kind in columns if its_kind not in _SIGMA_TYPES}
    return None if _called_after(behind) in others else behind


def _is_sigma(name: str, named: set[str]) -> bool:
    """Return whether a column is called the sigma of another one."""
    return _called_after(name) != _plain(name) and _called_after(name) in named


def _called_after(sigma: str) -> str:
    return _plain(_SIGMA.sub("", sigma, count=1))


def _plain(label: str) -> str:
    """Return a label without capitals and punctuation, but for the signs of Friedel mates."""
    signed = label.lower().replace("(+)", "plus").replace("(-)", "minus")
    return re.sub(r"[^a-z0-9]", "", signed)


def _without_sigma(columns: Columns, labels: Sequence[str]) -> list[ObservedColumns]:
    """Return values that have no sigma and no phase behind them, as coefficients of maps have."""
    types = dict(columns)
    names = [name for name, _ in columns]
    alone = []
    for label in labels:
        behind = columns[names.index(label) + 1 :][:1]
        if not behind or behind[0][1] != "P":
            alone.append(label)
    alone.sort(key=_usual)
    if len(alone) > 1 and _usual(alone[0]) == _usual(alone[1]):
        raise ReflectionFileError(
            f"several columns that could be the data, none with a sigma: {', '.join(alone)}; "
            "name one with --labels"
        )
    return [ObservedColumns(_QUANTITY[types[name]], (name,)) for name in alone]


def _usual(label: str) -> int:
    plain = label.upper().replace("_", "-")
    return _COMMON.index(plain) if plain in _COMMON else len(_COMMON)


def _as_asked(columns: Columns, labels: Sequence[str]) -> ObservedColumns:
    types = dict(columns)
    for label in labels:
        if label not in types:
            raise ReflectionFileError(f"no column {label!r}; columns: {', '.join(types)}")
    if len(labels) == 1 and types[labels[0]] in _QUANTITY:
        sigma = any(_sigma_of(columns, labels[0], kind) for kind in _SIGMA_TYPES)
        if not sigma:
            return ObservedColumns(_QUANTITY[types[labels[0]]], tuple(labels))
    if len(labels) not in (2, 4):
        raise ReflectionFileError(
            "--labels takes a value and its sigma (F,SIGF) or two such "
            f"pairs for Friedel mates, not {len(labels)} names"
        )
    wanted = ("FJGK", "QLMRFJ") * 2
    for label, kinds in zip(labels, wanted, strict=False):
        if types[label] not in kinds:
            what = "amplitudes or intensities" if kinds == "FJGK" else "sigmas"
            raise ReflectionFileError(
                f"--labels: column {label!r} has type {types[label]} and "
                f"cannot hold {what} (types {', '.join(kinds)})"
            )
    return ObservedColumns(_QUANTITY[types[labels[0]]], tuple(labels))
