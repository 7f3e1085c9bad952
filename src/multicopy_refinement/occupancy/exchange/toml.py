"""Our own rules in TOML: read with the line of every rule, written without loss."""

from __future__ import annotations

import json
import re
import tomllib

import numpy as np

from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.errors import RuleError
from multicopy_refinement.occupancy.exchange.common import Piece, Pieces
from multicopy_refinement.occupancy.groups import OccupancyGroups, OccupancySet, Why
from multicopy_refinement.occupancy.rules import RuleSet, parse_rule
from multicopy_refinement.occupancy.values import not_full

#: Names without marks that mean something in selections.
_PLAIN = re.compile(r"[A-Za-z0-9_'+]*")
_HEAD = re.compile(r"^\s*\[\[\s*rule\s*\]\]")


def read(text: str, table: AtomTable, source: str) -> RuleSet:
    """Return the rules of a TOML text: ``[[rule]]`` tables, and ``automatic`` before them."""
    del table
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise RuleError(f"{source}: not readable as TOML: {fault}") from None
    unknown = sorted(set(content) - {"rule", "automatic"})
    if unknown:
        raise RuleError(f"{source}: {unknown[0]!r} is not known; it has [[rule]] and automatic")
    automatic = content.get("automatic", True)
    if not isinstance(automatic, bool):
        raise RuleError(f"{source}: automatic must be true or false, not {automatic!r}")
    rules = content.get("rule", [])
    if not isinstance(rules, list) or not all(isinstance(r, dict) for r in rules):
        raise RuleError(f"{source}: rules are [[rule]] tables, with two brackets")
    lines = [i for i, line in enumerate(text.splitlines(), start=1) if _HEAD.match(line)]
    places = lines if len(lines) == len(rules) else ["?"] * len(rules)
    return RuleSet(
        tuple(
            parse_rule(rule, f"{source}, line {line}")
            for rule, line in zip(rules, places, strict=True)
        ),
        automatic,
    )


def write(groups: OccupancyGroups, title: str = "") -> str:
    """Return all that is refined, summed or restrained as rules that make the same groups."""
    table = groups.table
    pieces = Pieces.of(table)
    lines = [
        f"# occupancy groups{' of ' + title if title else ''}",
        "# automatic = false: only what these rules say is refined and summed, all else is held;",
        "# true: they change the groups and sets that are made of residues and altlocs",
        "automatic = false",
        "# value: the occupancy that a group begins with; `fix` holds it there",
        "",
    ]
    for g in _worth_saying(groups):
        lines += ["[[rule]]", f"# {groups.why(g)}", f"group = {_text(groups.names[g])}"]
        lines += [_atoms(groups, pieces, g), f"value = {_number(groups.occupancy[g])}", ""]
    for g in _worth_saying(groups):
        if groups.refined[g] and groups.set_index[g] < 0:
            lines += ["[[rule]]", f"refine = {_text(groups.names[g])}", ""]
        elif not groups.refined[g]:
            lines += ["[[rule]]", f"fix = {_text(groups.names[g])}", ""]
    for number in groups.sums.outermost_first.tolist():
        lines += _sum_lines(groups, groups.sets[number])
    for restraint in groups.restraints:
        names = [groups.names[g] for g in restraint.groups]
        lines += [
            "[[rule]]", f"sum = {_texts(names)}", f"equal = {_number(restraint.target)}",
            f"weights = {[float(w) for w in restraint.weights]}", f"sigma = {restraint.sigma:g}",
            "",
        ]  # fmt: skip
    return "\n".join(lines)


def _atoms(groups: OccupancyGroups, pieces: Pieces, group: int) -> str:
    """Return the atoms of a group as selections, or by their places where none can say them."""
    parts = list(pieces.cut(groups.members[group]))
    several = groups.table.several_models
    cids = [_cid(groups.table, part, several=several) for part in parts]
    if any(cid is None for cid in cids):
        places = ", ".join(str(atom) for atom in groups.members[group].tolist())
        return f"atoms = [[{places}]]  # places in the file, from 0"
    return f"atoms = {_texts([cid for cid in cids if cid is not None])}"


def _cid(table: AtomTable, part: Piece, *, several: bool) -> str | None:
    """Return the CID of a piece, or None where gemmi would read it as something else."""
    words = [part.chain, part.altloc, part.icode, part.resname, *part.names]
    if not all(_PLAIN.fullmatch(word) for word in words):
        return None
    if any(table.resname[atom].decode() == part.resname for atom in part.namesakes):
        return None
    name = f"({part.resname})" if part.several_names and part.names else ""
    base = f"/{part.model if several else ''}/{part.chain}/{part.number}.{part.icode}{name}"
    return f"{base}/{','.join(part.names)}:{part.altloc}"


def _worth_saying(groups: OccupancyGroups) -> list[int]:
    """Return groups that are refined, in sets, restrained, partial, or made by a rule."""
    wanted = groups.refined | (groups.set_index >= 0) | not_full(groups.occupancy)
    wanted |= np.isin(
        groups.rule, [Why.SHARED, Why.SEPARATED, Why.DEFINED, Why.CONNECTED, Why.STATE]
    )
    for restraint in groups.restraints:
        wanted[list(restraint.groups)] = True
    wanted[groups.sums.parent[groups.sums.parent >= 0]] = True
    return np.flatnonzero(wanted).tolist()


def _sum_lines(groups: OccupancyGroups, one: OccupancySet) -> list[str]:
    key = "equal" if one.complete else "at_most"
    total = _number(one.total) if one.parent is None else _text(groups.names[one.parent])
    names = _texts([groups.names[g] for g in one.groups])
    return ["[[rule]]", f"sum = {names}", f"{key} = {total}", f"name = {_text(one.name)}", ""]


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)  # a basic string of TOML is one of JSON


def _texts(values: list[str]) -> str:
    return "[" + ", ".join(_text(v) for v in values) + "]"


def _number(value: float) -> str:
    return f"{float(value):.10g}"
