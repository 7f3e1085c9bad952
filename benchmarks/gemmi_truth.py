"""Crystals whose truth is made by gemmi alone, with solvent where nothing is.

Density by gemmi's calculator; each point holds solvent to 1 - the largest occupancy that covers it,
from gemmi's masks of what is there above each level, or to the mean of gemmi's masks of molecules
whose groups are there or not. Nothing of it is the program's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
from scipy.ndimage import gaussian_filter

K_SOL, B_SOL, NOISE = 0.35, 46.0, 0.03
#: Components of a monomer library that ligands are made of: 4 to 14 atoms.
LIGANDS = ("EDO", "ACT", "SO4", "GOL", "PO4", "CIT")
#: Molecules of which `solvent_of_states` takes the mean; occupancies are multiples of 1 over it.
MOLECULES = 40
#: Ligand atoms and those of the model are no closer than this, A.
CLEAR = 2.9
#: Sigma in A by which uneven solvent is smooth: what two molecules' places hold has little to do
#: with one another, what one place holds is about the same all over.
RIPPLE = 1.5


@dataclass(frozen=True)
class Site:
    """A water or a ligand with its true occupancy."""

    chain: str
    number: int
    name: str
    occupancy: float


@dataclass(frozen=True, eq=False)
class Crystal:
    """A structure with the truth, the one that refinement starts from, and which sites differ."""

    truth: gemmi.Structure
    start: gemmi.Structure
    sites: tuple[Site, ...]


def crystal(
    path: Path, monomers: Path, *, seed: int, n_waters: int = 48, n_ligands: int = 16,
    levels: tuple[float, ...] = (0.0, 0.3, 0.45, 0.6), shake: float = 0.0,
) -> Crystal:  # fmt: skip
    """Return a model of single conformers with waters and added ligands of known occupancy.

    ``shake`` is the rms displacement of all atoms of the start, in A.
    """
    random = np.random.default_rng(seed)
    truth = gemmi.read_structure(str(path))
    truth.remove_alternative_conformations()
    truth.remove_hydrogens()
    truth.setup_entities()
    for site in truth[0].all():
        site.atom.occ = 1.0
    sites = [*_waters(truth, random, n_waters, levels)]
    sites += _add_ligands(truth, monomers, random, n_ligands, levels)
    start = truth.clone()
    known = {(s.chain, s.number): s.occupancy for s in sites}
    for one, value in ((truth, None), (start, 0.5)):
        for chain in one[0]:
            for residue in chain:
                key = (chain.name, residue.seqid.num)
                if key in known and (residue.name == "HOH" or chain.name == "Z"):
                    for atom in residue:
                        atom.occ = known[key] if value is None else value
    if shake:
        move_at_random(start, random, shake)
    return Crystal(truth, start, tuple(sites))


def move_at_random(structure: gemmi.Structure, random: np.random.Generator, rms: float) -> None:
    """Move all atoms by errors of a given rms, in A."""
    for site in structure[0].all():
        moved = np.array(site.atom.pos.tolist()) + random.standard_normal(3) * rms / 3**0.5
        site.atom.pos = gemmi.Position(*moved)


def _waters(
    truth: gemmi.Structure, random: np.random.Generator, n: int, levels: tuple[float, ...]
) -> list[Site]:
    found = [
        (c.name, r.seqid.num)
        for c in truth[0] for r in c
        if r.name == "HOH" and truth.cell.is_special_position(r[0].pos, 1.5) == 0
    ]  # fmt: skip
    chosen = random.permutation(len(found))[:n]
    return [Site(*found[w], "HOH", levels[i % len(levels)]) for i, w in enumerate(chosen)]


def _add_ligands(
    truth: gemmi.Structure, monomers: Path, random: np.random.Generator, n: int,
    levels: tuple[float, ...],
) -> list[Site]:  # fmt: skip
    """Put ligands beside the model, where there is solvent, in a chain of their own."""
    chain, sites = gemmi.Chain("Z"), []
    search = gemmi.NeighborSearch(truth[0], truth.cell, 8.0).populate()
    anchors = np.array([s.atom.pos.tolist() for s in truth[0].all()])
    mean_b = float(np.mean([s.atom.b_iso for s in truth[0].all()]))
    for i in range(n):
        name = LIGANDS[i % len(LIGANDS)]
        xyz, names, elements = _component(monomers, name)
        for _ in range(4000):
            place = anchors[random.integers(len(anchors))] + random.standard_normal(3) * 5.0
            atoms = xyz @ _rotation(random).T + place
            near = nearest(search, truth, [gemmi.Position(*atom) for atom in atoms])
            if not CLEAR < near < 3.6:
                continue
            residue = gemmi.Residue()
            residue.name, residue.seqid, residue.het_flag = name, gemmi.SeqId(i + 1, " "), "H"
            for position, atom_name, element in zip(atoms, names, elements, strict=True):
                atom = gemmi.Atom()
                atom.name, atom.element = atom_name, gemmi.Element(element)
                atom.pos, atom.b_iso = gemmi.Position(*position), 1.3 * mean_b
                residue.add_atom(atom)
            if _stands_apart(truth, chain, residue):
                break
        else:
            continue
        chain.add_residue(residue)
        sites.append(Site("Z", i + 1, name, levels[i % len(levels)]))
    truth[0].add_chain(chain)
    return sites


def _component(monomers: Path, name: str) -> tuple[np.ndarray, list[str], list[str]]:
    block = gemmi.cif.read(str(monomers / name[0].lower() / f"{name}.cif"))[f"comp_{name}"]
    table = block.find("_chem_comp_atom.", ["atom_id", "type_symbol", "x", "y", "z"])
    rows = [row for row in table if row[1] != "H"]
    xyz = np.array([[float(row[i]) for i in (2, 3, 4)] for row in rows])
    names = [gemmi.cif.as_string(row[0]) for row in rows]
    return xyz - xyz.mean(axis=0), names, [row[1] for row in rows]


def _rotation(random: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(random.standard_normal((3, 3)))
    q *= np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))


def _stands_apart(truth: gemmi.Structure, chain: gemmi.Chain, residue: gemmi.Residue) -> bool:
    """Return whether a ligand is 4 A from those of a chain and from its own symmetry mates."""
    ligands = gemmi.Structure()
    ligands.cell, ligands.spacegroup_hm = truth.cell, truth.spacegroup_hm
    ligands.add_model(gemmi.Model(1))
    ligands[0].add_chain(chain)
    mine = ligands[0][0].add_residue(residue)
    ligands.setup_cell_images()
    search = gemmi.NeighborSearch(ligands[0], ligands.cell, 8.0).populate()
    return nearest(search, ligands, [atom.pos for atom in mine], mine) > 4.0


def nearest(
    search: gemmi.NeighborSearch, structure: gemmi.Structure, places: Iterable[gemmi.Position],
    own: gemmi.Residue | None = None,
) -> float:  # fmt: skip
    """Return the distance to the nearest atom of a structure, with symmetry mates, in A.

    Up to 6 A. A residue to which the places belong does not count, its symmetry mates do.
    """
    best = 99.0
    for place in places:
        for mark in search.find_atoms(place, "\0", radius=6.0):
            if mark.image_idx == 0 and mark.to_cra(structure[0]).residue == own:
                continue
            # a mark is a place in the cell: near its edge, what was found is a translation of it
            best = min(best, structure.cell.find_nearest_pbc_image(place, mark.pos).dist())
    return best


def _mask(structure: gemmi.Structure, spacing: float) -> np.ndarray:
    """Return gemmi's mask with the radii of REFMAC, of atoms whose occupancy is not 0.

    On fine grids (below 0.3 A) solvent grows back as far as it would without one: r beyond a plane
    needs a point within the cap that a sphere of r cuts off, whose height a is (voxel/pi r)^1/2
    where it holds one.
    """
    masker = gemmi.SolventMasker(gemmi.AtomicRadiiSet.Refmac)
    grid = gemmi.FloatGrid()
    grid.setup_from(structure, spacing)
    if spacing < 0.3:
        voxel = structure.cell.volume / grid.point_count
        masker.rshrink += (voxel / (np.pi * masker.rshrink)) ** 0.5
    masker.put_mask_on_float_grid(grid, structure[0])
    return np.array(grid.array)


def solvent(
    structure: gemmi.Structure, spacing: float = 0.45, uneven: float = 0.0
) -> gemmi.FloatGrid:
    """Return the part of solvent at every point: 1 - the largest occupancy that covers it.

    Its density is as it is in bulk, or ``uneven`` around that by so much (rms).
    """
    levels = sorted({round(site.atom.occ, 3) for site in structure[0].all()} - {0.0})
    total, previous = 0.0, 0.0
    for level in levels:
        part = structure.clone()
        for site in part[0].all():
            site.atom.occ = float(site.atom.occ >= level - 1e-6)
        total = total + _mask(part, spacing) * (level - previous)
        previous = level
    group = gemmi.SpaceGroup(structure.spacegroup_hm)
    if uneven:
        total = total * np.maximum(1 + uneven * _ripples(structure, total.shape), 0.0)
    return gemmi.FloatGrid(np.asarray(total, dtype=np.float32), structure.cell, group)


def _ripples(structure: gemmi.Structure, shape: tuple[int, ...]) -> np.ndarray:
    """Return a random density of mean 0 and rms 1, waves of about the size of a molecule."""
    white = np.random.default_rng(11).standard_normal(shape)
    sides = structure.cell.parameters[:3]
    sigma = [RIPPLE * n / side for n, side in zip(shape, sides, strict=True)]
    smooth = gaussian_filter(white, sigma, mode="wrap").astype(np.float32)
    grid = gemmi.FloatGrid(smooth, structure.cell, gemmi.SpaceGroup(structure.spacegroup_hm))
    grid.symmetrize_avg()
    found = np.array(grid.array)
    return (found - found.mean()) / found.std()


def solvent_of_states(
    structure: gemmi.Structure, spacing: float = 0.45, vibrating: float = 0.0
) -> gemmi.FloatGrid:
    """Return the part of solvent at every point: the mean over molecules in their states.

    Conformers of a residue exclude each other; residues are there or not independently. In each
    molecule atoms are elsewhere, by ``vibrating`` of their mean square displacement
    3B/(8 pi^2): most of it they share with their neighbours.
    """
    random, states = np.random.default_rng(7), {}
    for chain in structure[0]:
        for residue in chain:
            shares = {a.altloc: a.occ for a in residue if a.altloc != "\0" or a.occ < 1}
            edges = np.rint(np.cumsum([0.0, *shares.values()]) * MOLECULES).astype(int)
            order = random.permutation(MOLECULES)
            for letter, first, last in zip(shares, edges, edges[1:], strict=False):
                mine = chain.name, residue.seqid.num, letter
                states[mine] = np.isin(np.arange(MOLECULES), order[first:last])
    total = 0.0
    for molecule in range(MOLECULES):
        part = structure.clone()
        for site in part[0].all():
            state = states.get((site.chain.name, site.residue.seqid.num, site.atom.altloc))
            site.atom.occ = 1.0 if state is None else float(state[molecule])
            if vibrating:
                rms = (vibrating * site.atom.b_iso / (8 * np.pi**2)) ** 0.5  # along an axis
                moved = np.array(site.atom.pos.tolist()) + rms * random.standard_normal(3)
                site.atom.pos = gemmi.Position(*moved)
        total = total + _mask(part, spacing)
    group = gemmi.SpaceGroup(structure.spacegroup_hm)
    return gemmi.FloatGrid((total / MOLECULES).astype(np.float32), structure.cell, group)


def amplitudes(
    structure: gemmi.Structure, d_min: float, *, k_sol: float = K_SOL, b_sol: float = B_SOL,
    c_sol: float = 0.0,
    hkl: np.ndarray | None = None,
    filled: Callable[[gemmi.Structure], gemmi.FloatGrid] = solvent,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return Miller indices (all unique ones if left out) and |F| of a structure with solvent."""
    hkl, f = factors(
        structure, d_min, k_sol=k_sol, b_sol=b_sol, c_sol=c_sol, hkl=hkl, filled=filled
    )
    return hkl, np.abs(f)


def factors(
    structure: gemmi.Structure, d_min: float, *, k_sol: float = K_SOL, b_sol: float = B_SOL,
    c_sol: float = 0.0,
    hkl: np.ndarray | None = None,
    filled: Callable[[gemmi.Structure], gemmi.FloatGrid] = solvent,
    f_prime: dict[str, float] | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return Miller indices (all unique ones if left out) and F of a structure with solvent.

    ``f_prime`` are f' of elements.
    """
    if hkl is None:
        group = gemmi.SpaceGroup(structure.spacegroup_hm)
        hkl = gemmi.make_miller_array(structure.cell, group, d_min, 1000.0)
    s_squared = np.asarray(structure.cell.calculate_1_d2_array(hkl))
    density = gemmi.DensityCalculatorX()
    density.d_min, density.rate = d_min, 2.5
    for element, value in (f_prime or {}).items():
        density.addends.set(gemmi.Element(element), value)
    density.set_refmac_compatible_blur(structure[0])
    density.grid.setup_from(structure)
    density.put_model_density_on_grid(structure[0])
    f = gemmi.transform_map_to_f_phi(density.grid, half_l=True).get_value_by_hkl(hkl)
    f = f * np.exp(density.blur * s_squared / 4)
    if k_sol:
        mask = gemmi.transform_map_to_f_phi(filled(structure), half_l=True).get_value_by_hkl(hkl)
        f = f + k_sol * np.exp(-(b_sol / 4 + c_sol * s_squared) * s_squared) * mask
    return hkl, f


def imaginary(
    structure: gemmi.Structure, hkl: np.ndarray, f_double_prime: dict[str, float]
) -> np.ndarray:
    """Return F'': what gemmi's direct sum differs by when f'' is added to form factors."""
    part = structure.clone()
    for chain in part[0]:
        for residue in chain:
            for i in reversed(range(len(residue))):
                if residue[i].element.name not in f_double_prime:
                    del residue[i]
    part.remove_empty_chains()
    part.setup_cell_images()
    plain = gemmi.StructureFactorCalculatorX(part.cell)
    shifted = gemmi.StructureFactorCalculatorX(part.cell)
    for element, value in f_double_prime.items():
        shifted.addends.set(gemmi.Element(element), value)
    return np.array(
        [
            shifted.calculate_sf_from_model(part[0], h) - plain.calculate_sf_from_model(part[0], h)
            for h in hkl.tolist()
        ]
    )


def observe_mates(
    structure: gemmi.Structure, hkl: np.ndarray, f: np.ndarray, second: np.ndarray, *, seed: int,
    noise: float = NOISE,
) -> dict[str, tuple[str, np.ndarray]]:  # fmt: skip
    """Return columns of F(+) = |F + iF''| and F(-) = |F - iF''| with errors, and of their mean.

    The mean errs as `observe` has it, and 5% of the flags are 0.
    """
    s_squared = np.asarray(structure.cell.calculate_1_d2_array(hkl))
    random = np.random.default_rng(seed + 1000)
    mates = np.abs(np.stack([f + 1j * second, f - 1j * second]))
    sigma = _sigmas(np.abs(f), s_squared, noise)
    mates = np.abs(mates + np.sqrt(2) * sigma * random.standard_normal(mates.shape))
    flags = random.integers(0, 20, len(hkl))
    columns = {"F": ("F", mates.mean(axis=0)), "SIGF": ("Q", sigma)}
    for sign, values in zip("+-", mates, strict=True):
        columns |= {f"F({sign})": ("G", values), f"SIGF({sign})": ("L", np.sqrt(2) * sigma)}
    return columns | {"FreeR_flag": ("I", flags)}


def twinned(
    structure: gemmi.Structure, d_min: float, law: str, fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return unique Miller indices and sqrt(I) of a twin whose second domain has other indices."""
    hkl, first = amplitudes(structure, d_min)
    turned = np.array([gemmi.Op(law).as_xyz().apply_to_hkl(h) for h in hkl.tolist()])
    _, second = amplitudes(structure, d_min, hkl=turned.astype(np.int32))
    return hkl, np.sqrt((1 - fraction) * first**2 + fraction * second**2)


@dataclass(frozen=True, eq=False)
class Observed:
    """Amplitudes with errors and free flags."""

    hkl: np.ndarray
    f_obs: np.ndarray
    sigma: np.ndarray
    flags: np.ndarray


def _sigmas(f: np.ndarray, s_squared: np.ndarray, noise: float) -> np.ndarray:
    """Return sigmas of amplitudes, whose relative error grows with resolution."""
    typical = np.sqrt(np.mean(f**2))
    return noise * (0.5 * f + 0.5 * typical * np.exp(-3.0 * s_squared))


def observe(
    hkl: np.ndarray, f: np.ndarray, s_squared: np.ndarray, *, seed: int, noise: float = NOISE
) -> Observed:
    """Return amplitudes with a relative error that grows with resolution, 5% of them free."""
    random = np.random.default_rng(seed + 1000)
    sigma = _sigmas(f, s_squared, noise)
    f_obs = np.abs(f + sigma * random.standard_normal(len(f)))
    return Observed(np.asarray(hkl), f_obs, sigma, random.integers(0, 20, len(f)))


def write_mtz(path: Path, structure: gemmi.Structure, data: Observed) -> None:
    """Write amplitudes and free flags (0 is free)."""
    columns = {"F": ("F", data.f_obs), "SIGF": ("Q", data.sigma)}
    write_columns(path, structure, data.hkl, columns | {"FreeR_flag": ("I", data.flags)})


def write_columns(
    path: Path, structure: gemmi.Structure, hkl: np.ndarray,
    columns: dict[str, tuple[str, np.ndarray]],
) -> None:  # fmt: skip
    """Write columns {label: (MTZ type, values)} of a structure's crystal."""
    mtz = gemmi.Mtz(with_base=True)
    mtz.cell = structure.cell
    mtz.spacegroup = gemmi.SpaceGroup(structure.spacegroup_hm)
    mtz.add_dataset("truth")
    for label, (kind, _) in columns.items():
        mtz.add_column(label, kind)
    table = np.column_stack([hkl, *(values for _, values in columns.values())])
    mtz.set_data(table.astype(np.float32))
    mtz.write_to_file(str(path))
