"""The scene of the 3D view: atoms, conformers, labels, and patches of the maps at each site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from multicopy_refinement._typing import IntArray
from multicopy_refinement.atoms.kinds import water_atoms
from multicopy_refinement.atoms.numbering import number_residues
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.report.advice import Advice
from multicopy_refinement.report.conformers import drawn_once
from multicopy_refinement.report.pages import deflated
from multicopy_refinement.report.viewer import (
    LEVELS,
    REACH,
    STEP,
    as_pdb,
    patches,
    shown_atoms,
    sites_left_out,
    sites_of_interest,
)
from multicopy_refinement.results.real_space import Maps
from multicopy_refinement.results.record import RunRecord

#: Residues other than waters that come this near to a site have a label there, in A.
LABELLED = 4.0


def make_scene(
    record: RunRecord, table: AtomTable, maps: Maps, advice: Sequence[Advice]
) -> dict[str, Any]:
    """Return what the viewer shows: atoms, sites in the order of advice, patches of the maps."""
    sites, site_of, why = _in_order(record, advice)
    if not sites:
        return {"pdb": "", "sites": {}, "site_of": {}, "reach": REACH, "step": STEP, "labels": [],
                "patches": {}, "levels": LEVELS}  # fmt: skip
    occupancy = table.occupancy.copy()
    for group in record.groups:
        occupancy[group.atom_indices] = group.occupancy
    shown = shown_atoms(table, sites)
    place = {atom: i for i, atom in enumerate(shown.tolist())}
    residue = number_residues(table)
    marks = _marked_atoms(table, residue, shown)
    number = {r: i for i, r in enumerate(marks)}
    tree, water = cKDTree(table.xyz[shown]), water_atoms(table)
    found = {}
    for name, atoms in sites.items():
        mine = np.array(atoms)
        near = np.unique(np.concatenate(tree.query_ball_point(table.xyz[mine], LABELLED)))
        own = set(residue[mine].tolist())
        near = shown[near.astype(np.int64)]
        beside = set(residue[near[~water[near]]].tolist()) - own
        found[name] = {
            "conformers": [
                {"letters": one.letters, "atoms": [place[a] for a in one.atoms],
                 "occupancy": round(one.occupancy, 3)}
                for one in drawn_once(table, mine, occupancy)
            ],
            "own": [number[r] for r in sorted(own)],
            "beside": [number[r] for r in sorted(beside)], "why": why.get(name, ""),
        }  # fmt: skip
    made = patches(maps, table, sites, record.data.d_min, sites_left_out(record, sites))
    return {
        "pdb": deflated(as_pdb(table, shown, occupancy).encode()), "sites": found,
        "site_of": site_of, "reach": REACH, "step": STEP,
        "labels": [[_words(table, atom), place[atom]] for atom in marks.values()],
        "patches": {
            name: {k: v for k, v in asdict(p).items() if v is not None} for name, p in made.items()
        },
        "levels": LEVELS,
    }  # fmt: skip


def _in_order(
    record: RunRecord, advice: Sequence[Advice]
) -> tuple[dict[str, list[int]], dict[str, str], dict[str, str]]:
    """Return the sites, those of advice first, then ligands; the site of each name; and why."""
    sites = sites_of_interest(record)
    site_of = {g.name: g.set or g.name for g in record.groups if (g.set or g.name) in sites}
    for one in record.ligands:
        first = next((site_of[name] for name in one.groups if name in site_of), one.name)
        if first in sites:
            site_of.setdefault(one.name, first)
    why: dict[str, str] = {}
    for item in advice:
        for name in item.groups:
            if name in site_of:
                why.setdefault(site_of[name], item.title)
    ligands = [site_of[one.name] for one in record.ligands if one.name in site_of]
    order = dict.fromkeys([*why, *ligands, *sites])
    return {name: sites[name] for name in order}, site_of, why


def _marked_atoms(table: AtomTable, residue: IntArray, shown: IntArray) -> dict[int, int]:
    """Return the atom of each shown residue that bears its label: CA, or the first."""
    found: dict[int, int] = {}
    for atom in shown.tolist():
        number = int(residue[atom])
        if number not in found or (
            table.name[atom] == b"CA" and table.name[found[number]] != b"CA"
        ):
            found[number] = atom
    return found


def _words(table: AtomTable, atom: int) -> str:
    """Return ``LIG A1101``."""
    chain, icode = table.chain[atom].decode("latin-1"), table.icode[atom].decode()
    return f"{table.resname[atom].decode()} {chain}{table.resseq[atom]}{icode}"
