"""``multicopy-refine check``."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from multicopy_refinement.cli.progress import named_steps
from multicopy_refinement.errors import OutputError
from multicopy_refinement.modes import Radiation
from multicopy_refinement.notices import listed
from multicopy_refinement.run.check import Checked, check


def run_check(model: Path, data: Path | None, fix: Path | None, radiation: Radiation | None) -> int:
    """Print what is wrong; return 1 where anything is, 0 otherwise."""
    if fix is not None and fix.exists():
        raise OutputError(f"{fix}: the file is there already; name another with --fix")
    with named_steps() as show:
        show("checking", 0, 0, None)
        found = check(model, data, radiation)
    console = Console(emoji=False)
    for one in found.findings:
        text = f"[yellow]{one.code}[/]  {escape(one.message)}"
        console.print(text, highlight=False, soft_wrap=True)
    if found.mates:
        console.print(found.mates, highlight=False, markup=False, soft_wrap=True)
    console.print(_outcome(found, model, data), highlight=False, markup=False, soft_wrap=True)
    if fix is not None:
        console.print(_fixed(found, fix), highlight=False, markup=False, soft_wrap=True)
    return 1 if found.findings else 0


def _outcome(found: Checked, model: Path, data: Path | None) -> str:
    names = model.name if data is None else f"{model.name} and {data.name}"
    n = len({one.code for one in found.findings})
    if n == 0:
        return f"{names}: nothing found."
    count = f"{n} kind{'s' if n > 1 else ''} of trouble"
    if not found.mended:
        return f"{names}: {count}; what to do is a decision of yours."
    return f"{names}: {count}. --fix FILE writes a model without: {_codes(found)}."


def _fixed(found: Checked, fix: Path) -> str:
    if not found.findings:
        return f"There is nothing to mend; {fix} is not written."
    if not found.mended:
        return f"Nothing can be mended without a decision; {fix} is not written."
    found.model.write(fix)
    return f"{fix}: written without {_codes(found)}."


def _codes(found: Checked) -> str:
    return listed(sorted({one.code for one in found.mended}), 12)
