"""``multicopy-refine compare``."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from multicopy_refinement.cli.progress import named_steps
from multicopy_refinement.results.record import RunRecord
from multicopy_refinement.run.compare import Comparison, compare
from multicopy_refinement.targets.difference import Difference
from multicopy_refinement.words import with_su

_Value = tuple[float, float | None]
#: Groups that are shown: those that differ most.
MOST_GROUPS = 24
#: Occupancies that differ by less than this are the same.
_SAME = 0.005


def run_compare(paths: list[Path], data: Path | None) -> None:
    """Print runs side by side."""
    with named_steps() as show:
        show("comparing", 0, 0, None)
        found = compare(paths, data)
    console = Console(emoji=False)
    console.print(_agreement(found))
    table = _groups(found)
    if table.row_count:
        console.print(table)
    console.print(
        f"{found.n_work} work and {found.n_free} free reflections, with the errors of "
        f"{found.errors_of} for all. {found.conclusion}",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip


def _agreement(found: Comparison) -> Table:
    table = Table(title="Agreement, on one error model", title_justify="left")
    table.add_column("")
    for one in found.entries:
        table.add_column(escape(one.name), justify="right")
    rows = {
        "parameters": [str(one.n_parameters) for one in found.entries],
        "R-work": [f"{one.r_work:.4f}" for one in found.entries],
        "R-free": [_number(one.r_free, 4) for one in found.entries],
        "log-likelihood": [_number(one.log_likelihood, 1) for one in found.entries],
        "less the first": [_less(one.work) for one in found.entries],
        "log-likelihood, free": [_number(one.log_likelihood_free, 1) for one in found.entries],
        "less the first, free": [_less(one.free) for one in found.entries],
    }
    for label, values in rows.items():
        table.add_row(label, *values)
    return table


def _groups(found: Comparison) -> Table:
    """Return the occupancies that differ between runs, ligands first, then by how much."""
    runs = [(one.record, one.atoms) for one in found.entries if one.record is not None]
    ligands = list(dict.fromkeys(one.name for r, _ in runs for one in r.ligands if one.refined))
    rows = {name: [_of_ligand(record, name) for record, _ in runs] for name in ligands}
    by_atom = [_by_atom(record, atoms) for record, atoms in runs]
    for atom, name in _first_atoms(runs).items():
        rows.setdefault(name, [values.get(atom) for values in by_atom])

    def spread(values: list[_Value | None]) -> float:
        here = [0.0 if value is None else value[0] for value in values]
        return max(here) - min(here)

    words = {
        name: ["absent" if v is None else with_su(*v) for v in values]
        for name, values in rows.items() if spread(values) > _SAME
    }  # fmt: skip
    shown = [name for name, texts in words.items() if len(set(texts)) > 1]
    shown.sort(key=lambda name: (name not in ligands, -spread(rows[name])))
    table = Table(title="Occupancies that differ", title_justify="left")
    table.add_column("ligand or group")
    for one in found.entries:
        if one.record is not None:
            table.add_column(escape(one.name), justify="right")
    for name in shown[:MOST_GROUPS]:
        table.add_row(escape(name), *words[name])
    if len(shown) > MOST_GROUPS:
        table.add_row(f"and {len(shown) - MOST_GROUPS} more", *([""] * len(runs)))
    return table


def _first_atoms(runs: list[tuple[RunRecord, tuple[str, ...]]]) -> dict[str, str]:
    """Return the refined groups by their first atom: those of finer groupings have more."""
    found: dict[str, str] = {}
    for record, atoms in runs:
        for group in record.groups:
            if group.refined:
                found.setdefault(atoms[group.atom_indices[0]], group.name)
    return found


def _of_ligand(record: RunRecord, name: str) -> _Value | None:
    return next(((one.occupancy, one.su) for one in record.ligands if one.name == name), None)


def _by_atom(record: RunRecord, atoms: tuple[str, ...]) -> dict[str, _Value]:
    """Return the occupancy of the group that each atom is in, by name: runs may lack some."""
    return {
        atoms[atom]: (group.occupancy, group.su)
        for group in record.groups for atom in group.atom_indices
    }  # fmt: skip


def _less(difference: Difference | None) -> str:
    if difference is None:
        return "-"
    if difference.value == 0 and difference.su == 0:
        return "0"
    return f"{difference.value:+.1f} +- {difference.su:.1f}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
