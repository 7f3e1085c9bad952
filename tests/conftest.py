"""Fixtures of all tests: real data sets where they are at hand, a PDB writer, the command line."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers import pdb_text, write_text
from multicopy_refinement.cli.main import main
from multicopy_refinement.model import Model


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real data sets: $MULTICOPY_DATA, else ../shared/data."""
    given = os.environ.get("MULTICOPY_DATA")
    folder = Path(given) if given else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data sets: {folder} does not exist (set MULTICOPY_DATA)")
    return folder


@pytest.fixture
def load_lines(tmp_path: Path) -> Callable[..., Model]:
    """Return a function that loads a model from blocks of PDB lines."""

    def load(*blocks: Iterable[str], **options: object) -> Model:
        return Model().load(write_text(tmp_path / "model.pdb", pdb_text(*blocks)), **options)

    return load


@dataclass(frozen=True)
class Called:
    """What a call of the command line gave back."""

    status: int
    out: str
    err: str


def _call(*arguments) -> Called:
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", ["multicopy-refine", *(str(a) for a in arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
    return Called(stop.value.code or 0, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def command():
    """The command line as a function of its arguments, run in this process."""
    return _call
