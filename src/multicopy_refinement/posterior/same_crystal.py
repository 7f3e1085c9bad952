"""Whether model and data are of one crystal, and what is known of both."""

from __future__ import annotations

from multicopy_refinement.errors import InputError
from multicopy_refinement.model import Model
from multicopy_refinement.modes import Radiation
from multicopy_refinement.notices import Notice
from multicopy_refinement.reflections import ReflectionData
from multicopy_refinement.reflections.symmetry import same_centring, same_point_group

#: Cells of model and data that differ by more than this are refused, by more than the second named.
CELL_TOLERANCE, CELL_NOTICE = 0.02, 0.001


def known_wavelength(model: Model, data: ReflectionData) -> float | None:
    """Return the wavelength in A that is known of the model, or else of the data's file."""
    return model.beam.wavelength or data.wavelength


def extinction_wavelength(model: Model, data: ReflectionData, *, twinned: bool) -> float:
    """Return the wavelength that extinction goes by, in A.

    Raises
    ------
    InputError
        No file has it; the data are those of a twin, of which extinction is not refined.
    """
    if twinned:
        raise InputError("extinction: it is not refined of twins; leave one out")
    found = known_wavelength(model, data)
    if not found:
        xray = model.radiation is Radiation.XRAY  # of others no option takes one
        where = "with --wavelength" if xray else "in the file of the reflections"
        raise InputError(
            f"extinction: it goes by the wavelength, which no file has; give it {where}"
        )
    return float(found)


def check_same_crystal(model: Model, data: ReflectionData) -> list[Notice]:
    """Refuse data of another crystal; return a notice for small differences."""
    difference = model.cell.largest_difference(data.cell)
    cells = f"model {_cell_text(model)}, data {_cell_text(data)}"
    if difference > CELL_TOLERANCE:
        raise InputError(f"the cells of model and data differ by {100 * difference:.1f}%: {cells}")
    notices = []
    if difference > CELL_NOTICE:
        notices.append(
            Notice(
                "cell_differs",
                f"the cells of model and data differ by "
                f"{100 * difference:.2f}%; the model's is used: {cells}",
            )
        )
    mine, theirs = model.spacegroup, data.spacegroup
    if mine.name != theirs.name:
        groups = f"space group {mine.name} and {theirs.name}"
        if not same_point_group(mine, theirs):
            raise InputError(f"model and data have different symmetry: {groups}")
        if not same_centring(mine, theirs):
            raise InputError(f"the lattices of model and data have different centring: {groups}")
        notices.append(
            Notice(
                "spacegroup_differs",
                f"space group {theirs.name} of the data is not "
                f"{mine.name} of the model, which is used",
            )
        )
    return notices


def _cell_text(crystal: Model | ReflectionData) -> str:
    return " ".join(f"{value:.2f}" for value in crystal.cell.parameters)
