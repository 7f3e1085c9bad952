"""Group files: our own TOML, and those of phenix, REFMAC/Servalcat and SHELXL."""

from __future__ import annotations

from pathlib import Path

from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.errors import RuleError
from multicopy_refinement.modes import ExchangeFormat
from multicopy_refinement.occupancy.exchange import phenix, refmac, shelx, toml
from multicopy_refinement.occupancy.groups import OccupancyGroups
from multicopy_refinement.occupancy.rules import RuleSet

__all__ = ["ExchangeFormat", "read_rules", "write_groups"]


def read_rules(path: str | Path, table: AtomTable) -> RuleSet:
    """Return the rules of a file for the atoms of a table; its kind is told by its content.

    Raises
    ------
    RuleError
        A file that cannot be read or is of no known kind, or a rule of it that cannot be.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as fault:
        raise RuleError(f"{path}: cannot be read: {fault.strerror}") from None
    except UnicodeDecodeError:
        raise RuleError(f"{path}: not a text file") from None
    return parse_rules_text(text, table, str(path))


def parse_rules_text(text: str, table: AtomTable, source: str) -> RuleSet:
    """Return the rules of a text of any kind; ``source`` names it in messages."""
    readers = {
        ExchangeFormat.TOML: toml.read,
        ExchangeFormat.PHENIX: phenix.read,
        ExchangeFormat.REFMAC: refmac.read,
        ExchangeFormat.SHELX: shelx.read,
    }
    return readers[recognise(text, source)](text, table, source)


def recognise(text: str, source: str) -> ExchangeFormat:
    """Return the kind of a group file."""
    words = [line.split() for line in text.splitlines() if line.strip()]
    heads = [w[0].lower() for w in words]
    if any(h.startswith(("[[rule", "[rule", "automatic")) for h in heads):
        return ExchangeFormat.TOML
    if any(h.startswith("occu") and len(w) > 1 and w[1].lower()[:4] in {"grou", "refi"}
           for h, w in zip(heads, words, strict=True)):  # fmt: skip
        return ExchangeFormat.REFMAC
    if "constrained_group" in text or ("occupancies" in text and "{" in text):
        return ExchangeFormat.PHENIX
    if "individual" in heads or "remove_selection" in heads:
        return ExchangeFormat.PHENIX
    if any(h[:4] in {"fvar", "sfac"} for h in heads):
        return ExchangeFormat.SHELX
    if any(h.startswith("@") for h in heads):  # keywords may be taken in from other files
        return ExchangeFormat.REFMAC
    raise RuleError(
        f"{source}: no rules for groups in it; it must be our TOML ([[rule]] tables), phenix "
        "parameters (constrained_group), REFMAC keywords (occupancy group) or SHELXL (FVAR)"
    )


def write_groups(
    groups: OccupancyGroups, form: ExchangeFormat, *, cell: Cell | None = None,
    spacegroup: SpaceGroup | None = None, wavelength: float | None = None, title: str = "",
) -> str:  # fmt: skip
    """Return groups in the words of another program; comments say what they cannot express.

    ``cell`` is needed for SHELXL, whose atoms have fractional coordinates; with ``wavelength`` in A
    and ``spacegroup`` its CELL, LATT and SYMM are written, too.
    """
    if form is ExchangeFormat.SHELX:
        return shelx.write(groups, cell, title, spacegroup=spacegroup, wavelength=wavelength)
    writers = {
        ExchangeFormat.TOML: toml.write,
        ExchangeFormat.PHENIX: phenix.write,
        ExchangeFormat.REFMAC: refmac.write,
    }
    return writers[form](groups, title)
