"""Modes that the command line offers, defined without what is slow to import."""

from __future__ import annotations

from enum import StrEnum


class Grouping(StrEnum):
    """How atoms are put into occupancy groups."""

    RESIDUE = "residue"
    CONNECTED = "connected"
    COPIES = "copies"


class TargetKind(StrEnum):
    """Which target is used."""

    ML = "ml"
    LS = "ls"


class GroupsFormat(StrEnum):
    """How groups are shown."""

    TABLE = "table"
    JSON = "json"
    TOML = "toml"
    PHENIX = "phenix"
    REFMAC = "refmac"
    SHELX = "shelx"
