"""The name of an entry: its PDB code, or what its file is called."""

from __future__ import annotations

import re

import gemmi

from multicopy_refinement.io.structure import StructureFile, StructureFormat, model_block

#: PDB codes of four characters, and those of twelve.
_CODE = re.compile(r"[1-9][A-Za-z0-9]{3}|pdb_[0-9a-z]{8}", re.IGNORECASE)
_ENDINGS = (".gz", ".pdb", ".ent", ".cif", ".mmcif")


def entry_name(source: StructureFile) -> str:
    """Return the name of the block that holds a model: that which an mmCIF file gives it.

    A model that comes as PDB is called after the code of its HEADER, or else after its file.
    """
    if source.format is StructureFormat.MMCIF:
        return str(model_block(source.path, source.content).name)
    header = re.search(rb"^HEADER.{56}(\S{4})", source.content[:4000], re.MULTILINE)
    code = header[1].decode("latin-1") if header else ""
    if _CODE.fullmatch(code):
        return code.upper()
    stem = source.path.name
    for ending in _ENDINGS:
        if stem.lower().endswith(ending):
            stem = stem[: -len(ending)]
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", stem) or "model"


def entry_title(source: StructureFile) -> str:
    """Return the title that a model's file gives it, empty where it has none in words."""
    if source.format is StructureFormat.MMCIF:
        title = model_block(source.path, source.content).find_value("_struct.title") or ""
        title = gemmi.cif.as_string(title)
    else:
        lines = re.findall(rb"^TITLE {3}..(.*)$", source.content[:20000], re.MULTILINE)
        title = " ".join(line.decode("latin-1").strip() for line in lines)
    return " ".join(title.split()) if re.search(r"[A-Za-z]", title) else ""


def is_code(name: str) -> bool:
    """Return whether a name is a PDB code.

    >>> is_code("4HG7"), is_code("model")
    (True, False)
    """
    return _CODE.fullmatch(name) is not None


def name_entry(structure: gemmi.Structure, name: str) -> None:
    """Call a structure so, for the block that it is converted to."""
    structure.name = name
    structure.info["_entry.id"] = name
