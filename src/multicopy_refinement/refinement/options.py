"""Options of a refinement."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from multicopy_refinement.targets import TargetKind


class RefineOptions(BaseModel):
    """How to refine; all have defaults that suit most data.

    Attributes
    ----------
    target
        Maximum likelihood (``ml``) or least squares (``ls``).
    max_cycles
        Macrocycles: occupancies, then mask, scale and errors anew.
    tolerance
        Converged when no occupancy changes by more than this in a macrocycle.
    max_iterations
        L-BFGS iterations of one macrocycle.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: TargetKind = TargetKind.ML
    max_cycles: int = Field(default=8, ge=1)
    tolerance: float = Field(default=0.001, gt=0)
    max_iterations: int = Field(default=60, ge=1)
