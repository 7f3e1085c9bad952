"""Lines of a file beside the groups that they make: the form of the tests of grouping."""

from __future__ import annotations

import pytest

from multicopy_refinement.occupancy.groups import OccupancyGroups


def case(name: str, lines: str, groups: list, notices: list[str] | None = None, **options):
    """Return one case; a group is (name, atoms, occupancy, refined, set)."""
    return pytest.param(lines.strip("\n").splitlines(), groups, notices or [], options, id=name)


def described(groups: OccupancyGroups) -> list[tuple]:
    """Return the groups in the form of the cases."""
    return [
        (
            groups.names[g],
            groups.atoms(g).tolist(),
            pytest.approx(groups.occupancy[g], abs=1e-9),
            bool(groups.refined[g]),
            groups.sets[groups.set_index[g]].name if groups.set_index[g] >= 0 else None,
        )
        for g in range(len(groups))
    ]
