"""Occupancy parameters of phenix.refine: constrained groups, individual atoms, what is left out."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import BoolArray
from multicopy_refinement.atoms.connections import WATERS
from multicopy_refinement.atoms.numbering import number_residues
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.errors import RuleError
from multicopy_refinement.occupancy.exchange.common import (
    Piece,
    Pieces,
    is_plain,
    listed_sets,
    lone_groups,
    places_of,
    restraint_in_words,
    set_in_words,
)
from multicopy_refinement.occupancy.groups import OccupancyGroups
from multicopy_refinement.occupancy.rules import (
    FixRule,
    GroupRule,
    PlacedRule,
    RuleSet,
    SumRule,
)
from multicopy_refinement.occupancy.values import not_full

# ---------------------------------------------------------------------- reading


@dataclass(frozen=True)
class _Entry:
    """One assignment ``name = value`` inside of nested scopes."""

    scope: tuple[int, ...]
    name: str
    value: str
    line: int
    owners: tuple[str, ...]


def read(text: str, table: AtomTable, source: str) -> RuleSet:
    """Return the groups of parameters in phenix' syntax.

    As in phenix.refine, automatic groups stay for atoms that no selection names, and a selection
    that overlaps an earlier one takes its atoms over; here a remark says so. ``individual`` atoms
    are refined one by one, those of ``remove_selection`` are held.
    """
    rules: list[PlacedRule] = []
    remarks: list[str] = []
    taken = np.zeros(len(table), dtype=bool)
    held = np.zeros(len(table), dtype=bool)
    held_where = source
    constrained: dict[tuple[int, ...], list[tuple[_Entry, BoolArray]]] = {}
    for entry in _entries(text, source):
        where = f"{source}, line {entry.line}"
        known = {"selection", "individual", "remove_selection"}
        if not {"occupancies", "constrained_group"} & set(entry.owners):
            continue  # parameters of something else
        if entry.value.lower() in {"none", "auto", ""}:
            continue
        if entry.name not in known:
            remarks.append(f"{where}: {entry.name} is not taken over")
            continue
        atoms = select(table, entry.value, where)
        if entry.name == "selection" and entry.owners[-1] == "constrained_group":
            constrained.setdefault(entry.scope, []).append((entry, atoms))
        elif entry.name == "individual":
            rules += [
                PlacedRule(GroupRule(atoms=((a,),)), where)
                for a in np.flatnonzero(atoms & ~taken).tolist()
            ]
            taken |= atoms
        elif entry.name == "remove_selection":
            held |= atoms
            held_where = where
    pieces = _apart(list(constrained.values()), table, source, remarks, taken)
    for group in pieces:
        rules += _group_rules(group, source)
    if held.any():
        rules += _held_rules(table, held & ~taken, held_where)
    return RuleSet(tuple(rules), True, tuple(remarks))


def _held_rules(table: AtomTable, held: BoolArray, where: str) -> list[PlacedRule]:
    """Return rules that hold atoms at what they have, residue by residue and value by value."""
    rules = []
    residue = number_residues(table)
    keys: dict[tuple[int, bytes, float], list[int]] = {}
    for atom in np.flatnonzero(held).tolist():
        key = (int(residue[atom]), table.altloc[atom], float(table.occupancy[atom]))
        keys.setdefault(key, []).append(atom)
    for (_, _, occupancy), atoms in keys.items():
        places = (tuple(atoms),)
        value = min(max(occupancy, 0.0), 1.0)
        rules.append(PlacedRule(GroupRule(atoms=places, value=value), where))
        rules.append(PlacedRule(FixRule(fix=places), where))
    return rules


def _apart(
    groups: list[list[tuple[_Entry, BoolArray]]], table: AtomTable, source: str,
    remarks: list[str], taken: BoolArray,
) -> list[list[tuple[_Entry, BoolArray]]]:  # fmt: skip
    """Return the selections without the atoms that later ones take over."""
    found = []
    for group in reversed(groups):
        kept = []
        for entry, atoms in reversed(group):
            both = atoms & taken
            if both.any():
                remarks.append(
                    f"{source}, line {entry.line}: {both.sum()} atoms are named again later, "
                    f"where they are taken: {table.label(int(np.flatnonzero(both)[0]))} is one"
                )
            taken |= atoms
            if (atoms & ~both).any():
                kept.append((entry, atoms & ~both))
        found.append(kept[::-1])
    return found[::-1]


def _group_rules(group: list[tuple[_Entry, BoolArray]], source: str) -> list[PlacedRule]:
    rules = [
        PlacedRule(GroupRule(atoms=(places_of(atoms),)), f"{source}, line {entry.line}")
        for entry, atoms in group
    ]
    if len(group) > 1:
        members = tuple(places_of(atoms) for _, atoms in group)
        rules.append(PlacedRule(SumRule(sum=members), f"{source}, line {group[0][0].line}"))
    return rules


def _entries(text: str, source: str) -> list[_Entry]:
    """Return all assignments, with the scopes that they are in.

    The syntax is that of phenix' parameter files: ``name = value`` up to the end of the line or a
    semicolon, ``scope { ... }``, dotted names for scopes in scopes, ! before what is switched off.
    """
    entries: list[_Entry] = []
    scopes: list[tuple[str, int, int]] = []
    count = 0
    for number, line in _logical_lines(text):
        rest = line.strip()
        while rest:
            opening = re.match(r"(!?[\w.]*)\s*\{", rest)
            assignment = re.match(r"(!?[\w.]+)\s*=\s*", rest)
            if opening:
                count += 1
                scopes.append((opening[1], count, number))
                rest = rest[opening.end() :].strip()
            elif rest[0] == "}":
                if not scopes:
                    raise RuleError(f"{source}, line {number}: a closing brace too many")
                scopes.pop()
                rest = rest[1:].strip()
            elif rest[0] == ";":
                rest = rest[1:].strip()
            elif assignment:
                value, rest = _value(rest[assignment.end() :])
                path = ".".join([*(name for name, _, _ in scopes), assignment[1]])
                if "!" not in path:
                    *owners, name = path.split(".")
                    entries.append(
                        _Entry(tuple(i for _, i, _ in scopes), name, value, number, tuple(owners))
                    )
            else:
                raise RuleError(f"{source}, line {number}: {rest!r} is not name = value")
    if scopes:
        name, _, number = scopes[-1]
        raise RuleError(f"{source}, line {number}: the scope {name!r} is not closed with a brace")
    return entries


def _value(text: str) -> tuple[str, str]:
    """Return the value at the beginning of a text, quotes around the whole taken off, and the rest.

    It ends at a brace or semicolon outside of quotes.
    """
    quote, end = "", len(text)
    for i, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "};":
            end = i
            break
    value = text[:end].strip()
    if len(value) > 1 and value[0] == value[-1] == '"' and '"' not in value[1:-1]:
        value = value[1:-1].strip()
    return value, text[end:].strip()


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Return lines without comments, those that end in a backslash joined with the next."""
    found: list[tuple[int, str]] = []
    open_line = ""
    first = 1
    for number, raw in enumerate(text.splitlines(), start=1):
        line = re.sub(r"^\s*#.*|\s#.*$", "", raw).rstrip()
        if not open_line:
            first = number
        if line.endswith("\\"):
            open_line += line[:-1] + " "
            continue
        found.append((first, open_line + line))
        open_line = ""
    if open_line:
        found.append((first, open_line))
    return found


# ---------------------------------------------------------------------- selections

_TOKEN = re.compile(r"'[^']*'|\"[^\"]*\"|[()]|[^\s()]+")


def select(table: AtomTable, expression: str, where: str) -> BoolArray:
    """Return the atoms of a selection in phenix' language, ``[n_atoms]``.

    Known are and, or, not, parentheses, all, chain, resseq and resid (ranges with a colon), icode,
    resname, name, altid (altloc), element, model, water, hetero. An empty result is an error, as
    in phenix.
    """
    tokens = _TOKEN.findall(expression)
    parser = _Parser(table, tokens, where)
    found = parser.any_of()
    if parser.tokens:
        raise RuleError(f"{where}: {parser.tokens[0]!r} is not expected in {expression!r}")
    if not found.any():
        raise RuleError(f"{where}: {expression!r} selects no atom")
    return found


class _Parser:
    """Recursive descent over the words of a selection."""

    def __init__(self, table: AtomTable, tokens: list[str], where: str) -> None:
        self.table, self.tokens, self.where = table, tokens, where

    def any_of(self) -> BoolArray:
        found = self.all_of()
        while self._accept("or"):
            found = found | self.all_of()
        return found

    def all_of(self) -> BoolArray:
        found = self.one()
        while self._accept("and"):
            found = found & self.one()
        return found

    def one(self) -> BoolArray:
        if self._accept("not"):
            return ~self.one()
        if self._accept("("):
            found = self.any_of()
            if not self._accept(")"):
                raise RuleError(f"{self.where}: a parenthesis is not closed")
            return found
        return self._word()

    def _accept(self, word: str) -> bool:
        if self.tokens and self.tokens[0].lower() == word:
            self.tokens.pop(0)
            return True
        return False

    def _next(self) -> str:
        if not self.tokens:
            raise RuleError(f"{self.where}: the selection ends too early")
        return self.tokens.pop(0)

    def _word(self) -> BoolArray:
        table, word = self.table, self._next().lower()
        if word in {"all", "*"}:
            return np.ones(len(table), dtype=bool)
        if word == "water":
            return np.isin(table.resname, WATERS)
        if word in {"hetero", "hetatm"}:
            return table.hetatm.copy()
        columns: dict[str, np.ndarray] = {
            "chain": table.chain, "resname": table.resname, "name": table.name,
            "altid": table.altloc, "altloc": table.altloc, "icode": table.icode,
        }  # fmt: skip
        if word in columns:
            wanted = self._next().strip("'\"").strip().encode()
            if b"*" in wanted or b"?" in wanted:
                return _matching(columns[word], wanted)
            return np.asarray(columns[word] == wanted)
        if word == "element":
            return np.asarray(table.element == self._next().strip("'\" ").upper().encode())
        if word == "model":
            return np.asarray(table.model == self._integer(self._next()))
        if word in {"resseq", "resid", "resi"}:
            first = self._next().strip("'\"").strip()
            if self._accept("through"):
                first = f"{first}:{self._next().strip()}"
            return self._residues(first)
        raise RuleError(f"{self.where}: {word!r} is not a word that is known in selections")

    def _residues(self, text: str) -> BoolArray:
        table = self.table
        first, colon, last = text.partition(":")
        if not colon:
            number = re.fullmatch(r"(-?\d+)\s*([A-Za-z]?)", first)
            if not number:
                raise RuleError(f"{self.where}: {text!r} is not a residue number")
            found = table.resseq == int(number[1])
            return np.asarray(found & (table.icode == number[2].encode()) if number[2] else found)
        low = self._integer(first) if first.strip() else -(2**31)
        high = self._integer(last) if last.strip() else 2**31
        return np.asarray((table.resseq >= low) & (table.resseq <= high))

    def _integer(self, text: str) -> int:
        try:
            return int(text)
        except ValueError:
            raise RuleError(f"{self.where}: {text!r} is not a number") from None


def _matching(column: np.ndarray, pattern: bytes) -> BoolArray:
    expression = re.escape(pattern).replace(rb"\*", b".*").replace(rb"\?", b".")
    known = {value: bool(re.fullmatch(expression, value)) for value in np.unique(column).tolist()}
    return np.array([known[value] for value in column.tolist()], dtype=bool)


# ---------------------------------------------------------------------- writing


def write(groups: OccupancyGroups, title: str = "") -> str:
    """Return groups as parameters for phenix.refine; comments name what it cannot express."""
    pieces = Pieces.of(groups.table)
    lines = [f"# occupancy groups{' of ' + title if title else ''}", *_lost(groups)]
    lines.append("refinement.refine.occupancies {")
    for one in listed_sets(groups):
        if is_plain(one) and groups.refined[list(one.groups)].all():
            lines += _constrained(groups, pieces, list(one.groups))
        else:
            for g in one.groups:
                if groups.refined[g]:
                    lines += _constrained(groups, pieces, [g])
    for g in lone_groups(groups):
        lines += _constrained(groups, pieces, [g])
    for g in np.flatnonzero(~groups.refined & _refined_there(groups)).tolist():
        lines += _selection("remove_selection", groups, pieces, g, "  ")
    return "\n".join([*lines, "}", ""])


def _refined_there(groups: OccupancyGroups) -> BoolArray:
    """Return which groups phenix would refine unasked: partial ones, and members of sets."""
    return np.asarray(not_full(groups.occupancy) | (groups.set_index >= 0))


def _lost(groups: OccupancyGroups) -> list[str]:
    lines = []
    for one in listed_sets(groups):
        if not is_plain(one):
            lines.append(f"# not expressed: {set_in_words(groups, one)}")
        elif not groups.refined[list(one.groups)].all():
            lines.append(f"# not expressed: fixed members of {set_in_words(groups, one)}")
    lines += [f"# not expressed: {restraint_in_words(groups, r)}" for r in groups.restraints]
    return lines


def _constrained(groups: OccupancyGroups, pieces: Pieces, members: list[int]) -> list[str]:
    lines = ["  constrained_group {"]
    for g in members:
        lines += _selection("selection", groups, pieces, g, "    ")
    return [*lines, "  }"]


def _selection(
    name: str, groups: OccupancyGroups, pieces: Pieces, group: int, indent: str
) -> list[str]:
    several = groups.table.several_models
    parts = [_words(piece, several=several) for piece in pieces.cut(groups.members[group])]
    lines = [f"{indent}{name} = {parts[0]}"]
    for part in parts[1:]:
        lines[-1] += " or \\"
        lines.append(f"{indent}    {part}")
    return lines


def _words(piece: Piece, *, several: bool) -> str:
    words = [f"model {piece.model}"] if several else []
    words += [f"chain '{piece.chain}'", f"resseq {piece.number}", f"icode '{piece.icode or ' '}'"]
    if piece.several_names:
        words.append(f"resname '{piece.resname}'")
    words.append(f"altid '{piece.altloc or ' '}'")
    if piece.names:
        names = [f"name '{name}'" for name in piece.names]
        words.append(names[0] if len(names) == 1 else f"({' or '.join(names)})")
    return f"({' and '.join(words)})"
