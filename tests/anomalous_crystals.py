"""The demonstration crystal with metals, and data of it with Friedel mates apart."""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np

from demo_data import DEMO
from multicopy_refinement import Model

WAVELENGTH = 1.28


def with_metals(
    folder: Path, name: str, occupancies: dict[str, float], *, b_iso: float = 20.0
) -> Path:
    """Write the demo's truth with atoms of elements in free places, and return the path."""
    import anomalous as benchmark

    structure = gemmi.read_structure(str(DEMO / "truth.pdb"))
    places = benchmark.free_places(structure, len(occupancies), seed=4)
    elements = [what.rstrip("0123456789") for what in occupancies]
    benchmark.add_metals(structure, places, elements, list(occupancies.values()), b_iso)
    structure.write_pdb(str(folder / name))
    return folder / name


def friedel_mates(model: Model, hkl: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return F(hkl) and F(-h-k-l) with f' and f'', summed over atoms and operations in doubles.

    Nothing of it is the program's own but the atoms and the tables of form factors.
    """
    table, cell = model.table, model.cell.gemmi
    xyz = model.xyz().detach().numpy()
    b, q = model.b_iso().detach().numpy(), model.occupancy().detach().numpy()
    first, second = dict(model.beam.f_prime), dict(model.beam.f_double_prime)
    operations = model.spacegroup.gemmi.operations()
    found = []
    for signed in (hkl, -hkl):
        s_squared = np.asarray(cell.calculate_1_d2_array(signed.astype(np.int32)))
        total = np.zeros(len(hkl), dtype=complex)
        for i, symbol in enumerate(table.element.tolist()):
            element = gemmi.Element(symbol.decode())
            name = symbol.decode()
            f = np.array([element.it92.calculate_sf(s / 4) for s in s_squared])
            f = f + first.get(name, 0.0) + 1j * second.get(name, 0.0)
            place = cell.fractionalize(gemmi.Position(*xyz[i])).tolist()
            for operation in operations:
                moved = operation.apply_to_xyz(place)
                phase = np.exp(2j * np.pi * (signed @ np.array(moved)))
                total += q[i] * f * np.exp(-b[i] * s_squared / 4) * phase
        found.append(total)
    return found[0], found[1]
