"""Make the demo's true and starting models of a small crystal from ideal geometry.

Needs the development dependencies PeptideBuilder and biopython. Run it as
`python scripts/make_demo_model.py [--out DIR]`; nothing in it is random, so each run writes the
same bytes. It sums up on stderr what it wrote, and fails where a contact or a sum is out of bounds.
"""

import argparse
import itertools
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import gemmi
import numpy as np
import numpy.typing as npt
import PeptideBuilder
from PeptideBuilder import Geometry

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Positions = dict[str, Array]

DEMO = Path(__file__).resolve().parents[1] / "src" / "multicopy_refinement" / "demo"
GROUP = "P 21 21 21"
LENGTHS = np.array([28.0, 30.0, 32.0])
# Every operation of this group only flips and shifts axes: (signs, shift in A), identity first.
OPERATIONS = [
    (np.diag(np.array(op.rot) / op.DEN), np.array(op.tran) / op.DEN * LENGTHS)
    for op in gemmi.SpaceGroup(GROUP).operations()
]
# Rotation vector (degrees) and centre (A). They came from a search over all orientations, which is
# too long for each run; `place` improves on them.
START_POSE = np.array([-131.0, -27.0, 30.5, 5.6, 10.4, 12.0])
# The pattern search moves by these units times each step.
POSE_UNITS = np.diag([3.0, 3.0, 3.0, 1.0, 1.0, 1.0])
SEARCH_STEPS = np.repeat([0.5, 0.25, 0.1], 8)
BOUNDS = {"contact": 2.9, "mate": 3.0, "water": 2.5, "separation": 1.0}  # A, of the result
CLEAR = 3.0  # A, what the ligand keeps from polar atoms
POLAR, CARBON = 2.65, 3.3  # A, what a placed water keeps from polar and other atoms
HYDROGEN_BOND = 3.2  # A, the longest
N_WATERS = 25
PARTIAL_WATERS = {8: (0.55, 0.80), 17: (0.38, 0.80)}  # number: (truth, start)
LIGAND = (0.64, 0.90)
B_CORE, B_SURFACE, B_STEP, B_MAX = 9.0, 16.0, 2.0, 25.0
REMOTENESS = "ABGDEZH"  # second letter of a side-chain atom's name, outwards
# A side chain turns about a bond when all torsions over it shift alike; by chi: their prefixes.
CHI_PREFIXES = ("N_CA_CB_", "CA_CB_", "CB_CG_", "CG_CD_")
OCCUPANCIES = {"truth": "THE TRUE ONES", "start": "A GUESS, TO START A REFINEMENT FROM"}
TURN = 8.0  # degrees, of an alternate backbone
HELIX = (-63.0, -42.0)
HALF = (0.5, 0.5)
# Where the library's own angles do not close a ring or have CD1 and CD2 of leucine swapped.
CORRECTIONS = {
    "L": {"CA_CB_CG_CD2_diangle": -62.6},
    "Y": {"CB_CG_CD1_angle": 120.0, "CB_CG_CD2_angle": 120.0},
    "W": {"CG_CD2_CE3_angle": 131.5},
}


@dataclass(frozen=True)
class Residue:
    """One row of the chain: per conformer its chi angles and its occupancies; (phi, psi)."""

    code: str
    chis: tuple[tuple[float, ...], ...] = ((),)
    truth: tuple[float, ...] = (1.0,)
    start: tuple[float, ...] = (1.0,)
    torsions: tuple[float, float] = HELIX
    whole: bool = False  # the backbone has alternates too


@dataclass(frozen=True)
class Atom:
    name: str
    residue: str
    chain: str
    number: int
    xyz: Array
    b: float
    altloc: str = " "
    truth: float = 1.0
    start: float = 1.0


# Two antiparallel helices. The loop is the usual alpha-L, beta pair, and the chi angles are
# rotamers picked so that the chain packs against itself and its mates.
CHAIN = (
    Residue("S", ((-65,),), torsions=(-63.0, 150.0)),
    Residue("D", ((-70, -15), (180, 30), (62, -10)), (0.50, 0.30, 0.20), (0.34, 0.33, 0.33)),
    Residue("L", ((-65, 175),)),
    Residue("E", ((180, 180, 0),)),
    Residue("Q", ((-65, 180, 160), (180, 180, -60)), (0.55, 0.45), HALF),
    Residue("A"),
    Residue("L", ((-65, 175),)),
    Residue("K", ((180, 180, 180, -65), (-65, 180, 65, 65)), (0.82, 0.18), HALF),
    Residue("R", ((180, 180, 65, 85),)),
    Residue("S", ((-65,),)),
    Residue("F", ((-65, -30),)),
    Residue("N", ((-65, -20), (180, -20)), (0.62, 0.38), HALF),
    Residue("M", ((180, 65, -70),)),
    Residue("G", torsions=(75.0, 14.0)),
    Residue("T", ((-60,),), torsions=(-99.0, 127.0)),
    Residue("P"),
    Residue("E", ((180, 65, 0), (-65, 180, 90)), (0.66, 0.34), (1.0, 0.0)),
    Residue("V", ((175,),)),
    Residue("A"),
    Residue("Y", ((180, 80),)),
    Residue("W", ((180, -105),)),
    Residue("A"),
    Residue("I", ((-65, 170),)),
    Residue("H", ((180, 60),)),
    Residue("K", ((-65, 180, -65, 180),)),
    Residue("C", ((-65,),)),
    Residue("R", ((-65, -65, 65, 85), (180, 65, -65, 180)), (0.70, 0.30), HALF, whole=True),
    Residue("Q", ((180, 180, 160),)),
)


def rotation(degrees: Array) -> Array:
    """Matrix of a rotation vector."""
    angle = np.radians(np.linalg.norm(degrees))
    x, y, z = degrees / max(float(np.linalg.norm(degrees)), 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def with_chis(code: str, chis: tuple[float, ...]) -> Geometry.Geo:
    geo = Geometry.geometry(code)
    vars(geo).update(CORRECTIONS.get(code, {}))
    for prefix, chi in zip(CHI_PREFIXES, chis, strict=False):
        names = [name for name in vars(geo) if name.startswith(prefix) and "diangle" in name]
        shift = chi - getattr(geo, names[0])
        vars(geo).update({name: getattr(geo, name) + shift for name in names})
    return geo


def build_conformer(chain: tuple[Residue, ...], k: int) -> list[Positions]:
    """Positions per residue, with each residue in its conformer k or the last that it has."""
    geos = [with_chis(res.code, res.chis[min(k, len(res.chis) - 1)]) for res in chain]
    for geo, before, res in zip(geos, (chain[0], *chain[:-1]), chain, strict=True):
        geo.phi, geo.psi_im1, geo.omega = res.torsions[0], before.torsions[1], 180.0
    built = PeptideBuilder.make_structure_from_geos(geos)
    PeptideBuilder.add_terminal_OXT(built, 1.25)
    residues = [
        {atom.get_name(): np.array(atom.coord, dtype=float) for atom in residue}
        for residue in built.get_residues()
    ]
    for i, res in enumerate(chain):
        if res.whole and k > 0:
            residues[i] = turned(residues[i], residues[i - 1]["C"], residues[i + 1]["N"])
    return residues


def turned(residue: Positions, before: Array, after: Array) -> Positions:
    """Turn a residue about the line between its bonded neighbours, which keeps bond lengths."""
    turn = rotation((after - before) / np.linalg.norm(after - before) * TURN)
    return {name: before + turn @ (xyz - before) for name, xyz in residue.items()}


def protein() -> list[Atom]:
    """All atoms of the chain, in the frame that it was built in."""
    built = [build_conformer(CHAIN, k) for k in range(max(len(res.truth) for res in CHAIN))]
    middle = np.mean([res["CA"] for res in built[0]], axis=0)
    far = max(np.linalg.norm(res["CA"] - middle) for res in built[0])
    atoms = []
    for i, res in enumerate(CHAIN):
        conformers = [built[k][i] for k in range(len(res.truth))]
        base = B_CORE + (B_SURFACE - B_CORE) * np.linalg.norm(conformers[0]["CA"] - middle) / far
        atoms += residue_atoms(res, i + 1, conformers, float(base))
    return atoms


def residue_atoms(res: Residue, number: int, built: list[Positions], base: float) -> list[Atom]:
    name3 = gemmi.expand_one_letter(res.code, gemmi.ResidueKind.AA)
    atoms = []
    for name in built[0]:
        remoteness = REMOTENESS.index(name[1]) if name[1:] and name not in ("CA", "OXT") else 0
        b = min(base + B_STEP * remoteness, B_MAX)
        places = [positions[name] for positions in built]
        if all(np.allclose(places[0], place) for place in places):
            atoms.append(Atom(name, name3, "A", number, places[0], b))
            continue
        for altloc, xyz, truth, start in zip("ABC", places, res.truth, res.start, strict=False):
            atoms.append(Atom(name, name3, "A", number, xyz, b, altloc, truth, start))
    return atoms


def distances(p: Array, q: Array) -> tuple[Array, Array]:
    """Distances within the model, and those to the nearest symmetry mate or translated copy."""
    own = np.linalg.norm(p[:, None] - q, axis=-1)
    mates = np.full(own.shape, np.inf)
    for k, (signs, shift) in enumerate(OPERATIONS):
        square = np.zeros(own.shape)
        for axis, length in enumerate(LENGTHS):
            delta = p[:, axis, None] - (q[:, axis] * signs[axis] + shift[axis])
            square += (delta - length * np.round(delta / length)) ** 2
        distance = np.sqrt(square)
        if k == 0:  # a pair that is nearest within the model has no translated copy nearby
            distance[np.isclose(distance, own)] = np.inf
        mates = np.minimum(mates, distance)
    return own, mates


def place(xyz: Array) -> Array:
    """Rigid-body pattern search for the widest gap between the model and its mates."""
    centred = xyz - xyz.mean(axis=0)

    def moved(pose: Array) -> Array:
        return centred @ rotation(pose[:3]).T + pose[3:]

    def gap(pose: Array) -> float:
        return float(distances(moved(pose), moved(pose))[1].min())

    pose, best = START_POSE, gap(START_POSE)
    for step in SEARCH_STEPS:
        trials = [pose + sign * step * unit for unit in POSE_UNITS for sign in (1, -1)]
        gaps = [gap(trial) for trial in trials]
        if max(gaps) > best:
            pose, best = trials[int(np.argmax(gaps))], max(gaps)
    return np.round(moved(pose), 3)


def is_polar(atoms: list[Atom]) -> Mask:
    return np.array([atom.name[0] in "NO" for atom in atoms])


def sphere(n: int) -> Array:
    """Evenly spread unit vectors (a Fibonacci spiral)."""
    z = 1 - (2 * np.arange(n) + 1) / n
    turn = np.pi * (3 - np.sqrt(5)) * np.arange(n)
    return np.column_stack([np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z])


def extend(a: Array, b: Array, c: Array, internal: tuple[float, float, float]) -> Array:
    """Position of d from its distance to c, the angle b-c-d and the torsion a-b-c-d."""
    length, angle, torsion = internal[0], np.radians(internal[1]), np.radians(internal[2])
    u = (c - b) / np.linalg.norm(c - b)
    n = np.cross(b - a, u) / np.linalg.norm(np.cross(b - a, u))
    local = [-np.cos(angle), np.sin(angle) * np.cos(torsion), np.sin(angle) * np.sin(torsion)]
    return c + length * (np.column_stack([u, np.cross(n, u), n]) @ local)


def glycerol() -> Positions:
    """Ideal glycerol with O1 at the origin."""
    o1, c1 = np.zeros(3), np.array([1.42, 0.0, 0.0])
    c2 = c1 + 1.52 * np.array([np.cos(np.radians(70)), np.sin(np.radians(70)), 0.0])
    c3 = extend(o1, c1, c2, (1.52, 112.0, 180.0))
    o2 = extend(o1, c1, c2, (1.43, 109.5, -58.0))
    o3 = extend(c1, c2, c3, (1.42, 110.0, 65.0))
    return {"C1": c1, "O1": o1, "C2": c2, "O2": o2, "C3": c3, "O3": o3}


def spots(atoms: list[Atom], radii: tuple[float, ...]) -> Array:
    """Places at hydrogen-bond distance from the polar atoms of full occupancy."""
    anchors = [atom.xyz for atom in atoms if atom.name[0] in "NO" and atom.truth == 1.0]
    shells = np.concatenate([radius * sphere(60) for radius in radii])
    return (np.array(anchors)[:, None] + shells).reshape(-1, 3)


def nearest(p: Array, atoms: list[Atom]) -> Array:
    """Distance of each place to each atom or, where nearer, one of its mates."""
    own, mates = distances(p, np.array([atom.xyz for atom in atoms]))
    return np.minimum(own, mates)


def place_ligand(atoms: list[Atom]) -> list[Atom]:
    """Put the ligand where most of its oxygens reach a polar atom."""
    ideal = glycerol()
    shape = np.array(list(ideal.values()))
    near = spots(atoms, (CLEAR + 0.05,))
    near = near[(nearest(near, atoms) > CLEAR).all(axis=1)]
    oxygen = np.array([name[0] == "O" for name in ideal])
    best, chosen = -1.0, shape
    for axis, angle in itertools.product(sphere(12), (60.0, 120.0, 180.0)):
        trial = near[:, None] + shape @ rotation(axis * angle).T
        gaps = nearest(trial.reshape(-1, 3), atoms).reshape(len(near), len(shape), -1)
        polar = oxygen[:, None] & is_polar(atoms)
        clear = (gaps > np.where(polar, CLEAR, CARBON)).all(axis=(1, 2))
        bonds = ((gaps < HYDROGEN_BOND) & polar).any(axis=2).sum(axis=1)
        score = np.where(clear, bonds, -1.0)
        if score.max() > best:
            best, chosen = float(score.max()), trial[score.argmax()]
    return [
        Atom(name, "GOL", "A", 201, xyz, 20.0 + 1.5 * (name[0] == "O"), " ", *LIGAND)
        for name, xyz in zip(ideal, np.round(chosen, 3), strict=True)
    ]


def place_waters(atoms: list[Atom]) -> list[Atom]:
    """Put waters one by one where most polar atoms are within hydrogen-bond distance."""
    candidates = np.round(spots(atoms, (2.7, 2.85, 3.0)), 3)
    waters: list[Atom] = []
    gaps = nearest(candidates, atoms)
    polar, full = is_polar(atoms), np.array([atom.truth == 1.0 for atom in atoms])
    clear = (gaps > np.where(polar, POLAR, CARBON)).all(axis=1)
    bonds = ((gaps < HYDROGEN_BOND) & polar & full).sum(axis=1)
    for number in range(1, N_WATERS + 1):
        chosen = int(np.argmax(np.where(clear, bonds, -1)))
        b = 18.0 + 17.0 * (number - 1) / (N_WATERS - 1)
        truth, start = PARTIAL_WATERS.get(number, (1.0, 1.0))
        waters.append(Atom("O", "HOH", "W", number, candidates[chosen], b, " ", truth, start))
        to_new = nearest(candidates, waters[-1:])[:, 0]
        clear &= to_new > POLAR
        bonds = bonds + (to_new < HYDROGEN_BOND)
    return waters


def atom_line(atom: Atom, serial: int, occupancy: float) -> str:
    record = "HETATM" if atom.residue in ("GOL", "HOH") else "ATOM"
    x, y, z = atom.xyz
    return (
        f"{record:<6}{serial:>5}  {atom.name:<3}{atom.altloc}{atom.residue:>3} {atom.chain}"
        f"{atom.number:>4}    {x:8.3f}{y:8.3f}{z:8.3f}{occupancy:6.2f}{atom.b:6.2f}"
        f"          {atom.name[0]:>2}"
    )


def pdb_text(atoms: list[Atom], which: str) -> str:
    a, b, c = LENGTHS
    lines = [
        "REMARK 999 NOT A REAL STRUCTURE: MADE FROM IDEAL GEOMETRY",
        "REMARK 999 BY scripts/make_demo_model.py OF multicopy_refinement.",
        f"REMARK 999 THE OCCUPANCIES ARE {OCCUPANCIES[which]}.",
        f"CRYST1{a:9.3f}{b:9.3f}{c:9.3f}{90:7.2f}{90:7.2f}{90:7.2f} {GROUP:<11}"
        f"{len(OPERATIONS):>4}",
    ]
    serial = 0
    for atom, after in itertools.zip_longest(atoms, atoms[1:]):
        serial += 1
        lines.append(atom_line(atom, serial, getattr(atom, which)))
        if atom.residue not in ("GOL", "HOH") and after.residue == "GOL":
            serial += 1
            lines.append(f"TER   {serial:>5}      {atom.residue:>3} {atom.chain}{atom.number:>4}")
    return "\n".join([*lines, "END", ""])


def contacts(atoms: list[Atom]) -> dict[str, float]:
    """Shortest contacts: within the model, to the mates, and of the waters to anything."""
    xyz = np.array([atom.xyz for atom in atoms])
    own, mates = distances(xyz, xyz)
    letter = np.array([atom.altloc for atom in atoms])
    together = (letter[:, None] == letter) | (letter[:, None] == " ") | (letter == " ")
    number = np.array([atom.number for atom in atoms])
    water = np.array([atom.chain == "W" for atom in atoms])
    wet = water[:, None] | water
    bonded = ~wet & (np.abs(number[:, None] - number) < 2)
    own[~together | bonded | np.eye(len(atoms), dtype=bool)] = np.inf
    mates[~together] = np.inf
    water_gap = min(own[wet].min(), mates[wet].min())
    return {"contact": own[~wet].min(), "mate": mates[~wet].min(), "water": water_gap}


def separation(atoms: list[Atom]) -> float:
    """How far apart the outermost atoms of two conformers are, in the closest such pair."""
    groups: dict[tuple[int, str], list[Array]] = {}
    for atom in atoms:
        if atom.altloc != " ":
            groups.setdefault((atom.number, atom.altloc), []).append(atom.xyz)
    pairs = [(p, q) for p, q in itertools.combinations(groups, 2) if p[0] == q[0]]
    shifts = [np.linalg.norm(np.subtract(groups[p], groups[q]), axis=1) for p, q in pairs]
    return float(min(shift.max() for shift in shifts))


def solvent_content() -> float:
    names = gemmi.expand_one_letter_sequence("".join(r.code for r in CHAIN), gemmi.ResidueKind.AA)
    weight = 18.0 + sum(gemmi.find_tabulated_residue(name).weight - 18.0 for name in names)
    return float(1.0 - 1.23 * len(OPERATIONS) * weight / LENGTHS.prod())


def check(atoms: list[Atom], models: list[gemmi.Structure]) -> None:
    """Sum up the result on stderr and stop if it is not fit to be the demo."""
    for row, res in enumerate(CHAIN, 1):
        if not np.allclose([sum(res.truth), sum(res.start)], 1.0):
            sys.exit(f"the occupancies of residue {row} do not add up to 1")
    if any(len(model) != 1 or model[0].count_atom_sites() != len(atoms) for model in models):
        sys.exit("gemmi does not read back every atom")
    found = contacts(atoms) | {"separation": separation(atoms)}
    print(f"{len(atoms)} atoms; solvent content {solvent_content():.2f}", file=sys.stderr)
    for name, bound in BOUNDS.items():
        print(f"shortest {name} {found[name]:.2f} A (at least {bound} A)", file=sys.stderr)
        if found[name] < bound:
            sys.exit(f"the shortest {name} is out of bounds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=DEMO, help="folder for the two PDB files")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    chain = protein()
    placed = place(np.array([atom.xyz for atom in chain]))
    atoms = [replace(atom, xyz=xyz) for atom, xyz in zip(chain, placed, strict=True)]
    atoms += place_ligand(atoms)
    atoms += place_waters(atoms)
    models = []
    for which in OCCUPANCIES:
        path = out / f"{which}.pdb"
        path.write_text(pdb_text(atoms, which), encoding="ascii", newline="\n")
        models.append(gemmi.read_structure(str(path)))
    check(atoms, models)


if __name__ == "__main__":
    main()
