"""The syntax of phenix' parameter files: scopes, assignments, comments, quotes, continuations."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from multicopy_refinement.errors import RuleError

if TYPE_CHECKING:
    from lark import Lark

#: A value goes to the end of the line, a semicolon or a brace outside of quotes; ! switches off.
#: A quote behind a letter is a prime: O5'.
GRAMMAR = r"""
start: _items
_items: (scope | assignment | ";")*
scope: NAME "{" _items "}"
assignment: NAME VALUE

NAME: /!?[\w.]+/
VALUE: /=(?:"[^"\n]*"|'[^'\n]*'|\\[ \t]*\n|\\(?![ \t]*\n)|(?<=\S)#|(?<=\w)'|[^\n;}"'\\#])*/
COMMENT: /(?<!\S)#[^\n]*/
%ignore COMMENT
%ignore /\s+/
"""


@dataclass(frozen=True)
class Entry:
    """One assignment ``name = value`` inside of nested scopes.

    Attributes
    ----------
    scope
        A number for each scope that it is in: entries of one scope have the same.
    name, value
        As written; quotes around the whole value are taken off.
    line
        Where it begins.
    owners
        Names of the scopes, dotted ones taken apart.
    """

    scope: tuple[int, ...]
    name: str
    value: str
    line: int
    owners: tuple[str, ...]


def entries(text: str, source: str) -> list[Entry]:
    """Return all assignments that are not switched off, with the scopes that they are in.

    Raises
    ------
    RuleError
        What is not the syntax, and in which line of ``source``.
    """
    from lark.exceptions import UnexpectedInput

    text = text.replace("\r\n", "\n") + "\n"
    try:
        tree = _parser().parse(text)
    except UnexpectedInput as fault:
        raise _fault(fault, text, source) from None
    found: list[Entry] = []
    _walk(tree, (), (), found)
    return found


@cache
def _parser() -> Lark:
    from lark import Lark

    return Lark(GRAMMAR, parser="lalr", propagate_positions=True)


def _walk(tree: Any, scope: tuple[int, ...], owners: tuple[str, ...], found: list[Entry]) -> None:
    for node in (child for child in tree.children if hasattr(child, "children")):
        name = node.children[0]
        *dotted, last = str(name).split(".")
        if node.data == "scope":
            inner = (*scope, int(name.start_pos))
            _walk(node, inner, (*owners, *dotted, last), found)
        elif "!" not in "".join((*owners, name)):
            value = _plain(str(node.children[1]).removeprefix("="))
            found.append(Entry(scope, last, value, int(name.line), (*owners, *dotted)))


def _plain(value: str) -> str:
    """Return a value on one line, without quotes around the whole."""
    value = re.sub(r"\\[ \t]*\n", " ", value).strip()
    if len(value) > 1 and value[0] == value[-1] == '"' and '"' not in value[1:-1]:
        value = value[1:-1].strip()
    return value


def _fault(fault: Any, text: str, source: str) -> RuleError:
    """Return what is wrong in the words of a user."""
    token = getattr(fault, "token", None)
    state = getattr(fault, "interactive_parser", None)
    stack = [] if state is None else list(state.parser_state.value_stack)
    tokens = [t for t in stack if hasattr(t, "line")]
    if tokens and tokens[-1].type == "NAME":  # neither a brace nor = after it
        return RuleError(
            f"{source}, line {tokens[-1].line}: {str(tokens[-1])!r} is not name = value"
        )
    if token is not None and token.type == "$END":
        braces = [i for i, t in enumerate(stack) if getattr(t, "type", "") == "LBRACE"]
        name = stack[braces[-1] - 1]
        return RuleError(
            f"{source}, line {name.line}: the scope {str(name)!r} is not closed with a brace"
        )
    if token is not None and token.type == "RBRACE":
        return RuleError(f"{source}, line {token.line}: a closing brace too many")
    rest = text.splitlines()[fault.line - 1][fault.column - 1 :].strip()
    if rest.count("'") % 2 or rest.count('"') % 2:
        return RuleError(f"{source}, line {fault.line}: a quote is not closed: {rest!r}")
    return RuleError(f"{source}, line {fault.line}: {rest!r} is not name = value")
