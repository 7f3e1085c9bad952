"""Advice by the occupancies of groups, what is known of them, and where their atoms are."""

from __future__ import annotations

import numpy as np

from multicopy_refinement.atoms.conformers import largest_distance
from multicopy_refinement.refinement.pruning.merging import COINCIDENT
from multicopy_refinement.report.findings import FULL, Advice, Findings, is_absent
from multicopy_refinement.results.record import Group

#: Conformers whose atoms are nowhere farther apart than this part of d_min are not told apart.
TOO_CLOSE = 0.5
#: An su that is so many times what it is with coordinates and B held, and so large, hangs on these.
MUCH_WIDER, LARGE = 3.0, 0.05


def absent_waters(f: Findings) -> Advice | None:
    """Return what to do about waters that the data do not ask for."""
    found = [g for g in f.refined if is_absent(g) and f.is_water(g)]
    if not found:
        return None
    return Advice(
        "Waters that are better explained as absent",
        "What the data gain by them is no more than absent waters gain by chance. Remove them "
        "(the command does, one after the other), or look for what else is there.",
        _by_gain(found), command=f.command("prune"),
    )  # fmt: skip


def absent_groups(f: Findings) -> Advice | None:
    """Return what to do about all else that the data do not ask for."""
    found = [g for g in f.refined if is_absent(g) and not f.is_water(g)]
    if not found:
        return None
    return Advice(
        "Conformers and ligands that the data do not ask for",
        "What the data gain by them is no more than absent groups gain by chance (a false "
        "discovery rate of 5% over the run). Remove one, and refine again before you judge the "
        "next: the command does so.",
        _by_gain(found), command=f.command("prune"),
    )  # fmt: skip


def _by_gain(groups: list[Group]) -> tuple[str, ...]:
    ordered = sorted(groups, key=lambda g: g.delta_log_likelihood or 0.0)
    return tuple(g.name for g in ordered)


def identical(f: Findings) -> Advice | None:
    """Return what to do about conformers that are written twice."""
    found = _close_pairs(f, COINCIDENT)
    if not found:
        return None
    names = dict.fromkeys(name for _, pair in found for name in pair)
    return Advice(
        "Conformers with identical coordinates",
        "The same atoms are written under two letters: the data see their sum alone (states), and "
        "each by itself means nothing. Merge them.",
        tuple(names), command=f.command("merge"),
    )  # fmt: skip


def unseen(f: Findings) -> Advice | None:
    """Return what to do about groups that nothing determines."""
    twice = {name for _, pair in _close_pairs(f, COINCIDENT) for name in pair}
    found = [g for g in f.refined if "undetermined" in g.flags and g.name not in twice]
    if not found:
        return None
    some = {g.name for g in found}
    n = sum(bool(some & set(state.groups)) for state in f.record.states)
    states = f" {n} of their sums {'is' if n == 1 else 'are'} determined (states)." if n else ""
    return Advice(
        "Groups that the data cannot see",
        "Moving occupancy between them and their partners, or away from them, changes next to "
        "nothing: their values are those of the file, and have no meaning of their own. Merge "
        f"conformers that hardly differ; hold or remove the rest.{states}",
        tuple(g.name for g in found),
    )


def too_close(f: Findings) -> Advice | None:
    """Return what to do about conformers that the resolution does not part."""
    limit = TOO_CLOSE * f.record.data.d_min
    found = [(apart, pair) for apart, pair in _close_pairs(f, limit) if apart >= COINCIDENT]
    if not found:
        return None
    return Advice(
        "Conformers closer than the resolution can part",
        f"No atom of them is {limit:.2f} A (half of d_min) from its partner. Their split is B as "
        "much as occupancy: one conformer, or anisotropic B, may say the same. The command merges "
        "those of which one conformer explains as much.",
        tuple(dict.fromkeys(pair[0] for _, pair in found)), command=f.command("merge"),
    )  # fmt: skip


def _close_pairs(f: Findings, limit: float) -> list[tuple[float, tuple[str, str]]]:
    """Return members of one set whose atoms are nowhere farther apart, the closest first."""
    by_name = {g.name: g for g in f.record.groups}
    found: list[tuple[float, tuple[str, str]]] = []
    for one in f.record.sets:
        members = [by_name[name] for name in one.groups]
        for i, first in enumerate(members):
            for second in members[i + 1 :]:
                apart = largest_distance(
                    f.table, np.array(first.atom_indices), np.array(second.atom_indices)
                )
                if apart is not None and apart < limit:
                    found.append((apart, (first.name, second.name)))
    return sorted(found)


def _is_full(f: Findings, group: Group) -> bool:
    """Return whether a group that may come and go alone is there always: no alarm.

    A site on a symmetry element is full at 1/multiplicity.
    """
    ligands = {name for one in f.record.ligands for name in one.groups}
    alone = [one for one in f.record.sets if one.groups == [group.name]]
    most = alone[0].total if alone else 1.0
    free = group.set is None or bool(alone) or group.name in ligands
    return free and "at_bound" in group.flags and group.occupancy >= FULL * most


def at_bound(f: Findings) -> Advice | None:
    """Return what to do about groups that would like to go beyond their bounds."""
    found = [
        g for g in f.refined if "at_bound" in g.flags and not is_absent(g) and not _is_full(f, g)
    ]
    if not found:
        return None
    return Advice(
        "Groups at a bound",
        "They would like to go beyond. At 1 the rest of the set could go; at less, look at B "
        "factors and at what is missing nearby.",
        tuple(g.name for g in found),
    )


def poor_fit(f: Findings) -> Advice | None:
    """Return what to do about groups whose su are too small."""
    found = [(g.misfit or 0.0, g.name) for g in f.refined if "poor_fit" in g.flags]
    if not found:
        return None
    return Advice(
        "Groups whose reflections fit worse than others",
        "The scatter of the reflections that they show in asks for an su more than 1.5 times as "
        "large: something near them is wrong, and their su are too small.",
        tuple(name for _, name in sorted(found, reverse=True)),
    )


def held_off(f: Findings) -> Advice | None:
    """Return what to do about groups whose held coordinates or B the data refuse."""
    found = [
        (abs(g.relaxed - g.occupancy) / (g.su or 1.0), g)
        for g in f.refined
        if "held_off" in g.flags and g.relaxed is not None
    ]
    if not found:
        return None
    ordered = [g for _, g in sorted(found, key=lambda one: -one[0])]
    return Advice(
        "Groups whose held coordinates or B are off",
        "The data would have them elsewhere, and with them refined another occupancy (q, relaxed "
        "is about what); su count coordinates and B that are about right. Refine them together.",
        tuple(g.name for g in ordered),
        command=f.again("--parameters", "occupancy,xyz,b_iso", name="moved"),
    )


def correlated(f: Findings) -> Advice | None:
    """Return what to do about occupancies that are B as much."""
    found = [g for g in f.refined if "correlated_with_b" in g.flags]
    if not found:
        return None
    return Advice(
        "Occupancies that are B factors as much",
        "Occupancy and B shift are correlated by more than 0.8: neither is well known alone.",
        tuple(g.name for g in found),
    )


def moved_by_b(f: Findings) -> Advice | None:
    """Return what to do about occupancies that are as uncertain as the B and places under them."""
    found = [
        (g.su / g.su_conditional, g.name)
        for g in f.refined
        if g.su and g.su_conditional and g.su > max(LARGE, MUCH_WIDER * g.su_conditional)
    ]
    if not found or f.record.geometry is not None:
        return None
    return Advice(
        "Occupancies that hang on coordinates and B",
        f"With these counted as unknown their su is more than {MUCH_WIDER:g} times that with these "
        "held. If B or places are off, so are they: refine them together (--parameters "
        "occupancy,xyz,b_iso).",
        tuple(name for _, name in sorted(found, reverse=True)),
    )


def held_ligands(f: Findings) -> Advice | None:
    """Return what to do about ligands whose occupancy is the file's."""
    found = f.held_ligands
    if not found:
        return None
    several = len(found) > 1
    return Advice(
        "Ligands whose occupancy was held" if several else "A ligand whose occupancy was held",
        f"It is what the file says. Where {'they' if several else 'it'} may be bound in a part of "
        "the molecules, let the data say: refine again with --ligands.",
        tuple(one.name for one in found), command=f.again("--ligands"),
    )  # fmt: skip


def full(f: Findings) -> Advice | None:
    """Return that groups are there always, which is good."""
    found = [g for g in f.refined if _is_full(f, g)]
    if not found:
        return None
    return Advice(
        "Fully occupied",
        "They refine to 1 (on a symmetry element to 1/multiplicity) and would take more: they are "
        "there in every molecule. Nothing to do; they may be held so from now on.",
        tuple(g.name for g in found), good=True,
    )  # fmt: skip
