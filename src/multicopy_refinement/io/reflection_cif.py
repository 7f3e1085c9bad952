"""Reading of SF-mmCIF and of small-molecule CIF with reflections (.fcf): block and columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import gemmi
import numpy as np

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.crystal.beam import Beam
from multicopy_refinement.errors import ReflectionFileError
from multicopy_refinement.io.radiation import wavelength_of_block
from multicopy_refinement.io.reflection_table import ReflectionTable, cell_of, miller_indices
from multicopy_refinement.io.text import one_line, parse_number
from multicopy_refinement.modes import Radiation
from multicopy_refinement.notices import Notice

#: Items of a reflection in small letters, with the label and the type that they have in MTZ.
#: The first of those with one label that is there counts.
_ITEMS = (
    ("pdbx_r_free_flag", "FreeR_flag", "I"),
    ("status", "FreeR_flag", "I"),
    ("f_meas_au", "FP", "F"),
    ("f_meas", "FP", "F"),
    ("f_meas_sigma_au", "SIGFP", "Q"),
    ("f_meas_sigma", "SIGFP", "Q"),
    ("f_sigma", "SIGFP", "Q"),
    ("intensity_meas", "IMEAN", "J"),
    ("f_squared_meas", "IMEAN", "J"),
    ("intensity_net", "IMEAN", "J"),
    ("intensity_sigma", "SIGIMEAN", "Q"),
    ("f_squared_sigma", "SIGIMEAN", "Q"),
    ("pdbx_i_plus", "I(+)", "K"),
    ("pdbx_i_plus_sigma", "SIGI(+)", "M"),
    ("pdbx_i_minus", "I(-)", "K"),
    ("pdbx_i_minus_sigma", "SIGI(-)", "M"),
    ("pdbx_f_plus", "F(+)", "G"),
    ("pdbx_f_plus_sigma", "SIGF(+)", "L"),
    ("pdbx_f_minus", "F(-)", "G"),
    ("pdbx_f_minus_sigma", "SIGF(-)", "L"),
    ("pdbx_anom_difference", "DANO", "D"),
    ("pdbx_anom_difference_sigma", "SIGDANO", "Q"),
    ("f_calc_au", "FC", "F"),
    ("f_calc", "FC", "F"),
    ("phase_calc", "PHIC", "P"),
    ("pdbx_fwt", "FWT", "F"),
    ("pdbx_phwt", "PHWT", "P"),
)
_OBSERVED_TYPES = frozenset("FJGK")
_CALCULATED = frozenset({"FC", "FWT"})
_FREE_STATUS = {"f": 0.0, "o": 1.0}
#: Items that tell data sets in one list apart.
_SETS = ("crystal_id", "wavelength_id", "scale_group_code")
#: Where a block says with what its crystal was measured.
_PROBES = (
    "_exptl.method", "_diffrn_radiation.probe", "_diffrn_radiation.type",
    "_diffrn_radiation.pdbx_scattering_type", "_diffrn.pdbx_scattering_type",
    "_diffrn_radiation_probe",
)  # fmt: skip


_SHELX_TEXTS = ("_shelx_hkl_file", "_shelx_fcf_file", "_iucr_refine_reflections_details")
_GROUP_NAMES = (
    "_symmetry.space_group_name_H-M", "_space_group.name_H-M_alt",
    "_symmetry_space_group_name_H-M", "_space_group_name_H-M_alt",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Block:
    """One list of reflections: its block, loop, category, and the items that it has."""

    name: str
    block: gemmi.cif.Block
    loop: gemmi.cif.Loop
    prefix: str
    items: dict[str, int]

    @property
    def merged(self) -> bool:
        return not self.prefix.startswith("_diffrn")

    @property
    def small(self) -> bool:
        return "." not in self.prefix

    @property
    def labels(self) -> set[str]:
        """Labels that the list has, observed or not."""
        return {label for item, label, _ in _ITEMS if item in self.items}

    @property
    def observed(self) -> bool:
        kinds = {label: kind for _, label, kind in _ITEMS}
        return any(kinds[n] in _OBSERVED_TYPES and n not in _CALCULATED for n in self.labels)

    @property
    def probes(self) -> set[Radiation]:
        """Return with what the block says that its data were measured; nothing where it does not.

        A block that names X-rays beside others is one of X-rays.
        """
        texts = [gemmi.cif.as_string(v) for tag in _PROBES for v in self.block.find_values(tag)]
        joined = " ".join(texts).lower().replace("x-ray", "xray")
        return {kind for kind in Radiation if kind in joined}

    def is_of(self, radiation: Radiation) -> bool:
        """Return whether the data may have been measured so."""
        return not self.probes or radiation in self.probes

    @property
    def what(self) -> str:
        """Return what the list holds, in words."""
        if not self.observed:
            return "no observations"
        kind = "merged data" if self.merged else "unmerged data"
        free = " with free flags" if "FreeR_flag" in self.labels else ""
        others = sorted(self.probes) if Radiation.XRAY not in self.probes else []
        return f"{kind}{free}" + (f" of {' and '.join(f'{p}s' for p in others)}" if others else "")

    def rank(self, radiation: Radiation) -> tuple[bool, ...]:
        """Return by what one list comes before another."""
        named = radiation is Radiation.XRAY or radiation in self.probes
        return (
            not self.observed, not self.is_of(radiation), not named, not self.merged,
            "FreeR_flag" not in self.labels,
        )  # fmt: skip


def read_cif(
    path: str | Path, content: bytes, radiation: Radiation = Radiation.XRAY
) -> ReflectionTable:
    """Return the reflections of the block that has merged data, or else unmerged ones.

    Blocks that were measured with other radiation come last, and are refused.
    """
    try:
        document = gemmi.cif.read_string(content)
    except (RuntimeError, ValueError) as fault:
        raise ReflectionFileError(f"{path}: not a readable SF-mmCIF: {one_line(fault)}") from None
    blocks = [found for block in document for found in _lists(block)]
    if not blocks:
        raise ReflectionFileError(f"{path}: {_nothing(document)}")
    ranked = sorted(blocks, key=lambda block: block.rank(radiation))
    chosen = ranked[0]
    if not chosen.observed:
        raise ReflectionFileError(
            f"{path}: no column of amplitudes or intensities in {_named(blocks)}; "
            "take a file with the observations"
        )
    if not chosen.is_of(radiation):
        measured = sorted(chosen.probes)
        raise ReflectionFileError(
            f"{path}: the data were measured with {' and '.join(f'{p}s' for p in measured)}, and "
            f"the model is one of {Beam(radiation).name}; take data of {Beam(radiation).name}, or "
            f"say --radiation {measured[0]}"
        )
    table = _table(path, chosen, blocks)
    notices = list(table.notices)
    if len(blocks) > 1:
        left = _named([block for block in blocks if block is not chosen])
        text = f"block {chosen.name} is read ({chosen.what}); left aside: {left}"
        notices.insert(0, Notice("block_chosen", text))
    if chosen.small:
        text = (
            "a small-molecule CIF: its "
            f"{'F_squared_meas' if 'IMEAN' in chosen.labels else 'F_meas'} is taken for the data"
        )
        notices.append(Notice("small_molecule_cif", text))
    return replace(table, notices=tuple(notices))


def _nothing(document: gemmi.cif.Document) -> str:
    """Return what a file without a list of reflections is."""
    if any(len(block.find_values(tag)) for block in document for tag in _SHELX_TEXTS):
        return "the reflections are a text for SHELX in this CIF; take the .fcf (LIST 4) of it"
    if any(len(block.find_values("_atom_site.id")) for block in document):
        return "no reflections in the file; it is a model"
    return "no reflections in the file (no _refln list)"


def _named(blocks: Sequence[_Block]) -> str:
    return ", ".join(f"{block.name} ({block.what})" for block in blocks)


def _lists(block: gemmi.cif.Block) -> list[_Block]:
    """Return the lists of reflections of a block; tags are the same in capitals."""
    found = []
    for prefix in ("_refln.", "_refln_", "_diffrn_refln.", "_diffrn_refln_"):
        loop = block.find_loop(f"{prefix}index_h").get_loop()
        if loop is None or loop.length() == 0:
            continue
        tags = [tag.lower() for tag in loop.tags]
        items = {
            tag.removeprefix(prefix): i for i, tag in enumerate(tags) if tag.startswith(prefix)
        }
        if {"index_h", "index_k", "index_l"} <= set(items):
            found.append(_Block(block.name, block, loop, prefix, items))
    return found


def _table(path: str | Path, chosen: _Block, blocks: Sequence[_Block]) -> ReflectionTable:
    keep, notices = _one_data_set(chosen)
    hkl = np.column_stack([_numbers(path, chosen, f"index_{axis}") for axis in "hkl"])
    columns: list[tuple[str, str]] = []
    values: dict[str, FloatArray] = {}
    for item, label, kind in _ITEMS:
        if item not in chosen.items:
            continue
        read = _status(chosen) if item == "status" else _numbers(path, chosen, item)
        if label in values:
            if np.isfinite(values[label]).any():
                if item != "status":
                    continue
                label = "status"  # noqa: PLW2901 - both kinds of flags are there
            else:
                columns.remove((label, kind))
        columns.append((label, kind))
        values[label] = read[keep]
    cell, group = _crystal(chosen, blocks)
    length = wavelength_of_block(chosen.block)
    wavelengths = {} if length is None else dict.fromkeys(values, length)
    try:
        indices = miller_indices(hkl[keep])
    except ReflectionFileError as fault:
        raise ReflectionFileError(f"{path}: {fault}") from None
    return ReflectionTable(
        tuple(columns), values, indices, cell, group, notices=tuple(notices),
        wavelengths=wavelengths,
    )  # fmt: skip


def _texts(block: _Block, item: str) -> np.ndarray:
    place = block.items[item]
    return np.array(list(block.block.find_values(block.loop.tags[place])), dtype=object)


def _numbers(path: str | Path, block: _Block, item: str) -> FloatArray:
    """Return an item as numbers: nan for ``?`` and ``.``, quotes and su in brackets left out."""
    texts = _texts(block, item)
    texts[(texts == "?") | (texts == ".")] = "nan"
    try:
        return np.asarray(texts.astype(np.float64))
    except ValueError:
        pass
    values = np.empty(len(texts))
    for i, text in enumerate(texts.tolist()):
        plain = gemmi.cif.as_string(text).strip()
        number = np.nan if plain in {"", "nan", "?", "."} else parse_number(plain)
        if number is None:
            raise ReflectionFileError(
                f"{path}: row {i + 1} of {block.prefix}{item} is {plain!r}, not a number"
            )
        values[i] = number
    return values


def _status(block: _Block) -> FloatArray:
    """Return 0 for free reflections, 1 for those of the work set, nan for all else."""
    texts = [gemmi.cif.as_string(text).lower() for text in _texts(block, "status")]
    return np.array([_FREE_STATUS.get(text, np.nan) for text in texts], dtype=np.float64)


def _one_data_set(block: _Block) -> tuple[np.ndarray, list[Notice]]:
    """Return the rows of the first of several data sets in one list, and a notice for it."""
    columns = [_texts(block, item).astype(str) for item in _SETS if item in block.items]
    everything = np.ones(block.loop.length(), dtype=bool)
    if not columns:
        return everything, []
    sets, number = np.unique(np.column_stack(columns), axis=0, return_inverse=True)
    if len(sets) == 1:
        return everything, []
    number = number.reshape(-1)
    keep = np.asarray(number == number[0])
    named = ", ".join(item for item in _SETS if item in block.items)
    text = (
        f"the list has {len(sets)} data sets ({named}); the {int(keep.sum())} rows of the first, "
        f"{' '.join(sets[number[0]])}, are used, the other {int((~keep).sum())} are left aside"
    )
    return keep, [Notice("data_set_chosen", text)]


def _crystal(chosen: _Block, blocks: Sequence[_Block]) -> tuple[Cell | None, SpaceGroup | None]:
    """Return cell and space group of a block, or of the first that has one."""
    cell, group = None, None
    for block in (chosen, *blocks):
        cell = cell or _cell(block.block)
        group = group or _space_group(block.block, cell)
    return cell, group


def _cell(block: gemmi.cif.Block) -> Cell | None:
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    for separator in "._":
        found = [parse_number(_value(block, f"_cell{separator}{name}")) for name in names]
        numbers = [number for number in found if number is not None]
        if len(numbers) == len(names):
            return cell_of(gemmi.UnitCell(*numbers))
    return None


def _space_group(block: gemmi.cif.Block, cell: Cell | None) -> SpaceGroup | None:
    for tag in _GROUP_NAMES:
        name = _value(block, tag)
        angles = (cell.alpha, cell.gamma) if cell else (0.0, 0.0)
        group = gemmi.find_spacegroup_by_name(name, *angles) if name else None
        if group is not None:
            return SpaceGroup(group.xhm())
    small = gemmi.make_small_structure_from_block(block)  # knows lists of operations as well
    return None if small.spacegroup is None else SpaceGroup(small.spacegroup.xhm())


def _value(block: gemmi.cif.Block, tag: str) -> str:
    values = block.find_values(tag)
    text = gemmi.cif.as_string(values[0]).strip() if len(values) else ""
    return "" if text in {"?", "."} else text
