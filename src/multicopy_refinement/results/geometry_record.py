"""Geometry in the record: deviations before and after, outliers, and how far atoms moved."""

from __future__ import annotations

import math

import numpy as np

from multicopy_refinement.refinement import Solution
from multicopy_refinement.refinement.course import Cycle
from multicopy_refinement.results.base import Record

#: Atoms that moved most, and outliers, that are told.
_MOST = 20


class GeometryKind(Record):
    """Deviations of one kind of restraints; ``unit`` is that of the rms, where it has one."""

    kind: str
    n: int
    unit: str
    rms_before: float | None
    rms_after: float | None
    rms_z_before: float | None
    rms_z_after: float


class OutlierRecord(Record):
    """One restraint that is far off at the end."""

    kind: str
    atoms: list[str]
    deviation: float
    unit: str
    z: float


class MovedAtom(Record):
    """An atom, by how much it moved (A) and its B changed (A^2)."""

    atom: str
    shift: float
    b_change: float


class GeometryRecord(Record):
    """What coordinates and displacements did, and how far they are from the restraints.

    ``b_spread`` is how far B of bonded atoms are apart in this crystal, in units of their sigmas;
    ``leverage`` which part of the data a fit of all atoms takes up, by which errors of the free set
    are too large for su, 0 where atoms are held.
    """

    weight: float
    b_spread: float = 1.0
    leverage: float = 0.0
    rms_shift: float
    rms_b_change: float
    kinds: list[GeometryKind]
    outliers: list[OutlierRecord]
    largest_moves: list[MovedAtom]


def geometry_record(solution: Solution) -> GeometryRecord | None:
    """Return the geometry of a solution, None where coordinates and displacements were held."""
    found = solution.relaxation
    if found is None:
        return None
    before = {kind.kind: kind for kind in found.before.kinds}
    kinds = []
    for kind in found.after.kinds:
        first = before.get(kind.kind)
        kinds.append(
            GeometryKind(
                kind=kind.kind, n=kind.n, unit=kind.unit, rms_after=kind.rms,
                rms_before=None if first is None else first.rms,
                rms_z_before=None if first is None else first.rms_z, rms_z_after=kind.rms_z,
            )
        )  # fmt: skip
    outliers = sorted(found.after.outliers, key=lambda one: -abs(one.z))[:_MOST]
    labels = solution.groups.table.labels
    order = np.argsort(-found.shift, kind="stable")[:_MOST]
    moved = [
        MovedAtom(
            atom=labels(np.array([i]))[0], shift=round(float(found.shift[i]), 4),
            b_change=round(float(found.b_change[i]), 3),
        )
        for i in order.tolist() if found.shift[i] > 0
    ]  # fmt: skip
    some = (found.shift > 0) | (found.b_change != 0)
    return GeometryRecord(
        weight=found.weight, b_spread=found.spread, leverage=round(found.leverage, 4),
        rms_shift=_rms(found.shift[some]),
        rms_b_change=_rms(found.b_change[some]), kinds=kinds, largest_moves=moved,
        outliers=[
            OutlierRecord(
                kind=one.kind, atoms=list(one.atoms), deviation=one.deviation, unit=one.unit,
                z=one.z,
            )
            for one in outliers
        ],
    )  # fmt: skip


def moves_of(cycle: Cycle) -> dict[str, float | None]:
    """Return how far coordinates and displacements went in a macrocycle, as the record has it."""
    moves = cycle.moves
    if moves is None:
        return {}
    return {
        "rms_shift": moves.xyz, "rms_b_change": moves.b, "restraint_weight": moves.weight,
        "bond_z": None if math.isnan(moves.bond_z) else moves.bond_z,
    }  # fmt: skip


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2))) if len(values) else 0.0
