"""Figures of a record as they are read."""

from __future__ import annotations


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
