"""The space group of a coordinate file: by its name, or by the operations that stand beside it."""

from __future__ import annotations

import re

import gemmi

#: A line of REMARK 290 that lists an operation.
_REMARK_290 = re.compile(r"^REMARK 290\s+\d+555\s+(\S+)\s*$", re.MULTILINE)
_LISTS = ("_symmetry_equiv.pos_as_xyz", "_symmetry_equiv_pos_as_xyz",
          "_space_group_symop.operation_xyz", "_space_group_symop_operation_xyz")  # fmt: skip


def find_space_group(structure: gemmi.Structure, content: bytes) -> gemmi.SpaceGroup | None:
    """Return the space group, or None where neither name nor operations are known.

    A name may have its screw axes in brackets, ``P 2(1) 2(1) 2(1)``.
    """
    group: gemmi.SpaceGroup | None = structure.find_spacegroup()
    name = space_group_name(structure)
    if group is None and name:
        plain = re.sub(r"\((\d)\)", r"\1", name)
        cell = structure.cell
        group = gemmi.find_spacegroup_by_name(plain, cell.alpha, cell.gamma)
    if group is None:
        operations = _operations(content)
        group = gemmi.find_spacegroup_by_ops(operations) if operations is not None else None
    return group


def space_group_name(structure: gemmi.Structure) -> str:
    """Return the name in the file, ``?`` where its bytes are no text."""
    try:
        return str(structure.spacegroup_hm)
    except UnicodeDecodeError:
        return "?"


def _operations(content: bytes) -> gemmi.GroupOps | None:
    """Return the operations that the file lists."""
    text = content.decode("latin-1")
    triplets = _REMARK_290.findall(text)
    if not triplets and any(tag in text for tag in _LISTS):
        document = gemmi.cif.read_string(content)
        columns = [block.find_values(tag) for block in document for tag in _LISTS]
        triplets = [gemmi.cif.as_string(v) for column in columns for v in column]
    if not triplets:
        return None
    try:
        return gemmi.GroupOps([gemmi.Op(triplet) for triplet in triplets])
    except (RuntimeError, ValueError):
        return None
