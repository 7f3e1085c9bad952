"""Reading of reflection files (MTZ, SF-mmCIF) into observed amplitudes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.crystal.hkl import packed
from multicopy_refinement.errors import ReflectionFileError
from multicopy_refinement.io.bijvoet import bijvoet_differences
from multicopy_refinement.io.columns import (
    NO_VALUES,
    ObservedColumns,
    Quantity,
    bijvoet_columns,
    find_columns,
    unfit_columns,
)
from multicopy_refinement.io.reflection_cif import read_cif
from multicopy_refinement.io.reflection_objects import as_file
from multicopy_refinement.io.reflection_table import ReflectionTable, read_mtz
from multicopy_refinement.io.text import read_bytes
from multicopy_refinement.modes import Radiation
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.reflections.data import DataLabels, ReflectionData
from multicopy_refinement.reflections.effective import Intensities
from multicopy_refinement.reflections.free_flags import (
    FreeChoice,
    choose_free_set,
    named_as_free_set,
)
from multicopy_refinement.reflections.made_sigmas import PART, made_sigmas
from multicopy_refinement.reflections.observations import Observations, checked, names_of
from multicopy_refinement.reflections.preparation import (
    drop_unusable,
    mean_of_pair,
    rows_to_use,
    unique_observations,
)
from multicopy_refinement.reflections.symmetry import group_to_merge_by
from multicopy_refinement.words import counted

#: Data with less than this part of the reflections to their resolution are refused, from so many
#: on that these matter.
_FEWEST_OF_ALL, _MANY = 0.01, 50_000
#: Reflections without an observation are kept to this times the highest 1/d of those with one.
FILLED_BEYOND = 1.05
#: An intensity below this times its sigma is no observation (French & Wilson 1978).
LOWEST_INTENSITY = -4.0
#: Part of the rows whose mate -h-k-l is listed, too, from which on mates are apart in the list.
_LISTED_APART = 0.1

if TYPE_CHECKING:
    import gemmi
    import pandas as pd


@dataclass(frozen=True)
class _Asked:
    """What the caller wants, and what is known of the model's crystal."""

    labels: Sequence[str] | None
    free_label: str | None
    free_value: int | None
    d_min: float | None
    cell: Cell | None
    spacegroup: SpaceGroup | None
    prefer: Quantity
    radiation: Radiation
    anomalous: bool


def read_reflections(
    path: str | Path | gemmi.Mtz | pd.DataFrame,
    *,
    labels: Sequence[str] | None = None,
    free_label: str | None = None,
    free_value: int | None = None,
    d_min: float | None = None,
    cell: Cell | None = None,
    spacegroup: SpaceGroup | None = None,
    prefer: Quantity = Quantity.INTENSITY,
    radiation: Radiation | str = Radiation.XRAY,
    anomalous: bool = False,
) -> ReflectionData:
    """Read intensities, with amplitudes by French and Wilson, or amplitudes; and the free set.

    Parameters
    ----------
    path
        MTZ, SF-mmCIF or small-molecule CIF, told apart by content, gzipped or not; or a gemmi.Mtz,
        a reciprocalspaceship.DataSet, or a data frame with Miller indices H, K, L.
    labels
        Value and sigma (or those of two Friedel mates, or a value that has no sigma); found by
        types, partners and values of the columns when left out.
    free_label, free_value
        Column and value of the free set; found by name and values when left out.
    d_min
        High-resolution cut in A.
    cell, spacegroup
        Of the model: taken where the file has none. Data that are listed in a lower symmetry than
        this space group are merged by it, if their equivalents agree.
    prefer
        What is taken where there are both, unless ``labels`` say.
    radiation
        Of the model: blocks of an SF-mmCIF that name another are left aside.
    anomalous
        Whether F(+) - F(-) are wanted, too: see `ReflectionData.bijvoet`.

    Raises
    ------
    ReflectionFileError
        What makes the file unusable: one line that says what, where and what to do.
    """
    asked = _Asked(
        labels, free_label, free_value, d_min, cell, spacegroup, prefer, Radiation(radiation),
        anomalous,
    )  # fmt: skip
    if not isinstance(path, (str, Path)):
        with as_file(path, cell, spacegroup) as file:
            try:
                return _read(file, asked)
            except ReflectionFileError as fault:
                raise ReflectionFileError(str(fault).replace(str(file), "the data")) from None
    try:
        return _read(path, asked)
    except ReflectionFileError as fault:
        text = str(fault)
        if text.startswith(str(path)):
            raise
        raise ReflectionFileError(f"{path}: {text}") from None


def _read(path: str | Path, asked: _Asked) -> ReflectionData:
    table = _read_table(path, asked.radiation)
    chosen, mates, notices = _choose(table, asked)
    cell, group, more = _crystal(table, chosen, asked)
    notices += more
    choice, flags = _free_set(table, chosen, asked)
    rows, group, unused = _usable_rows(table, chosen, flags, cell, group, asked)
    merged, more = unique_observations(rows, cell, group, d_min=None)
    notices += unused + more
    observed, missing, _ = drop_unusable(merged, chosen.quantity)
    if len(observed.hkl) == 0:
        raise ReflectionFileError(
            f"no reflections left of {len(table.hkl)} rows"
            + (f" within {asked.d_min} A" if asked.d_min else "")
            + f" ({','.join(chosen.labels)})"
            + "".join(f"; {notice.message.split(':')[0]}" for notice in unused[-1:])
        )
    _check_reach(observed.hkl, cell, group)
    intensities = None
    if chosen.quantity is not Quantity.AMPLITUDE:
        observed, intensities, more = _amplitudes(observed, cell, group)
        notices += more
    data = _assemble(observed, missing, cell, group, chosen, choice, notices)
    length = table.wavelengths.get(chosen.labels[0])
    labels = replace(data.labels, mates=() if mates is None else mates.labels)
    data = replace(data, intensities=intensities, wavelength=length, labels=labels)
    if not asked.anomalous:
        return data
    return replace(data, bijvoet=bijvoet_differences(table, mates, data))


def _check_reach(hkl: IntArray, cell: Cell, group: SpaceGroup) -> None:
    """Refuse data of which one reflection lies far beyond all others: grids would reach there.

    To a resolution d there are about 2 pi V/(3 d^3 n) reflections, n the operations of the group.
    """
    s_squared = cell.inverse_d_squared(hkl)
    finest = int(s_squared.argmax())
    d = float(s_squared[finest] ** -0.5)
    possible = 2 * np.pi * cell.volume / (3 * d**3 * len(group.gemmi.operations()))
    if possible > _MANY and len(hkl) < _FEWEST_OF_ALL * possible:
        raise ReflectionFileError(
            f"the reflection {' '.join(map(str, hkl[finest].tolist()))} lies at {d:.2f} A, and of "
            f"about {possible:.0f} to there {len(hkl)} are in the file: a damaged index, or leave "
            "it out by --d-min"
        )


def _mates_apart(
    table: ReflectionTable, chosen: ObservedColumns, unfit: Mapping[str, str]
) -> ObservedColumns | None:
    """Return the columns that tell Friedel mates apart, or observations that are listed so."""
    found = bijvoet_columns(table.columns, chosen, unfit)
    if found is not None or not chosen.has_sigma:
        return found
    keys = packed(table.hkl)
    listed_too = np.isin(keys, -keys[keys < 0])
    return chosen if listed_too.sum() > _LISTED_APART * len(keys) else None


def _choose(
    table: ReflectionTable, asked: _Asked
) -> tuple[ObservedColumns, ObservedColumns | None, list[Notice]]:
    """Return the columns of the observations, and of Friedel mates apart where there are any.

    With notices of what was left aside and why.
    """
    notices, labels = list(table.notices), asked.labels
    unfit = unfit_columns(table.columns, table.values)
    columns = table.columns
    if labels is not None and len(labels) == 1:  # a sigma that is empty is none
        columns = tuple(c for c in columns if c[0] in labels or not _empty(table.values[c[0]]))
    chosen, others = find_columns(columns, labels, unfit, prefer=asked.prefer)
    if others:
        names = "; ".join(",".join(o.labels) for o in others)
        text = f"{','.join(chosen.labels)} are used; also there: {names} (--labels to choose)"
        notices.append(Notice("columns_chosen", text))
    strange = {label: reason for label, reason in unfit.items() if reason != NO_VALUES}
    if labels is None and strange:
        reasons = "; ".join(f"{label}: {reason}" for label, reason in strange.items())
        notices.append(Notice("columns_unfit", f"columns that cannot be the data: {reasons}"))
    for label in set(chosen.values) & set(unfit):
        text = f"{label}, that was asked for, is hardly data: {unfit[label]}"
        notices.append(Notice("columns_unfit", text))
    return chosen, _mates_apart(table, chosen, unfit), notices


def _empty(values: FloatArray) -> bool:
    return not np.isfinite(values).any()


def _free_set(
    table: ReflectionTable, chosen: ObservedColumns, asked: _Asked
) -> tuple[FreeChoice, FloatArray]:
    columns = {n: v for n, v in table.integers().items() if n not in chosen.labels}
    choice = choose_free_set(columns, asked.free_label, asked.free_value)
    if choice.label is None:
        named = [n for n in table.values if named_as_free_set(n) and n not in columns]
        if named:
            why = f"{', '.join(named)} has values that are no flags"
            choice = replace(choice, why=why)
        return choice, np.full(len(table.hkl), np.nan)
    return choice, columns[choice.label]


def _usable_rows(
    table: ReflectionTable, chosen: ObservedColumns, flags: FloatArray, cell: Cell,
    group: SpaceGroup, asked: _Asked,
) -> tuple[Observations, SpaceGroup, list[Notice]]:  # fmt: skip
    """Return the rows that are reflections, and the group to merge them by."""
    rows, mates, more = _mates(table, chosen, flags, cell)
    notices = list(more)
    # a list without a space group has to show that it has the model's symmetry, if it can
    listed_in = table.spacegroup or SpaceGroup("P 1")
    merging, more = group_to_merge_by(rows, cell, listed_in, asked.spacegroup, chosen.quantity)
    group = merging if table.spacegroup else group
    notices += more
    keep, more = rows_to_use(rows.hkl, cell, group, d_min=asked.d_min)
    notices += more
    for mate in mates:
        notices += checked(mate.select(keep), chosen.quantity)[1]
    return rows.select(keep), group, notices


def _mates(
    table: ReflectionTable, chosen: ObservedColumns, flags: FloatArray, cell: Cell
) -> tuple[Observations, list[Observations], list[Notice]]:
    """Return usable rows, the mean of Friedel mates where they stand apart; and them as read."""
    values = [table.values[label] for label in chosen.values]
    if not chosen.has_sigma:
        s_squared = cell.inverse_d_squared(table.hkl)
        intensities = chosen.quantity is Quantity.INTENSITY
        sigmas = [made_sigmas(v, s_squared, intensities=intensities) for v in values]
    else:
        sigmas = [table.values[label] for label in chosen.labels[1::2]]
    mates = [
        Observations(table.hkl, value, sigma, flags)
        for value, sigma in zip(values, sigmas, strict=True)
    ]
    usable = [checked(mate, chosen.quantity)[0] for mate in mates]
    if not chosen.friedel_pair:
        return usable[0], mates, [] if chosen.has_sigma else [_sigma_made(chosen)]
    plus, minus = usable
    value, sigma = mean_of_pair(plus.value, plus.sigma, minus.value, minus.sigma)
    return Observations(table.hkl, value, sigma, flags), mates, []


def _sigma_made(chosen: ObservedColumns) -> Notice:
    return Notice(
        "sigma_made",
        f"{chosen.labels[0]} has no sigma: {100 * PART:g}% of each amplitude is taken, of weak "
        "ones more; what the data err beyond that counts as error of the model",
    )


def _amplitudes(
    observed: Observations, cell: Cell, group: SpaceGroup
) -> tuple[Observations, Intensities, list[Notice]]:
    """Return amplitudes of intensities, and these; what has no amplitude is dropped by name."""
    from multicopy_refinement.reflections.french_wilson import french_wilson

    good = observed.value >= LOWEST_INTENSITY * observed.sigma
    if not good.any():
        raise ReflectionFileError(f"all intensities are below {LOWEST_INTENSITY:g} sigma")
    usable = observed.select(good)
    f_obs, sigma, prior = french_wilson(usable, cell, group)
    intensities = Intensities(usable.value, usable.sigma, prior)
    amplitudes = Observations(usable.hkl, f_obs, sigma, usable.flags)
    finite = ~amplitudes.missing & (f_obs > 0) & (sigma > 0)
    notices = []
    for hkl, why in (
        (observed.hkl[~good], f"lie below {LOWEST_INTENSITY:g} sigma, which no error explains,"),
        (usable.hkl[~finite], "give no finite amplitude"),
    ):
        if len(hkl):
            names = names_of(hkl)
            text = f"{len(names)} intensities {why} and are dropped: {listed(names)}"
            notices.append(Notice("no_amplitude", text, tuple(names)))
    return amplitudes.select(finite), intensities.select(finite), notices


def _assemble(
    observed: Observations, missing: Observations, cell: Cell, group: SpaceGroup,
    chosen: ObservedColumns, choice: FreeChoice, notices: list[Notice],
) -> ReflectionData:  # fmt: skip
    finest = cell.inverse_d_squared(observed.hkl).max() * FILLED_BEYOND**2
    within = cell.inverse_d_squared(missing.hkl) <= finest
    if not within.all():
        notices.append(
            Notice(
                "reflections_beyond",
                f"{counted(int((~within).sum()), 'reflection')} without an observation, far beyond "
                "the resolution of those with one: left out of refined.mtz",
            )
        )
        missing = missing.select(within)
    free = np.zeros(len(observed.hkl), dtype=bool)
    if choice.value is None:
        notices.append(
            Notice(
                "no_free_set",
                f"no free set ({choice.why}): R-free cannot be given, "
                "and sigmaA comes from the work set",
            )
        )
    else:
        free = observed.flags == choice.value
        unflagged = int((~np.isfinite(observed.flags)).sum())
        if unflagged:
            notices.append(
                Notice(
                    "no_free_flag",
                    f"{unflagged} observed reflections have no free "
                    "flag and are put in the work set",
                )
            )
    if free.all():
        raise ReflectionFileError("no reflections left in the work set: all are free")
    amplitudes = chosen.quantity is Quantity.AMPLITUDE
    if choice.others:
        text = (
            f"{choice.label} = {choice.value} is the free set; also there, and marking others: "
            f"{', '.join(choice.others)} (--free-label to choose)"
        )
        notices.append(Notice("free_set_chosen", text))
    there = np.concatenate([observed.flags, missing.flags])
    lowest = there[np.isfinite(there)].min(initial=0)
    none = min(-1, int(lowest) - 1)  # SHELX marks free reflections with -1
    labels = DataLabels(chosen.labels, amplitudes, choice.label, choice.value, choice.why, none)
    return ReflectionData(
        observed.hkl, observed.value, observed.sigma, free, _integers(observed.flags, none), cell,
        group, labels, missing.hkl, _integers(missing.flags, none), tuple(notices),
    )  # fmt: skip


def _integers(flags: FloatArray, none: int) -> IntArray:
    return np.where(np.isfinite(flags), flags, none).astype(np.int64)


def _crystal(
    table: ReflectionTable, chosen: ObservedColumns, asked: _Asked
) -> tuple[Cell, SpaceGroup, list[Notice]]:
    own, notices = table.cell_of(chosen.labels[0])
    cell, group = own or asked.cell, table.spacegroup or asked.spacegroup
    if cell is None or group is None:
        lacking = "unit cell" if cell is None else "space group"
        raise ReflectionFileError(f"no {lacking} in the file")
    if own is None or table.spacegroup is None:
        what = "unit cell" if own is None else "space group"
        text = f"the reflection file has no {what}; the model's is used"
        notices.append(Notice("data_crystal", text))
    return cell, group, notices


def _read_table(path: str | Path, radiation: Radiation) -> ReflectionTable:
    content = read_bytes(path, ReflectionFileError)
    if not content.strip():
        raise ReflectionFileError(f"{path}: the file is empty")
    if content[:4] == b"MTZ ":
        return read_mtz(path, content)
    small = content.lower()
    if b"refln" in small and b"data_" in small:
        return read_cif(path, content, radiation)
    raise ReflectionFileError(f"{path}: neither an MTZ nor an SF-mmCIF file")
