"""All that is made from the files of a run: the page, and what molecular graphics take."""

from __future__ import annotations

from pathlib import Path

from multicopy_refinement.io.files import written_aside
from multicopy_refinement.report.advice import Advice
from multicopy_refinement.report.coot import GROUPS, SCRIPT, groups_as_json, make_script
from multicopy_refinement.report.html import make_page
from multicopy_refinement.report.run_files import read_run
from multicopy_refinement.run.log import log_advice


def write_report(directory: Path, scripts: Path | None = None) -> list[Advice]:
    """Write ``report.html``, ``coot_groups.py`` and ``coot_groups.json`` into the folder of a run.

    The advice is put behind ``run.log``, and returned. The page carries its libraries, or takes
    them from the folder ``scripts``.

    Raises
    ------
    InputError
        Files of the run that are missing or cannot be read.
    """
    run = read_run(directory)
    made = {
        "report.html": make_page(run, scripts), GROUPS: groups_as_json(run),
        SCRIPT: make_script(run),
    }  # fmt: skip
    for name, text in made.items():
        with written_aside(directory / name) as aside:
            aside.write_text(text, encoding="utf-8")
    log_advice(directory / "run.log", (_in_words(advice) for advice in run.advice))
    return run.advice


def _in_words(advice: Advice) -> str:
    groups = f" [{', '.join(advice.groups)}]" if advice.groups else ""
    command = f" ({advice.command})" if advice.command else ""
    return f"{advice.title}: {advice.text}{groups}{command}"
