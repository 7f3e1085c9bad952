"""Options of a refinement."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, model_validator

from multicopy_refinement.targets import TargetKind


class Parameter(StrEnum):
    """What may be refined."""

    OCCUPANCY = "occupancy"
    B_GROUP = "b_group"


class Solver(StrEnum):
    """How occupancies are found."""

    GAUSS_NEWTON = "gauss_newton"
    LBFGS = "lbfgs"


class RefineOptions(BaseModel):
    """How to refine; all have defaults that suit most data.

    Attributes
    ----------
    target
        Maximum likelihood (``ml``) or least squares (``ls``).
    parameters
        ``occupancy``, or it and ``b_group``: one B shift for each group along with it.
    solver
        Fisher scoring with uncertainties, or L-BFGS in logits without (occupancy alone).
    b_prior
        Sigma of the prior on a B shift, as a part of the group's mean B.
    max_cycles
        Macrocycles: occupancies, then mask, scale and errors anew.
    tolerance
        Converged when no occupancy changes by more than this in a macrocycle.
    max_iterations
        L-BFGS iterations of one macrocycle.
    uncertainties
        Whether su, states and the evidence of each group are wanted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: TargetKind = TargetKind.ML
    parameters: tuple[Parameter, ...] = (Parameter.OCCUPANCY,)
    solver: Solver = Solver.GAUSS_NEWTON
    b_prior: float = Field(default=0.5, gt=0)
    max_cycles: int = Field(default=8, ge=1)
    tolerance: float = Field(default=0.001, gt=0)
    max_iterations: int = Field(default=60, ge=1)
    uncertainties: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> RefineOptions:
        if Parameter.OCCUPANCY not in self.parameters:
            raise ValueError("parameters: occupancy is always refined; name it, too")
        if self.solver is Solver.LBFGS and Parameter.B_GROUP in self.parameters:
            raise ValueError("solver lbfgs refines occupancy alone; b_group needs gauss_newton")
        return self
