"""The codes of all notices of the package, read from its source."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "multicopy_refinement"
Function = ast.FunctionDef | ast.AsyncFunctionDef


def notice_codes() -> dict[str, set[str]]:
    """Return every code with the files that give it.

    The code is the first argument of `Notice`: a text, a constant of the module, what a loop runs
    over, or a parameter, whose value the callers of the function in the package give.

    Raises
    ------
    LookupError
        A code that cannot be read so.
    """
    trees = {path: ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
    found: dict[str, set[str]] = {}
    for path, tree in trees.items():
        for within, call in _calls(tree, "Notice"):
            for code in _texts(_argument(call, 0, "code"), within, tree, trees):
                found.setdefault(code, set()).add(str(path.relative_to(PACKAGE)))
    return found


def _calls(tree: ast.AST, name: str) -> list[tuple[Function | None, ast.Call]]:
    """Return the calls of a function, with the innermost function that each is in."""
    found: list[tuple[Function | None, ast.Call]] = []

    def look(node: ast.AST, within: Function | None) -> None:
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == name:
            found.append((within, node))
        inner = node if isinstance(node, Function) else within
        for child in ast.iter_child_nodes(node):
            look(child, inner)

    look(tree, None)
    return found


def _argument(call: ast.Call, place: int, name: str) -> ast.expr:
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    return call.args[place]


def _texts(
    node: ast.expr, within: Function | None, tree: ast.AST, trees: dict[Path, ast.Module]
) -> set[str]:
    """Return the texts that an expression can be."""
    if isinstance(node, ast.Constant):
        return {str(node.value)}
    if isinstance(node, ast.IfExp):
        return _texts(node.body, within, tree, trees) | _texts(node.orelse, within, tree, trees)
    if isinstance(node, ast.Name):
        for scope in (within, tree):
            given = {} if scope is None else _assigned(scope, node.id)
            if given:
                return {t for one in given for t in _texts(one, within, tree, trees)}
        names = [] if within is None else [a.arg for a in within.args.args]
        kwonly = [] if within is None else [a.arg for a in within.args.kwonlyargs]
        if within is not None and node.id in [*names, *kwonly]:
            place = names.index(node.id) if node.id in names else -1
            return {
                text
                for other in trees.values()
                for inside, call in _calls(other, within.name)
                for text in _texts(_argument(call, place, node.id), inside, other, trees)
            }
    raise LookupError(f"line {node.lineno}: {ast.unparse(node)} is no code that can be read")


def _assigned(scope: ast.AST, name: str) -> list[ast.expr]:
    """Return what a name is given by assignments, and by loops over tuples, of a function."""
    found: list[ast.expr] = []
    body = ast.walk(scope) if isinstance(scope, Function) else ast.iter_child_nodes(scope)
    for node in body:
        if isinstance(node, ast.Assign):
            found += [node.value for t in node.targets if getattr(t, "id", None) == name]
        if isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple):
            targets = getattr(node.target, "elts", [node.target])
            places = [i for i, t in enumerate(targets) if getattr(t, "id", None) == name]
            rows = [row for row in node.iter.elts if isinstance(row, ast.Tuple)]
            found += [row.elts[i] for i in places for row in rows]
    return found
