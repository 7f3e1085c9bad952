"""``multicopy-refine report``."""

from __future__ import annotations

from pathlib import Path

from multicopy_refinement.report.write import write_report


def run_report(directory: Path) -> None:
    """Make the report of a run again."""
    write_report(directory)
