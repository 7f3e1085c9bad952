"""The result record (schema 1): everything that a run found, as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from multicopy_refinement import __version__
from multicopy_refinement.crystal.beam import Beam
from multicopy_refinement.errors import InputError
from multicopy_refinement.modes import Radiation, TargetKind
from multicopy_refinement.notices import Notice, worst_first
from multicopy_refinement.posterior.agreement import Statistics
from multicopy_refinement.refinement import Solution
from multicopy_refinement.refinement.anomalous import STRONG, AnomalousResults
from multicopy_refinement.reflections import ReflectionData
from multicopy_refinement.results.anomalous_record import AnomalousRecord
from multicopy_refinement.results.base import Record
from multicopy_refinement.results.geometry_record import (
    GeometryRecord,
    geometry_record,
    moves_of,
)
from multicopy_refinement.results.real_space import GroupDensity
from multicopy_refinement.results.twin_record import TwinRecord
from multicopy_refinement.words import with_su

SCHEMA = 1
#: Occupancies in the record have this many decimals, and sets still sum to 1.
DECIMALS = 6
#: Keys that are there where F(+) and F(-) were told apart.
OF_DIFFERENCES = {
    "f_double_prime", "delta_log_likelihood_anomalous", "occupancy_anomalous", "su_anomalous",
}  # fmt: skip
#: Residues beside a ligand that are named.
MOST_BESIDE = 3


class Program(Record):
    """What made the record."""

    name: str = "multicopy_refinement"
    version: str = __version__


class Inputs(Record):
    """Files, columns and options of the run."""

    model: str
    data: str
    labels: list[str]
    free_label: str | None
    free_value: int | None
    options: dict[str, Any]


class Data(Record):
    """The reflections that were used, against which target, and measured with what.

    Outliers are in neither set. ``f_prime`` is in electrons, of the elements that have it, and
    ``f_double_prime`` where F(+) and F(-) are told apart.
    """

    n_work: int
    n_free: int
    n_outliers: int = 0
    target: TargetKind | None = None
    d_min: float
    d_max: float
    spacegroup: str
    cell: list[float]
    radiation: Radiation = Radiation.XRAY
    wavelength: float | None = None
    f_prime: dict[str, float] = {}
    f_double_prime: dict[str, float] = {}

    @property
    def beam(self) -> Beam:
        """What they were measured with."""
        first, second = (tuple(sorted(one.items())) for one in (self.f_prime, self.f_double_prime))
        return Beam(self.radiation, self.wavelength, first, second)


class Agreement(Record):
    """R factors and log-likelihoods; null where there is no free set."""

    r_work: float
    r_free: float | None
    log_likelihood: float
    log_likelihood_free: float | None


class Change(Record):
    """By how much a value has changed, and the standard uncertainty of that."""

    value: float
    su: float


class AgreementPair(Record):
    """Before, as the file is written, and after; null changes where there is no free set."""

    initial: Agreement
    final: Agreement
    r_free_change: Change | None = None


class Group(Record):
    """One occupancy group.

    ``initial`` is what the file says, ``start`` what refinement began with, ``su`` null where the
    data do not determine the occupancy. ``omit_peak``, in standard deviations, and
    ``omit_correlation`` are of the map without it, where it was left out. ``relaxed`` is about what
    the occupancy would be, were coordinates and B near it refined with it.
    ``delta_log_likelihood_anomalous`` is the part of Bijvoet differences, ``occupancy_anomalous``
    what they alone would have of atoms with an f'' above 0.5 e, all else held.
    """

    name: str
    n_atoms: int
    atom_indices: list[int]
    initial: float
    occupancy: float
    su: float | None
    refined: bool
    set: str | None
    delta_b: float | None
    delta_b_su: float | None
    b_correlation: float | None
    delta_log_likelihood: float | None
    flags: list[str]
    start: float | None = None
    su_conditional: float | None = None
    delta_log_likelihood_free: float | None = None
    wald: float | None = None
    p_absent: float | None = None
    misfit: float | None = None
    relaxed: float | None = None
    su_xyz: float | None = None
    b_su: float | None = None
    omit_peak: float | None = None
    omit_correlation: float | None = None
    delta_log_likelihood_anomalous: float | None = None
    occupancy_anomalous: float | None = None
    su_anomalous: float | None = None

    @property
    def begun_elsewhere(self) -> bool:
        """Whether refinement began with another occupancy than the file's."""
        return self.start is not None and abs(self.start - self.initial) > 0.005


class ExtinctionRecord(Record):
    """The coefficient of extinction that was refined, as SHELXL has it."""

    coefficient: float
    su: float | None

    @property
    def in_words(self) -> str:
        """As text."""
        return f"coefficient {with_su(self.coefficient, self.su)}"


class Set(Record):
    """Groups tied by a sum; the occupancy of ``parent``, where there is one, adds to the total."""

    name: str
    groups: list[str]
    total: float
    complete: bool
    parent: str | None = None


class RestraintValue(Record):
    """A restraint on occupancies, what came out, and by how many sigma it is off."""

    name: str
    groups: list[str]
    weights: list[float]
    target: float
    sigma: float
    value: float
    deviation: float


class LigandRecord(Record):
    """A residue that is no polymer, water or common ion, over all its conformers.

    ``groups`` are those whose occupancies add up to its own, ``beside`` other residues that share
    them. ``su`` is 0 where a set decides. ``correlation`` is that of 2mFo-DFc with the density of
    the model, ``highest`` and ``lowest`` are of mFo-DFc in standard deviations; ``omit_peak`` and
    ``omit_correlation`` of the map without it.
    """

    name: str
    groups: list[str]
    atom_indices: list[int]
    beside: list[str]
    refined: bool
    initial: float
    occupancy: float
    su: float | None
    delta_log_likelihood: float | None
    delta_log_likelihood_free: float | None
    wald: float | None
    p_absent: float | None
    flags: list[str]
    correlation: float | None = None
    highest: float | None = None
    lowest: float | None = None
    omit_peak: float | None = None
    omit_correlation: float | None = None

    @property
    def worst(self) -> float | None:
        """The larger of peak and hole."""
        if self.highest is None or self.lowest is None:
            return None
        return max(self.highest, self.lowest, key=abs)

    @property
    def made_of(self) -> str:
        """Its conformers, and what shares their occupancies, in words."""
        letters = [name.rpartition(":")[2] for name in self.groups if ":" in name]
        parts = ["+".join(letters)] if letters else []
        if self.beside:
            some = [" ".join(name.split("/")[:0:-1]) for name in self.beside[:MOST_BESIDE]]
            more = len(self.beside) - len(some)
            tail = f" and {more} more" if more else ""
            parts.append(f"with {', '.join(some)}{tail}")
        return ", ".join(parts)


class ExchangedSite(Record):
    """A site with H and D: the part of D, and its su, null where the data do not determine it."""

    residue: str
    site: str
    parent: str
    altloc: str = ""
    groups: list[str]
    fraction_d: float
    su: float | None
    flags: list[str] = []


class State(Record):
    """A sum of groups: a state of the model, or what the data determine of groups that coincide."""

    name: str
    groups: list[str]
    initial: float | None = None
    start: float | None = None
    occupancy: float
    su: float | None
    su_conditional: float | None = None
    delta_log_likelihood: float | None = None
    delta_log_likelihood_free: float | None = None
    wald: float | None = None
    p_absent: float | None = None
    flags: list[str] = []


class Warned(Record):
    """A notice."""

    code: str
    message: str
    atoms: list[str]


class Seconds(Record):
    """Wall times."""

    load: float
    scale: float
    refine: float
    report: float
    total: float


class Ended(Record):
    """How the refinement ended."""

    converged: bool
    reason: str
    cycles: int


class CycleRecord(Record):
    """Where the refinement stood after a macrocycle; 0 is the start."""

    number: int
    largest_change: float | None
    r_work: float
    r_free: float | None
    log_likelihood: float
    rms_shift: float | None = None
    rms_b_change: float | None = None
    bond_z: float | None = None
    restraint_weight: float | None = None


class CorrelationRecord(Record):
    """Correlations of the occupancies that depend on each other most."""

    groups: list[str]
    matrix: list[list[float]]


class Provenance(Record):
    """How the run can be repeated: its command, the inputs' SHA-256, versions of libraries.

    ``free_set`` says how the free set was told.
    """

    command: list[str]
    sha256: dict[str, str]
    versions: dict[str, str]
    free_set: str = ""


class RunRecord(Record):
    """The whole record.

    ``conditional_on`` is what the standard uncertainties take as known; ``decoys`` the number of
    decoys that ``p_absent`` was measured with, ``twinning`` there where the lattice allows any,
    ``anomalous`` where F(+) and F(-) were told apart.
    """

    schema_: int
    program: Program
    inputs: Inputs
    data: Data
    statistics: AgreementPair
    groups: list[Group]
    sets: list[Set]
    states: list[State]
    ligands: list[LigandRecord] = []
    exchange: list[ExchangedSite] = []
    restraints: list[RestraintValue] = []
    warnings: list[Warned]
    seconds: Seconds
    status: Ended
    history: list[CycleRecord]
    correlations: CorrelationRecord | None
    conditional_on: list[str] = []
    decoys: int = 0
    geometry: GeometryRecord | None = None
    twinning: TwinRecord | None = None
    anomalous: AnomalousRecord | None = None
    extinction: ExtinctionRecord | None = None
    provenance: Provenance | None = None

    def to_json(self) -> str:
        """Return the record as JSON text."""
        content = self.model_dump(mode="json")
        if not content["anomalous"]:
            for one in (content["data"], *content["groups"]):
                for name in OF_DIFFERENCES & one.keys():
                    del one[name]
        for name in ("restraints", "exchange", "twinning", "anomalous", "extinction"):
            if not content[name]:
                del content[name]
        content["sets"] = [
            {k: v for k, v in one.items() if k != "parent" or v is not None}
            for one in content["sets"]
        ]
        ordered = {"schema": content.pop("schema_"), **content}
        return json.dumps(ordered, indent=1, allow_nan=False) + "\n"


def make_record(
    solution: Solution, data: ReflectionData, inputs: Inputs, notices: tuple[Notice, ...],
    seconds: Seconds, provenance: Provenance | None = None,
    density: Sequence[GroupDensity] = (),
) -> RunRecord:  # fmt: skip
    """Return the record of a solution; ``density`` is that of its ligands."""
    groups, used = solution.groups, solution.experiment.data
    beam = solution.experiment.model.beam
    change = solution.r_free_change
    return RunRecord(
        schema_=SCHEMA,
        program=Program(),
        inputs=inputs,
        data=Data(
            n_work=int(used.work.sum()), n_free=int(used.free.sum()),
            n_outliers=used.n_outliers,
            target=solution.experiment.target_kind, d_min=data.d_min,
            d_max=data.d_max, spacegroup=data.spacegroup.name, cell=list(data.cell.parameters),
            radiation=beam.radiation, wavelength=beam.wavelength, f_prime=dict(beam.f_prime),
            f_double_prime=dict(beam.f_double_prime),
        ),
        statistics=AgreementPair(
            initial=agreement(solution.initial), final=agreement(solution.final),
            r_free_change=None if change is None else Change(value=change[0], su=change[1]),
        ),
        groups=_groups(solution),
        sets=[Set(name=s.name, groups=[groups.names[g] for g in s.groups], total=s.total,
                  complete=s.complete,
                  parent=None if s.parent is None else groups.names[s.parent])
              for s in groups.sets],
        states=_states(solution),
        ligands=_ligands(solution, density),
        exchange=_exchange(solution),
        restraints=_restraints(solution),
        warnings=[
            Warned(code=n.code, message=n.message, atoms=list(n.atoms))
            for n in worst_first(notices)
        ],
        seconds=seconds,
        history=[
            CycleRecord(
                number=c.number, largest_change=c.largest_change, r_work=c.statistics.r_work,
                r_free=c.statistics.r_free, log_likelihood=c.statistics.log_likelihood,
                **moves_of(c),
            )
            for c in solution.history
        ],
        correlations=_correlations(solution),
        conditional_on=list(solution.conditional_on),
        decoys=solution.n_decoys,
        geometry=geometry_record(solution),
        twinning=TwinRecord.of(solution.twinning, solution.twin),
        anomalous=AnomalousRecord.of(
            solution.anomalous, () if used.bijvoet is None else used.bijvoet.labels
        ),
        extinction=None if solution.extinction is None else ExtinctionRecord(
            coefficient=solution.extinction.coefficient, su=_known(solution.extinction.su)
        ),
        provenance=provenance,
        status=Ended(converged=solution.status.converged, reason=solution.status.reason,
                     cycles=solution.status.cycles),
    )  # fmt: skip


def _states(solution: Solution) -> list[State]:
    groups = solution.groups
    return [
        State(
            name=s.name, groups=[groups.names[g] for g in s.groups],
            initial=float(groups.file_occupancy[list(s.groups)].sum()),
            start=float(groups.occupancy[list(s.groups)].sum()), occupancy=s.occupancy,
            su=_known(s.su), su_conditional=_known(s.su_conditional),
            delta_log_likelihood=_known(s.delta_log_likelihood),
            delta_log_likelihood_free=_known(s.delta_log_likelihood_free), wald=_known(s.wald),
            p_absent=_known(s.p_absent), flags=[str(flag) for flag in s.flags],
        )
        for s in solution.states
    ]  # fmt: skip


def _ligands(solution: Solution, density: Sequence[GroupDensity]) -> list[LigandRecord]:
    names = solution.groups.names
    found = []
    for place, one in enumerate(solution.ligands):
        shown = density[place] if place < len(density) else None
        found.append(
            LigandRecord(
                name=one.name, groups=[names[g] for g in one.groups], atom_indices=list(one.atoms),
                beside=list(one.beside), refined=one.refined, initial=round(one.initial, DECIMALS),
                occupancy=round(one.occupancy, DECIMALS), su=_known(one.su),
                delta_log_likelihood=_known(one.delta_log_likelihood),
                delta_log_likelihood_free=_known(one.delta_log_likelihood_free),
                wald=_known(one.wald), p_absent=_known(one.p_absent),
                flags=[str(flag) for flag in one.flags],
                correlation=None if shown is None else shown.correlation,
                highest=None if shown is None else shown.highest,
                lowest=None if shown is None else shown.lowest,
            )
        )  # fmt: skip
    return found


def _exchange(solution: Solution) -> list[ExchangedSite]:
    names = solution.groups.names
    return [
        ExchangedSite(
            residue=one.residue, site=one.site, parent=one.parent, altloc=one.altloc,
            groups=[names[g] for g in one.groups], fraction_d=round(one.fraction, DECIMALS),
            su=_known(one.su), flags=[str(flag) for flag in one.flags],
        )
        for one in solution.exchange
    ]  # fmt: skip


def _restraints(solution: Solution) -> list[RestraintValue]:
    found = []
    for r in solution.groups.restraints:
        value = float(np.dot(r.weights, solution.occupancy[list(r.groups)]))
        found.append(
            RestraintValue(
                name=r.name, groups=[solution.groups.names[g] for g in r.groups],
                weights=list(r.weights), target=r.target, sigma=r.sigma, value=round(value, 6),
                deviation=round((value - r.target) / r.sigma, 4),
            )
        )  # fmt: skip
    return found


def _correlations(solution: Solution) -> CorrelationRecord | None:
    found = solution.correlations
    if found is None:
        return None
    return CorrelationRecord(
        groups=[solution.groups.names[g] for g in found.groups],
        matrix=np.round(found.matrix, 4).tolist(),
    )


def read_record(path: Path) -> RunRecord:
    """Return the record of a run's ``result.json``.

    Raises
    ------
    InputError
        A file that cannot be read, or is no such record.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise InputError(f"{path}: cannot be read: {fault.strerror}") from None
    except ValueError as fault:
        raise InputError(f"{path}: not readable as JSON: {fault}") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise InputError(f"{path}: not a result of schema {SCHEMA}; refine again to make one")
    content["schema_"] = content.pop("schema")
    try:
        return RunRecord.model_validate(content)
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: not a result of this version: {place}: {first['msg']}") from None


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def agreement(statistics: Statistics) -> Agreement:
    """Return statistics as they are recorded."""
    return Agreement(
        r_work=statistics.r_work, r_free=statistics.r_free,
        log_likelihood=statistics.log_likelihood,
        log_likelihood_free=statistics.log_likelihood_free,
    )  # fmt: skip


def _groups(solution: Solution) -> list[Group]:
    groups, results = solution.groups, solution.results
    occupancy = groups.rounded(solution.occupancy, DECIMALS)
    return [
        Group(
            name=name, n_atoms=len(groups.members[g]), atom_indices=groups.members[g].tolist(),
            initial=float(groups.file_occupancy[g]), start=float(groups.occupancy[g]),
            occupancy=float(occupancy[g]),
            su=_known(results.su[g]), su_conditional=_known(results.su_conditional[g]),
            refined=bool(groups.refined[g]),
            set=groups.sets[int(groups.set_index[g])].name if groups.set_index[g] >= 0 else None,
            delta_b=_known(results.delta_b[g]), delta_b_su=_known(results.delta_b_su[g]),
            b_correlation=_known(results.b_correlation[g]),
            delta_log_likelihood=_known(results.delta_log_likelihood[g]),
            delta_log_likelihood_free=_known(results.delta_log_likelihood_free[g]),
            wald=_known(results.wald[g]), p_absent=_known(results.p_absent[g]),
            misfit=_known(results.misfit[g]), relaxed=_known(results.relaxed[g]),
            su_xyz=_known(results.su_xyz[g]), b_su=_known(results.b_su[g]),
            flags=[str(flag) for flag in results.flags[g]],
            **_by_differences(solution.anomalous, g),
        )
        for g, name in enumerate(groups.names)
    ]  # fmt: skip


def _by_differences(found: AnomalousResults | None, g: int) -> dict[str, float | None]:
    """Return what Bijvoet differences say of a group."""
    if found is None:
        return {}
    seen = found.f_double_prime[g] >= STRONG
    return {
        "delta_log_likelihood_anomalous": _known(found.gain[g]),
        "occupancy_anomalous": _known(found.occupancy[g]) if seen else None,
        "su_anomalous": _known(found.su[g]) if seen else None,
    }
