"""The report: one page that opens from disk, made from the files that a run left."""

from __future__ import annotations

import json
import os
import shlex
from collections import Counter
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multicopy_refinement._typing import IntArray
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.crystal import SpaceGroup
from multicopy_refinement.io.files import written_aside
from multicopy_refinement.report.pages import FLAGS, template
from multicopy_refinement.report.run_files import RunFiles
from multicopy_refinement.report.viewer import (
    LEVELS,
    as_pdb,
    patches,
    shown_atoms,
    sites_left_out,
    sites_of_interest,
)
from multicopy_refinement.results.real_space import (
    GroupDensity,
    Maps,
    Shell,
    read_amplitudes,
    shells,
)
from multicopy_refinement.results.record import Group, RunRecord

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

    record, table, density = run.record, run.table, run.density
    made = figures(record, curve)
    plots = embedded({name: figure for name, (figure, _) in made.items()})
    sites = sites_of_interest(record)
    return template("report.html.j2").render(
        record=record, advice=run.advice,
        rows=[_row(g, density.get(g.name), record) for g in record.groups if g.refined],
        figures={name: (plots.divisions[name], text) for name, (_, text) in made.items()},
        figure_script=plots.script, libraries=_libraries(plots, run.directory, scripts),
        scene=_scene(record, table, run.maps, sites), summary=_summary(record, table),
        command=_command(record), scene_json=scene_json,
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
        name: _script(directory, None if scripts is None else scripts / file, code) if code else ""
        for name, (file, code) in found.items()
    }


def _script(directory: Path, shared: Path | None, code: str) -> str:
    """Return a script element with code, or of a file that is made where it is not there."""
    if shared is None:
        return f"<script>{code}</script>"
    if not shared.is_file():
        shared.parent.mkdir(exist_ok=True)
        with written_aside(shared) as aside:
            aside.write_text(code, encoding="utf-8")
    return f'<script src="{Path(os.path.relpath(shared, directory)).as_posix()}"></script>'


def _row(group: Group, density: GroupDensity | None, record: RunRecord) -> dict[str, Any]:
    """Return a group as a row of the table."""
    su = group.su
    low, high = (max(0.0, group.occupancy - (su or 0)), min(1.0, group.occupancy + (su or 0)))
    return {
        "group": group, "density": density, "change": group.occupancy - group.initial,
        "bar": 100 * group.occupancy, "low": 100 * low, "high": 100 * high,
        "words": [FLAGS.get(flag, flag) for flag in group.flags],
        "site": group.set if group.set is not None else group.name,
    }  # fmt: skip


def _scene(
    record: RunRecord, table: AtomTable, maps: Maps, sites: dict[str, list[int]]
) -> dict[str, Any]:
    """Return what the viewer shows: atoms, occupancies, places and map patches of each site."""
    if not sites:
        return {
            "pdb": "", "sites": {}, "altloc": [], "occupancy": [], "patches": {}, "levels": LEVELS
        }  # fmt: skip
    occupancy = table.occupancy.copy()
    for group in record.groups:
        occupancy[group.atom_indices] = group.occupancy
    shown = shown_atoms(table, sites)
    place = {atom: i for i, atom in enumerate(shown.tolist())}
    made = patches(maps, table, sites, record.data.d_min, sites_left_out(record, sites))
    return {
        "pdb": as_pdb(table, shown, occupancy),
        "sites": {name: [place[a] for a in atoms] for name, atoms in sites.items()},
        "altloc": [table.altloc[a].decode() for a in shown.tolist()],
        "occupancy": [round(float(occupancy[a]), 3) for a in shown.tolist()],
        "patches": {
            name: {k: v for k, v in asdict(p).items() if v is not None} for name, p in made.items()
        },
        "levels": LEVELS,
    }  # fmt: skip


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


def scene_json(scene: dict[str, Any]) -> str:
    """Return the scene of the viewer as JSON that cannot end a script element."""
    return json.dumps(scene, separators=(",", ":")).replace("</", "<\\/")
