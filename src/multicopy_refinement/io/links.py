"""Bonds that a coordinate file names: LINK, SSBOND, struct_conn."""

from __future__ import annotations

import gemmi
import numpy as np

from multicopy_refinement.atoms.table import AtomTable


def bonded_pairs(structure: gemmi.Structure, table: AtomTable) -> tuple[tuple[int, int], ...]:
    """Return the pairs of atoms that the file says are bonded, in the model's own copy."""
    connections = [c for c in structure.connections if c.asu != gemmi.Asu.Different]
    kinds = (gemmi.ConnectionType.Hydrog,)
    connections = [c for c in connections if c.type not in kinds]
    if not connections:
        return ()
    wanted = {_address(p) for c in connections for p in (c.partner1, c.partner2)}
    numbers = {key[1] for key in wanted}
    found: dict[tuple[str, int, str, str, str], list[int]] = {}
    for atom in np.flatnonzero(np.isin(table.resseq, list(numbers))).tolist():
        key = (
            table.chain[atom].decode(), int(table.resseq[atom]), table.icode[atom].decode(),
            table.name[atom].decode(), table.altloc[atom].decode(),
        )  # fmt: skip
        if key in wanted:
            found.setdefault(key, []).append(atom)
    pairs = []
    for connection in connections:
        one, other = (
            found.get(_address(p), []) for p in (connection.partner1, connection.partner2)
        )
        pairs += [(a, b) for a in one for b in other if table.model[a] == table.model[b]]
    return tuple(pairs)


def _address(partner: gemmi.AtomAddress) -> tuple[str, int, str, str, str]:
    seqid = partner.res_id.seqid
    altloc = "" if partner.altloc == "\0" else partner.altloc
    return (partner.chain_name, seqid.num or 0, seqid.icode.strip(), partner.atom_name, altloc)
