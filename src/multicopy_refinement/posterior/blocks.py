"""Named blocks of unknowns: the only place that knows where an unknown stands in a vector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray


class Kind(StrEnum):
    """What the unknowns of a block are."""

    OCCUPANCY = "occupancy"
    B_GROUP = "b_group"
    XYZ = "xyz"
    DISPLACEMENT = "displacement"
    SCALE = "scale"
    SOLVENT = "solvent"
    TWIN = "twin"
    EXTINCTION = "extinction"


@dataclass(frozen=True, eq=False)
class Block:
    """Unknowns of one kind.

    Attributes
    ----------
    kind
        What they are.
    lower, upper
        Bounds, ``[size]``; an unknown whose bounds coincide is held.
    nuisance
        Whether it is of no interest itself: not moved by a search, counted in every covariance.
    """

    kind: Kind
    lower: FloatArray
    upper: FloatArray
    nuisance: bool = False

    def __post_init__(self) -> None:
        if self.lower.shape != self.upper.shape:
            raise ValueError(
                f"block {self.kind}: {len(self.lower)} lower and {len(self.upper)} upper bounds"
            )

    @property
    def size(self) -> int:
        """Number of unknowns."""
        return len(self.lower)

    @classmethod
    def unbounded(cls, kind: Kind, size: int, *, nuisance: bool = False) -> Block:
        """Return a block without bounds."""
        return cls(kind, np.full(size, -np.inf), np.full(size, np.inf), nuisance)


@dataclass(frozen=True, eq=False)
class Space:
    """Blocks one after the other, each kind at most once."""

    blocks: tuple[Block, ...]

    def __contains__(self, kind: object) -> bool:
        return any(block.kind == kind for block in self.blocks)

    @cached_property
    def size(self) -> int:
        """Number of all unknowns."""
        return sum(block.size for block in self.blocks)

    @cached_property
    def _places(self) -> dict[Kind, slice]:
        edges = np.cumsum([0, *(block.size for block in self.blocks)]).tolist()
        return {b.kind: slice(edges[i], edges[i + 1]) for i, b in enumerate(self.blocks)}

    def place(self, kind: Kind) -> slice:
        """Return where the unknowns of a kind stand."""
        return self._places[kind]

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds in their order."""
        return tuple(block.kind for block in self.blocks)

    @cached_property
    def lower(self) -> FloatArray:
        """Lower bounds, ``[size]``."""
        return np.concatenate([np.zeros(0), *(block.lower for block in self.blocks)])

    @cached_property
    def upper(self) -> FloatArray:
        """Upper bounds, ``[size]``."""
        return np.concatenate([np.zeros(0), *(block.upper for block in self.blocks)])

    @cached_property
    def held(self) -> BoolArray:
        """Unknowns whose bounds coincide, ``[size]``."""
        return np.asarray(self.lower == self.upper)

    def indices(self, kinds: Iterable[Kind]) -> np.ndarray:
        """Return the places of several kinds, in the order of the space."""
        wanted = set(kinds)
        parts = [np.arange(self.size)[self.place(k)] for k in self.kinds if k in wanted]
        return np.concatenate([np.zeros(0, dtype=np.int64), *parts])

    def joined(self, blocks: Iterable[Block]) -> Space:
        """Return the space with further blocks at its end."""
        return Space((*self.blocks, *blocks))

    def point(self, values: Mapping[Kind, FloatArray]) -> Point:
        """Return the point with these values of every block."""
        return Point(self, np.concatenate([np.zeros(0), *(values[k] for k in self.kinds)]))

    def holding(self, kind: Kind, index: int, value: float) -> Space:
        """Return the space with one unknown held at a value."""

        def bounded(block: Block) -> Block:
            if block.kind is not kind:
                return block
            lower, upper = block.lower.copy(), block.upper.copy()
            lower[index] = upper[index] = value
            return replace(block, lower=lower, upper=upper)

        return Space(tuple(bounded(block) for block in self.blocks))


@dataclass(frozen=True, eq=False)
class Point:
    """Values of all unknowns of a space.

    Attributes
    ----------
    space
        Which unknowns.
    x
        Their values, ``[size]``.
    """

    space: Space
    x: FloatArray

    def __getitem__(self, kind: Kind) -> FloatArray:
        return self.x[self.space.place(kind)]

    def get(self, kind: Kind) -> FloatArray | None:
        """Return the values of a kind, or None where the space does not have it."""
        return self[kind] if kind in self.space else None

    @property
    def values(self) -> dict[Kind, FloatArray]:
        """The values of every kind."""
        return {kind: self[kind] for kind in self.space.kinds}

    def replacing(self, kind: Kind, values: FloatArray) -> Point:
        """Return the point with other values of one kind."""
        x = self.x.copy()
        x[self.space.place(kind)] = values
        return Point(self.space, x)
