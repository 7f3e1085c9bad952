"""What a run says of a ligand, and of its uncertainties, in words."""

from __future__ import annotations

from multicopy_refinement.results.record import LigandRecord, RunRecord

#: A ligand that is there has an omit peak above this, in standard deviations.
SEEN = 5.0


def standing(one: LigandRecord) -> str:
    """Return what the data say of a ligand: whether it is there, in which part of the molecules."""
    if not one.refined:
        if one.omit_peak is None:
            return "held"
        seen = "seen in the omit map" if one.omit_peak >= SEEN else "hardly seen in the omit map"
        return f"held; {seen}"
    if "undetermined" in one.flags:
        return "not determined by the data"
    if "not_supported" in one.flags:
        return "not supported: an absent one gains as much by chance"
    if one.su == 0:
        return "there always: its conformers sum to that"
    if {"at_bound", "indistinguishable_from_1"} & set(one.flags) and one.occupancy > 0.5:
        return "there in all molecules"
    return "there in a part of the molecules"


def about_su(record: RunRecord) -> str:
    """Return what the standard uncertainties of a run count as unknown, in a sentence or two."""
    if record.inputs.options.get("uncertainty") == "none":
        return "No standard uncertainties were asked for."
    if record.conditional_on:
        known = " and ".join(record.conditional_on)
        return (
            "su counts scale, solvent, and how much of it groups displace as unknown, and takes "
            f"{known} as right."
        )
    if record.inputs.options.get("uncertainty") == "audit":
        return (
            "su is marginal: coordinates and B of all atoms, scale and solvent count in it. "
            "su_conditional takes coordinates and B as known."
        )
    known = "data" if record.inputs.options.get("no_restraints") else "data and restraints"
    return (
        "su is marginal: coordinates and B of the group and of all within 4.5 A (as far as "
        f"{known} leave them open), scale, solvent, and how much of it the group displaces count "
        "in it. su_conditional takes coordinates and B as known: where it is much smaller, the "
        "occupancy hangs on them."
    )
