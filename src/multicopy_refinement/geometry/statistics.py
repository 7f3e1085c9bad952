"""How far a model is from its restraints: by kind, and the worst by name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.geometry.terms.base import Internal, Pairs, State, Term
from multicopy_refinement.geometry.terms.bonds import Bonds
from multicopy_refinement.geometry.terms.contacts import SIGMA, Contacts
from multicopy_refinement.geometry.terms.planes import Planes


@dataclass(frozen=True)
class KindStatistics:
    """Deviations of one kind of restraints.

    Attributes
    ----------
    kind
        ``bonds``, ``angles`` and so on.
    n
        How many there are; of contacts, how many are too near.
    rms
        Root mean square of value - ideal, None where that has no unit.
    unit
        Of ``rms``.
    rms_z
        Root mean square of (value - ideal)/sigma.
    """

    kind: str
    n: int
    rms: float | None
    unit: str
    rms_z: float


@dataclass(frozen=True)
class Outlier:
    """One restraint that is far off.

    Attributes
    ----------
    kind
        As in `KindStatistics`.
    atoms
        Their labels; of a symmetry mate's with ``(mate)``.
    deviation
        value - ideal.
    unit
        Of ``deviation``.
    z
        deviation/sigma.
    """

    kind: str
    atoms: tuple[str, ...]
    deviation: float
    unit: str
    z: float


@dataclass(frozen=True)
class Statistics:
    """Deviations by kind, and the worst of each."""

    kinds: tuple[KindStatistics, ...]
    outliers: tuple[Outlier, ...]

    def __getitem__(self, kind: str) -> KindStatistics:
        """Return those of one kind."""
        return next(k for k in self.kinds if k.kind == kind)

    def __str__(self) -> str:
        lines = [f"{'restraints':<14}{'n':>8}{'rms':>12}{'rms Z':>8}"]
        for k in self.kinds:
            rms = "" if k.rms is None else f"{k.rms:.4g} {k.unit}"
            lines.append(f"{k.kind:<14}{k.n:>8}{rms:>12}{k.rms_z:>8.3f}")
        return "\n".join(lines)


def statistics_of(
    terms: tuple[Term, ...], table: AtomTable, at: State, *, worst: int = 5, least: float = 4.0
) -> Statistics:
    """Return statistics of a state.

    Parameters
    ----------
    terms, table
        Restraints, and the atoms that they are on.
    at
        Where the atoms are, hydrogens placed.
    worst
        How many outliers to name of each kind at most.
    least
        |z| of an outlier at least.
    """
    names = list(dict.fromkeys(term.name for term in terms))
    kinds, outliers = [], []
    for name in names:
        found = [_deviations(term, table, at) for term in terms if term.name == name]
        off = np.concatenate([f.deviation for f in found])
        z = np.concatenate([f.z for f in found])
        if len(z) == 0:
            continue
        rms = float(np.sqrt((off**2).mean())) if found[0].unit is not None else None
        unit = found[0].unit or ""
        kinds.append(KindStatistics(name, len(z), rms, unit, float(np.sqrt((z**2).mean()))))
        atoms = [labels for f in found for labels in f.atoms]
        order = np.argsort(-np.abs(z), kind="stable")[:worst]
        outliers += [
            Outlier(name, _labels(table, *atoms[i]), float(off[i]), unit, float(z[i]))
            for i in order.tolist()
            if abs(z[i]) >= least
        ]
    return Statistics(tuple(kinds), tuple(outliers))


@dataclass(frozen=True)
class _Found:
    """Deviations, their z, and for each its atoms and whether the last is a mate's."""

    deviation: FloatArray
    z: FloatArray
    unit: str | None
    atoms: list[tuple[list[int], bool]]


def _deviations(term: Term, table: AtomTable, at: State) -> _Found:
    if isinstance(term, Contacts):
        pairs, image, distance, limit = term.touching(at.xyz)
        off = distance - limit
        atoms = list(zip(pairs.tolist(), (image > 0).tolist(), strict=True))
        return _Found(off, off / SIGMA, "A", atoms)
    if isinstance(term, (Internal, Planes)):
        scale, unit = term.shown
        off = term.deviations(at.xyz)
        mates = np.zeros(len(off), dtype=bool)
        if isinstance(term, Bonds) and term.image is not None:
            mates = term.image > 0
        atoms = list(zip(term.atoms.tolist(), mates.tolist(), strict=True))
        return _Found(scale * off, off / term.sigma, unit, atoms)
    if not isinstance(term, Pairs):
        raise TypeError(f"no statistics of {type(term).__name__}")
    residuals = term.residuals(at)
    residuals = residuals.reshape(len(term), residuals.size // max(len(term), 1))
    z = np.sqrt((residuals**2).sum(axis=1))
    return _Found(
        z * term.sigma, z, term.shown[1] or None, [(pair, False) for pair in term.atoms.tolist()]
    )


def _labels(table: AtomTable, atoms: list[int], mate: bool) -> tuple[str, ...]:
    labels = list(table.labels(atoms))
    if mate:
        labels[-1] += " (mate)"
    return tuple(labels)
