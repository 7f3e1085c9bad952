"""What was meant by an option or a command that is not there, in the words of other programs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

#: Options by the words that users of phenix, REFMAC, BUSTER, SHELXL and Servalcat have for them.
OPTIONS: dict[str, tuple[str, ...]] = {
    "--d-min": ("resolution", "high", "high-resolution", "high-res", "highres", "reso", "res",
                "resol", "dmin", "hires", "cutoff", "resolution-limit"),
    "--out": ("output", "outdir", "out-dir", "output-dir", "output-directory", "output-prefix",
              "prefix", "hklout", "xyzout", "dir", "directory", "folder", "pdbout", "mtzout"),
    "--output": ("out", "outfile", "output-file", "file", "save"),
    "--labels": ("labin", "label", "labels-in", "labelin", "columns", "column-labels", "cols",
                 "mtz-labels", "obs-labels", "f-obs", "fobs"),
    "--free-label": ("free", "freer", "rfree", "r-free", "free-flag", "freeflag", "free-flags",
                     "r-free-flags", "r-free-label", "freer-flag", "test-set", "free-set"),
    "--free-value": ("free-flag-value", "test-flag-value", "test-value", "flag-value", "freerflag"),
    "--max-cycles": ("ncyc", "ncycle", "ncycles", "cycles", "cycle", "macro-cycles",
                     "macrocycles", "number-of-macro-cycles", "nmacro", "iterations"),
    "--rules": ("params", "params-file", "parameter-file", "eff", "def", "phil", "keywords",
                "keyin", "keyword-file", "keyword", "ins", "toml", "groups", "occupancy-groups",
                "constraints", "occupancy-restraints"),
    "--parameters": ("adp", "adps", "bfac", "b-factor", "b-factors", "b-group", "strategy",
                     "refine-b", "refinement"),
    "--grouping": ("altloc", "altlocs", "altconf", "conformers", "group", "mode", "connected",
                   "states", "copies"),
    "--refine": ("select", "selection", "occ", "occupancy", "occupancies", "residue", "atoms"),
    "--hold": ("fix", "fixed", "freeze", "exclude", "keep", "constrain"),
    "--ligands": ("ligand", "lig"),
    "--waters": ("water", "solvent", "hoh", "ordered-solvent"),
    "--threads": ("nproc", "nprocs", "njobs", "jobs", "cpus", "cpu", "cores", "ncpu", "nthreads",
                  "n-threads", "processors"),
    "--workers": ("jobs", "njobs", "nproc", "nprocs", "processes", "n-workers", "parallel"),
    "--resume": ("restart", "continue", "rerun"),
    "--time-limit": ("timeout", "time", "walltime"),
    "--memory-limit": ("memory", "mem", "max-memory"),
    "--scheduler": ("cluster", "address", "scheduler-address", "scheduler-file", "dask"),
    "--state": ("active", "activated", "bound", "light", "triggered", "select-state"),
    "--reference": ("dark", "ground", "apo", "baseline"),
    "--overwrite": ("force", "clobber", "replace", "overwrite-output"),
    "--quiet": ("silent", "no-output"),
    "--target": ("ml", "mli", "mlf", "ls", "likelihood", "refinement-target"),
    "--contact-distance": ("distance", "contact", "cutoff-distance"),
    "--anomalous": ("bijvoet", "anom", "sad", "anomalous-data", "use-anomalous", "friedel",
                    "f-plus-minus"),
    "--f-double-prime": ("fdp", "f-dprime", "fpp"),
    "--f-prime": ("fp", "anomalous-scatterers"),
    "--wavelength": ("lambda", "energy"),
    "--uncertainty": ("su", "esd", "esds", "sigma", "errors"),
    "--tolerance": ("tol", "convergence"),
    "--format": ("type", "as", "output-format"),
    "--seed": ("random-seed",),
    "--noise": ("error", "errors", "sigma"),
    "--fix": ("repair", "mend", "write"),
    "--data": ("hklin", "mtz", "mtzin", "reflections"),
}  # fmt: skip
#: Arguments that other programs have as options.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "MODEL": ("xyzin", "pdb", "pdbin", "model", "coords", "coordinates", "cif", "mmcif", "input"),
    "DATA": ("hklin", "mtz", "mtzin", "hkl", "reflections", "data", "sf", "xray-data", "i-obs"),
}
COMMANDS: dict[str, tuple[str, ...]] = {
    "refine": ("occupancy", "occ", "run", "start", "refinement", "go", "qrefine"),
    "groups": ("list", "show", "constraints", "altlocs", "group", "write"),
    "check": ("validate", "validation", "verify", "lint", "test"),
    "compare": ("diff", "versus", "vs"),
    "report": ("html", "summary", "view", "open", "plot"),
    "simulate": ("fmodel", "sim", "fake", "sfcalc"),
    "campaign": ("batch", "screen", "many", "pandda", "multi", "loop"),
    "series": ("time", "kinetics", "titration", "time-resolved", "extrapolate", "xtrapol8"),
    "demo": ("example", "examples", "tutorial", "try"),
}
#: What is no option, and how it is done.
_ELSEWHERE = {
    "verbose": "every step is in run.log of the output folder",
    "debug": "set MULTICOPY_DEBUG=1 to see the traceback of a fault",
}


def whole_option(given: str, words: Sequence[str]) -> str:
    """Return an option as it was written: of ``-resolution`` a parser finds ``-r`` alone."""
    if given.startswith("--"):
        return given
    return next((w.partition("=")[0] for w in words if w.startswith(given)), given)


def about_option(given: str, options: Mapping[str, str], arguments: Iterable[str]) -> str:
    """Return what to write in place of an option that is not there, "" where nothing is near.

    Parameters
    ----------
    given
        The option that was not found.
    options, arguments
        Those of the command, and what options do.
    """
    word = given.lstrip("-").lower().replace("_", "-").replace(".", "-")
    if f"--{word}" in options:
        return f"it is written --{word}"
    if word in _ELSEWHERE:
        return _ELSEWHERE[word]
    meant = [name for name, known in OPTIONS.items() if word in known and name in options]
    if meant:
        return "; or ".join(f"use {name}: {_phrase(options[name])}" for name in meant)
    for name, known in ARGUMENTS.items():
        if word in known and name in arguments:
            return f"{name} is named without an option"
    near = get_close_matches(f"--{word}", [o for o in options if o.startswith("--")], cutoff=0.7)
    return f"nearest: {', '.join(near)}" if near else ""


def about_command(given: str, commands: Iterable[str]) -> str:
    """Return which command was meant, or which there are."""
    names = list(commands)
    word = given.lower().replace("_", "-")
    meant = [name for name, known in COMMANDS.items() if word in known and name in names]
    near = meant or get_close_matches(word, names)
    return f"nearest: {', '.join(near)}" if near else f"there are {', '.join(names)}"


def _phrase(sentence: str) -> str:
    """Return what a help text begins with, to stand within a line."""
    first = re.split(r"[.:;(]( |$)| \(|, those", sentence, maxsplit=1)[0]
    return first[:1].lower() + first[1:] if first[1:2].islower() else first
