"""Entry point of ``multicopy-refine``: commands, and faults as one line with an exit status."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from multicopy_refinement import __version__
from multicopy_refinement.cli.choices import Grouping, GroupsFormat, TargetKind
from multicopy_refinement.errors import InputError, OccupancyError

#: The work is shared out to threads by torch and by the package; pools of other libraries that wait
#: in busy loops take the processors from them (a third of the time of a run on two).
THREAD_POOLS = {"OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
#: Set to anything, a fault of the program shows its traceback.
DEBUG = "MULTICOPY_DEBUG"

app = typer.Typer(
    name="multicopy-refine",
    help="Refine occupancies in crystal structures.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

GroupingOption = Annotated[Grouping, typer.Option(help="How atoms are put into groups.")]
RulesFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Rules: our TOML, phenix, REFMAC or SHELXL, by content."),
]
ContactDistance = Annotated[
    float, typer.Option(help="Of connected: atoms of one altloc this close belong together, A.",
                        min=0.1)
]  # fmt: skip
LinkCloseWaters = Annotated[
    bool,
    typer.Option("--link-close-waters", help="Partial waters closer than 1.5 A share a site."),
]
ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="PDB or mmCIF, gzipped or not.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"multicopy-refine {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Refine occupancies in crystal structures."""


@app.command()
def refine(
    model: ModelFile,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="MTZ or SF-mmCIF.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("refined"),
    parameters: Annotated[
        str, typer.Option(help="What is refined: occupancy[,b_group].")
    ] = "occupancy",
    grouping: GroupingOption = Grouping.RESIDUE,
    rules: RulesFile = None,
    contact_distance: ContactDistance = 4.0,
    link_close_waters: LinkCloseWaters = False,
    labels: Annotated[
        str | None, typer.Option(metavar="F,SIGF", help="Columns of the data, if not by type.")
    ] = None,
    free_label: Annotated[str | None, typer.Option(help="Column of the free set.")] = None,
    free_value: Annotated[int | None, typer.Option(help="Its value for free.")] = None,
    d_min: Annotated[
        float | None, typer.Option(help="High-resolution limit in A.", min=0.1)
    ] = None,
    target: Annotated[
        TargetKind, typer.Option(help="Maximum likelihood or least squares.")
    ] = TargetKind.ML,
    threads: Annotated[
        int | None, typer.Option(help="Threads; all processors if left out.", min=1)
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Use a folder in use.")] = False,
    no_report: Annotated[bool, typer.Option("--no-report", help="Leave out report.html.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but faults.")] = False,
) -> None:
    """Refine the occupancies of MODEL against DATA."""
    for path in (model, data, rules):
        if path is not None and not path.exists():  # said before anything slow is imported
            raise InputError(f"{path}: no such file")
    from multicopy_refinement.cli.refine import RefineRequest, run_refine

    run_refine(
        RefineRequest(
            model=model, data=data, out=out, parameters=parameters, grouping=grouping,
            rules=rules, contact_distance=contact_distance, link_close_waters=link_close_waters,
            labels=labels, free_label=free_label, free_value=free_value, d_min=d_min,
            target=target, threads=threads, overwrite=overwrite, quiet=quiet,
            report=not no_report,
        )
    )  # fmt: skip


@app.command()
def groups(
    model: ModelFile,
    grouping: GroupingOption = Grouping.RESIDUE,
    rules: RulesFile = None,
    contact_distance: ContactDistance = 4.0,
    link_close_waters: LinkCloseWaters = False,
    output_format: Annotated[
        GroupsFormat, typer.Option("--format", help="How they are shown.")
    ] = GroupsFormat.TABLE,
    output: Annotated[Path | None, typer.Option(help="Write to this file.")] = None,
) -> None:
    """Show the occupancy groups of MODEL, and why each exists."""
    from multicopy_refinement.cli.groups import run_groups

    run_groups(
        model, output_format, output, grouping=grouping, rules=rules,
        contact_distance=contact_distance, link_close_waters=link_close_waters,
    )  # fmt: skip


@app.command()
def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a run.")],
) -> None:
    """Make report.html again from the files of a run."""
    from multicopy_refinement.cli.report import run_report

    run_report(directory)


@app.command()
def simulate(
    model: ModelFile,
    d_min: Annotated[float, typer.Option(help="Resolution in A.")],
    out: Annotated[Path, typer.Option(metavar="FILE.mtz", help="File to write.")],
    seed: Annotated[int, typer.Option(help="Of errors and free flags.", min=0)] = 0,
    noise: Annotated[float, typer.Option(help="Relative error of amplitudes.")] = 0.03,
) -> None:
    """Simulate amplitudes of MODEL, with bulk solvent and errors."""
    from multicopy_refinement.cli.simulate import run_simulate

    run_simulate(model, d_min, out, seed, noise)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("multicopy-demo"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Use a folder in use.")] = False,
) -> None:
    """Simulate a small crystal, refine it and compare with the truth."""
    from multicopy_refinement.cli.demo import run_demo

    run_demo(out, overwrite=overwrite)


def main() -> None:
    """Run the command line; a fault becomes one line on standard error and an exit status."""
    sys.exit(_status())


def console() -> NoReturn:
    """Run the command line as a process of its own, without the second that a tidy end takes.

    All files are closed by then; what is left is the libraries taking themselves apart.
    """
    for name, value in THREAD_POOLS.items():
        os.environ.setdefault(name, value)  # read when numpy and torch are first imported
    status = _status()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _status() -> int:
    try:
        result = app(standalone_mode=False)
        return result if isinstance(result, int) else 0
    except typer.TyperException as fault:
        if fault.exit_code == 0 or not str(fault):  # no arguments: the help has been shown
            return 2
        return _complain(
            f"{fault.format_message().replace('Value error, ', '')} (see multicopy-refine --help)",
            2,
        )
    except (InputError, OccupancyError) as fault:
        return _complain(str(fault), 2)
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted", 130)
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as fault:
        if DEBUG in os.environ:
            raise
        kind = type(fault).__name__
        return _complain(f"a fault of the program, {kind}: {fault} (set {DEBUG}=1 for details)", 1)


def _complain(message: str, status: int) -> int:
    typer.echo(f"multicopy-refine: {' '.join(message.split())}", err=True)
    return status


if __name__ == "__main__":
    main()
