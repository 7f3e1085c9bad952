"""Options of commands, made from the fields of `RefineJob`: written once, with their help."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from pydantic.fields import FieldInfo

from multicopy_refinement.run.job import REPEATED, RefineJob

#: How values are called in the help where their type does not say it.
_METAVARS = {
    "out": "DIR", "rules": "FILE", "labels": "F,SIGF", "parameters": "NAME[,NAME]",
    "free_label": "NAME", "refine": "SELECTION", "hold": "SELECTION", "omit": "SELECTION",
     "d_min": "A",
    "contact_distance": "A", "free_value": "N", "threads": "N", "max_cycles": "N", "decoys": "N",
    "max_iterations": "N", "tolerance": "X", "b_prior": "X", "grouping": "KIND", "target": "KIND",
    "solver": "NAME", "uncertainty": "KIND", "active": "KIND", "restraints": "FILE.cif",
    "monomers": "DIR", "radiation": "KIND", "wavelength": "A", "f_prime": "EL=X",
    "f_double_prime": "EL=X", "twin": "[LAW]",
}  # fmt: skip
#: Options that have a letter.
SHORT = {"out": "-o"}
#: Under which heading of the help options stand.
_PANELS = {
    "What is refined": ("refine", "hold", "ligands", "waters", "parameters", "active", "grouping",
                        "rules", "contact_distance", "link_close_waters"),
    "Geometry": ("restraints", "monomers", "no_restraints"),
    "Data": ("labels", "free_label", "free_value", "d_min", "radiation", "wavelength", "f_prime",
             "anomalous", "f_double_prime", "twin", "extinction"),
    "Refinement": ("target", "solver", "b_prior", "max_cycles", "tolerance", "max_iterations",
                   "decoys", "uncertainty", "threads", "omit"),
}  # fmt: skip
_PANEL_OF = {name: panel for panel, names in _PANELS.items() for name in names}

Command = Callable[..., Any]


def job_options(names: Sequence[str]) -> Callable[[Command], Command]:
    """Return a decorator that gives a command the options of the fields of `RefineJob` named.

    They reach the command as keywords, after the parameters that it declares itself; what was not
    given has the field's default.
    """

    def decorate(command: Command) -> Command:
        hints = inspect.get_annotations(command, eval_str=True)
        own = [
            p.replace(annotation=hints[p.name], kind=p.KEYWORD_ONLY)
            for p in inspect.signature(command).parameters.values()
            if p.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        made = [_parameter(name, RefineJob.model_fields[name]) for name in names]
        everything = sorted([*made, *own], key=lambda p: p.default is not inspect.Parameter.empty)
        command.__signature__ = inspect.Signature(everything)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in everything}
        return command

    return decorate


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    """Return a field as a parameter of a command; fields without a default are arguments."""
    kind = _plain(field.annotation)
    metavar, text = _METAVARS.get(name), field.description
    if field.is_required():
        return inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY,
            annotation=Annotated[kind, typer.Argument(metavar=name.upper(), help=text)],
        )  # fmt: skip
    default = field.default
    flag = f"--{name.replace('_', '-')}"
    panel = _PANEL_OF.get(name)
    if name in REPEATED:
        many: Any = types.GenericAlias(list, (get_args(field.annotation)[0],))
        option = typer.Option(
            flag, metavar=metavar, help=text, show_default=False, rich_help_panel=panel
        )
        return inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=[],
            annotation=Annotated[many, option],
        )
    if kind is bool:
        declared = f"{flag}/--no{flag[1:]}" if default else flag
        option = typer.Option(
            declared, metavar="", help=text, show_default=False, rich_help_panel=panel
        )
    else:
        flags = (flag, SHORT[name]) if name in SHORT else (flag,)
        option = typer.Option(*flags, metavar=metavar, help=text, rich_help_panel=panel)
    if isinstance(default, tuple):
        default = ",".join(str(value) for value in default)
    optional = default is None
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default,
        annotation=Annotated[kind | None if optional else kind, option],
    )  # fmt: skip


def _plain(annotation: Any) -> Any:
    """Return the type that the command line reads: names with commas come as one text."""
    if isinstance(annotation, types.UnionType):
        annotation = next(a for a in get_args(annotation) if a is not types.NoneType)
    if getattr(annotation, "__origin__", annotation) is tuple:
        return str
    return annotation


def refuse_missing(*paths: Path | None) -> None:
    """Refuse files that are not there, before anything slow is imported."""
    from multicopy_refinement.errors import InputError

    for path in paths:
        if path is not None and not path.exists():
            raise InputError(f"{path}: no such file")
