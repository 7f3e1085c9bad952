"""The folder of a run: which files it has, and how they come there all together."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from multicopy_refinement.errors import OutputError

#: Names of the files that pruning leaves beside those of a run.
PRUNED = ("pruned.pdb", "pruned.cif", "prune.json", "prune.md")
#: Names of the files that a run leaves.
RESULTS = (
    "refined.pdb", "refined.cif", "refined.mtz", "refined-sf.cif", "result.json", "run.log",
    "report.html", "coot_groups.py", "coot_groups.json", *PRUNED,
)  # fmt: skip


def check_directory(directory: Path, *, overwrite: bool) -> None:
    """Refuse a place that is a file, cannot hold a folder, or holds anything.

    Raises
    ------
    OutputError
        With what to do.
    """
    if directory.exists() and not directory.is_dir():
        raise OutputError(f"{directory}: is a file; name a folder with --out")
    if directory.is_dir() and any(directory.iterdir()) and not overwrite:
        raise OutputError(
            f"{directory}: the folder is in use; name another with --out, or give --overwrite"
        )
    parent = next(p for p in [directory, *directory.absolute().parents] if p.exists())
    if not parent.is_dir():
        raise OutputError(f"{directory}: {parent} is not a folder")


def check_inputs_stay(directory: Path, inputs: tuple[Path, ...]) -> None:
    """Refuse a folder in which a result would replace an input."""
    for path in inputs:
        if path.name in RESULTS and path.absolute().parent.resolve() == directory.resolve():
            raise OutputError(
                f"{path}: the results would replace this input; name another folder with --out"
            )


@contextmanager
def placed_together(directory: Path, *, replaces: tuple[str, ...] = ()) -> Iterator[Path]:
    """Give a folder to write to; move its files to ``directory`` when the block ends well.

    Files of the names in ``replaces`` that were not made anew go: they are of an earlier run.
    """
    target = directory.absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    except OSError as fault:
        raise OutputError(f"{directory}: cannot be written: {fault.strerror}") from None
    try:
        yield aside
        target.mkdir(exist_ok=True)
        made = sorted(aside.iterdir())
        for path in made:
            path.replace(target / path.name)
        for name in set(replaces) - {path.name for path in made}:
            (target / name).unlink(missing_ok=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
