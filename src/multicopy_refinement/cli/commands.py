"""How words of a command line are taken: files without a command are refined."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from typing import Any

import typer
from typer.core import TyperGroup

from multicopy_refinement.cli.hints import about_command, about_option, whole_option
from multicopy_refinement.cli.inputs import looks_like_file
from multicopy_refinement.refinement.options import FOUND

#: Which command a line without one is for.
DEFAULT = "refine"
#: An option whose value may be left out, and how many commas that has.
_TWIN, _COMMAS = "--twin", 2
#: Options that belong to no command.
_OWN = frozenset({"-h", "--help", "-V", "--version", "--install-completion", "--show-completion"})


class Commands(TyperGroup):
    """Commands, of which one may be left out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in front of files that come without."""
        if not args and not ctx.resilient_parsing:  # which completion is
            ctx.fail("no command and no files; write multicopy-refine MODEL DATA to refine")
        return super().parse_args(ctx, with_command(with_law(args), self.commands))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command whose help is as wide as the terminal, not as its docstring."""
        command = super().get_command(ctx, cmd_name)
        if command is not None and command.help:
            paragraphs = inspect.cleandoc(command.help).split("\n\n")
            command.help = "\n\n".join(" ".join(text.split()) for text in paragraphs)
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Say which command was meant by one that is not there."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            ctx.fail(f"no command {args[0]!r}; {about_command(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


def with_law(args: list[str]) -> list[str]:
    """Return a command line in which ``--twin`` has its value, which may be left out.

    >>> with_law(["--twin", "model.pdb"])
    ['--twin=found', 'model.pdb']
    >>> with_law(["model.pdb", "--twin", "-h,-k,l"])
    ['model.pdb', '--twin=-h,-k,l']
    """
    words: list[str] = []
    for word in args:
        if words and words[-1] == _TWIN:
            law = word == FOUND or word.count(",") == _COMMAS
            words[-1] = f"{_TWIN}={word if law else FOUND}"
            if law:
                continue
        words.append(word)
    return [f"{_TWIN}={FOUND}" if word == _TWIN else word for word in words]


def with_command(args: list[str], commands: Iterable[str]) -> list[str]:
    """Return a command line that begins with a command, if it begins with a file or is of files.

    >>> with_command(["model.pdb", "data.mtz"], ["refine"])
    ['refine', 'model.pdb', 'data.mtz']
    >>> with_command(["--out", "here", "model.pdb"], ["refine"])
    ['refine', '--out', 'here', 'model.pdb']
    >>> with_command(["refined"], ["refine"])
    ['refined']
    """
    names = set(commands)
    if not args or args[0] in names | _OWN:
        return args
    if args[0].startswith("-"):
        files = not names.intersection(args) and any(looks_like_file(word) for word in args)
    else:
        files = looks_like_file(args[0])
    return [DEFAULT, *args] if files else args


def in_one_line(fault: typer.TyperException) -> str:
    """Return what was wrong with a command line, and what to write instead."""
    context = getattr(fault, "ctx", None)
    where = "multicopy-refine --help"
    if context is not None:
        where = f"{context.command_path} --help"
    message = fault.format_message().replace("Value error, ", "")
    if context is not None and hasattr(fault, "possibilities"):
        given = whole_option(str(getattr(fault, "option_name", "")), sys.argv[1:])
        meant = about_option(given, *_parameters(context))
        message = f"no option {given}" + (f"; {meant}" if meant else "")
    elif context is not None and message.startswith(("Got unexpected extra", "Missing argument")):
        names = " ".join(_parameters(context)[1])
        message = f"{message.rstrip('.')}; write {context.command_path} {names} --OPTION VALUE"
    return f"{message} (see {where})"


def _parameters(context: Any) -> tuple[dict[str, str], list[str]]:
    """Return the options of a command with what they do, and the names of its arguments."""
    known = context.command.get_params(context)
    options = {
        flag: getattr(one, "help", None) or ""
        for one in known
        for flag in (*one.opts, *one.secondary_opts)
        if flag.startswith("-")
    }
    arguments = [one.metavar or one.name for one in known if not one.opts[0].startswith("-")]
    return options, [name.upper() for name in arguments]
