"""What a run did to the user's data or found odd in it, in words and by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

#: What spoils a result or changes what it means, the worst first: said even with --quiet.
HARMFUL = (
    "twinned", "bijvoet_exchanged", "r_free_rises", "worse_than_file", "common_factor",
    "joint_radiation", "outliers",
    "duplicate_atoms", "number_used_twice", "special_position", "occupancy_missing",
    "occupancy_above_1",
    "occupancy_below_0", "set_sum", "uneven_part", "uneven_copy",
)  # fmt: skip


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


class Coded(Protocol):
    """Whatever has the code of a notice."""

    @property
    def code(self) -> str:
        """Its kind."""
        ...


AnyNotice = TypeVar("AnyNotice", bound=Coded)


def worst_first(notices: Iterable[AnyNotice]) -> list[AnyNotice]:
    """Return notices in the order in which they should be read: harmful ones, then as they came."""
    return sorted(notices, key=rank)


def rank(notice: Coded) -> int:
    """Return the place of a notice among those that should be read, the harmful ones first."""
    return HARMFUL.index(notice.code) if notice.code in HARMFUL else len(HARMFUL)


def listed(items: list[str], limit: int = 6) -> str:
    """Return items joined by commas, the rest counted.

    >>> listed(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    if len(items) <= limit:
        return ", ".join(items)
    return f"{', '.join(items[:limit])} and {len(items) - limit} more"
