"""What blocks a deposition or misleads a refinement, found before refinement."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np

from multicopy_refinement._typing import BoolArray
from multicopy_refinement.atoms.connections import bonded_residues, part_of_polymer
from multicopy_refinement.atoms.numbering import number_residues
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.crystal.twins import twin_laws
from multicopy_refinement.errors import InputError
from multicopy_refinement.io.reflections import read_reflections
from multicopy_refinement.model import Model
from multicopy_refinement.modes import Radiation
from multicopy_refinement.notices import Notice, listed, worst_first
from multicopy_refinement.occupancy.automatic.special import ON_ELEMENT
from multicopy_refinement.posterior.same_crystal import check_same_crystal
from multicopy_refinement.refinement.twinning import Twinning, beside_model, lawless
from multicopy_refinement.reflections import ReflectionData

#: Notices of reading that say what was done, with nothing wrong.
HARMLESS = {
    "block_chosen", "cell_of_data_set", "columns_73_80", "columns_chosen", "copies_not_generated",
    "data_set_chosen", "element_guessed", "free_set_chosen", "merged_by_model",
    "reflections_merged", "unmerged",
}  # fmt: skip
#: What the model is without as it is read: occupancies within [0, 1] and sets at their sums, one
#: value in a conformer, hydrogens as what they are bound to, altlocs that are none.
MENDED = {
    "altloc_is_blank", "hydrogen_occupancy", "occupancy_above_1", "occupancy_below_0",
    "set_sum", "shared_value", "uneven_copy", "uneven_part",
}  # fmt: skip
#: Atoms of two molecules are not closer than this when both are there, in A.
CLASH = 2.2
#: Occupancies that agree.
_SAME = 0.01


@dataclass(frozen=True, eq=False)
class Checked:
    """What was found.

    Attributes
    ----------
    model
        As it is read, with what can be mended without a decision mended.
    findings
        The worst first.
    mates
        What F(+) and F(-) that the data hold apart show, in words; empty without.
    """

    model: Model
    findings: tuple[Notice, ...]
    mates: str = ""

    @property
    def mended(self) -> tuple[Notice, ...]:
        """The findings that the model is without as it is read."""
        return tuple(one for one in self.findings if one.code in MENDED)


def check(model: Path, data: Path | None = None, radiation: Radiation | None = None) -> Checked:
    """Return what is wrong with a model, and with it and its data.

    Parameters
    ----------
    model
        PDB or mmCIF.
    data
        Reflections.
    radiation
        What they were measured with; what the model's file says when left out.

    Raises
    ------
    InputError
        A file that cannot be read at all; data of another crystal.
    """
    read = Model().load(model, radiation=radiation)
    table = read.table
    found = [n for n in read.notices if n.code not in HARMLESS]
    found += [*lone_letters(table), *blanks_among_letters(table), *uneven_links(table)]
    found += clashes_with_images(read.source.structure())
    mates = ""
    if data is not None:
        reflections = read_reflections(
            data, cell=read.cell, spacegroup=read.spacegroup, radiation=read.radiation
        )
        try:
            found += check_same_crystal(read, reflections)
        except InputError as fault:
            raise InputError(f"{data}: {fault}; take the data of this crystal") from None
        found += [n for n in reflections.notices if n.code not in HARMLESS]
        found += twins(read, reflections)
        mates = mates_in_words(read, data, reflections)
    return Checked(read, tuple(worst_first(found)), mates)


def mates_in_words(model: Model, path: Path, data: ReflectionData) -> str:
    """Return what the Bijvoet differences of some data show, empty where there are none."""
    if not data.labels.mates or model.radiation is not Radiation.XRAY or data.centric.all():
        return ""
    try:
        apart = read_reflections(
            path, cell=model.cell, spacegroup=model.spacegroup, radiation=model.radiation,
            anomalous=True,
        )  # fmt: skip
    except InputError as fault:
        return str(fault)
    assert apart.bijvoet is not None
    return apart.bijvoet.in_words(apart.f_obs)


def twins(model: Model, data: ReflectionData) -> tuple[Notice, ...]:
    """Return whether the data are of a twin, by the model where the lattice allows a law."""
    reflections = data.on_crystal(model.cell, model.spacegroup)
    if not twin_laws(model.cell, model.spacegroup):
        return lawless(reflections)
    found = Twinning.of(*beside_model(model, reflections))
    return () if found is None else found.notices


def lone_letters(table: AtomTable) -> list[Notice]:
    """Return residues of a chain with one altloc, and nothing that is there when it is not.

    Waters and ligands may have the letter of what they go with.
    """
    residue = number_residues(table)
    lettered = np.flatnonzero(table.altloc != b"")
    pairs = np.unique(np.rec.fromarrays([residue[lettered], table.altloc[lettered]]))
    numbers, count = np.unique(pairs["f0"], return_counts=True)
    alone = numbers[count == 1]
    alone = alone[part_of_polymer(table, residue, alone)] if len(alone) else alone
    atoms = lettered[np.isin(residue[lettered], alone)]
    if len(atoms) == 0:
        return []
    full = table.occupancy[atoms] > 1 - _SAME
    notices = []
    for chosen, what in (
        (atoms[~full], "with a single altloc at partial occupancy, so that what is there in the "
         "other molecules is missing"),
        (atoms[full], "with a single altloc at full occupancy, which needs no letter"),
    ):  # fmt: skip
        names = list(dict.fromkeys(table.residue_label(a) for a in chosen.tolist()))
        if names:
            notices.append(_notice(table, "lone_altloc", f"residues {what}", names, chosen))
    return notices


def blanks_among_letters(table: AtomTable) -> list[Notice]:
    """Return residues in which an atom has no altloc and comes again with one."""
    residue = number_residues(table)
    key = np.rec.fromarrays([residue, table.name])
    _, inverse = np.unique(key, return_inverse=True)
    n = int(inverse.max(initial=-1)) + 1
    blank = np.bincount(inverse[table.altloc == b""], minlength=n) > 0
    letter = np.bincount(inverse[table.altloc != b""], minlength=n) > 0
    atoms = np.flatnonzero((blank & letter)[inverse])
    if len(atoms) == 0:
        return []
    names = list(dict.fromkeys(table.residue_label(a) for a in atoms.tolist()))
    text = "atoms are there without altloc and again with one, in residues"
    return [_notice(table, "blank_among_altlocs", text, names, atoms)]


def uneven_links(table: AtomTable) -> list[Notice]:
    """Return bonds of ligands, and links of the file, whose ends have two occupancies."""
    residue = number_residues(table)
    bonds = bonded_residues(table, residue, np.ones(len(table), dtype=bool))
    linked = {tuple(sorted(pair)) for pair in table.links}
    of_chain = part_of_polymer(table, residue, np.arange(int(residue.max(initial=-1)) + 1))
    found = []
    for (one, other), ends in zip(bonds.atoms.tolist(), bonds.residues.tolist(), strict=True):
        chain_only = bool(of_chain[ends].all())
        if chain_only and tuple(sorted((one, other))) not in linked:
            continue
        q = table.occupancy[[one, other]]
        apart = table.altloc[one] != table.altloc[other] and b"" in table.altloc[[one, other]]
        # the end without altloc may be whole where the other has conformers
        if abs(q[0] - q[1]) > _SAME and not (apart and q.max() > 1 - _SAME):
            found.append((one, other))
    if not found:
        return []
    texts = [
        f"{table.label(a)} ({table.occupancy[a]:.2f}) - {table.label(b)} ({table.occupancy[b]:.2f})"
        for a, b in found
    ]
    text = "bonds whose ends have different occupancies"
    return [_notice(table, "uneven_link", text, texts, np.unique(np.array(found)))]


def clashes_with_images(structure: gemmi.Structure) -> list[Notice]:
    """Return atoms too close to a symmetry mate for both to be there.

    Both are where their occupancies sum to more than 1. What lies on a special position meets
    itself: that is another finding.
    """
    if not structure.cell.is_crystal() or len(structure) == 0:
        return []
    search = gemmi.NeighborSearch(structure[0], structure.cell, 5).populate(include_h=False)
    contacts = gemmi.ContactSearch(CLASH)
    contacts.ignore = gemmi.ContactSearch.Ignore.SameAsu
    bonded = {frozenset((str(c.partner1), str(c.partner2))) for c in structure.connections}
    names: list[str] = []
    for contact in contacts.find_contacts(search):
        one, other = contact.partner1, contact.partner2
        apart = {one.atom.altloc, other.atom.altloc} - {"\0"}
        if one.atom.occ + other.atom.occ <= 1 + _SAME or len(apart) > 1:
            continue
        if contact.dist < ON_ELEMENT or frozenset((str(one), str(other))) in bonded:
            continue
        if one.atom.element.is_metal or other.atom.element.is_metal:
            continue
        names.append(f"{_named(one)} - {_named(other)} ({contact.dist:.2f} A)")
    if not names:
        return []
    text = (
        f"atoms closer than {CLASH} A to a symmetry mate, with occupancies of more than 1 together"
    )
    return [Notice("clash_with_image", f"{text}: {listed(names)}", tuple(names))]


def _named(cra: gemmi.CRA) -> str:
    letter = "" if cra.atom.altloc == "\0" else f":{cra.atom.altloc}"
    return f"{cra.chain.name}/{cra.residue.seqid}/{cra.residue.name}{letter}/{cra.atom.name}"


def _notice(table: AtomTable, code: str, text: str, names: list[str], atoms: np.ndarray) -> Notice:
    chosen: BoolArray = np.zeros(len(table), dtype=bool)
    chosen[atoms] = True
    return Notice(code, f"{text}: {listed(names)}", table.labels(chosen))
