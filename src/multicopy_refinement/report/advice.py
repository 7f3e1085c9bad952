"""What to do about a result, in the order in which to do it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from multicopy_refinement.atoms.conformers import largest_distance
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.results.real_space import GroupDensity
from multicopy_refinement.results.record import Group, RunRecord

#: A difference peak is worth a look above this, in standard deviations of the map.
HIGH_PEAK = 5.0
#: A correlation with the map below this is poor.
POOR_CORRELATION = 0.7
#: Conformers whose atoms are nowhere farther apart than this part of d_min are not told apart.
TOO_CLOSE = 0.5
#: A B this many times that of the model's median is running away.
HIGH_B = 3.0
WATERS = {"HOH", "DOD", "WAT", "H2O"}


@dataclass(frozen=True)
class Advice:
    """One thing to do.

    Attributes
    ----------
    title
        What, in a few words.
    text
        Why, and what could be done.
    groups
        Names of the groups that it is about, those first that need it most.
    serious
        Whether the result should not be used before.
    """

    title: str
    text: str
    groups: tuple[str, ...]
    serious: bool = False


@dataclass(frozen=True, eq=False)
class Findings:
    """What advice is made of."""

    record: RunRecord
    table: AtomTable
    density: dict[str, GroupDensity]

    @property
    def refined(self) -> list[Group]:
        """The refined groups."""
        return [g for g in self.record.groups if g.refined]


def advise(findings: Findings) -> list[Advice]:
    """Return what to do, the most urgent first."""
    checks: list[Callable[[Findings], Advice | None]] = [
        _not_converged, _worse_free, _outliers, _sums, _absent_waters, _absent_groups, _unseen,
        _too_close, _at_bound, _running_b, _peaks, _poor_density, _poor_fit, _correlated,
    ]  # fmt: skip
    return [advice for check in checks if (advice := check(findings)) is not None]


def _not_converged(f: Findings) -> Advice | None:
    if f.record.status.converged:
        return None
    return Advice(
        "The refinement has not converged",
        f"{f.record.status.reason}. Run it again from refined.cif before you look at the values.",
        (), serious=True,
    )  # fmt: skip


def _worse_free(f: Findings) -> Advice | None:
    found = [w for w in f.record.warnings if w.code == "r_free_rises"]
    if not found:
        return None
    return Advice(
        "R-free has risen",
        f"{found[0].message}. Are there too many groups for the data, or is the free set not the "
        "one that the model was refined with?",
        (), serious=True,
    )  # fmt: skip


def _sums(f: Findings) -> Advice | None:
    codes = {"set_sum", "occupancy_above_1", "occupancy_below_0", "uneven_part", "uneven_copy"}
    found = [w for w in f.record.warnings if w.code in codes]
    if not found:
        return None
    return Advice(
        "Occupancies of the file that could not stay",
        " ".join(f"{w.message}." for w in found[:3]) + " Look whether that is what you meant; "
        "a rule can keep parts apart, or let a sum be smaller.",
        (),
    )


def _outliers(f: Findings) -> Advice | None:
    found = [w for w in f.record.warnings if w.code in {"outliers", "uneven_resolution"}]
    if not found:
        return None
    return Advice(
        "Reflections that do not fit the others",
        " ".join(f"{w.message}." for w in found) + " Look at the images or at the merging.",
        (),
    )


def _is_absent(group: Group) -> bool:
    absent = group.occupancy < 0.05 and "at_bound" in group.flags
    return ("not_supported" in group.flags or absent) and "undetermined" not in group.flags


def _residue_name(f: Findings, group: Group) -> str:
    return str(f.table.resname[group.atom_indices[0]].decode())


def _absent_waters(f: Findings) -> Advice | None:
    found = [g for g in f.refined if _is_absent(g) and _residue_name(f, g) in WATERS]
    if not found:
        return None
    return Advice(
        "Waters that are better explained as absent",
        "What the data gain by them is no more than absent waters gain by chance. Remove them, or "
        "look for what else is there.",
        _by_gain(found),
    )


def _absent_groups(f: Findings) -> Advice | None:
    found = [g for g in f.refined if _is_absent(g) and _residue_name(f, g) not in WATERS]
    if not found:
        return None
    return Advice(
        "Conformers and ligands that the data do not ask for",
        "What the data gain by them is no more than absent groups gain by chance (a false "
        "discovery rate of 5% over the run). Remove one, and refine again before you judge the "
        "next.",
        _by_gain(found),
    )


def _by_gain(groups: list[Group]) -> tuple[str, ...]:
    ordered = sorted(groups, key=lambda g: g.delta_log_likelihood or 0.0)
    return tuple(g.name for g in ordered)


def _unseen(f: Findings) -> Advice | None:
    found = [g for g in f.refined if "undetermined" in g.flags]
    if not found:
        return None
    states = f" {len(f.record.states)} sums of them are determined (states)." if (
        f.record.states
    ) else ""  # fmt: skip
    return Advice(
        "Groups that the data cannot see",
        "Moving occupancy between them and their partners changes nothing: conformers that "
        "coincide, or hardly differ. Merge them; their values have no meaning of their own."
        f"{states}",
        tuple(g.name for g in found),
    )


def _too_close(f: Findings) -> Advice | None:
    d_min = f.record.data.d_min
    by_name = {g.name: g for g in f.record.groups}
    found: list[tuple[float, str]] = []
    for one in f.record.sets:
        members = [by_name[name] for name in one.groups]
        for i, first in enumerate(members):
            for second in members[i + 1 :]:
                apart = largest_distance(
                    f.table, np.array(first.atom_indices), np.array(second.atom_indices)
                )
                if apart is not None and apart < TOO_CLOSE * d_min:
                    found.append((apart, f"{first.name}"))
    if not found:
        return None
    names = dict.fromkeys(name for _, name in sorted(found))
    return Advice(
        "Conformers closer than the resolution can part",
        f"No atom of them is {TOO_CLOSE * d_min:.2f} A (half of d_min) from its partner. Their "
        "split is B as much as occupancy: one conformer, or anisotropic B, may say the same.",
        tuple(names),
    )


def _at_bound(f: Findings) -> Advice | None:
    found = [g for g in f.refined if "at_bound" in g.flags and not _is_absent(g)]
    if not found:
        return None
    return Advice(
        "Groups at a bound",
        "They would like to go beyond. At 1 the rest of the set could go; at less, look at B "
        "factors and at what is missing nearby.",
        tuple(g.name for g in found),
    )


def _running_b(f: Findings) -> Advice | None:
    usual = float(np.median([d.b_mean for d in f.density.values()])) if f.density else 0.0
    found = [
        (d.b_max, name) for name, d in f.density.items() if usual > 0 and d.b_max > HIGH_B * usual
    ]
    found += [(abs(g.delta_b), g.name) for g in f.refined if g.delta_b and abs(g.delta_b) > usual]
    if not found:
        return None
    return Advice(
        "Atoms whose B runs away",
        f"B is more than {HIGH_B:g} times that of the other groups ({usual:.0f} A^2). High B and "
        "low occupancy look alike: see the correlation of both, and whether the atoms are there.",
        tuple(dict.fromkeys(name for _, name in sorted(found, reverse=True))),
    )


def _peaks(f: Findings) -> Advice | None:
    found = [
        (max(d.highest, -d.lowest), name)
        for name, d in f.density.items()
        if max(d.highest, -d.lowest) > HIGH_PEAK
    ]
    if not found:
        return None
    return Advice(
        "Difference density beside groups",
        f"mFo-DFc exceeds {HIGH_PEAK:g} standard deviations within 2 A: something is missing, or "
        "in the wrong place.",
        tuple(name for _, name in sorted(found, reverse=True)),
    )


def _poor_density(f: Findings) -> Advice | None:
    found = [
        (d.correlation, name)
        for name, d in f.density.items()
        if d.correlation is not None and d.correlation < POOR_CORRELATION
    ]
    if not found:
        return None
    return Advice(
        "Groups that fit their density poorly",
        f"The correlation with 2mFo-DFc is below {POOR_CORRELATION:g}.",
        tuple(name for _, name in sorted(found)),
    )


def _poor_fit(f: Findings) -> Advice | None:
    found = [(g.misfit or 0.0, g.name) for g in f.refined if "poor_fit" in g.flags]
    if not found:
        return None
    return Advice(
        "Groups whose reflections fit worse than others",
        "The scatter of the reflections that they show in asks for an su more than 1.5 times as "
        "large: something near them is wrong, and their su are too small.",
        tuple(name for _, name in sorted(found, reverse=True)),
    )


def _correlated(f: Findings) -> Advice | None:
    found = [g for g in f.refined if "correlated_with_b" in g.flags]
    if not found:
        return None
    return Advice(
        "Occupancies that are B factors as much",
        "Occupancy and B shift are correlated by more than 0.8: neither is well known alone.",
        tuple(g.name for g in found),
    )
