"""The groups of a run for Coot and Moorhen: as JSON with selections, and a script that uses it."""

from __future__ import annotations

import json
import re
from typing import Any

import gemmi
import numpy as np

from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.occupancy.exchange.common import Piece, Pieces
from multicopy_refinement.report.run_files import RunFiles
from multicopy_refinement.results.real_space import OMIT_LABELS
from multicopy_refinement.results.record import Group
from multicopy_refinement.words import with_su

#: Names of the two files.
GROUPS, SCRIPT = "coot_groups.json", "coot_groups.py"
#: Names that mean themselves in selections of Coot's library of coordinates.
_PLAIN = re.compile(r"[A-Za-z0-9_'+]*")


def groups_as_json(run: RunFiles) -> str:
    """Return the refined groups as JSON, those first that advice is about, in its order.

    ``cids`` are selections as Coot and Moorhen read them, ``/1/A/101(LIG)/*:C``, and empty where a
    name cannot stand in one; ``atoms`` are the arguments of Coot's functions for one atom: chain,
    number, insertion code, name in four columns, altloc. They are empty in a file of several
    models, whose atoms those functions do not tell apart.
    """
    advice: dict[str, list[str]] = {}
    for one in run.advice:
        for name in one.groups:
            advice.setdefault(name, []).append(one.title)
    by_name = {group.name: group for group in run.refined}
    order = [*(name for name in advice if name in by_name), *by_name]
    pieces = Pieces.of(run.table)
    content = {
        "program": run.record.program.model_dump(),
        "model": run.model,
        "maps": "refined.mtz",
        "omit": [] if run.maps.omit is None else list(OMIT_LABELS),
    }
    groups = [
        json.dumps(_described(by_name[name], advice.get(name, []), run.table, pieces))
        for name in dict.fromkeys(order)
    ]
    rows = ",\n".join(groups)  # one line a group
    return f'{json.dumps(content)[:-1]}, "groups": [\n{rows}\n]}}\n'


def make_script(run: RunFiles) -> str:
    """Return the script for Coot 1, which reads the JSON beside it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("multicopy_refinement.report"), undefined=StrictUndefined,
        keep_trailing_newline=True, autoescape=False,
    )  # fmt: skip
    template = environment.get_template(f"{SCRIPT}.j2")
    return template.render(program=run.record.program, groups=GROUPS)


def _described(group: Group, advice: list[str], table: AtomTable, pieces: Pieces) -> dict[str, Any]:
    atoms = np.array(group.atom_indices)
    cids = [_cid(table, piece) for piece in pieces.cut(atoms)]
    centre = table.xyz[atoms].mean(axis=0)
    nearest = atoms[np.argmin(np.linalg.norm(table.xyz[atoms] - centre, axis=1))]
    return {
        "name": group.name,
        "occupancy": group.occupancy,
        "su": group.su,
        "text": with_su(group.occupancy, group.su),
        "set": group.set,
        "flags": group.flags,
        "advice": advice,
        "centre": [round(float(x), 3) for x in table.xyz[nearest]],
        "cids": [] if None in cids else cids,
        "atoms": [] if table.several_models else [_atom(table, a) for a in atoms.tolist()],
    }


def _cid(table: AtomTable, piece: Piece) -> str | None:
    """Return the selection of a piece, or None where it would be read as something else."""
    words = [piece.chain, piece.altloc, piece.icode, piece.resname, *piece.names]
    if not all(_PLAIN.fullmatch(word) for word in words):
        return None
    if any(table.resname[atom].decode() == piece.resname for atom in piece.namesakes):
        return None
    seqid = f"{piece.number}({piece.resname})" + (f".{piece.icode}" if piece.icode else "")
    names = ",".join(piece.names) or "*"
    return f"/{piece.model}/{piece.chain}/{seqid}/{names}:{piece.altloc}"


def _atom(table: AtomTable, atom: int) -> list[str | int]:
    padded = gemmi.Atom()
    padded.name = table.name[atom].decode()
    padded.element = gemmi.Element(table.element[atom].decode())
    return [
        table.chain[atom].decode("latin-1"), int(table.resseq[atom]), table.icode[atom].decode(),
        padded.padded_name().ljust(4), table.altloc[atom].decode("latin-1"),
    ]  # fmt: skip
