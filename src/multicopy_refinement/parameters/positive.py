"""A mixed tensor whose values stay above zero: B factors and other scales."""

from __future__ import annotations

import torch
from torch import Tensor

from multicopy_refinement.errors import OccupancyError
from multicopy_refinement.parameters.mixed import MixedTensor
from multicopy_refinement.parameters.transforms import Softplus, Transform


class PositiveMixedTensor(MixedTensor):
    """A `MixedTensor` with value = log(1 + exp(raw)) > 0 at every step.

    Raises
    ------
    ValueError
        Initial or assigned values that are not finite and above zero.

    Examples
    --------
    >>> import torch
    >>> PositiveMixedTensor(torch.tensor([15.0, 0.5]))().tolist()
    [15.0, 0.5]
    """

    transform: Transform = Softplus()

    def _check_values(self, values: Tensor) -> None:
        super()._check_values(values)
        bad = torch.nonzero(values.reshape(-1) <= 0)
        if len(bad):
            index = int(bad[0])
            raise OccupancyError(
                f"{self._label()}: value {float(values.reshape(-1)[index])} at "
                f"index {index} must be above 0"
            )
