"""Make the package's restraint dictionaries from a folder of the CCP4 Monomer Library.

    python scripts/make_monomers.py FOLDER

Writes ``src/multicopy_refinement/geometry/monomers.cif.gz``: energy types, links, modifications and
every component of the folder, without coordinates, trees and comments.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import gemmi

TARGET = Path(__file__).parents[1] / "src/multicopy_refinement/geometry/monomers.cif.gz"
#: Categories that say nothing about restraints.
LEFT_OUT = ("_chem_comp_tree.", "_chem_comp_acedrg.", "_chem_comp_descriptor.", "_lib_vdw.")
#: Columns that gemmi does not need for a topology.
LEFT_OUT_COLUMNS = ("_chem_comp_atom.x", "_chem_comp_atom.y", "_chem_comp_atom.z")


def compact(block: gemmi.cif.Block) -> gemmi.cif.Block:
    """Return a block with the loops and pairs that restraints are made of."""
    made = gemmi.cif.Block(block.name)
    for item in block:
        if item.loop is not None:
            kept = [i for i, tag in enumerate(item.loop.tags) if wanted(tag)]
            if not kept:
                continue
            loop = made.init_loop("", [item.loop.tags[i] for i in kept])
            for row in range(item.loop.length()):
                loop.add_row([item.loop[row, i] for i in kept])
        elif item.pair is not None and wanted(item.pair[0]):
            made.set_pair(*item.pair)
    return made


def wanted(tag: str) -> bool:
    """Return whether a column is one that restraints are made of."""
    return not tag.startswith(LEFT_OUT) and tag not in LEFT_OUT_COLUMNS


def main(folder: Path) -> None:
    """Write the package's file."""
    made = gemmi.cif.Document()
    made.add_copied_block(compact(gemmi.cif.read(str(folder / "ener_lib.cif")).sole_block()))
    for block in gemmi.cif.read(str(folder / "list" / "mon_lib_list.cif")):
        if block.name.startswith(("link_", "mod_")):
            made.add_copied_block(compact(block))
    components = sorted(folder.glob("?/*.cif"))
    listed = gemmi.cif.Block("comp_list")
    loop = listed.init_loop("_chem_comp.", ["id", "three_letter_code", "name", "group"])
    for path in components:
        document = gemmi.cif.read(str(path))
        code = path.stem
        row = document["comp_list"].find(
            "_chem_comp.", ["id", "three_letter_code", "name", "group"]
        )[0]
        loop.add_row(list(row))
        made.add_copied_block(compact(document[f"comp_{code}"]))
    made.add_copied_block(listed)
    packed = gzip.compress(made.as_string().encode(), 9, mtime=0)
    TARGET.write_bytes(packed)
    print(f"{TARGET}: {len(components)} components, {len(packed)} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
