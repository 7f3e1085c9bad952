"""What the 3D view of the page needs: atoms near refined groups, and patches of the maps."""

from __future__ import annotations

import zlib
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates, spline_filter
from scipy.spatial import cKDTree

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.atoms.numbering import number_residues
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.parallel import in_threads
from multicopy_refinement.report.pages import deflated
from multicopy_refinement.results.real_space import Maps
from multicopy_refinement.results.record import RunRecord

#: Residues with an atom this near to a refined group are shown, A.
NEIGHBOURHOOD = 6.0
#: A patch reaches this far beyond the atoms, and is no longer than this along an edge, A.
MARGIN, LONGEST = 2.7, 24.0
#: Points of a patch are this part of d_min apart; farther where one patch, or all of a page, would
#: have more than so many.
SPACING, MOST_POINTS, ALL_POINTS = 0.25, 40_000, 800_000
#: Levels of the contours in standard deviations.
LEVELS = {"weighted": 1.0, "difference": 3.0, "omit": 3.0}


#: What is farther than this from all atoms drawn at a site is not contoured, A.
REACH = 2.5
#: Standard deviations that a step of a byte stands for.
STEP = 0.1
#: Order of the splines: quadratic ones are off by 0.01 standard deviations (rms, 1.2 A), a third of
#: what bytes are off by, and take half of the time of cubic ones.
_ORDER = 2


@dataclass(frozen=True)
class Patch:
    """A box of the maps.

    A byte b, of -128..127, stands for (b + 1/2) `STEP` standard deviations: levels of contours,
    which are multiples of `STEP`, are then nobody's value. Where no contour is drawn b is 0. Along
    each axis in turn, bytes are written less the one before them, modulo 256. ``omit`` is None
    where nothing was left out of the site.
    """

    origin: tuple[float, float, float]
    spacing: float
    size: tuple[int, int, int]
    weighted: str
    difference: str
    omit: str | None = None


def sites_of_interest(record: RunRecord) -> dict[str, list[int]]:
    """Return the atoms of each set, and of each refined group outside of sets, by its name."""
    by_name = {g.name: g for g in record.groups}
    found: dict[str, list[int]] = {}
    for one in record.sets:
        if any(by_name[n].refined for n in one.groups):
            found[one.name] = [a for n in one.groups for a in by_name[n].atom_indices]
    for group in record.groups:
        if group.refined and group.set is None:
            found[group.name] = group.atom_indices
    for ligand in record.ligands:
        if not ligand.refined and ligand.omit_peak is not None:
            found.setdefault(ligand.name, ligand.atom_indices)
    return found


def sites_left_out(record: RunRecord, sites: dict[str, list[int]]) -> set[str]:
    """Return the sites with atoms that the omit map was made without."""
    of_groups = [g.atom_indices for g in record.groups if g.omit_peak is not None]
    of_ligands = [one.atom_indices for one in record.ligands if one.omit_peak is not None]
    atoms = {a for indices in (*of_groups, *of_ligands) for a in indices}
    return {name for name, mine in sites.items() if atoms & set(mine)}


def patches(
    maps: Maps, table: AtomTable, sites: dict[str, list[int]], d_min: float,
    left_out: Collection[str] = (),
) -> dict[str, Patch]:  # fmt: skip
    """Return patches of the maps around the sites, of the omit map at those left out.

    The maps are interpolated by splines, so that meshes are smooth.
    """
    smooth = [_smooth(maps.weighted / (float(maps.weighted.std()) or 1.0))]
    smooth.append(_smooth(maps.difference))
    omit = _smooth(maps.omit) if maps.omit is not None and left_out else None
    names = list(sites)
    boxes = [_box(table.xyz[_compact(table, np.array(a))]) for a in sites.values()]
    volume = sum(float(np.prod(high - low)) for low, high in boxes)
    to_grid = maps.cell.fractionalization.T * np.array(maps.size)
    found: list[Patch | None] = [None] * len(names)

    def cut(first: int, last: int) -> None:
        for i in range(first, last):
            low, high = boxes[i]
            own = float(np.prod(high - low))
            spacing = max(SPACING * d_min, np.cbrt(own / MOST_POINTS), np.cbrt(volume / ALL_POINTS))
            size = np.ceil((high - low) / spacing).astype(int) + 1
            seen = _contoured(table.xyz[sites[names[i]]], low, spacing, size)
            places = (low + spacing * np.argwhere(seen)) @ to_grid
            weighted, difference = (_packed(density, places, seen) for density in smooth)
            found[i] = Patch(
                (float(low[0]), float(low[1]), float(low[2])), float(spacing),
                (int(size[0]), int(size[1]), int(size[2])), weighted, difference,
                _packed(omit, places, seen) if omit is not None and names[i] in left_out else None,
            )  # fmt: skip

    in_threads(cut, len(names))
    return {name: patch for name, patch in zip(names, found, strict=True) if patch is not None}


def _smooth(density: np.ndarray) -> np.ndarray:
    """Return the coefficients of a density's cubic splines."""
    return np.asarray(spline_filter(density, _ORDER, np.float32, mode="grid-wrap"))


def _box(xyz: FloatArray) -> tuple[FloatArray, FloatArray]:
    return xyz.min(axis=0) - MARGIN, xyz.max(axis=0) + MARGIN


def _contoured(xyz: FloatArray, low: FloatArray, spacing: float, size: IntArray) -> BoolArray:
    """Return which points of a box are corners of a cube that may hold a contour to be drawn."""
    reach = REACH + 3**0.5 * spacing
    found = np.zeros(size, dtype=bool)
    for place in (xyz - low) / spacing:
        first = np.maximum(np.ceil(place - reach / spacing).astype(int), 0)
        last = np.minimum(np.floor(place + reach / spacing).astype(int) + 1, size)
        if (first >= last).any():
            continue  # an atom too far away for the patch
        x, y, z = ((spacing * (np.arange(first[k], last[k]) - place[k])) ** 2 for k in range(3))
        inside = x[:, None, None] + y[:, None] + z < reach**2
        found[first[0] : last[0], first[1] : last[1], first[2] : last[2]] |= inside
    return found


def _packed(density: np.ndarray, places: FloatArray, seen: BoolArray) -> str:
    """Return a density as `Patch` has it: bytes of a box, known at places, deflated."""
    values = map_coordinates(density, places.T, order=_ORDER, mode="grid-wrap", prefilter=False)
    steps = np.zeros(seen.shape, dtype=np.int8)
    steps[seen] = np.clip(np.floor(values / STEP), -128, 127)
    changes = steps.view(np.uint8)
    for axis in range(3):  # small where the density is smooth
        changes = np.diff(changes, axis=axis, prepend=np.uint8(0))
    return deflated(changes.tobytes(), zlib.Z_RLE)  # all that repeats is zero; small and quick


def _compact(table: AtomTable, atoms: IntArray) -> IntArray:
    """Return the atoms that are near to the one in the middle, so that a patch stays small."""
    xyz = table.xyz[atoms]
    middle = xyz[np.argmin(np.linalg.norm(xyz - np.median(xyz, axis=0), axis=1))]
    return np.asarray(atoms[np.abs(xyz - middle).max(axis=1) <= LONGEST / 2 - MARGIN])


def shown_atoms(table: AtomTable, sites: dict[str, list[int]]) -> IntArray:
    """Return the atoms of all residues near to the sites."""
    centre = np.unique(np.concatenate([np.array(a) for a in sites.values()]))
    near = cKDTree(table.xyz[centre]).query(table.xyz, distance_upper_bound=NEIGHBOURHOOD)[0]
    residue = number_residues(table)
    return np.flatnonzero(np.isin(residue, np.unique(residue[np.isfinite(near)])))


def as_pdb(table: AtomTable, atoms: IntArray, occupancy: FloatArray) -> str:
    """Return atoms as PDB lines; the serial is the place of the atom in the file from 1."""
    lines = []
    for i in atoms.tolist():
        name = table.name[i].decode()
        element = table.element[i].decode()
        padded = f"{name:<4}" if len(name) > 3 or len(element) > 1 else f" {name:<3}"
        x, y, z = table.xyz[i]
        lines.append(
            f"{'HETATM' if table.hetatm[i] else 'ATOM  '}{(i + 1) % 100000:>5} {padded[:4]}"
            f"{table.altloc[i].decode() or ' '}{table.resname[i].decode()[:3]:>3} "
            f"{table.chain[i].decode()[:1] or ' '}{table.resseq[i] % 10000:>4}"
            f"{table.icode[i].decode() or ' '}   {x:8.3f}{y:8.3f}{z:8.3f}"
            f"{occupancy[i]:6.2f}{min(table.b_iso[i], 999.0):6.2f}          {element:>2}"
        )
    return "\n".join(lines) + "\nEND\n"
