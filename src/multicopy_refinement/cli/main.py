"""Entry point of ``multicopy-refine``: commands, and faults as one line with an exit status."""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from multicopy_refinement import __version__
from multicopy_refinement.cli.options import job_options, refuse_missing
from multicopy_refinement.errors import InputError, OccupancyError
from multicopy_refinement.modes import GroupsFormat, SolventTruth
from multicopy_refinement.refinement.options import RefineOptions
from multicopy_refinement.run.job import RefineJob

#: The work is shared out to threads by torch and by the package; pools of other libraries that wait
#: in busy loops take the processors from them (a third of the time of a run on two).
THREAD_POOLS = {"OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
#: Set to anything, a fault of the program shows its traceback.
DEBUG = "MULTICOPY_DEBUG"

#: Fields of a job in the order of the help: what is asked for first, how it is found last. Those
#: that ``groups`` shares.
_REFINE = [*inspect.get_annotations(RefineJob), *inspect.get_annotations(RefineOptions)]
_GROUPING = (
    "grouping", "rules", "refine", "hold", "ligands", "waters", "contact_distance",
    "link_close_waters",
)  # fmt: skip

app = typer.Typer(
    name="multicopy-refine",
    help="Refine occupancies in crystal structures.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

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
@job_options(_REFINE)
def refine(
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print nothing but faults and what spoils the result.")
    ] = False,
    **values: Any,
) -> None:
    """Refine the occupancies of MODEL against DATA."""
    refuse_missing(values["model"], values["data"], values["rules"])
    job = RefineJob.of(values)
    from multicopy_refinement.cli.refine import run_refine

    run_refine(job, quiet=quiet)


@app.command()
@job_options(_GROUPING)
def groups(
    model: ModelFile,
    output_format: Annotated[
        GroupsFormat, typer.Option("--format", help="How they are shown.")
    ] = GroupsFormat.TABLE,
    output: Annotated[Path | None, typer.Option(help="Write to this file.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="List what is held at 1, too.")] = False,
    **values: Any,
) -> None:
    """Show the occupancy groups of MODEL, and why each exists."""
    from multicopy_refinement.cli.groups import run_groups

    run_groups(model, output_format, output, everything=everything, **values)


@app.command()
def check(
    model: ModelFile,
    data: Annotated[
        Path | None, typer.Argument(metavar="[DATA]", help="MTZ or SF-mmCIF of its crystal.")
    ] = None,
    fix: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write what can be mended without a decision."),
    ] = None,
) -> int:
    """Find what blocks a deposition of MODEL or misleads its refinement; exit 1 if anything does.

    Sums over 1, conformers of several occupancies, altlocs without a partner or beside blanks,
    atoms that are there twice or clash with their images, bonds whose ends have two occupancies,
    waters to be linked; with DATA also cell, symmetry and free set.
    """
    from multicopy_refinement.cli.check import run_check

    return run_check(model, data, fix)


@app.command()
def compare(
    paths: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders of runs, or model files.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Reflections, where they are not those of a run."),
    ] = None,
) -> None:
    """Compare runs of one data set, and models, on one error model.

    Log-likelihoods that runs print have the errors of each: they cannot be subtracted. Here all
    have the same, and each difference its standard error.
    """
    from multicopy_refinement.cli.compare import run_compare

    run_compare(paths, data)


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
    solvent: Annotated[
        SolventTruth, typer.Option(help="It fills what partial groups leave, or is kept out.")
    ] = SolventTruth.OCCUPANCY,
) -> None:
    """Simulate amplitudes of MODEL, with bulk solvent and errors."""
    from multicopy_refinement.cli.simulate import run_simulate

    run_simulate(model, d_min, out, seed, noise, solvent)


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
