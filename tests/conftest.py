"""Fixtures of all tests: real data sets where they are at hand, and a PDB writer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from helpers import pdb_text, write_text
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
