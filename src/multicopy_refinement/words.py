"""Figures as they are read."""

from __future__ import annotations

import math


def probability(p: float | None, none: str = "-") -> str:
    """Return a probability as it is read: 0.03, 2e-05, < 1e-99.

    >>> probability(0.0312), probability(2.2e-5), probability(1e-300), probability(None)
    ('0.031', '2e-05', '< 1e-99', '-')
    """
    if p is None:
        return none
    if p < 1e-99:
        return "< 1e-99"
    return f"{p:.0e}" if p < 1e-3 else f"{p:.3f}"


def with_su(value: float, su: float | None, digits: int = 2) -> str:
    """Return a value with its standard uncertainty in units of the last digit: 0.66(4).

    The su has one digit, two where these are 19 or less. Without one, or with one of nothing, the
    value has a number of decimals.

    >>> with_su(0.6612, 0.0412), with_su(0.6612, 0.0172), with_su(1.0, 0.0), with_su(-1e-9, None)
    ('0.66(4)', '0.661(17)', '1.00', '0.00')
    >>> with_su(0.6612, 0.0996), with_su(12.3, 2.6), with_su(0.5, float("nan"))
    ('0.66(10)', '12(3)', '0.50')
    """
    if su is None or not math.isfinite(su) or su < 5e-7:
        return f"{round(value, digits) + 0.0:.{digits}f}"
    decimals = max(1 - math.floor(math.log10(su)), 0)
    units = round(su * 10**decimals)
    if units > 19 and decimals > 0:
        decimals -= 1
        units = round(su * 10**decimals)
    return f"{round(value, decimals) + 0.0:.{decimals}f}({units})"


#: Verbs in the plural, and what they are in the singular where that is not an s more.
_SINGULAR = {"are": "is", "have": "has", "were": "was"}


def counted(n: int, noun: str, verb: str = "") -> str:
    """Return a number of things, and what they do: a verb that is given in the plural.

    >>> counted(1, "atom"), counted(12, "atom")
    ('1 atom', '12 atoms')
    >>> counted(1, "atom", "take"), counted(1, "row", "are"), counted(0, "row", "have")
    ('1 atom takes', '1 row is', '0 rows have')
    """
    does = verb if n != 1 or not verb else _SINGULAR.get(verb, f"{verb}s")
    return f"{n} {noun}{'' if n == 1 else 's'}{does and f' {does}'}"
