"""How model and data agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multicopy_refinement._typing import FloatArray


@dataclass(frozen=True)
class Statistics:
    """Agreement of model and data; None where there is no free set."""

    r_work: float
    r_free: float | None
    log_likelihood: float
    log_likelihood_free: float | None


def r_factor(f_obs: FloatArray, f_model: FloatArray) -> float:
    """Return sum |F_obs - F_model| / sum F_obs; both are on the data's scale."""
    return float(np.abs(f_obs - f_model).sum() / f_obs.sum())
