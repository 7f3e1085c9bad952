"""Modes that options name: defined without anything that is slow to import."""

from __future__ import annotations

from enum import StrEnum


class Grouping(StrEnum):
    """How atoms are put into occupancy groups."""

    RESIDUE = "residue"
    CONNECTED = "connected"
    COPIES = "copies"
    STATES = "states"


class Parameter(StrEnum):
    """What may be refined."""

    OCCUPANCY = "occupancy"
    B_GROUP = "b_group"
    B_ISO = "b_iso"
    U_ANISO = "u_aniso"
    XYZ = "xyz"


class Active(StrEnum):
    """Which atoms move where coordinates or displacements are refined."""

    PARTIAL = "partial"
    ALL = "all"


class Radiation(StrEnum):
    """What a crystal was measured with."""

    XRAY = "xray"
    ELECTRON = "electron"
    NEUTRON = "neutron"


class Step(StrEnum):
    """Where a run stands, in the order of its steps."""

    STARTING = "starting"
    MODEL = "model and groups"
    DATA = "reflections"
    STRUCTURE_FACTORS = "structure factors"
    SCALE = "scale and solvent"
    SOLVING = "solving"
    MOVING = "coordinates and B factors"
    ERRORS = "standard uncertainties"
    EVIDENCE = "evidence"
    FILES = "files"
    REPORT = "report"


class TargetKind(StrEnum):
    """Which target is used."""

    ML = "ml"
    MLI = "mli"
    LS = "ls"


class Solver(StrEnum):
    """How the maximum is found."""

    GAUSS_NEWTON = "gauss_newton"
    LBFGS = "lbfgs"


class UncertaintyKind(StrEnum):
    """Which standard uncertainties are wanted."""

    MARGINAL = "marginal"
    AUDIT = "audit"
    CONDITIONAL = "conditional"
    NONE = "none"


class SolventTruth(StrEnum):
    """What keeps solvent out in a simulation."""

    OCCUPANCY = "occupancy"
    FLAT = "flat"


class Only(StrEnum):
    """Half of pruning."""

    ABSENT = "absent"
    MERGE = "merge"


class ExchangeFormat(StrEnum):
    """Kinds of group files."""

    TOML = "toml"
    PHENIX = "phenix"
    REFMAC = "refmac"
    SHELX = "shelx"


class GroupsFormat(StrEnum):
    """How groups are shown: in a terminal, as data, or as a group file."""

    TABLE = "table"
    JSON = "json"
    TOML = ExchangeFormat.TOML
    PHENIX = ExchangeFormat.PHENIX
    REFMAC = ExchangeFormat.REFMAC
    SHELX = ExchangeFormat.SHELX
