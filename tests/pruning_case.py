"""The demo with groups that are not there, and conformers that are one: a model to be pruned."""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np

from demo_data import DEMO
from multicopy_refinement.units import EIGHT_PI_SQUARED

#: Waters that the truth has not.
ABSENT = ("W/91/HOH", "W/92/HOH", "W/93/HOH")
#: The conformer that is written twice, with occupancies that sum to that of the truth.
TWICE = {"B": 0.20, "C": 0.14}
#: The residue that is split by so much to each side along x, in A.
SPLIT, APART = 10, 0.15


def write_case(path: Path) -> gemmi.Structure:
    """Write the model, and return the truth."""
    truth = gemmi.read_pdb(str(DEMO / "truth.pdb"))
    model = truth.clone()
    _add_waters(model)
    _write_twice(_residue(model, 17))
    _split(_residue(model, SPLIT))
    model.write_pdb(str(path))
    return truth


def _residue(structure: gemmi.Structure, number: int) -> gemmi.Residue:
    return next(r for r in structure[0]["A"] if r.seqid.num == number)


def _add_waters(model: gemmi.Structure) -> None:
    """Put partial waters where nothing else is near, by gemmi's search with symmetry."""
    search = gemmi.NeighborSearch(model[0], model.cell, 5).populate()
    random = np.random.default_rng(5)
    placed: list[np.ndarray] = []
    chain = model[0]["W"]
    while len(placed) < len(ABSENT):
        at = model.cell.orthogonalize(gemmi.Fractional(*random.uniform(size=3)))
        xyz = np.array(at.tolist())
        if search.find_atoms(at, "\0", radius=3.0) or any(
            np.linalg.norm(xyz - other) < 6 for other in placed
        ):
            continue
        water = gemmi.Residue()
        water.name, water.het_flag = "HOH", "H"
        water.seqid = gemmi.SeqId(91 + len(placed), " ")
        atom = gemmi.Atom()
        atom.name, atom.element, atom.pos = "O", gemmi.Element("O"), at
        atom.occ, atom.b_iso = 0.3, 20.0
        water.add_atom(atom)
        chain.add_residue(water)
        placed.append(xyz)


def _write_twice(residue: gemmi.Residue) -> None:
    again = [atom.clone() for atom in residue if atom.altloc == "B"]
    for atom in residue:
        if atom.altloc == "B":
            atom.occ = TWICE["B"]
    for atom in again:  # atoms move in memory when others are added
        atom.altloc, atom.occ = "C", TWICE["C"]
        residue.add_atom(atom)


def _split(residue: gemmi.Residue) -> None:
    """Write a residue as two whose mean and mean square are those of the one."""
    for atom in residue:
        atom.b_iso -= EIGHT_PI_SQUARED / 3 * APART**2
        atom.occ = 0.5
    again = [atom.clone() for atom in residue]
    for atoms, letter, shift in ((residue, "A", -APART), (again, "B", APART)):
        for atom in atoms:
            atom.altloc = letter
            atom.pos += gemmi.Position(shift, 0, 0)
    for atom in again:
        residue.add_atom(atom)
