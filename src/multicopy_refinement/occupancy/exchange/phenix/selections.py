"""Selections of atoms in phenix' language."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from multicopy_refinement._typing import BoolArray
from multicopy_refinement.atoms.connections import WATERS
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.errors import RuleError

if TYPE_CHECKING:
    from lark import Lark

#: What follows a keyword is a value, whatever it looks like: ``chain A``, ``name and``.
GRAMMAR = r"""
?start: any
?any: all (_OR all)*
?all: one (_AND one)*
?one: _NOT one -> negated
    | "(" any ")"
    | ALL -> everything
    | WATER -> water
    | HETERO -> hetero
    | TEXT VALUE -> text
    | ELEMENT VALUE -> element
    | MODEL VALUE -> model
    | RESSEQ VALUE (_THROUGH VALUE)? -> resseq
    | RESID VALUE (_THROUGH VALUE)? -> resid

_OR.2: /or\b/i
_AND.2: /and\b/i
_NOT.2: /not\b/i
_THROUGH.2: /through\b/i
ALL.2: /all\b|\*/i
WATER.2: /water\b/i
HETERO.2: /hetero\b|hetatm\b/i
TEXT.2: /(chain|resname|name|altid|altloc|icode)\b/i
ELEMENT.2: /element\b/i
MODEL.2: /model\b/i
RESSEQ.2: /resseq\b/i
RESID.2: /(resid|resi)\b/i
VALUE: /'[^']*'|"[^"]*"|[^\s()'"][^\s()"]*/
%ignore /\s+/
"""
_COLUMNS = {
    "chain": "chain", "resname": "resname", "name": "name", "altid": "altloc",
    "altloc": "altloc", "icode": "icode",
}  # fmt: skip


def select(table: AtomTable, expression: str, where: str) -> BoolArray:
    """Return the atoms of a selection in phenix' language, ``[n_atoms]``.

    Known are and, or, not, parentheses, all, chain, resseq (numbers), resid (numbers with
    insertion code; a bare number is the residue without one), both with ranges (a colon, or
    through), icode, resname, name, altid (altloc), element, model, water, hetero. An empty result
    is an error, as in phenix.

    Raises
    ------
    RuleError
        What is not understood, or selects nothing; ``where`` begins the message.
    """
    from lark.exceptions import UnexpectedInput

    try:
        tree = _parser().parse(expression)
    except UnexpectedInput as fault:
        raise RuleError(f"{where}: {_fault(fault, expression)}") from None
    found = _Evaluation(table, where).of(tree)
    if not found.any():
        raise RuleError(f"{where}: {expression!r} selects no atom")
    return found


@cache
def _parser() -> Lark:
    from lark import Lark

    return Lark(GRAMMAR, parser="lalr")


def _fault(fault: Any, expression: str) -> str:
    token = getattr(fault, "token", None)
    if token is None:
        return f"{expression[fault.column - 1 :]!r} is not expected in {expression!r}"
    state = fault.interactive_parser
    if token.type == "$END":
        open_ones = [t for t in state.parser_state.value_stack if getattr(t, "type", "") == "LPAR"]
        complete = "RPAR" in state.accepts()
        if open_ones and complete:
            return "a parenthesis is not closed"
        return "the selection ends too early"
    if "LPAR" in state.accepts():
        return f"{str(token)!r} is not a word that is known in selections"
    return f"{str(token)!r} is not expected in {expression!r}"


class _Evaluation:
    """Masks of the nodes of a selection."""

    def __init__(self, table: AtomTable, where: str) -> None:
        self.table, self.where = table, where

    def of(self, node: Any) -> BoolArray:
        """Return the atoms of a node."""
        kind = str(node.data)
        if kind == "any":
            return np.asarray(np.logical_or.reduce([self.of(c) for c in node.children]))
        if kind == "all":
            return np.asarray(np.logical_and.reduce([self.of(c) for c in node.children]))
        if kind == "negated":
            return ~self.of(node.children[0])
        words = [str(word) for word in node.children]
        found: BoolArray = getattr(self, f"_{kind}")(*words)
        return found

    def _everything(self, _: str) -> BoolArray:
        return np.ones(len(self.table), dtype=bool)

    def _water(self, _: str) -> BoolArray:
        return np.isin(self.table.resname, WATERS)

    def _hetero(self, _: str) -> BoolArray:
        return self.table.hetatm.copy()

    def _text(self, keyword: str, value: str) -> BoolArray:
        column: np.ndarray = getattr(self.table, _COLUMNS[keyword.lower()])
        if keyword.lower() == "name" and _is_padded(_unquoted(value)):
            return self._padded(_unquoted(value))
        wanted = _unquoted(value).strip().encode()
        if b"*" in wanted or b"?" in wanted:
            return _matching(column, wanted)
        return np.asarray(column == wanted)

    def _padded(self, wanted: str) -> BoolArray:
        """Return atoms by the four columns of their names: " CA " is carbon, "CA  " calcium."""
        found = self.table.name == wanted.strip().encode()
        for atom in np.flatnonzero(found).tolist():
            name = self.table.name[atom].decode()
            long = len(name) > 3 or len(self.table.element[atom]) > 1
            found[atom] = wanted == (f"{name:<4}" if long else f" {name:<3}")
        return np.asarray(found)

    def _element(self, _: str, value: str) -> BoolArray:
        return np.asarray(self.table.element == _unquoted(value).strip().upper().encode())

    def _model(self, _: str, value: str) -> BoolArray:
        return np.asarray(self.table.model == self._number(value))

    def _resseq(self, _: str, *values: str) -> BoolArray:
        first, last = self._ends(values)
        low = self._number(first) if first else -(2**31)
        high = self._number(last) if last else 2**31
        return np.asarray((self.table.resseq >= low) & (self.table.resseq <= high))

    def _resid(self, _: str, *values: str) -> BoolArray:
        first, last = self._ends(values)
        place = self.table.resseq.astype(np.int64) * 256 + self.table.icode.view(np.uint8)
        low = self._place(first) if first else -(2**40)
        high = self._place(last) if last else 2**40
        return np.asarray((place >= low) & (place <= high))

    @staticmethod
    def _ends(values: tuple[str, ...]) -> tuple[str, str]:
        """Return first and last of a range; blank where it is open."""
        parts = [_unquoted(value).strip() for value in values]
        if len(parts) == 1:
            first, colon, last = parts[0].partition(":")
            return (first.strip(), last.strip()) if colon else (first, first)
        return parts[0], parts[1]

    def _place(self, text: str) -> int:
        found = re.fullmatch(r"(-?\d+)\s*([A-Za-z]?)", text)
        if not found:
            raise RuleError(f"{self.where}: {text!r} is not a residue number")
        return int(found[1]) * 256 + (ord(found[2]) if found[2] else 0)

    def _number(self, text: str) -> int:
        try:
            return int(_unquoted(text))
        except ValueError:
            raise RuleError(f"{self.where}: {text!r} is not a residue number") from None


def _is_padded(name: str) -> bool:
    """Return whether a name has its four columns, with blanks and without wildcards."""
    return len(name) == 4 and " " in (name[0], name[-1]) and not set("*?") & set(name)


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value


def _matching(column: np.ndarray, pattern: bytes) -> BoolArray:
    expression = re.escape(pattern).replace(rb"\*", b".*").replace(rb"\?", b".")
    known = {value: bool(re.fullmatch(expression, value)) for value in np.unique(column).tolist()}
    return np.array([known[value] for value in column.tolist()], dtype=bool)
