"""Categories of mmCIF that say how a model was refined, and what the input said of it."""

from __future__ import annotations

import gemmi

from multicopy_refinement.io.facts import PROGRAM, RefinementFacts, is_ours
from multicopy_refinement.io.remark_3 import said
from multicopy_refinement.modes import Radiation

#: What the input said of an earlier refinement stands in its categories with this before the name.
OF_INPUT = "multicopy_input_"
#: Categories of one refinement. Those of TLS groups describe the atoms, and stay.
_REFINED = ("_refine.", "_refine_", "_pdbx_refine.")
#: Items of ``_refine`` that no refinement changes.
_CARRIED = (
    "pdbx_diffrn_id", "pdbx_starting_model", "pdbx_method_to_determine_struct",
    "pdbx_R_Free_selection_details",
)  # fmt: skip
_EMPTY = frozenset({"?", "."})
#: Methods as the PDBx/mmCIF dictionary names them.
_METHODS = {
    Radiation.XRAY: "X-RAY DIFFRACTION", Radiation.ELECTRON: "ELECTRON CRYSTALLOGRAPHY",
    Radiation.NEUTRON: "NEUTRON DIFFRACTION",
}  # fmt: skip
#: Marks a row of ``_software`` that the input has.
_EARLIER = "of the input model"


def describe_refinement(block: gemmi.cif.Block, facts: RefinementFacts) -> None:
    """Make ``_refine`` and ``_software`` of a block those of this refinement.

    ``_refine`` and its companions of an earlier program are kept as ``_multicopy_input_refine``
    and so on; what this program wrote there earlier is replaced.
    """
    entry = _entry(block)
    carried = _set_aside(block)
    items = {
        "entry_id": entry,
        "pdbx_refine_id": _method(block, facts.radiation),
        **carried,
        **_items(facts),
    }
    for item, value in items.items():
        block.set_pair(f"_refine.{item}", value if item in carried else gemmi.cif.quote(value))
    _name_software(block, facts.version)


def _entry(block: gemmi.cif.Block) -> str:
    """Return the entry's id, that of the block where there was none."""
    if block.find_value("_entry.id") is None:
        block.set_pair("_entry.id", gemmi.cif.quote(block.name))
    return gemmi.cif.as_string(block.find_value("_entry.id"))


def _method(block: gemmi.cif.Block, radiation: Radiation) -> str:
    """Return the method that the refinement is of: that of its radiation, or of diffraction."""
    found = [gemmi.cif.as_string(value) for value in block.find_values("_exptl.method")]
    usual = _METHODS[radiation]
    for word in (usual.split(maxsplit=1)[0], "DIFFRACTION"):
        for name in found:
            if word in name.upper():
                return name
    return usual


def _set_aside(block: gemmi.cif.Block) -> dict[str, str]:
    """Rename categories of an earlier refinement; return items of it that hold for this one."""
    # a converted PDB file has no details; there, the program alone tells
    texts = block.find_values("_refine.details") or block.find_values("_software.name")
    ours = any(is_ours(gemmi.cif.as_string(text)) for text in texts)
    carried = {}
    for item in _CARRIED:
        values = block.find_values(f"_refine.{item}")
        if len(values) and values[0] not in _EMPTY:
            carried[item] = values[0]
    for category in block.get_mmcif_category_names():
        if not category.startswith(_REFINED):
            continue
        content = block.get_mmcif_category(category, raw=True)
        block.find_mmcif_category(category).erase()
        if not ours and any(content.values()):
            name = f"_{OF_INPUT}{category.removeprefix('_')}"
            block.set_mmcif_category(name, content, raw=True)
    return carried


def _items(facts: RefinementFacts) -> dict[str, str]:
    """Return the items of ``_refine``, as the PDBx/mmCIF dictionary names them."""
    free = facts.r_free is not None
    found: dict[str, float | str | None] = {
        "ls_d_res_high": f"{facts.d_min:.3f}",
        "ls_d_res_low": f"{facts.d_max:.3f}",
        "ls_number_reflns_obs": str(facts.n_used),
        "ls_number_reflns_R_work": str(facts.n_work),
        "ls_number_reflns_R_free": str(facts.n_free) if free else None,
        "ls_percent_reflns_obs": f"{facts.completeness:.2f}",
        "ls_percent_reflns_R_free": f"{facts.free_percent:.2f}" if free else None,
        "ls_R_factor_obs": f"{facts.r_all:.4f}",
        "ls_R_factor_R_work": f"{facts.r_work:.4f}",
        "ls_R_factor_R_free": None if facts.r_free is None else f"{facts.r_free:.4f}",
        "pdbx_ls_cross_valid_method": "THROUGHOUT" if free else "NONE",
        "B_iso_mean": f"{facts.b_mean:.2f}",
        "B_iso_min": f"{facts.b_range[0]:.2f}",
        "B_iso_max": f"{facts.b_range[1]:.2f}",
        "occupancy_min": f"{facts.occupancy_range[0]:.4f}",
        "occupancy_max": f"{facts.occupancy_range[1]:.4f}",
        **{
            f"aniso_B[{ij[0]}][{ij[1]}]": f"{value:.3f}"
            for ij, value in zip(("11", "22", "33", "12", "13", "23"), facts.b_scale, strict=True)
        },
        "solvent_model_details": "MASK",
        "pdbx_solvent_shrinkage_radii": f"{facts.shrink:.2f}",
        "solvent_model_param_ksol": f"{facts.k_sol:.4f}",
        "solvent_model_param_bsol": f"{facts.b_sol:.2f}",
        "pdbx_overall_SU_R_free_Cruickshank_DPI": (
            None if facts.dpi_free is None else f"{facts.dpi_free:.3f}"
        ),
        "details": f"{PROGRAM} {facts.version}: {facts.target}. {' '.join(said(facts))}",
    }
    return {item: str(value) for item, value in found.items() if value is not None}


def _name_software(block: gemmi.cif.Block, version: str) -> None:
    """Put this program behind the others of ``_software``, and mark those of refinement."""
    table = block.find_mmcif_category("_software.")
    if len(table) == 0:
        table.erase()
        block.init_loop("_software.", ["pdbx_ordinal", "classification", "name", "version"])
        table = block.find_mmcif_category("_software.")
    table.ensure_loop()
    loop = table.loop
    wanted = ("pdbx_ordinal", "classification", "name", "version", "description")
    for tag in (f"_software.{item}" for item in wanted):
        if tag not in loop.tags:
            loop.add_columns([tag], "?")
    table = block.find("_software.", list(wanted))
    ours = [n for n, row in enumerate(table) if is_ours(gemmi.cif.as_string(row[2]))]
    for number in reversed(ours):
        block.find_mmcif_category("_software.").remove_row(number)
    numbers = [0]
    for row in block.find("_software.", list(wanted)):
        numbers += [int(row[0])] if row[0].isdigit() else []
        if "refinement" in gemmi.cif.as_string(row[1]).lower() and row[4] in _EMPTY:
            row[4] = gemmi.cif.quote(_EARLIER)
    values = {
        "pdbx_ordinal": str(max(numbers) + 1), "classification": "refinement", "name": PROGRAM,
        "version": version, "description": "'occupancies of groups'",
    }  # fmt: skip
    loop.add_row([values.get(tag.removeprefix("_software."), "?") for tag in loop.tags])
