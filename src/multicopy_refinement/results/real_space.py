"""How well the maps show each group: correlation, difference peaks, B factors."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import gemmi
import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.crystal.hkl import unique_reflections
from multicopy_refinement.errors import ReflectionFileError
from multicopy_refinement.io.reflection_table import cell_of, miller_indices, parse_mtz, rows_of
from multicopy_refinement.io.text import read_bytes
from multicopy_refinement.posterior.agreement import r_factor
from multicopy_refinement.units import EIGHT_PI_SQUARED

#: Points of the maps are at most d_min / this apart.
SAMPLING = 3.0
#: Points this near to an atom belong to it, for the correlation and for difference peaks, A.
NEAR_ATOM, NEAR_PEAK = 1.5, 2.0
#: Labels of the omit map in ``refined.mtz``.
OMIT_LABELS = ("FOMIT", "PHOMIT")
#: Atoms whose surroundings are looked at at a time.
_AT_ONCE = 64
#: Columns that are always there.
_LABELS = ("FWT", "PHWT", "DELFWT", "PHDELWT", "FC_ALL", "PHIC_ALL")
#: Less than this part of the reflections to the resolution of a file are those of a damaged one.
_FEWEST_OF_SPHERE = 0.02
#: No amplitude, in e, and no phase is larger; squares of it have a sum in single precision.
_LARGEST = 1e12
#: Label of what F_obs of a twin is compared with.
TWIN_LABEL = "FC_TWIN"
#: and that with extinction.
EXTINCTION_LABEL = "FC_EXTINCT"
#: Groups of more atoms (whole copies) are described by so many of them.
MOST_ATOMS = 2000


@dataclass(frozen=True)
class GroupDensity:
    """What the maps say of one group.

    Attributes
    ----------
    correlation
        Of 2mFo-DFc with F_model's density at points within 1.5 A of its atoms; None where the
        density is flat.
    highest, lowest
        Of mFo-DFc within 2 A of its atoms, in standard deviations of that map.
    b_mean, b_max
        Of its atoms, A^2.
    """

    correlation: float | None
    highest: float
    lowest: float
    b_mean: float
    b_max: float


@dataclass(frozen=True, eq=False)
class Maps:
    """Maps of a cell, ``[nu, nv, nw]`` each; difference and omit map in standard deviations.

    ``omit`` is None where nothing was left out.
    """

    weighted: np.ndarray
    difference: np.ndarray
    model: np.ndarray
    cell: Cell
    omit: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int, int]:
        """Points along a, b, c."""
        nu, nv, nw = self.weighted.shape
        return (nu, nv, nw)


def read_maps(path: Path) -> Maps:
    """Return the maps of ``refined.mtz``.

    Raises
    ------
    ReflectionFileError
        A file that cannot be read, or lacks the columns.
    """
    mtz = _opened(path)
    labels = mtz.column_labels()

    def grid(amplitude: str, phase: str) -> np.ndarray:
        found = mtz.transform_f_phi_to_map(amplitude, phase, sample_rate=SAMPLING)
        return np.array(found.array, dtype=np.float32)

    difference = grid("DELFWT", "PHDELWT")
    omit = grid(*OMIT_LABELS) if OMIT_LABELS[0] in labels else None
    return Maps(
        grid("FWT", "PHWT"), difference / (float(difference.std()) or 1.0),
        grid("FC_ALL", "PHIC_ALL"), Cell(*mtz.cell.parameters),
        None if omit is None else omit / (float(omit.std()) or 1.0),
    )  # fmt: skip


def _opened(path: Path) -> gemmi.Mtz:
    """Return ``refined.mtz``, checked to have what is read of it."""
    mtz = parse_mtz(path, read_bytes(path, ReflectionFileError))
    labels = mtz.column_labels()
    wanted = [*_LABELS, *(OMIT_LABELS if OMIT_LABELS[0] in labels else ())]
    for label in wanted:
        if label not in labels:
            raise ReflectionFileError(f"{path}: no column {label}; it is not a run's refined.mtz")
        _sensible(path, mtz, label)
    try:
        miller_indices(rows_of(mtz)[:, :3])
    except ReflectionFileError as fault:
        raise ReflectionFileError(f"{path}: damaged MTZ file: {fault}") from None
    if cell_of(mtz.cell) is None or mtz.spacegroup is None:
        raise ReflectionFileError(f"{path}: damaged MTZ file: it has no cell or no space group")
    # a sphere of 1/d has 4 pi/3 V/d^3 reflections, and the grid V (SAMPLING/d)^3 points
    whole = 2 * len(mtz.spacegroup.operations()) * mtz.nreflections
    points = SAMPLING**3 * 3 / (4 * np.pi) * whole / _FEWEST_OF_SPHERE
    if not 0 < float(np.prod(mtz.get_size_for_hkl(sample_rate=SAMPLING), dtype=float)) <= points:
        raise ReflectionFileError(
            f"{path}: damaged MTZ file: {mtz.nreflections} reflections are far too few for their "
            "Miller indices and cell"
        )
    return mtz


def _sensible(path: Path, mtz: gemmi.Mtz, label: str) -> np.ndarray:
    """Return a column, refused where it has numbers that nothing is as large as."""
    values = np.array(mtz.column_with_label(label))
    if (np.abs(values) > _LARGEST).any():
        largest = np.nanmax(np.abs(values))
        raise ReflectionFileError(f"{path}: damaged MTZ file: {label} has the value {largest:.3g}")
    return values


class Gridded(Protocol):
    """A grid of a cell."""

    @property
    def size(self) -> tuple[int, int, int]:
        """Points along a, b, c."""
        ...

    @property
    def cell(self) -> Cell:
        """Unit cell."""
        ...


def points_near(maps: Gridded, xyz: FloatArray, reach: float) -> IntArray:
    """Return the flat indices of the points of a map within a reach (A) of any atom, once each."""
    size, cell = np.array(maps.size), maps.cell
    half = np.ceil(reach * cell.reciprocal_lengths * size).astype(int)
    box = np.stack(np.meshgrid(*(np.arange(-h, h + 1) for h in half), indexing="ij"), axis=-1)
    box = box.reshape(-1, 3)
    steps = cell.orthogonalization / size
    around = box @ steps.T
    squares = np.einsum("ij,ij->i", around, around)
    found = []
    at = (xyz @ cell.fractionalization.T) * size
    for first in range(0, len(at), _AT_ONCE):
        nearest = np.rint(at[first : first + _AT_ONCE]).astype(int)
        off = (nearest - at[first : first + _AT_ONCE]) @ steps.T
        square = squares + 2 * off @ around.T + np.einsum("ij,ij->i", off, off)[:, None]
        atom, point = np.nonzero(square < reach**2)
        place = (box[point] + nearest[atom]) % size
        found.append(np.ravel_multi_index(tuple(place.T), maps.size))
    return np.unique(np.concatenate(found))


def describe_groups(maps: Maps, table: AtomTable, members: list[IntArray]) -> list[GroupDensity]:
    """Return what the maps say of groups of atoms."""
    weighted, difference, model = (
        a.reshape(-1) for a in (maps.weighted, maps.difference, maps.model)
    )
    found = []
    for atoms in members:
        shown = atoms if len(atoms) <= MOST_ATOMS else atoms[:: len(atoms) // MOST_ATOMS + 1]
        heavy = shown[~table.hydrogen[shown]]
        xyz = table.xyz[heavy if len(heavy) else shown]
        near = points_near(maps, xyz, NEAR_ATOM)
        around = difference[points_near(maps, xyz, NEAR_PEAK)]
        b = _equivalent_b(table, atoms)
        found.append(
            GroupDensity(
                correlation(weighted[near], model[near]),
                float(around.max()), float(around.min()), float(b.mean()), float(b.max()),
            )
        )  # fmt: skip
    return found


def correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Return the linear correlation of two densities, None where one is flat."""
    x, y = one.astype(np.float64) - one.mean(), other.astype(np.float64) - other.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size > 0 else None


def _equivalent_b(table: AtomTable, atoms: IntArray) -> FloatArray:
    u = table.u_aniso[atoms]
    anisotropic: BoolArray = table.anisotropic[atoms]
    return np.where(anisotropic, EIGHT_PI_SQUARED * u[:, :3].mean(axis=1), table.b_iso[atoms])


@dataclass(frozen=True)
class Shell:
    """Agreement in a shell of resolution; ``r_free`` is None where nothing is free."""

    d_max: float
    d_min: float
    n: int
    completeness: float
    r_work: float
    r_free: float | None


@dataclass(frozen=True, eq=False)
class Amplitudes:
    """Observed and calculated amplitudes of a crystal's reflections, ``[n]`` each."""

    hkl: IntArray
    f_obs: FloatArray
    f_model: FloatArray
    free: BoolArray
    cell: Cell
    group: SpaceGroup


def read_amplitudes(
    path: Path, labels: tuple[str, str | None, int | None], group: SpaceGroup
) -> Amplitudes:
    """Return the observed reflections of ``refined.mtz``.

    ``labels`` are the column that was observed, that of the free flags or None, and the value that
    is free.
    """
    mtz = _opened(path)
    observed = mtz.column_with_label(labels[0])
    if observed is None or observed.type != "F":  # F was made from intensities or Friedel mates
        observed = mtz.column_with_label("F")
    if observed is None:
        raise ReflectionFileError(f"{path}: no column F; it is not a run's refined.mtz")
    f_obs = _sensible(path, mtz, observed.label)
    seen = np.isfinite(f_obs)
    free = np.zeros(len(f_obs), dtype=bool)
    column = None if labels[1] is None else mtz.column_with_label(labels[1])
    if column is not None and labels[2] is not None:
        free = np.array(column) == labels[2]
    hkl = np.array(mtz.make_miller_array(), dtype=np.int64)
    known = mtz.column_labels()
    compared = [label for label in (TWIN_LABEL, EXTINCTION_LABEL) if label in known]
    f_model = _sensible(path, mtz, *compared or ["FC_ALL"])
    cell = Cell(*mtz.cell.parameters)
    return Amplitudes(hkl[seen], f_obs[seen], f_model[seen], free[seen], cell, group)


def shells(data: Amplitudes, n_shells: int = 15) -> list[Shell]:
    """Return R and completeness in shells of equal volume."""
    s2 = data.cell.inverse_d_squared(data.hkl)
    edges = np.linspace(
        float(s2.min()) ** 1.5 * (1 - 1e-9), float(s2.max()) ** 1.5 * (1 + 1e-9), n_shells + 1
    ) ** (2 / 3)
    everything = data.cell.inverse_d_squared(
        unique_reflections(data.cell, data.group, float(s2.max()) ** -0.5)
    )
    found = []
    for low, high in pairwise(edges.tolist()):
        inside = (s2 >= low) & (s2 < high)
        possible = int(((everything >= low) & (everything < high)).sum())
        if not inside.any():
            continue
        free = inside & data.free
        found.append(
            Shell(
                float(low**-0.5), float(high**-0.5), int(inside.sum()),
                min(1.0, float(inside.sum()) / max(possible, 1)),
                _r(data.f_obs, data.f_model, inside & ~data.free),
                _r(data.f_obs, data.f_model, free) if free.any() else None,
            )
        )  # fmt: skip
    return found


def _r(f_obs: np.ndarray, f_model: np.ndarray, chosen: BoolArray) -> float:
    return r_factor(f_obs[chosen], f_model[chosen]) if f_obs[chosen].sum() > 0 else 0.0
