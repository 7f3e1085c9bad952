"""What a run did to the user's data or found odd in it, in words and by name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Notice:
    """A warning that stands in the result record.

    Attributes
    ----------
    code
        Short fixed name of the kind, for scripts.
    message
        One sentence for people.
    atoms
        Labels of the atoms (or reflections) that it is about.
    """

    code: str
    message: str
    atoms: tuple[str, ...] = ()


def listed(items: list[str], limit: int = 6) -> str:
    """Return items joined by commas, the rest counted.

    >>> listed(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    if len(items) <= limit:
        return ", ".join(items)
    return f"{', '.join(items[:limit])} and {len(items) - limit} more"
