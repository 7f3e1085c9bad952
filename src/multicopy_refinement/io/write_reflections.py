"""Writing of SF-mmCIF: reflections as wwPDB takes them for a deposition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import gemmi

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.io.entry import is_code
from multicopy_refinement.io.facts import PROGRAM
from multicopy_refinement.io.files import written_aside
from multicopy_refinement.modes import Radiation

#: One crystal, wavelength and scale for all reflections.
_ONE = ("crystal_id", "wavelength_id", "scale_group_code")
_SCATTERING = {
    Radiation.XRAY: "x-ray", Radiation.ELECTRON: "electron", Radiation.NEUTRON: "neutron",
}  # fmt: skip


def write_sf_mmcif(
    path: str | Path, entry: str, cell: Cell, group: SpaceGroup, hkl: IntArray,
    status: Sequence[str], items: Mapping[str, FloatArray], *,
    radiation: Radiation, wavelength: float | None, version: str, details: str,
) -> None:  # fmt: skip
    """Write one block with a ``_refln`` loop.

    Parameters
    ----------
    path
        Of the file.
    entry
        Name of the model's entry.
    cell, group, hkl
        Of the crystal, and Miller indices ``[n, 3]``.
    status
        ``_refln.status`` of each reflection: ``o``, ``f``, ``x``, ``<`` and so on.
    items
        Names of other items of ``_refln`` with their values ``[n]``, nan where there is none.
    radiation, wavelength
        What they were measured with; the wavelength in A, or None where it is not known.
    version
        Of this program.
    details
        What the block holds, in words.
    """
    document = gemmi.cif.Document()
    block = document.add_new_block(f"r{entry.lower()}sf" if is_code(entry) else f"{entry}-sf")
    for tag, value in {
        "_entry.id": entry,
        "_exptl_crystal.id": "1",
        "_diffrn_radiation_wavelength.id": "1",
        "_diffrn_radiation_wavelength.wavelength": "?" if wavelength is None else f"{wavelength:g}",
        "_reflns_scale.group_code": "1",
        "_diffrn.id": "1",
        "_diffrn.crystal_id": "1",
        "_diffrn.details": details,
        "_diffrn_radiation.diffrn_id": "1",
        "_diffrn_radiation.wavelength_id": "1",
        "_diffrn_radiation.pdbx_scattering_type": _SCATTERING[radiation],
        "_cell.entry_id": entry,
        **_cell(cell),
        "_symmetry.entry_id": entry,
        "_symmetry.space_group_name_H-M": group.gemmi.xhm(),
        "_symmetry.Int_Tables_number": str(group.gemmi.number),
        "_software.pdbx_ordinal": "1",
        "_software.name": PROGRAM,
        "_software.classification": "refinement",
        "_software.version": version,
    }.items():
        block.set_pair(tag, value if value == "?" else gemmi.cif.quote(value))
    with written_aside(path) as aside:
        aside.write_text(document.as_string() + _loop(hkl, status, items), encoding="utf-8")


def _cell(cell: Cell) -> dict[str, str]:
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    values = zip(names, cell.parameters, strict=True)
    return {f"_cell.{name}": f"{value:.4f}" for name, value in values}


def _loop(hkl: IntArray, status: Sequence[str], items: Mapping[str, FloatArray]) -> str:
    """Return the loop: phases to 0.01 degrees, others with six digits, ``?`` for nan.

    One format for a row takes a third of the time of one for each value.
    """
    tags = (*_ONE, "index_h", "index_k", "index_l", "status", *items)
    forms = ("%.2f" if "phase" in item.lower() or "PHWT" in item else "%.6g" for item in items)
    form = " ".join((*("1" for _ in _ONE), "%d %d %d %s", *forms))
    columns = (*hkl.T.tolist(), status, *(values.tolist() for values in items.values()))
    rows = [form % row for row in zip(*columns, strict=True)]
    text = "\n".join(["", "loop_", *(f"_refln.{tag}" for tag in tags), *rows, ""])
    return text.replace(" nan", " ?")
