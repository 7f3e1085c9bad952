"""Radiation and f' of a refinement: what the options say, the data, or the model's file."""

from __future__ import annotations

from multicopy_refinement.model import Model
from multicopy_refinement.modes import Radiation
from multicopy_refinement.refinement.options import RefineOptions


def radiation_of_run(model: Model, options: RefineOptions) -> Radiation:
    """Return what the data are to be of."""
    return options.radiation or model.radiation


def settle_beam(model: Model, options: RefineOptions, of_data: float | None) -> None:
    """Give a model what it is measured with, unless it knows and the options ask nothing.

    ``of_data`` is the wavelength that the reflections' file names, in A.
    """
    asked = options.radiation or options.wavelength or options.f_prime
    known = model.beam.wavelength or model.beam.f_prime
    if options.anomalous and not asked and model.beam.f_double_prime:
        return
    length = options.wavelength or (model.beam.wavelength if options.anomalous else None)
    if asked or options.anomalous or not known:
        model.measured_with(
            options.radiation, wavelength=length,
            f_prime=options.f_prime, of_data=of_data, f_double_prime=options.f_double_prime,
            anomalous=options.anomalous,
        )  # fmt: skip
