"""Crystals of two states in series of data sets, made by gemmi alone.

Each state is a crystal of its own with its own flat solvent, from gemmi's density and mask; a data
set is the sum of both in a cell, with a scale, a B, and errors of its own. Nothing of it is the
program's own: not the mask of a mixture, not the tie of its conformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gemmi
import numpy as np

import gemmi_truth as truth

#: Spacing of the mask of the truth in A.
FINE = 0.2
#: Side chains that turn about CA-CB, and by how much; no atom comes nearer to others than this.
_TURNS, _CLEAR = (120.0, -120.0, 180.0, 90.0, -90.0), 2.7
_BACKBONE = frozenset({"N", "CA", "C", "O", "OXT", "CB"})
#: Side chains that are long enough to be seen to turn.
_LONG = frozenset({"LEU", "ILE", "PHE", "TYR", "MET", "GLN", "GLU", "LYS", "ARG", "HIS", "TRP",
                   "ASN", "ASP", "SER", "THR", "CYS", "VAL"})  # fmt: skip


@dataclass(frozen=True, eq=False)
class TwoStates:
    """A ground state, another one, both in one model, and what tells them apart.

    Attributes
    ----------
    ground, other
        Each a crystal without altlocs.
    both
        Letters A and B where they differ; a ligand has B alone.
    residues
        Chain and number of what differs.
    """

    ground: gemmi.Structure
    other: gemmi.Structure
    both: gemmi.Structure
    residues: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class SetTruth:
    """What is true of one data set."""

    name: str
    x: float
    fraction: float
    scale: float
    b: float
    noise: float
    cell: tuple[float, float, float]
    seed: int


def single_conformer(path: Path) -> gemmi.Structure:
    """Return a structure without altlocs and hydrogens, all of it there."""
    structure = gemmi.read_structure(str(path))
    structure.remove_alternative_conformations()
    structure.remove_hydrogens()
    for site in structure[0].all():
        site.atom.occ = 1.0
    structure.setup_entities()
    return structure


def two_states(
    path: Path, *, seed: int, n: int = 5, ligand: tuple[str, int] | None = None, file: float = 0.3
) -> TwoStates:
    """Return a model of which some side chains turn in the other state, where a ligand is bound.

    ``ligand`` is a residue of the model, there in the other state only; ``file`` the fraction that
    the file has.
    """
    random = np.random.default_rng(seed)
    ground = single_conformer(path)
    other = ground.clone()
    turned = _turn(other, random, n)
    both = ground.clone()
    for chain, number in turned:
        _double(both, other, chain, number, file)
    residues = list(turned)
    if ligand is not None:
        residues.append(ligand)
        for atom in _residue(both, *ligand):
            atom.altloc, atom.occ = "B", file
        _drop(ground, *ligand)
    return TwoStates(ground, other, both, tuple(residues))


def _turn(structure: gemmi.Structure, random: np.random.Generator, n: int) -> list[tuple[str, int]]:
    """Turn side chains of a structure where there is room; return which."""
    candidates = [(c.name, r.seqid.num) for c in structure[0] for r in c if r.name in _LONG]
    found: list[tuple[str, int]] = []
    for i in random.permutation(len(candidates)):
        if len(found) == n:
            break
        residue = _residue(structure, *candidates[i])
        names = {a.name for a in residue}
        side = [a for a in residue if a.name not in _BACKBONE]
        if not {"CA", "CB"} <= names or len(side) < 2:
            continue
        origin = np.array(residue["CB"][0].pos.tolist())
        axis = origin - np.array(residue["CA"][0].pos.tolist())
        before = [a.pos.tolist() for a in side]  # a pos is a reference: it would turn with the atom
        for degrees in _TURNS:
            for atom, at in zip(side, before, strict=True):
                moved = origin + _rotated(np.array(at) - origin, axis, degrees)
                atom.pos = gemmi.Position(*moved)
            if _room(structure, residue, side) > _CLEAR:
                found.append(candidates[i])
                break
        else:
            for atom, at in zip(side, before, strict=True):
                atom.pos = gemmi.Position(*at)
    return found


def _rotated(v: np.ndarray, axis: np.ndarray, degrees: float) -> np.ndarray:
    k, a = axis / np.linalg.norm(axis), np.radians(degrees)
    return v * np.cos(a) + np.cross(k, v) * np.sin(a) + k * (k @ v) * (1 - np.cos(a))


def _room(structure: gemmi.Structure, residue: gemmi.Residue, side: list[gemmi.Atom]) -> float:
    """Return the distance of side-chain atoms to the nearest atom of another residue."""
    structure.setup_cell_images()
    search = gemmi.NeighborSearch(structure[0], structure.cell, 6.0).populate()
    return truth.nearest(search, structure, [atom.pos for atom in side], residue)


def _double(
    both: gemmi.Structure, other: gemmi.Structure, chain: str, number: int, file: float
) -> None:
    """Give a residue the letter A and, with the atoms of the other state, the letter B."""
    residue, second = _residue(both, chain, number), _residue(other, chain, number)
    for atom in residue:
        atom.altloc, atom.occ = "A", 1 - file
    for atom in second.clone():
        atom.altloc, atom.occ = "B", file
        residue.add_atom(atom)


def _residue(structure: gemmi.Structure, chain: str, number: int) -> gemmi.Residue:
    return next(r for c in structure[0] if c.name == chain for r in c if r.seqid.num == number)


def _drop(structure: gemmi.Structure, chain: str, number: int) -> None:
    for c in structure[0]:
        if c.name == chain:
            for i in reversed(range(len(c))):
                if c[i].seqid.num == number:
                    del c[i]


def shaken(model: gemmi.Structure, xyz: float, b: float, *, seed: int) -> gemmi.Structure:
    """Return a model with coordinates off by so many A (rms) and B by this part (one sigma)."""
    random = np.random.default_rng(seed)
    found = model.clone()
    for site in found[0].all():
        moved = np.array(site.atom.pos.tolist()) + random.standard_normal(3) * xyz / 3**0.5
        site.atom.pos = gemmi.Position(*moved)
        site.atom.b_iso = max(site.atom.b_iso * float(np.exp(b * random.standard_normal())), 2.0)
    return found


def observed(states: TwoStates, one: SetTruth, d_min: float, spread: float = 0.0) -> truth.Observed:
    """Return amplitudes of a data set.

    ``spread`` is by how much B of each residue that differs is another in this crystal, as a part.
    """
    random = np.random.default_rng(one.seed)
    factor = {key: float(np.exp(spread * random.standard_normal())) for key in states.residues}
    total = 0.0
    hkl = None
    for structure, weight in ((states.ground, 1 - one.fraction), (states.other, one.fraction)):
        moved = in_cell(structure, one.cell)
        for chain in moved[0]:
            for residue in chain:
                own = factor.get((chain.name, residue.seqid.num), 1.0)
                for atom in residue:
                    atom.b_iso = atom.b_iso * own + one.b
        hkl, f = truth.factors(moved, d_min, hkl=hkl, filled=partial(truth.solvent, spacing=FINE))
        total = total + weight * f
    s_squared = np.asarray(in_cell(states.ground, one.cell).cell.calculate_1_d2_array(hkl))
    # flags are those of the indices: the free set is one for all data sets
    made = truth.observe(hkl, one.scale * np.abs(total), s_squared, seed=one.seed, noise=one.noise)
    flags = (np.asarray(hkl) @ np.array([7, 31, 113])) % 20
    return truth.Observed(made.hkl, made.f_obs, made.sigma, flags)


def in_cell(structure: gemmi.Structure, factors: Sequence[float]) -> gemmi.Structure:
    """Return a structure in a cell whose lengths are larger by factors, atoms moved with it."""
    moved, cell = structure.clone(), structure.cell
    fractional = [cell.fractionalize(site.atom.pos) for site in structure[0].all()]
    lengths = [edge * f for edge, f in zip((cell.a, cell.b, cell.c), factors, strict=True)]
    moved.cell = gemmi.UnitCell(*lengths, cell.alpha, cell.beta, cell.gamma)
    for site, place in zip(moved[0].all(), fractional, strict=True):
        site.atom.pos = moved.cell.orthogonalize(place)
    moved.setup_cell_images()
    return moved


def series_truth(
    x: Sequence[float], fraction: Sequence[float], *, seed: int,
    noise: tuple[float, float] = (0.02, 0.04), cells: float = 0.003,
) -> list[SetTruth]:  # fmt: skip
    """Return data sets with scales, B, errors and cells of their own."""
    random = np.random.default_rng(seed)
    return [
        SetTruth(
            f"d{i}", float(at), float(f), float(np.exp(random.uniform(-1, 1))),
            float(random.uniform(0, 6)), float(random.uniform(*noise)),
            tuple((1 + cells * random.uniform(-1, 1, 3)).tolist()), int(random.integers(1 << 30)),
        )
        for i, (at, f) in enumerate(zip(x, fraction, strict=True))
    ]  # fmt: skip


def write(
    folder: Path, states: TwoStates, sets: Sequence[SetTruth], d_min: float, *,
    start: gemmi.Structure | None = None, spread: float = 0.0, variable: str = "time",
) -> tuple[Path, Path]:  # fmt: skip
    """Write model.pdb, an MTZ for each data set, and series.csv; return model and table."""
    model, table = folder / "model.pdb", folder / "series.csv"
    (start or states.both).write_pdb(str(model))
    lines = [f"name,data,{variable}"]
    for one in sets:
        data = observed(states, one, d_min, spread)
        truth.write_mtz(folder / f"{one.name}.mtz", in_cell(states.ground, one.cell), data)
        lines.append(f"{one.name},{one.name}.mtz,{one.x:g}")
    table.write_text("\n".join([*lines, ""]))
    return model, table
