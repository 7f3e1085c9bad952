"""Small crystals of symmetry P 1 with whatever is put into them."""

import numpy as np
import torch

from helpers import atom_line
from multicopy_refinement import Model

CELL = (15.0, 16.0, 17.0)


def waters(n: int, *, cell=CELL, occupancies=None, seed: int = 5) -> list[str]:
    """Return lines of single waters anywhere in the cell."""
    random = np.random.default_rng(seed)
    occupancies = np.ones(n) if occupancies is None else occupancies
    return [
        atom_line("O", "HOH", i + 1, q, chain="W", xyz=random.uniform(0, cell, 3), record="HETATM")
        for i, q in enumerate(occupancies)
    ]


def load(tmp_path, *blocks, cell=CELL) -> Model:
    """Write and load a crystal of symmetry P 1."""
    a, b, c = cell
    head = f"CRYST1{a:9.3f}{b:9.3f}{c:9.3f}  90.00  90.00  90.00 P 1"
    path = tmp_path / "model.pdb"
    path.write_text("\n".join([head, *(line for block in blocks for line in block), "END", ""]))
    return Model(dtype_float=torch.float64).load(path)
