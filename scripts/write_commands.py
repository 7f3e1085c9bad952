"""Write the reference of the command line, docs/commands.md, from the commands themselves.

    python scripts/write_commands.py

A test runs it and compares: the page cannot fall behind.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import typer

from multicopy_refinement.cli.examples import EXAMPLES
from multicopy_refinement.cli.main import app

PAGE = Path(__file__).resolve().parents[1] / "docs" / "commands.md"
_HEAD = """# Commands

Made from the program by `python scripts/write_commands.py`; `multicopy-refine COMMAND --help` says
the same. Files without a command are refined: `multicopy-refine model.pdb data.mtz`. Model and data
are told apart by what is in them, so their order is free. An option that other programs have under
another name (`--resolution`, `--labin`, `--ncyc`) is answered with ours.

Exit status: 0 done; 1 a fault of the program (and `check` that has found something); 2 the input or
the usage is at fault, and one line on standard error says what, where and what to do. Progress is
shown on a terminal only. `NO_COLOR=1` turns colours off. `multicopy-refine --install-completion`
teaches your shell commands and options.
"""


def page() -> str:
    """Return the page."""
    group: Any = typer.main.get_command(app)
    return "\n".join([_HEAD, *(_section(name, one) for name, one in group.commands.items())])


def _section(name: str, command: Any) -> str:
    """Return a command: usage, what it does, arguments, options by heading, examples."""
    arguments = [one for one in command.params if not one.opts[0].startswith("-")]
    names = [_name(one) if one.required else f"[{_name(one)}]" for one in arguments]
    lines = [f"## {name}", "", f"    multicopy-refine {' '.join([name, *names])} [OPTIONS]", ""]
    for text in inspect.cleandoc(command.help).split("\n\n"):
        lines += [" ".join(text.split()), ""]
    lines += [f"- `{_name(one)}`: {one.help}" for one in arguments] + [""]
    headings: dict[str, list[Any]] = {}
    for one in command.params:
        if one.opts[0].startswith("-"):
            headings.setdefault(one.rich_help_panel or "Options", []).append(one)
    for heading, options in headings.items():
        lines += [f"| {heading} | | default |", "|---|---|---|"]
        lines += [_row(one) for one in options] + [""]
    for line, what in EXAMPLES[name]:
        lines += [what, "", "```sh", line, "```", ""]
    return "\n".join(lines)


def _name(argument: Any) -> str:
    return (argument.metavar or argument.name).upper()


def _row(option: Any) -> str:
    """Return an option as a row of a table."""
    flags = ", ".join(f"`{flag}`" for flag in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag or not option.metavar else f" `{option.metavar}`"
    default = option.default
    shown = "required" if option.required else ""
    if not (option.required or option.is_flag or option.multiple or default is None):
        shown = f"`{getattr(default, 'value', default)}`"
    return f"| {flags}{value} | {option.help} | {shown} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
