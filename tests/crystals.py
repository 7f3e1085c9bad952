"""Small random crystals, written as files and loaded as models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
import torch

from helpers import atom_line
from multicopy_refinement.model import Model
from multicopy_refinement.scaling.mask import MaskGrid, density_structure_factors, mask_by_gemmi

#: A small cell for atoms that are written line by line.
CRYST1 = "CRYST1   15.000   16.000   17.000  90.00  90.00  90.00 P 1"

#: Space groups with the angles that they ask for: triclinic to cubic, primitive and centred.
CRYSTALS = {
    "P 1": (11.0, 13.0, 15.0, 72.0, 81.0, 113.0),
    "P -1": (11.0, 13.0, 15.0, 72.0, 81.0, 113.0),
    "P 1 21 1": (12.0, 14.0, 16.0, 90.0, 118.0, 90.0),
    "C 1 2 1": (22.0, 12.0, 14.0, 90.0, 104.0, 90.0),
    "P 21 21 21": (12.0, 15.0, 18.0, 90.0, 90.0, 90.0),
    "I 41": (18.0, 18.0, 15.0, 90.0, 90.0, 90.0),
    "P 31 2 1": (16.0, 16.0, 22.0, 90.0, 90.0, 120.0),
    "R 3:H": (24.0, 24.0, 15.0, 90.0, 90.0, 120.0),
    "P 65 2 2": (20.0, 20.0, 33.0, 90.0, 90.0, 120.0),
    "F 2 3": (30.0, 30.0, 30.0, 90.0, 90.0, 90.0),
}


@dataclass(frozen=True)
class AtomSpec:
    """One atom of a test crystal, fractional coordinates."""

    element: str
    fractional: tuple[float, float, float]
    b_iso: float = 15.0
    occupancy: float = 1.0
    u_aniso: tuple[float, float, float, float, float, float] | None = None
    altloc: str = "\0"


def random_atoms(n: int, seed: int, *, anisotropic: bool = False) -> list[AtomSpec]:
    """Return atoms of common elements anywhere in the cell."""
    random = np.random.default_rng(seed)
    atoms = []
    for i in range(n):
        u = None
        if anisotropic and i % 2:
            root = 0.15 * np.eye(3) + 0.06 * random.standard_normal((3, 3))
            m = root @ root.T + 0.05 * np.eye(3)
            u = (m[0, 0], m[1, 1], m[2, 2], m[0, 1], m[0, 2], m[1, 2])
        place = random.uniform(-0.2, 1.2, 3)
        atoms.append(
            AtomSpec(
                str(random.choice(["C", "N", "O", "S", "H"])),
                (place[0], place[1], place[2]),
                float(random.uniform(4, 40)),
                float(random.choice([1.0, 0.5, 0.8])),
                u,
            )
        )
    return atoms


def write_crystal(path: Path, group: str, atoms: list[AtomSpec]) -> Path:
    """Write atoms as a PDB file, one residue each."""
    structure = gemmi.Structure()
    structure.cell = gemmi.UnitCell(*CRYSTALS[group])
    structure.spacegroup_hm = group
    chain = gemmi.Chain("A")
    for number, spec in enumerate(atoms, start=1):
        residue = gemmi.Residue()
        residue.name, residue.seqid = "UNK", gemmi.SeqId(str(number))
        atom = gemmi.Atom()
        atom.name, atom.element = spec.element, gemmi.Element(spec.element)
        atom.pos = structure.cell.orthogonalize(gemmi.Fractional(*spec.fractional))
        atom.occ, atom.b_iso, atom.altloc = spec.occupancy, spec.b_iso, spec.altloc
        if spec.u_aniso is not None:
            atom.aniso = gemmi.SMat33f(*spec.u_aniso)
        residue.add_atom(atom)
        chain.add_residue(residue)
    model = gemmi.Model(1)
    model.add_chain(chain)
    structure.add_model(model)
    structure.setup_entities()
    path.write_text(structure.make_pdb_string())
    return path


def load_crystal(
    path: Path, group: str, atoms: list[AtomSpec], dtype: torch.dtype = torch.float64
) -> Model:
    """Write and load a crystal."""
    return Model(dtype_float=dtype).load(write_crystal(path, group, atoms))


def solvent_structure_factors(model: Model, occupancy: np.ndarray, hkl: np.ndarray):
    """Return F_mask, complex ``[n]``, and the solvent fraction of the mask of all present atoms."""
    d_min = float(1 / np.sqrt(model.cell.inverse_d_squared(hkl).max()))
    table, crystal = model.table, (model.cell, model.spacegroup)
    mask = mask_by_gemmi(MaskGrid.of(*crystal, d_min), table, occupancy > 0, table.xyz)
    return density_structure_factors(mask, *crystal, hkl), float(mask.mean())


def crystal(tmp_path, occupancies, *, shift=(0.0, 0.0, 0.0, 0.0), b=12.0, name="m.pdb") -> Model:
    """Return 40 whole waters and one serine of conformers displaced along x by ``shift``."""
    random = np.random.default_rng(5)
    lines = [
        atom_line("O", "HOH", i + 1, 1.0, chain="W", xyz=random.uniform(0, 15, 3), record="HETATM")
        for i in range(40)
    ]
    for letter, occupancy, x in zip("ABCD", occupancies, shift, strict=False):
        lines += [
            atom_line(
                atom, "SER", 1, occupancy, altloc=letter, b_iso=b, xyz=(4 + x, 5 + 1.4 * i, 6.0)
            )
            for i, atom in enumerate(["N", "CA", "CB", "OG"])
        ]
    path = tmp_path / name
    path.write_text("\n".join([CRYST1, *lines, "END", ""]))
    return Model(dtype_float=torch.float64).load(path)
