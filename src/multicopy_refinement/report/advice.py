"""What to do about a result, in the order in which to do it."""

from __future__ import annotations

from collections.abc import Callable

from multicopy_refinement.report import density_checks, group_checks, run_checks
from multicopy_refinement.report.findings import Advice, Findings

__all__ = ["Advice", "Findings", "advise"]

#: The most urgent first; what is good news, last.
_CHECKS: tuple[Callable[[Findings], Advice | None], ...] = (
    run_checks.twinned, run_checks.exchanged_mates, run_checks.not_converged,
    run_checks.worse_free, run_checks.states, run_checks.other_element,
    group_checks.absent_groups, group_checks.absent_waters, group_checks.identical,
    group_checks.unseen, group_checks.too_close, group_checks.at_bound, run_checks.sums,
    density_checks.peaks, density_checks.poor_density, density_checks.running_b,
    group_checks.held_off, group_checks.poor_fit, group_checks.correlated, group_checks.moved_by_b,
    run_checks.outliers, run_checks.nothing_refined, group_checks.held_ligands, group_checks.full,
)  # fmt: skip


def advise(findings: Findings) -> list[Advice]:
    """Return what to do, the most urgent first."""
    return [advice for check in _CHECKS if (advice := check(findings)) is not None]
