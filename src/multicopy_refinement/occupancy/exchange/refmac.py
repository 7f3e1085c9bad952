"""Occupancy keywords of REFMAC5 and Servalcat, those of giant.make_restraints among them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from multicopy_refinement._typing import BoolArray
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.errors import RuleError
from multicopy_refinement.occupancy.exchange.common import (
    Piece,
    Pieces,
    listed_sets,
    lone_groups,
    places_of,
    refuse_namesakes,
    restraint_in_words,
    set_in_words,
    special_in_words,
)
from multicopy_refinement.occupancy.groups import OccupancyGroups, OccupancySet
from multicopy_refinement.occupancy.rules import (
    GroupRule,
    PlacedRule,
    RefineRule,
    RuleSet,
    SumRule,
)

#: A line of keywords, and where it stands.
_Placed = tuple[str, str]
#: As the last word of a line: it goes on in the next one.
_CONTINUED = frozenset({"-", "&", "\\"})

# ---------------------------------------------------------------------- reading


def read(text: str, table: AtomTable, source: str) -> RuleSet:
    """Return the groups of ``occupancy group`` keywords; nothing else is refined, as there.

    Keywords are matched by their first letters, in capitals or not. Lines of one id are united, a
    field that is left out matches everything. Without ``occupancy refine`` nothing is refined.
    """
    selected: dict[str, BoolArray] = {}
    first_line: dict[str, str] = {}
    sums: list[tuple[str, bool, list[str]]] = []
    refine = False
    for where, line in _keyword_lines(text, source):
        words = line.split()
        if len(words) < 2 or not words[0].lower().startswith("occu"):
            continue
        kind = words[1].lower()
        if kind.startswith("refi"):
            refine = True
        elif kind.startswith("grou") and len(words) > 3 and words[2].lower().startswith("id"):
            atoms = _selected(words[4:], table, where)
            if not atoms.any():
                raise RuleError(f"{where}: group {words[3]} selects no atom: {' '.join(words[4:])}")
            selected[words[3]] = selected.get(words[3], np.zeros(len(table), bool)) | atoms
            first_line.setdefault(words[3], where)
        elif kind.startswith("grou") and len(words) > 3 and words[2].lower().startswith("alts"):
            sums.append((where, words[3].lower().startswith("comp"), words[4:]))
        else:
            raise RuleError(f"{where}: {line.strip()!r} is not an occupancy keyword that is known")
    if not refine:
        remark = f"{source}: there is no 'occupancy refine', so no occupancy is refined"
        return RuleSet((), False, (remark,))
    return RuleSet(tuple(_rules(selected, first_line, sums, table)), False)


def _keyword_lines(text: str, source: str, within: tuple[str, ...] = ()) -> Iterator[_Placed]:
    """Yield lines of keywords and where they begin: comments gone, continued lines as one.

    A line whose last word is a hyphen goes on in the next; ``@file`` takes in another file, which
    is looked for beside the one that names it; END ends all.
    """
    pending, where = "", ""
    for number, raw in enumerate(text.splitlines(), start=1):
        line = re.sub(r"[!#].*", "", raw).strip()
        where = where if pending else f"{source}, line {number}"
        if line.startswith("@") and not pending:
            yield from _included(line[1:].strip(), source, where, (*within, source))
            continue
        words = line.split()
        if words and words[-1] in _CONTINUED:
            pending = f"{pending} {' '.join(words[:-1])}".strip() or " "
            continue
        whole = f"{pending} {line}".strip()
        pending = ""
        if whole.lower() == "end":
            return
        if whole:
            yield where, whole
    if pending.strip():
        raise RuleError(f"{where}: {pending.strip()!r} goes on in a next line, and there is none")


def _included(name: str, source: str, where: str, within: tuple[str, ...]) -> Iterator[_Placed]:
    path = Path(source).parent / name.strip("'\"")
    if str(path) in within:
        raise RuleError(f"{where}: {name!r} takes in itself")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise RuleError(f"{where}: {name!r} cannot be read as a file of keywords") from None
    yield from _keyword_lines(text, str(path), within)


def _rules(
    selected: dict[str, BoolArray], first_line: dict[str, str],
    sums: list[tuple[str, bool, list[str]]], table: AtomTable,
) -> list[PlacedRule]:  # fmt: skip
    rules: list[PlacedRule] = []
    owner = np.full(len(table), -1)
    for number, (name, atoms) in enumerate(selected.items()):
        where = first_line[name]
        taken = np.flatnonzero(atoms & (owner >= 0))
        if len(taken):
            other = list(selected)[owner[taken[0]]]
            raise RuleError(
                f"{where}: {table.label(int(taken[0]))} is in groups {other} and {name}"
            )
        owner[atoms] = number
        rules.append(PlacedRule(GroupRule(atoms=(places_of(atoms),)), where))
    in_sum = set()
    for where, complete, names in sums:
        unknown = [name for name in names if name not in selected]
        if unknown or not names:
            raise RuleError(f"{where}: there is no group {unknown[0] if unknown else ''}")
        in_sum |= set(names)
        members = tuple(places_of(selected[name]) for name in names)
        limit = {"equal": 1.0} if complete else {"at_most": 1.0}
        if complete and len(names) == 1:
            raise RuleError(f"{where}: one group alone cannot sum to 1 and be refined")
        if complete or len(names) > 1:
            rules.append(PlacedRule(SumRule.model_validate({"sum": members, **limit}), where))
        else:  # at most 1 holds for every group
            in_sum -= set(names)
    for name, atoms in selected.items():
        if name not in in_sum:
            rules.append(PlacedRule(RefineRule(refine=(places_of(atoms),)), first_line[name]))
    return rules


_FIELDS = ("chai", "segm", "resi", "atom", "alt")


def _selected(words: list[str], table: AtomTable, where: str) -> BoolArray:
    """Return the atoms of the fields of one line."""
    found = np.ones(len(table), dtype=bool)
    place = 0

    def value(number: int) -> str:
        if number >= len(words):
            raise RuleError(f"{where}: {words[place]} has no value")
        return words[number]

    while place < len(words):
        word = words[place].lower()
        if word.startswith(("chai", "segm")):
            end = place + 1
            while end < len(words) and not words[end].lower().startswith(_FIELDS[2:]):
                end += 1
            if end == place + 1:
                raise RuleError(f"{where}: {words[place]} has no value")
            chains = [w.encode() for w in words[place + 1 : end]]
            absent = [c for c in chains if not (table.chain == c).any()]
            if absent:
                raise RuleError(f"{where}: there is no chain {absent[0].decode()!r} in the model")
            found &= np.isin(table.chain, chains)
            place = end
        elif word.startswith("resi"):
            if value(place + 1).lower().startswith("from"):
                if not value(place + 3).lower().startswith("to"):
                    raise RuleError(f"{where}: 'residue from {value(place + 2)}' has no 'to'")
                found &= _range(table, value(place + 2), value(place + 4), where)
                place += 5
            else:
                number, icode = _seqid(value(place + 1), where)
                found &= (table.resseq == number) & (table.icode == icode.encode())
                place += 2
        elif word.startswith("atom"):
            found &= table.name == value(place + 1).encode()
            place += 2
        elif word.startswith("alt"):
            found &= table.altloc == value(place + 1).encode()
            place += 2
        else:
            raise RuleError(f"{where}: {words[place]!r} is not a field that is known")
    return found


def _seqid(text: str, where: str) -> tuple[int, str]:
    found = re.fullmatch(r"(-?\d+)\.?([A-Za-z]?)", text)
    if not found:
        raise RuleError(f"{where}: {text!r} is not a residue number")
    return int(found[1]), found[2]


def _range(table: AtomTable, first: str, last: str, where: str) -> BoolArray:
    (low, low_code), (high, high_code) = _seqid(first, where), _seqid(last, where)
    code = table.icode.view(np.uint8)
    after = (table.resseq > low) | ((table.resseq == low) & (code >= ord(low_code or "\0")))
    before = (table.resseq < high) | ((table.resseq == high) & (code <= ord(high_code or "\0")))
    return np.asarray(after & before)


# ---------------------------------------------------------------------- writing


def write(groups: OccupancyGroups, title: str = "") -> str:
    """Return groups as keywords; comments name what they cannot express."""
    pieces = Pieces.of(groups.table)
    lines = [f"! occupancy groups{' of ' + title if title else ''}"]
    lines += [f"! {text}" for text in special_in_words(groups, once=False)]
    lost: list[str] = []
    sums: list[str] = []
    ids: dict[int, int] = {}
    members = [g for one in listed_sets(groups) for g in one.groups if groups.refined[g]]
    for g in [*members, *lone_groups(groups)]:
        words = [_words(piece, pieces, groups) for piece in pieces.cut(groups.members[g])]
        why = ""
        if groups.table.several_models:
            why = "one of several MODELs"
        elif (groups.table.chain[groups.members[g]] == b"").any():
            why = "in a chain without a name"
        elif any(w is None for w in words):
            why = "whose atoms share names with altlocs"
        if why:
            lost.append(f"! not expressed: {groups.names[g]}, {why}")
            continue
        ids[g] = len(ids) + 1
        lines.append(f"! {groups.names[g]}")
        for part in words:
            lines += [f"occupancy group id {ids[g]} {line}" for line in part or []]
    for one in listed_sets(groups):
        if _expressible(groups, one) and all(g in ids for g in one.groups):
            kind = "complete" if one.complete else "incomplete"
            numbers = " ".join(str(ids[g]) for g in one.groups)
            sums.append(f"occupancy group alts {kind} {numbers}")
        else:
            lost.append(f"! not expressed: {set_in_words(groups, one)}")
    lost += [f"! not expressed: {restraint_in_words(groups, r)}" for r in groups.restraints]
    return "\n".join([lines[0], *lost, *lines[1:], *sums, "occupancy refine", ""])


#: What begins quotes, a comment or another file in keywords.
_MARKS = frozenset("'\"!#@")


def _expressible(groups: OccupancyGroups, one: OccupancySet) -> bool:
    return one.parent is None and one.total == 1.0 and bool(groups.refined[list(one.groups)].all())


def _words(piece: Piece, pieces: Pieces, groups: OccupancyGroups) -> list[str] | None:
    """Return the fields of a piece, one line an atom where not the whole part is meant."""
    refuse_namesakes(groups.table, piece, "REFMAC", by_residue_name=False)
    for name in (piece.chain, piece.altloc, *piece.names):
        if name[:1] in _MARKS or name in _CONTINUED or (set(name) & set("#!")):
            raise RuleError(
                f"the name {name!r} cannot be written as a keyword of REFMAC, which reads it as "
                "something else; rename it in the model, or write toml"
            )
    residue = f"chain {piece.chain} resi {piece.seqid}"
    if piece.altloc:
        tail = f" alte {piece.altloc}"
        if not piece.names:
            return [residue + tail]
        return [f"{residue} atom {name}{tail}" for name in piece.names]
    if not piece.names and piece.alone:
        return [residue]
    if piece.shares_names:
        return None
    return [f"{residue} atom {name}" for name in piece.all_names]
