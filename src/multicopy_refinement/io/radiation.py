"""With which radiation a crystal was measured, as its coordinate file says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import gemmi

from multicopy_refinement.errors import ModelFileError
from multicopy_refinement.io.text import parse_number
from multicopy_refinement.notices import Notice

if TYPE_CHECKING:
    from multicopy_refinement.io.structure import StructureFile

_EXPDTA = re.compile(rb"^EXPDTA(?P<text>[^\r\n]*)", re.MULTILINE | re.IGNORECASE)
#: Items of mmCIF that name the method; the first that is there counts.
_ITEMS = ("_exptl.method", "_diffrn_radiation.pdbx_scattering_type", "_refine.pdbx_refine_id")
_REMARK_200 = re.compile(rb"^REMARK 200  WAVELENGTH OR RANGE +\(A\) :([^\r\n]*)", re.MULTILINE)
_HEADER = 1_000_000
_WAVELENGTHS = ("_diffrn_radiation_wavelength.wavelength", "_diffrn_source.pdbx_wavelength_list")
_NOTHING = frozenset({"", "?", ".", "NULL"})
_OTHERS = ("NEUTRON", "ELECTRON")


def experimental_methods(source: StructureFile) -> tuple[str, ...]:
    """Return the methods that a coordinate file names, in capitals: EXPDTA or _exptl.method."""
    from multicopy_refinement.io.structure import StructureFormat, model_block

    if source.format is StructureFormat.PDB:
        # columns 9 and 10 number the continuation lines
        lines = [m["text"][4:].decode("latin-1") for m in _EXPDTA.finditer(source.content)]
        return _clean(" ".join(lines).split(";"))
    block = model_block(source.path, source.content)
    for item in _ITEMS:
        found = _clean([gemmi.cif.as_string(value) for value in block.find_values(item)])
        if found:
            return found
    return ()


def wavelength_of(source: StructureFile) -> float | None:
    """Return the wavelength in A that a coordinate file names; None for none, and for several."""
    from multicopy_refinement.io.structure import StructureFormat, model_block

    if source.format is StructureFormat.PDB:
        texts = [m[1].decode("latin-1") for m in _REMARK_200.finditer(source.content, 0, _HEADER)]
    else:
        block = model_block(source.path, source.content)
        texts = [gemmi.cif.as_string(v) for item in _WAVELENGTHS for v in block.find_values(item)]
    numbers = {parse_number(text.strip()) for text in texts if text.strip() not in _NOTHING}
    found = numbers.pop() if len(numbers) == 1 else None
    return found if found is not None and found > 0 else None


def check_radiation(source: StructureFile) -> list[Notice]:
    """Refuse models of neutron or electron data: the form factors are those of X-rays.

    Raises
    ------
    ModelFileError
        The method, and what to do.
    """
    methods = experimental_methods(source)
    others = [method for method in methods if any(other in method for other in _OTHERS)]
    if not others:
        return []
    if len(others) < len(methods):
        text = (
            f"{source.path} was refined against data of several kinds ({'; '.join(methods)}); "
            "the form factors are those of X-rays, so the data must be, too"
        )
        return [Notice("joint_radiation", text)]
    raise ModelFileError(
        f"{source.path}: the method is {others[0]}, and the form factors are those of X-rays; "
        "if the data are X-ray data, correct EXPDTA (_exptl.method)"
    )


def _clean(texts: list[str]) -> tuple[str, ...]:
    words = (" ".join(text.upper().split()) for text in texts)
    return tuple(text for text in words if text not in {"", "?", "."})
