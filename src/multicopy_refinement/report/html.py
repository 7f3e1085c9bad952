"""The report: one page that opens from disk, made from the files that a run left."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multicopy_refinement._typing import IntArray
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.crystal import SpaceGroup
from multicopy_refinement.io.files import written_aside
from multicopy_refinement.report.group_table import columns, rows
from multicopy_refinement.report.pages import as_json, carried, template
from multicopy_refinement.report.run_files import RunFiles
from multicopy_refinement.report.scene import make_scene
from multicopy_refinement.results.real_space import Shell, read_amplitudes, shells
from multicopy_refinement.results.record import RunRecord
from multicopy_refinement.results.standing import about_su
from multicopy_refinement.results.tables import exchange_by_residue

if TYPE_CHECKING:
    from multicopy_refinement.report.plots import Embedded


def make_page(run: RunFiles, scripts: Path | None = None) -> str:
    """Return the page of a run.

    Its libraries are in it, or in the folder ``scripts``, which pages beside each other can share.
    """
    record = run.record
    labels = (record.inputs.labels[0], record.inputs.free_label, record.inputs.free_value)
    group = SpaceGroup(record.data.spacegroup)
    curve = shells(read_amplitudes(run.directory / "refined.mtz", labels, group))
    return _render(run, curve, scripts)


def _render(run: RunFiles, curve: list[Shell], scripts: Path | None) -> str:
    from multicopy_refinement.report.plots import embedded, figures

    record, table = run.record, run.table
    made = figures(record, curve)
    plots = embedded({name: one.figure for name, one in made.items()})
    scene = make_scene(record, table, run.maps, run.advice)
    return template("report.html.j2").render(
        record=record, run=run, advice=run.advice, columns=columns(record),
        rows=rows(record, run.density),
        figures={name: (one, plots.divisions[name]) for name, one in made.items()},
        figure_data=as_json(plots.items), libraries=_libraries(plots, run.directory, scripts),
        scene=scene, scene_json=as_json(scene), summary=_summary(record, table),
        command=_command(record), about_su=about_su(record),
        moves=[c for c in record.history if c.rms_shift is not None],
        exchange=exchange_by_residue(record),
    )  # fmt: skip


def _libraries(plots: Embedded, directory: Path, scripts: Path | None) -> dict[str, str]:
    """Return the script elements of figures and viewer, the latter empty where there is none."""
    source = files("multicopy_refinement.report") / "static" / "3Dmol-min.js"
    viewer = source.read_text(encoding="utf-8") if source.is_file() else ""
    found = {
        "figures": (f"bokeh-{plots.version}.min.js", plots.library),
        "viewer": ("3Dmol-min.js", viewer),
    }
    return {
        name: _script(name, code, directory, None if scripts is None else scripts / file)
        for name, (file, code) in found.items()
    }


def _script(name: str, code: str, directory: Path, shared: Path | None) -> str:
    """Return an element that carries code, or of a file that is made where it is not there."""
    if not code or shared is None:
        return carried(name, code) if code else ""
    if not shared.is_file():
        shared.parent.mkdir(exist_ok=True)
        with written_aside(shared) as aside:
            aside.write_text(code, encoding="utf-8")
    return f'<script src="{Path(os.path.relpath(shared, directory)).as_posix()}"></script>'


def _summary(record: RunRecord, table: AtomTable) -> dict[str, Any]:
    """Return the compression, residues with partial occupancy and altloc statistics."""
    residue: dict[str, set[str]] = {}
    partial: dict[str, list[tuple[str, float]]] = {}
    index: IntArray = np.zeros(len(table), dtype=np.int64)
    for number, group in enumerate(record.groups):
        index[group.atom_indices] = number
    for atom in range(len(table)):
        name = table.residue_label(atom)
        letter = table.altloc[atom].decode()
        letters = residue.setdefault(name, set())
        if letter:
            letters.add(letter)
    for group in record.groups:
        if abs(group.occupancy - 1) > 0.001:
            seen = dict.fromkeys(
                (table.residue_label(a), table.altloc[a].decode()) for a in group.atom_indices
            )
            for name, letter in seen:
                partial.setdefault(name, []).append((letter, group.occupancy))
    counts = Counter(len(letters) for letters in residue.values() if letters)
    atoms = Counter(a.decode() for a in table.altloc.tolist() if a)
    return {
        "atoms": len(table), "groups": len(record.groups), "residues": len(residue),
        "refined": sum(g.refined for g in record.groups),
        "compression": len(table) / max(len(record.groups), 1),
        "partial": sorted(partial.items(), key=lambda item: list(residue).index(item[0])),
        "by_count": sorted(counts.items()), "by_letter": sorted(atoms.items()),
    }  # fmt: skip


def _command(record: RunRecord) -> str:
    """Return the command of the run, from the record where it holds it."""
    if record.provenance is not None:
        return shlex.join(record.provenance.command)
    return shlex.join(["multicopy-refine", "refine", record.inputs.model, record.inputs.data])
