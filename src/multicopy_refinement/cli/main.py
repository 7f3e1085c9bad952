"""Entry point of ``multicopy-refine``: commands, and faults as one line with an exit status."""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from multicopy_refinement import __version__
from multicopy_refinement.cli.commands import Commands, in_one_line
from multicopy_refinement.cli.examples import ending
from multicopy_refinement.cli.inputs import model_and_data
from multicopy_refinement.cli.loading import loading
from multicopy_refinement.cli.options import job_options, refuse_missing
from multicopy_refinement.cli.progress import named_steps
from multicopy_refinement.errors import InputError, OccupancyError
from multicopy_refinement.modes import GroupsFormat, Only, SolventTruth, Step
from multicopy_refinement.refinement.options import RefineOptions
from multicopy_refinement.run.job import RefineJob
from multicopy_refinement.series.table import COMMON

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

#: Fields that a campaign sets itself.
_CAMPAIGN_OWN = frozenset({"model", "data", "out", "overwrite"})

_PURPOSE = (
    "Refine occupancies in crystal structures: alternative conformations, ligands, partial waters. "
    "Files without a command are refined."
)

app = typer.Typer(
    name="multicopy-refine",
    cls=Commands,
    help=_PURPOSE,
    epilog=ending(),
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ModelFile = Annotated[
    Path, typer.Argument(metavar="MODEL", help="The model: PDB or mmCIF, gzipped or not.")
]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"multicopy-refine {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            "-V",
            metavar="",
            callback=_show_version,
            is_eager=True,
            help="Show the version and exit.",
        ),
    ] = False,
) -> None:
    pass


@app.command(epilog=ending("refine"))
@job_options(_REFINE)
def refine(
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", metavar="", help="Print nothing but faults and what spoils the result."
        ),
    ] = False,
    **values: Any,
) -> None:
    """Refine the occupancies of MODEL against DATA.

    Refined are groups whose occupancy is not 1, and all alternative conformations; what else is
    refined, --parameters says. Each occupancy comes with its standard uncertainty, and with how
    probable it is that the group is absent.
    """
    refuse_missing(values["model"], values["data"], values["rules"])
    values["model"], values["data"] = model_and_data(values["model"], values["data"])
    job = RefineJob.of(values)
    with named_steps(quiet=quiet) as show:
        # torch takes seconds to import: the first step is shown by now
        with loading():
            from multicopy_refinement.cli.refine import print_outcome, run_refine

        record, advice = run_refine(job, show)
    print_outcome(record, advice, job, quiet=quiet)


@app.command(epilog=ending("groups"))
@job_options(_GROUPING)
def groups(
    model: ModelFile,
    output_format: Annotated[
        GroupsFormat,
        typer.Option(
            "--format",
            metavar="KIND",
            help="Show them as table or json, or write them as toml, phenix, refmac or shelx.",
        ),
    ] = GroupsFormat.TABLE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", metavar="", help="List what is held at 1, too.")
    ] = False,
    **values: Any,
) -> None:
    """Show the occupancy groups of MODEL, and why each exists.

    A group is atoms that share one occupancy; a set is groups whose occupancies are tied by a sum.
    """
    with named_steps(), loading():
        from multicopy_refinement.cli.groups import run_groups

    run_groups(model, output_format, output, everything=everything, **values)


@app.command(epilog=ending("check"))
@job_options(["radiation"])
def check(
    model: ModelFile,
    data: Annotated[
        Path | None, typer.Argument(metavar="DATA", help="Its reflections: MTZ or SF-mmCIF.")
    ] = None,
    fix: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the model to this file, mended where no decision is needed."
        ),
    ] = None,
    **values: Any,
) -> int:
    """Find what blocks a deposition of MODEL or misleads its refinement; exit 1 if anything does.

    Sums over 1, conformers of several occupancies, altlocs without a partner or beside blanks,
    atoms that are there twice or clash with their images, bonds whose ends have two occupancies,
    waters to be linked; with DATA also cell, symmetry, free set and twins.
    """
    if data is not None:
        refuse_missing(model, data)
        model, data = model_and_data(model, data)
    with named_steps(), loading():
        from multicopy_refinement.cli.check import run_check

    return run_check(model, data, fix, values["radiation"])


@app.command(epilog=ending("compare"))
def compare(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="DIR", help="Folders of runs, or model files: two or more."),
    ],
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Take these reflections, not those of the runs."),
    ] = None,
) -> None:
    """Compare runs of one data set, and models, on one error model.

    Log-likelihoods that runs print have the errors of each: they cannot be subtracted. Here all
    have the same, and each difference its standard error.
    """
    with named_steps(), loading():
        from multicopy_refinement.cli.compare import run_compare

    run_compare(paths, data)


RunFolder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a run.")]
NewFolder = Annotated[
    Path, typer.Option("--out", "-o", metavar="DIR", help="Write the results to this folder.")
]
Protect = Annotated[
    list[str] | None,
    typer.Option(metavar="SELECTION", help="Leave this as it is; may be repeated."),
]
Ruled = Annotated[
    bool, typer.Option("--ruled", metavar="", help="Let go what the rules of the run name, too.")
]
MovedData = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Read the reflections here: they have moved.")
]
MovedRules = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Read the run's rules here: they have moved.")
]
Threads = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Use so many threads; all processors if left out."),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", metavar="", help="Accept a folder in use, and replace results in it."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", metavar="", help="Print nothing but faults.")]
Report = Annotated[
    bool, typer.Option("--report/--no-report", metavar="", help="Make report.html, or not.")
]


@app.command(epilog=ending("prune"))
def prune(
    directory: RunFolder,
    out: NewFolder,
    protect: Protect = None,
    only: Annotated[
        Only | None,
        typer.Option(
            metavar="KIND", help="Remove what is absent (absent), or merge (merge), alone."
        ),
    ] = None,
    ruled: Ruled = False,
    data: MovedData = None,
    rules: MovedRules = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
    report: Report = True,
) -> None:
    """Take out of the model of a run what the data do not ask for, and refine the rest.

    Conformers that coincide become one; groups that are not supported are removed one after the
    other, each followed by a refinement; conformers that one with its own B explains become one.
    What was done, and why, stands in prune.md and prune.json.
    """
    with named_steps() as show:
        with loading():
            from multicopy_refinement.cli.prune import print_pruned, run_prune
            from multicopy_refinement.run.prune import PruneJob

        job = PruneJob(
            directory, out, tuple(protect or ()), only, ruled, data, rules, threads, overwrite
        )
        made, seconds = run_prune(job, show, report=report)
    print_pruned(made, job.out, seconds)


@app.command(epilog=ending("merge"))
def merge(
    directory: RunFolder,
    out: NewFolder,
    protect: Protect = None,
    ruled: Ruled = False,
    data: MovedData = None,
    rules: MovedRules = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
    report: Report = True,
) -> None:
    """Merge the conformers of a run's model that are one: `prune --only merge`."""
    prune(directory, out, protect, Only.MERGE, ruled, data, rules, threads, overwrite, report)


@app.command(epilog=ending("report"))
def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a run.")],
) -> None:
    """Make report.html again from the files of a run."""
    with named_steps() as show:
        show(Step.REPORT, 0, 0, None)
        with loading():
            from multicopy_refinement.cli.report import run_report

        run_report(directory)


@app.command(epilog=ending("simulate"))
@job_options(["radiation", "wavelength", "f_prime", "anomalous", "f_double_prime"])
def simulate(
    model: ModelFile,
    d_min: Annotated[float, typer.Option(metavar="A", help="Simulate to this resolution.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.mtz", help="Write this file.")],
    seed: Annotated[
        int, typer.Option(metavar="N", help="Draw errors and free flags with this seed.", min=0)
    ] = 0,
    noise: Annotated[
        float, typer.Option(metavar="X", help="Give amplitudes this relative error.")
    ] = 0.03,
    solvent: Annotated[
        SolventTruth,
        typer.Option(
            metavar="KIND",
            help="Let solvent fill what partial groups leave (occupancy), or keep it out (flat).",
        ),
    ] = SolventTruth.OCCUPANCY,
    **values: Any,
) -> None:
    """Simulate amplitudes of MODEL, with bulk solvent and errors."""
    job = RefineJob.of({"model": model, "data": out, **values})
    with named_steps(), loading():
        from multicopy_refinement.cli.simulate import run_simulate

    run_simulate(job, d_min, out, seed, noise, solvent)


@app.command(epilog=ending("campaign"))
@job_options([name for name in _REFINE if name not in _CAMPAIGN_OWN])
def campaign(
    out: NewFolder,
    table: Annotated[
        Path | None,
        typer.Argument(
            metavar="TABLE.csv",
            help="A row a data set: name, model, data, and options of refine as columns; or "
            "PanDDA's pandda_inspect_events.csv. That of --out if left out.",
        ),
    ] = None,
    find: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Find models, as '*/refine.pdb'.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="Take this file beside each model that is found, as '*.free.mtz' or '{name}.mtz'.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Do so many jobs at a time; as many as cores and memory allow if left out.",
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Use the workers of this Dask scheduler (or scheduler file)."
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", metavar="", help="Run what is missing or changed in the folder."),
    ] = False,
    time_limit: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="End a job that takes longer, as 90s, 30min or 2h."),
    ] = None,
    memory_limit: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="End a job that takes more memory, as 800MB or 4GB."),
    ] = None,
    quiet: Quiet = False,
    **values: Any,
) -> int:
    """Refine many data sets, each as refine does, on all cores or on a cluster.

    Options of refine are for all data sets; what a row of the table says counts more. A data set
    that fails is a row with its reason, and the others finish. campaign.html has all hits by p.
    """
    if workers is not None and scheduler is not None:
        raise InputError("--workers: a scheduler has its own; leave out --workers, or --scheduler")
    with named_steps(quiet=quiet):
        with loading():
            from multicopy_refinement.campaign.conduct import Asked
            from multicopy_refinement.campaign.limits import limits_of
            from multicopy_refinement.cli.campaign import run_campaign, sets_of

        asked = Asked(workers, scheduler, resume, limits_of(time_limit, memory_limit))
        sets = sets_of(table, find, data, out, values)
    return run_campaign(sets, out, asked, quiet=quiet)


@app.command(epilog=ending("series"))
@job_options(COMMON)
def series(
    model: ModelFile,
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE.csv",
            help="A row a data set: name, data, and one of time, dose, temperature, "
            "concentration or x.",
        ),
    ],
    state: Annotated[
        str,
        typer.Option(
            metavar="SELECTION",
            help="Refine the fraction of this: letters (B, C+D), a MODEL (2), or a group, residue "
            "or selection.",
        ),
    ],
    out: NewFolder,
    reference: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Take the fraction of this data set as 0."),
    ] = None,
    hold_model: Annotated[
        bool,
        typer.Option(
            "--hold-model", metavar="", help="Leave coordinates and B near the state as they are."
        ),
    ] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    **values: Any,
) -> None:
    """Refine one fraction of a state in each data set of a series; everything else is shared.

    MODEL holds all states. Each data set has its own scale, solvent and errors; coordinates and B
    near the state are refined by all of them together. Curves are fitted to the fractions with
    their full covariance.
    """
    refuse_missing(model, table, values["rules"])
    with named_steps(quiet=quiet) as show:
        with loading():
            from multicopy_refinement.cli.series import print_harmful, print_series, run
            from multicopy_refinement.series.job import SeriesJob

        job = SeriesJob(model, table, state, out, reference, values, hold_model, overwrite)
        record = run(job, values["threads"], show)
    if quiet:
        print_harmful(record)
    else:
        print_series(record, out)


@app.command(epilog=ending("demo"))
def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Write the files to this folder.")
    ] = Path("multicopy-demo"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", metavar="", help="Accept a folder in use.")
    ] = False,
) -> None:
    """Simulate a small crystal, refine it and compare with the truth."""
    with named_steps(), loading():
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
        result = app(prog_name="multicopy-refine", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except typer.TyperException as fault:
        return _complain(in_one_line(fault), 2)
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
