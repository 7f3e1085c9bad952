"""Which atoms are restrained to what: gemmi's topology as arrays over the rows of the table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import gemmi
import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray, IntArray
from multicopy_refinement.atoms.connections import WATERS
from multicopy_refinement.atoms.numbering import number_residues
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.errors import RestraintFileError
from multicopy_refinement.geometry.collected import Collected
from multicopy_refinement.geometry.energy_types import AtomTypes
from multicopy_refinement.geometry.images import Images, nearest_image
from multicopy_refinement.geometry.monomers import Library
from multicopy_refinement.geometry.own import carbon_types, own_geometry
from multicopy_refinement.geometry.terms.angles import Angles, StraightAngles
from multicopy_refinement.geometry.terms.bonds import Bonds
from multicopy_refinement.geometry.terms.chirality import Chirality
from multicopy_refinement.geometry.terms.planes import Planes
from multicopy_refinement.geometry.terms.torsions import Torsions
from multicopy_refinement.io.structure import StructureFile
from multicopy_refinement.io.text import one_line
from multicopy_refinement.notices import Notice, listed

_HYDROGEN, _DEUTERIUM = gemmi.Element("H"), gemmi.Element("D")
#: A link that is longer than its ideal value and this, in A, is none.
TOO_LONG = 1.5
#: Atoms that join the residues of polymers, and how far apart they are at most, in A.
_ENDS, _LINK = (("C", "N"), ("O3'", "P")), 2.2


@dataclass(frozen=True, eq=False)
class Topology:
    """The restraints of a model's coordinates, hydrogens left out, and what its atoms are.

    Attributes
    ----------
    bonds, angles, straight, torsions, chirality, planes
        Restraints; their atoms are rows of the table.
    types
        Radii and roles of the atoms.
    described
        Atoms that a dictionary describes, bool ``[n]``; others keep their own geometry.
    notices
        What is without a dictionary, odd or left out.
    """

    bonds: Bonds
    angles: Angles
    straight: StraightAngles
    torsions: Torsions
    chirality: Chirality
    planes: Planes
    types: AtomTypes
    described: BoolArray
    notices: tuple[Notice, ...]

    @property
    def bonded(self) -> IntArray:
        """Bonds within the asymmetric unit, ``[m, 2]``."""
        image = self.bonds.image
        return self.bonds.atoms if image is None else self.bonds.atoms[image == 0]


def topology_of(source: StructureFile, table: AtomTable, library: Library) -> Topology:
    """Return the topology of a file's atoms.

    Links of the file, peptides (cis and trans), phosphodiesters and disulfides are those that gemmi
    finds; there are no restraints between atoms of different letters. Each MODEL has its own.

    Parameters
    ----------
    source
        The file.
    table
        Its atoms, as they are taken.
    library
        Dictionaries of its residues.

    Raises
    ------
    RestraintFileError
        A dictionary from which gemmi can make no topology.
    """
    structure = _gathered(source, table)
    rows = iter([atom.serial for model in structure for atom in _atoms(model)])
    collected = Collected(len(table))
    notices = list(library.notices)
    types: dict[int, str] = {}
    described = np.zeros(len(table), dtype=bool)
    peptides = [
        name.encode()
        for name in library.source
        if library.content.monomers[name].group == gemmi.ChemComp.Group.Peptide
    ]
    amino_acids = np.isin(table.resname, peptides)
    for number in range(len(structure)):
        said: list[str] = []
        try:
            topo = gemmi.prepare_topology(
                structure, library.content, number, gemmi.HydrogenChange.NoChange,
                warnings=said.append,
            )  # fmt: skip
        except (RuntimeError, ValueError) as fault:
            raise RestraintFileError(f"{source.path}: restraints: {one_line(fault)}") from None
        for atom in _atoms(structure[number]):
            atom.serial = next(rows)  # a topology numbers its atoms itself
        _describe(topo, library, types, described)
        notices += _links(topo, source, table, library, collected)
        collected.take(topo, _own_residues(topo, library), amino_acids)
        notices += [
            Notice("link", one.removeprefix("Warning: "))
            for one in said
            if "definition not found" not in one  # these atoms are named below
        ]
    notices += _undescribed(table, library, described)
    own = ~described & ~table.hydrogen & ~np.isin(table.resname, WATERS)
    collected.add_own(table.xyz, own_geometry(table, own, collected.bonded()))
    types |= carbon_types(table, own, collected.bonded())
    collected.without(table.hydrogen)
    return Topology(
        bonds=collected.bonds(),
        angles=collected.angles(),
        straight=collected.straight_angles(),
        torsions=collected.torsions(),
        chirality=collected.chirality(),
        planes=collected.planes(),
        types=AtomTypes.of(table, types, library.content.ener_lib),
        described=described,
        notices=tuple(notices),
    )


def _gathered(source: StructureFile, table: AtomTable) -> gemmi.Structure:
    """Return the file's structure with the table's letters and rows, the latter as serial numbers.

    Parts of a residue that stand apart in the file are together. D are H: of both at one site
    gemmi would make one atom, and hydrogens have no restraints here.
    """
    structure = source.structure()
    rows = iter(source.order.tolist())
    letters = [letter.decode() or "\0" for letter in table.altloc.tolist()]
    for model in structure:
        for atom in _atoms(model):
            atom.serial = next(rows)
            atom.altloc = letters[atom.serial]
            if atom.element == _DEUTERIUM:
                atom.element = _HYDROGEN
    structure.merge_chain_parts()
    number = number_residues(table)
    for chain in (chain for model in structure for chain in model):
        keys = [(number[residue[0].serial], residue.name) for residue in chain]
        again = len(set(keys)) < len(keys)
        for place in range(len(keys) - 1, -1, -1) if again else ():  # what is before stays in place
            first = keys.index(keys[place])
            if first < place:
                for atom in chain[place]:
                    chain[first].add_atom(atom)
                del chain[place]
        _in_sequence(chain)
    structure.setup_entities()
    return structure


def _in_sequence(chain: gemmi.Chain) -> None:
    """Put residues into the order of their numbers, where more of them are joined then."""
    residues = [residue.clone() for residue in chain]
    ordered = sorted(residues, key=lambda r: (r.seqid.num, r.seqid.icode))
    if _joined(ordered) <= _joined(residues):
        return
    for _ in residues:
        del chain[0]
    for residue in ordered:
        chain.add_residue(residue)


def _joined(residues: list[gemmi.Residue]) -> int:
    """Return how many neighbours in a list have the ends of a polymer's link near each other."""
    found = 0
    for one, other in pairwise(residues):
        for tail, head in _ENDS:
            if tail in one and head in other:
                found += one[tail][0].pos.dist(other[head][0].pos) < _LINK
    return found


def _atoms(model: gemmi.Model) -> Iterable[gemmi.Atom]:
    return (atom for chain in model for residue in chain for atom in residue)


def _chains(topo: gemmi.Topo) -> Iterable[gemmi.Topo.ChainInfo]:
    return (topo.chain_infos[i] for i in range(len(topo.chain_infos)))


def _residues(topo: gemmi.Topo) -> Iterable[gemmi.Topo.ResInfo]:
    return (info for chain in _chains(topo) for info in chain.res_infos)


def _own_residues(topo: gemmi.Topo, library: Library) -> set[int]:
    """Return atoms of residues for which there is no dictionary."""
    return {
        atom.serial
        for info in _residues(topo)
        if info.res.name not in library.source
        for atom in info.res
    }


def _describe(
    topo: gemmi.Topo, library: Library, types: dict[int, str], described: BoolArray
) -> None:
    """Note the energy type of each atom that its residue's dictionary describes."""
    for info in _residues(topo):
        if info.res.name not in library.source:
            continue
        known = {
            (final.altloc, atom.id): atom.chem_type
            for final in info.chemcomps
            for atom in final.cc.atoms
        }
        for atom in info.res:
            kind = known.get((atom.altloc, atom.name)) or known.get(("\0", atom.name))
            if kind is None:  # letters that the links of others have made
                kind = next((k for (_, name), k in known.items() if name == atom.name), None)
            if kind is not None:
                types[atom.serial] = kind
                described[atom.serial] = True


def _undescribed(table: AtomTable, library: Library, described: BoolArray) -> list[Notice]:
    """Return notices of residues without a dictionary, and of atoms that theirs lacks."""
    lacking = ~described & ~table.hydrogen & ~np.isin(table.resname, WATERS)
    residue = number_residues(table)
    size = np.bincount(residue[~table.hydrogen], minlength=int(residue.max(initial=-1)) + 1)
    notices = []
    for name in np.unique(table.resname[lacking]).tolist():
        atoms = np.flatnonzero(lacking & (table.resname == name))
        atoms = atoms[size[residue[atoms]] > 1]  # one atom alone has nothing to keep
        if len(atoms) == 0:
            continue
        if name.decode() in library.source:
            labels = table.labels(atoms)
            where = library.source[name.decode()]
            notices.append(
                Notice(
                    "atoms_without_restraints",
                    f"the dictionary of {name.decode()} ({where}) lacks {listed(list(labels))}: "
                    "they keep the bonds and angles that they have",
                    labels,
                )
            )
            continue
        labels = tuple(dict.fromkeys(table.residue_label(atom) for atom in atoms.tolist()))
        notices.append(
            Notice(
                "no_dictionary",
                f"{listed(list(labels))}: no restraint dictionary of {name.decode()}; "
                "it keeps the bonds and angles that it has (give one with --restraints)",
                labels,
            )
        )
    return notices


def _links(
    topo: gemmi.Topo,
    source: StructureFile,
    table: AtomTable,
    library: Library,
    collected: Collected,
) -> list[Notice]:
    """Settle links that no library has, too long ones, and those to symmetry mates."""
    notices = _breaks(topo, table)
    links = [*topo.extras, *(link for info in _residues(topo) for link in info.prev)]
    for link in links:
        numbers = [rule.index for rule in link.link_rules if rule.rkind == gemmi.RKind.Bond]
        for number in numbers:
            bond = topo.bonds[number]
            atoms = [atom.serial for atom in bond.atoms]
            image, length = None, bond.calculate()
            if link.asu == gemmi.Asu.Different:
                image, length = _mate(source, table.xyz[atoms])
            if not length <= bond.restr.value + TOO_LONG:
                collected.skip_rules(link)
                labels = table.labels(atoms)
                notices.append(
                    Notice(
                        "link_too_long",
                        f"the link {labels[0]} - {labels[1]} is {length:.2f} A long "
                        f"({bond.restr.value:.2f} expected): it is not restrained",
                        labels,
                    )
                )
            elif image is not None:
                collected.skip_rules(link)
                collected.add_bond(atoms, bond.restr.value, _sigma(bond), image)
            elif link.link_id not in library.links and not _all_known(link, library):
                collected.skip_rules(link)  # nobody knows how long it should be: it is kept
    return notices


def _breaks(topo: gemmi.Topo, table: AtomTable) -> list[Notice]:
    """Return a notice of neighbours in a chain that no bond joins."""
    broken = [
        [table.residue_label(ends.res[0].serial) for ends in (before, info)]
        for info, before in _consecutive(topo)
        if all(link.link_id == "gap" for link in info.prev)
    ]
    if not broken:
        return []
    message = (
        "no bond of the chain is restrained where neighbours are too far apart or lack its atoms: "
        + listed([" - ".join(pair) for pair in broken])
    )
    return [Notice("broken_chain", message, tuple(label for pair in broken for label in pair))]


def _consecutive(
    topo: gemmi.Topo,
) -> Iterable[tuple[gemmi.Topo.ResInfo, gemmi.Topo.ResInfo]]:
    """Return residues of polymers that follow another by number, with it."""
    for chain in _chains(topo):
        if chain.polymer:
            for before, info in zip(chain.res_infos[:-1], chain.res_infos[1:], strict=True):
                if info.prev and _number(info) - _number(before) == 1:
                    yield info, before


def _number(info: gemmi.Topo.ResInfo) -> int:
    return info.res.seqid.num or 0


def _mate(source: StructureFile, ends: FloatArray) -> tuple[Images | None, float]:
    """Return the operation of the nearest mate of the second end, and the distance."""
    crystal: tuple[Cell, SpaceGroup] | None = source.crystal
    return nearest_image(ends[0], ends[1], *crystal) if crystal else (None, float("inf"))


def _all_known(link: gemmi.Topo.Link, library: Library) -> bool:
    return all(residue.name in library.source for residue in (link.res1, link.res2))


def _sigma(bond: gemmi.Topo.Bond) -> float:
    return bond.restr.esd if bond.restr.esd > 0 else 0.02
