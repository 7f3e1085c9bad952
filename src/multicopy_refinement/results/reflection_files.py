"""The reflections of a run: maps for programs, and what is deposited."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from multicopy_refinement import __version__
from multicopy_refinement._typing import ComplexArray, FloatArray
from multicopy_refinement.crystal.beam import Beam
from multicopy_refinement.io.entry import entry_name
from multicopy_refinement.io.mtz import MtzColumn, write_mtz
from multicopy_refinement.io.radiation import wavelength_of
from multicopy_refinement.io.structure import StructureFile
from multicopy_refinement.io.write_reflections import write_sf_mmcif
from multicopy_refinement.reflections import ReflectionData
from multicopy_refinement.reflections.effective import Intensities
from multicopy_refinement.results.maps import MapCoefficients
from multicopy_refinement.results.real_space import EXTINCTION_LABEL, OMIT_LABELS, TWIN_LABEL
from multicopy_refinement.results.record import Program

#: Labels of amplitude and phase, and what they are.
_MAPS = (
    ("FWT", "PHWT", "2mFo-DFc; mFo of centric, DFc of unobserved ones and outliers"),
    ("DELFWT", "PHDELWT", "mFo-DFc; 0 of unobserved ones and outliers"),
    ("FC_ALL", "PHIC_ALL", "F_model: atoms and bulk solvent, on the scale of F"),
)
#: The same of Bijvoet differences, labels as REFMAC has them.
_ANOMALOUS = (
    ("FAN", "PHAN", "m(F(+)-F(-)), the phase less 90 degrees; 0 without a pair"),
    ("DELFAN", "PHDELAN", "m(F(+)-F(-)) less that of the model"),
)


def write_map_file(
    maps: MapCoefficients, data: ReflectionData, path: Path, omit: ComplexArray | None = None,
    wavelength: float | None = None,
) -> None:  # fmt: skip
    """Write map coefficients, F_model, and the input's amplitudes and free flags as MTZ.

    ``omit`` are the coefficients of the omit map, where there is one, ``wavelength`` is in A.
    """
    f_obs, sigma, flags = _observed(data)
    label, sigma_label = _label(data, 0, "F"), _label(data, 1, "SIGF")
    columns = [MtzColumn(label, "F", f_obs)]
    meaning = [f"{label}: {_meaning(data)}"]
    if len(data.labels.observations) > 1:  # sigmas that were made up are not passed on
        columns.append(MtzColumn(sigma_label, "Q", sigma))
        meaning.append(f"{sigma_label}: its standard uncertainty")
    if data.intensities is not None:
        for name, kind, values, what in _intensities(data, data.intensities):
            columns.append(MtzColumn(name, kind, values))
            meaning.append(f"{name}: {what}")
    if data.labels.free_label is not None:
        columns.append(MtzColumn(data.labels.free_label, "I", flags))
        meaning.append(f"{data.labels.free_label}: {data.labels.free_value} is the free set")
    of_maps = list(zip(_MAPS, (maps.weighted, maps.difference, maps.model), strict=True))
    if omit is not None:
        of_maps.append(((*OMIT_LABELS, "mFo-DFc without ligands and what was asked for"), omit))
    if maps.anomalous is not None and maps.anomalous_difference is not None:
        of_maps += zip(_ANOMALOUS, (maps.anomalous, maps.anomalous_difference), strict=True)
    for (amplitude, phase, what), complex_values in of_maps:
        columns.append(MtzColumn(amplitude, "F", np.abs(complex_values)))
        columns.append(MtzColumn(phase, "P", _degrees(complex_values)))
        meaning.append(f"{amplitude},{phase}: {what}")
    if maps.measured is not None:
        compared, values = maps.measured
        columns.append(MtzColumn(compared, "F", values))
        what, unspoilt, _ = _MEASURED[compared]
        meaning += [f"{compared}: {what}, beside {label}", f"maps: F {unspoilt}"]
    program = Program()
    write_mtz(
        path, data.cell, data.spacegroup, maps.hkl, columns, title=f"refined by {program.name}",
        history=[line[:80] for line in (f"{program.name} {program.version}: refine", *meaning)],
        wavelength=wavelength,
    )  # fmt: skip


def write_sf_file(
    maps: MapCoefficients, data: ReflectionData, source: StructureFile, beam: Beam, path: Path
) -> None:
    """Write the reflections as SF-mmCIF for a deposition, with what was calculated for them.

    ``_refln.status`` is ``f`` for the free set, ``o`` for the work set, and ``x`` for what was not
    used: outliers, and reflections that the input lists without an amplitude.
    """
    f_obs, sigma, flags = _observed(data)
    used = np.where(data.free, "f", np.where(data.left_out, "x", "o"))
    status = [*used.tolist(), *["x"] * len(data.unobserved_hkl)]
    items = {"F_meas_au": f_obs}
    if data.labels.free_label is not None:
        items = {"pdbx_r_free_flag": flags, **items}
    if len(data.labels.observations) > 1:
        items["F_meas_sigma_au"] = sigma
    if data.intensities is not None:
        names = {"J": "intensity_meas", "Q": "intensity_sigma"}
        items |= {names[k]: values for _, k, values, _ in _intensities(data, data.intensities)}
    items |= {
        "F_calc_au": np.abs(maps.atoms), "phase_calc": _degrees(maps.atoms),
        "pdbx_F_calc_with_solvent": np.abs(maps.model),
        "pdbx_phase_calc_with_solvent": _degrees(maps.model),
        "fom": maps.merit,
        "pdbx_FWT": np.abs(maps.weighted), "pdbx_PHWT": _degrees(maps.weighted),
        "pdbx_DELFWT": np.abs(maps.difference), "pdbx_DELPHWT": _degrees(maps.difference),
    }  # fmt: skip
    write_sf_mmcif(
        path, entry_name(source), data.cell, data.spacegroup, maps.hkl, status, items,
        radiation=beam.radiation,
        wavelength=beam.wavelength or data.wavelength or wavelength_of(source), version=__version__,
        details=f"the reflections that were refined against; F_meas_au: {_meaning(data)}"
        + ("" if maps.measured is None else _MEASURED[maps.measured[0]][2]),
    )  # fmt: skip


#: What is measured where it is not |F_model|: itself, F of the maps, and what is calculated.
_MEASURED = {
    TWIN_LABEL: (
        "of both domains", "detwinned", "; what is calculated is of one domain of a twin",
    ),
    EXTINCTION_LABEL: (
        "with extinction", "as without extinction", "; what is calculated is without extinction",
    ),
}  # fmt: skip


def _observed(data: ReflectionData) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return amplitudes, sigmas and flags of all that is listed, nan where there is none."""
    blank = np.full(len(data.unobserved_hkl), np.nan)
    flags = np.concatenate([data.flags, data.unobserved_flags]).astype(np.float64)
    flags[flags == data.labels.no_flag] = np.nan
    f_obs, sigma = (np.where(data.observed, some, np.nan) for some in (data.f_obs, data.sigma))
    return np.concatenate([f_obs, blank]), np.concatenate([sigma, blank]), flags


def _intensities(
    data: ReflectionData, intensities: Intensities
) -> list[tuple[str, str, FloatArray, str]]:
    """Return label, MTZ type, values and meaning of the intensities of all that is listed.

    They are as they were used: one for each reflection.
    """
    labels, blank = data.labels.observations, np.full(len(data.unobserved_hkl), np.nan)
    value, sigma = labels if len(labels) == 2 else (labels[0] if len(labels) == 1 else "I", "SIGI")
    seen, errors = (
        np.concatenate([np.where(data.observed, some, np.nan), blank])
        for some in (intensities.value, intensities.sigma)
    )
    found = [(value, "J", seen, "intensity of the input")]
    if len(labels) > 1:  # sigmas that were made up are not passed on
        found.append((sigma, "Q", errors, "its standard uncertainty"))
    return found


def _meaning(data: ReflectionData) -> str:
    """Return in words where the amplitudes come from."""
    labels = data.labels
    how = "of the input" if labels.amplitudes else "French-Wilson amplitude"
    return f"{how}, {','.join(labels.observations)}"


def _degrees(values: np.ndarray) -> FloatArray:
    return np.asarray(np.degrees(np.angle(values)) % 360)


def _label(data: ReflectionData, place: int, default: str) -> str:
    """Return the input's label where the input is amplitudes, not intensities or Friedel mates."""
    labels = data.labels.observations
    return labels[place] if data.labels.amplitudes and len(labels) == 2 else default
