"""A tensor of which only a part is refined."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from multicopy_refinement.errors import OccupancyError
from multicopy_refinement.parameters.transforms import Identity, Transform


class MixedTensor(nn.Module):
    """A tensor whose refinable elements are an ``nn.Parameter`` and whose others are a buffer.

    ``forward()`` returns the full tensor: ``t(raw)`` at the refinable elements, with ``t`` the
    transform of the class, and the held values, bit for bit, elsewhere.

    Parameters
    ----------
    initial_values
        Values of all elements, any shape.
    refinable_mask
        Bool, of the shape of the values or of its leading dimensions (then whole rows); all
        elements are refinable when it is left out.
    requires_grad
        Whether ``refinable_params`` asks for gradients.
    dtype, device
        Of the values; by default those of ``initial_values``.
    name
        Shown in ``repr`` and in messages.

    Raises
    ------
    ValueError
        Values that are not finite, or that the transform cannot give; a mask of another shape.

    Examples
    --------
    >>> import torch
    >>> b = MixedTensor(torch.tensor([10.0, 20.0, 30.0]), torch.tensor([True, False, True]))
    >>> b.refinable_params.shape, b().tolist()
    (torch.Size([2]), [10.0, 20.0, 30.0])
    """

    transform: Transform = Identity()

    fixed_values: Tensor
    refinable_mask: Tensor
    refinable_params: nn.Parameter
    _held: Tensor
    _held_raw: Tensor
    _assembly: Tensor

    def __init__(
        self,
        initial_values: Tensor,
        refinable_mask: Tensor | None = None,
        *,
        requires_grad: bool = True,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self._requires_grad = requires_grad
        values = as_float_tensor(initial_values, dtype, device)
        self._check_values(values)
        self._register(values, self._full_mask(refinable_mask, values))

    # ------------------------------------------------------------------ evaluation

    def forward(self) -> Tensor:
        """Return the full tensor, differentiable in ``refinable_params``."""
        return self._expand_values(self._stored_values())

    def _stored_values(self) -> Tensor:
        """Return one value for each stored element (before expansion), in the stored shape."""
        free = self._constrain(
            self.transform.forward(self.refinable_params.to(self.fixed_values.dtype))
        )
        if len(free) == self.fixed_values.numel():
            return free.reshape(self.fixed_values.shape)
        if len(free) == 0:
            return self._fixed_part()
        pool = torch.cat([self._fixed_part().reshape(-1), free])
        return pool.index_select(0, self._assembly).reshape(self.fixed_values.shape)

    def _fixed_part(self) -> Tensor:
        """Return held values exactly, and the transform of raw values assigned since."""
        if isinstance(self.transform, Identity):
            return self.fixed_values
        return torch.where(
            self.fixed_values == self._held_raw,
            self._held,
            self.transform.forward(self.fixed_values),
        )

    def _constrain(self, free: Tensor) -> Tensor:
        """Return the refinable values under the constraints of the class (here none)."""
        return free

    def _expand_values(self, collapsed: Tensor) -> Tensor:
        """Return the full tensor of stored values (here they are the same)."""
        return collapsed

    # ------------------------------------------------------------------ description

    @property
    def fixed_mask(self) -> Tensor:
        """Bool, where elements are held."""
        return ~self.refinable_mask

    def __setattr__(self, name: str, value: Any) -> None:
        known = self.__dict__.get("_buffers", {}).get(name)
        if name == "fixed_values" and known is not None and isinstance(value, Tensor):
            value = value.to(known)  # assigned in another type: the tensor keeps its own
            if not self.__dict__.get("_loading", False):  # a state is not checked half way
                self._check_raw(value)
        super().__setattr__(name, value)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what ``forward()`` returns."""
        return tuple(self.fixed_values.shape)

    def get_refinable_count(self) -> int:
        """Return the number of refinable elements."""
        return int(self.refinable_params.numel())

    def get_fixed_count(self) -> int:
        """Return the number of held elements."""
        return int(self.fixed_values.numel()) - self.get_refinable_count()

    def extra_repr(self) -> str:
        """Say what the tensor is, for ``repr``."""
        label = f"{self.name!r}, " if self.name else ""
        return (
            f"{label}shape={self.shape}, refinable={self.get_refinable_count()}, "
            f"fixed={self.get_fixed_count()}, dtype={self.fixed_values.dtype}, "
            f"device={str(self.fixed_values.device)!r}"
        )

    # ------------------------------------------------------------------ changes

    def refine(self, mask: Tensor) -> None:
        """Make the elements of ``mask`` refinable, as well as those that are."""
        self._remask(self.refinable_mask | self._stored_mask(mask))

    def fix(self, mask: Tensor) -> None:
        """Hold the elements of ``mask`` at their present values."""
        self._remask(self.refinable_mask & ~self._stored_mask(mask))

    def set_refinable_mask(self, mask: Tensor) -> None:
        """Make exactly the elements of ``mask`` refinable; all keep their present values."""
        self._remask(self._stored_mask(mask))

    def set_values(self, values: Tensor) -> None:
        """Assign all values (of the shape that ``forward()`` returns); the mask stays."""
        new = values.detach().to(self.fixed_values)
        self._check_shape(new, self.shape)
        self._check_values(new)
        self._store(self._collapse_values(new), self.refinable_mask)

    def _collapse_values(self, values: Tensor) -> Tensor:
        """Return the stored values of a full tensor (here they are the same)."""
        return values

    # ------------------------------------------------------------------ storage

    def _label(self) -> str:
        return self.name or type(self).__name__

    def _check_values(self, values: Tensor) -> None:
        if bool(torch.isfinite(values.sum())):  # one pass; a sum that overflows is looked at below
            return
        bad = torch.nonzero(~torch.isfinite(values).reshape(-1))
        if len(bad):
            index = int(bad[0])
            raise OccupancyError(
                f"{self._label()}: value {float(values.reshape(-1)[index])} at "
                f"index {index} is not finite"
            )

    def _check_raw(self, raw: Tensor) -> None:
        """Refuse stored values that cannot be; what they sum to in sets may be mended later."""
        self._check_shape(raw, tuple(self.fixed_values.shape))
        if bool(raw.isnan().any()):
            index = int(torch.nonzero(raw.isnan().reshape(-1))[0])
            raise OccupancyError(f"{self._label()}: fixed_values: value nan at index {index}")

    def _check_shape(self, values: Tensor, shape: tuple[int, ...]) -> None:
        if tuple(values.shape) != shape:
            raise OccupancyError(
                f"{self._label()}: values must have shape {shape}, not {tuple(values.shape)}"
            )

    def _full_mask(self, mask: Tensor | None, values: Tensor) -> Tensor:
        if mask is None:
            return torch.ones(values.shape, dtype=torch.bool, device=values.device)
        full = torch.as_tensor(mask, device=values.device).bool()
        if full.shape != values.shape[: full.ndim] or full.ndim == 0:
            raise OccupancyError(
                f"{self._label()}: a mask must have shape {tuple(values.shape)}, "
                f"not {tuple(full.shape)}"
            )
        tail = (1,) * (values.ndim - full.ndim)
        return full.reshape(full.shape + tail).expand(values.shape).contiguous()

    def _stored_mask(self, mask: Tensor) -> Tensor:
        return self._full_mask(mask, self.fixed_values)

    def _to_raw(self, values: Tensor, mask: Tensor) -> Tensor:
        """Return what is stored for values, of which those of ``mask`` are refinable."""
        del mask
        return self.transform.inverse(values)

    def _register(self, values: Tensor, mask: Tensor) -> None:
        raw = self._to_raw(values, mask)
        self.register_buffer("fixed_values", raw)
        self.register_buffer("refinable_mask", mask)
        # what is held exactly, and the raw value that stands for it: while fixed_values still
        # equals the latter, the former is what comes back
        same = isinstance(self.transform, Identity)
        self.register_buffer("_held", values.new_empty(0) if same else values.clone())
        self.register_buffer("_held_raw", values.new_empty(0) if same else raw.clone())
        self.register_buffer("_assembly", _assembly(mask), persistent=False)
        self.refinable_params = nn.Parameter(_picked(raw, mask), requires_grad=self._requires_grad)

    def _store(self, values: Tensor, mask: Tensor) -> None:
        with torch.no_grad():
            raw = self._to_raw(values, mask)
            super().__setattr__("fixed_values", raw.clone())
            if not isinstance(self.transform, Identity):
                self._held = values.clone()
                self._held_raw = raw.clone()
            if torch.equal(mask, self.refinable_mask):  # optimisers keep their parameter
                self.refinable_params.copy_(raw[mask])
                return
            self.refinable_mask = mask
            self._assembly = _assembly(mask)
            self.refinable_params = nn.Parameter(
                raw[mask].clone(), requires_grad=self.refinable_params.requires_grad
            )

    def _remask(self, mask: Tensor) -> None:
        self._store(self._stored_values().detach(), mask)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Take the mask of the saved state along, so that the state describes itself."""
        mask = state_dict.get(prefix + "refinable_mask")
        saved = state_dict.get(prefix + "refinable_params")
        if mask is not None and saved is not None and mask.shape == self.refinable_mask.shape:
            device = self.fixed_values.device
            self.refinable_mask = mask.to(device)
            self._assembly = _assembly(self.refinable_mask)
            if saved.shape != self.refinable_params.shape:
                self.refinable_params = nn.Parameter(
                    torch.empty(saved.shape, dtype=self.fixed_values.dtype, device=device),
                    requires_grad=self.refinable_params.requires_grad,
                )
        self._loading = True
        try:
            super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        finally:
            self._loading = False


def as_float_tensor(
    values: Tensor, dtype: torch.dtype | None, device: torch.device | str | None
) -> Tensor:
    """Return values as a floating tensor of the wanted type, detached and copied."""
    tensor = torch.as_tensor(values, device=device)
    if dtype is None:
        dtype = tensor.dtype if tensor.is_floating_point() else torch.get_default_dtype()
    return tensor.detach().to(dtype, copy=True)


def _picked(raw: Tensor, mask: Tensor) -> Tensor:
    """Return a copy of the elements of a mask, flat."""
    return raw.reshape(-1).clone() if bool(mask.all()) else raw[mask]


def _assembly(mask: Tensor) -> Tensor:
    """Return, for each element, its place in the joined list [all fixed slots, refinable].

    Empty where none or all are refinable: then there is nothing to join.
    """
    flat = mask.reshape(-1)
    if bool(flat.all()) or not bool(flat.any()):
        return torch.empty(0, dtype=torch.long, device=mask.device)
    place = torch.arange(flat.numel(), device=mask.device)
    refinable = flat.numel() + torch.cumsum(flat.long(), 0) - 1
    return torch.where(flat, refinable, place)
