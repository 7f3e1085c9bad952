"""Exchange of H and D: the part of D at each site where a model has both."""

from __future__ import annotations

import numpy as np

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.atoms.hydrogen_pairs import find_hydrogen_pairs
from multicopy_refinement.atoms.numbering import number_residues
from multicopy_refinement.occupancy.groups import OccupancyGroups, Why
from multicopy_refinement.refinement.found import Exchanged, Flag, GroupResults


def exchange_of(
    groups: OccupancyGroups, occupancy: FloatArray, results: GroupResults
) -> tuple[Exchanged, ...]:
    """Return the sites that have H and D of their own, in the order of the file.

    The part of D is q_D/(q_H + q_D), and its su that of q_D over the sum. The two sum to what their
    parent atom has: where that is refined, too, the sum is taken as known.
    """
    table = groups.table
    if not (groups.rule == Why.HYDROGEN_PAIR).any():
        return ()
    pairs = find_hydrogen_pairs(table, number_residues(table))
    found = []
    for h, d, parent in zip(
        pairs.hydrogen.tolist(), pairs.deuterium.tolist(), pairs.parent.tolist(), strict=True
    ):
        of_h, of_d = int(groups.index[h]), int(groups.index[d])
        if groups.rule[of_d] != Why.HYDROGEN_PAIR or groups.set_index[of_d] < 0:
            continue
        total = float(occupancy[of_h] + occupancy[of_d])
        if total <= 0:
            continue
        letter = table.altloc[parent].decode()
        found.append(
            Exchanged(
                table.residue_label(d), table.name[d].decode(), table.name[parent].decode(), letter,
                (of_h, of_d), float(occupancy[of_d]) / total, float(results.su[of_d]) / total,
                tuple(flag for flag in results.flags[of_d] if flag is Flag.UNDETERMINED),
            )
        )  # fmt: skip
    order = np.argsort([groups.members[one.groups[1]][0] for one in found], kind="stable")
    return tuple(found[i] for i in order.tolist())
