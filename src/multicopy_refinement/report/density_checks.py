"""Advice by what the maps show at groups and ligands."""

from __future__ import annotations

import numpy as np

from multicopy_refinement.report.findings import Advice, Findings

#: A difference peak is worth a look above this, in standard deviations of the map.
HIGH_PEAK = 5.0
#: A correlation with the map below this is poor.
POOR_CORRELATION = 0.7
#: A B this many times that of the model's median is running away.
HIGH_B = 3.0


def running_b(f: Findings) -> Advice | None:
    """Return what to do about B that are far above those of the other groups."""
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


def peaks(f: Findings) -> Advice | None:
    """Return what to do about difference density beside groups and ligands."""
    found = [(max(d.highest, -d.lowest), name) for name, d in f.density.items()]
    found += [(abs(one.worst), one.name) for one in f.held_ligands if one.worst is not None]
    high = sorted((peak for peak in found if peak[0] > HIGH_PEAK), reverse=True)
    if not high:
        return None
    return Advice(
        "Difference density beside groups",
        f"mFo-DFc exceeds {HIGH_PEAK:g} standard deviations within 2 A ({high[0][0]:.1f} at "
        f"{high[0][1]}): something is missing, or in the wrong place.",
        tuple(name for _, name in high),
    )


def poor_density(f: Findings) -> Advice | None:
    """Return what to do about groups and ligands that the map does not show."""
    found = [(d.correlation, name) for name, d in f.density.items()]
    found += [(one.correlation, one.name) for one in f.held_ligands]
    poor = sorted((cc, name) for cc, name in found if cc is not None and cc < POOR_CORRELATION)
    if not poor:
        return None
    return Advice(
        "Groups that fit their density poorly",
        f"The correlation with 2mFo-DFc is below {POOR_CORRELATION:g}.",
        tuple(name for _, name in poor),
    )
