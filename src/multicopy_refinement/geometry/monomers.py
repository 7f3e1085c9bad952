"""Restraint dictionaries: of files that are given, of a folder, of CCP4, or the package's own."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import gemmi

from multicopy_refinement.errors import RestraintFileError
from multicopy_refinement.io.text import one_line, read_bytes
from multicopy_refinement.notices import Notice, listed

#: Where CCP4 says its Monomer Library is.
CLIBD_MON = "CLIBD_MON"
_ENERGY = "ener_lib.cif"
#: Either of these files of a library has its links and modifications.
_LINKS = ("links_and_mods.cif", "list/mon_lib_list.cif")
_VALUES = (("_chem_comp_bond.", "value_dist"), ("_chem_comp_angle.", "value_angle"))


@dataclass(frozen=True, eq=False)
class Library:
    """The dictionaries of a model's residues.

    Attributes
    ----------
    content
        gemmi's library: components, links, modifications, energy types.
    source
        Where the dictionary of each residue name is from; a name without one is absent.
    links
        Names of the links that are described.
    notices
        What was odd.
    """

    content: gemmi.MonLib
    source: dict[str, str]
    links: frozenset[str]
    notices: tuple[Notice, ...]


@dataclass(frozen=True)
class Dictionaries:
    """Where restraints are looked up, in this order.

    Attributes
    ----------
    restraints
        CIF files, as grade, AceDRG, eLBOW and phenix write them; the first that has a residue
        counts.
    monomers
        A folder laid out as the CCP4 Monomer Library, or with files NAME.cif. Then follow
        ``$CLIBD_MON`` and what the package carries.
    """

    restraints: tuple[Path, ...] = ()
    monomers: Path | None = None

    @classmethod
    def of(
        cls, restraints: str | Path | Iterable[str | Path] = (), monomers: str | Path | None = None
    ) -> Dictionaries:
        """Return dictionaries of paths as they are given."""
        given = [restraints] if isinstance(restraints, (str, Path)) else list(restraints)
        return cls(
            tuple(Path(path) for path in given), Path(monomers) if monomers is not None else None
        )

    def library(self, names: Iterable[str]) -> Library:
        """Return what there is for residues of these names.

        Raises
        ------
        RestraintFileError
            A file that cannot be read or has no restraints, a folder that is none.
        """
        wanted = list(dict.fromkeys(names))
        folders = self._folders()
        content = _links_and_energies(folders)
        source: dict[str, str] = {}
        notices = []
        for path in self.restraints:
            document = _restraint_file(path)
            described = [b.name[5:] for b in document if _is_component(b)]
            new = [name for name in described if name not in source]
            source.update({name: str(path) for name in new})
            _add(content, _without(document, set(described) - set(new)), path)
            if described and not set(described) & set(wanted):
                notices.append(
                    Notice(
                        "unused_restraints",
                        f"{path} has restraints of {listed(described)}: "
                        "no residue of the model has that name",
                    )
                )
        for folder in folders:
            for name in wanted:
                found = _in_folder(folder, name) if name not in source else None
                if found is not None:
                    _add(content, _restraint_file(found), found)
                    source[name] = str(found)
        if any(name not in source for name in wanted):
            own = _package()
            carried = {b.name[5:] for b in own if b.name.startswith("comp_")}
            new = [name for name in wanted if name in carried and name not in source]
            content.read_monomer_doc(_with_components(own, new))
            source.update(dict.fromkeys(new, "the package"))
        return Library(
            content,
            {n: source[n] for n in wanted if n in source and n in content.monomers},
            frozenset(str(name) for name in content.links),
            tuple(notices),
        )

    def _folders(self) -> list[Path]:
        """Return the folders to look in, the first first."""
        if self.monomers is not None and not self.monomers.is_dir():
            raise RestraintFileError(f"{self.monomers}: no folder of restraint dictionaries")
        installed = os.environ.get(CLIBD_MON, "")
        known = [self.monomers] if self.monomers is not None else []
        if installed and Path(installed).is_dir():
            known.append(Path(installed))
        return known


@lru_cache(maxsize=1)
def _package() -> gemmi.cif.Document:
    """Return the dictionaries that the package carries."""
    packed = files("multicopy_refinement") / "geometry" / "monomers.cif.gz"
    return gemmi.cif.read_string(gzip.decompress(packed.read_bytes()).decode())


def _links_and_energies(folders: list[Path]) -> gemmi.MonLib:
    """Return a library without components, of the first folder that has what all share."""
    content = gemmi.MonLib()
    for folder in folders:
        if (folder / _ENERGY).is_file() and any((folder / name).is_file() for name in _LINKS):
            _read_library(content, folder)
            return content
    own = _package()
    with tempfile.TemporaryDirectory() as name:  # gemmi reads energy types from a folder only
        folder = Path(name)
        (folder / _ENERGY).write_text(_picked(own, ("energy",)).as_string())
        (folder / _LINKS[0]).write_text(_picked(own, ("link_", "mod_")).as_string())
        _read_library(content, folder)
    return content


def _read_library(content: gemmi.MonLib, folder: Path) -> None:
    try:
        content.read_monomer_lib(f"{folder}{os.sep}", [])
    except (RuntimeError, ValueError, IndexError) as fault:
        raise RestraintFileError(f"{folder}: not a monomer library: {one_line(fault)}") from None


def _add(content: gemmi.MonLib, document: gemmi.cif.Document, path: Path) -> None:
    """Give a library the components of a file."""
    try:
        content.read_monomer_doc(document)
    except (RuntimeError, ValueError, IndexError) as fault:  # IndexError: of words gemmi knows not
        raise RestraintFileError(f"{path}: not a restraint dictionary: {one_line(fault)}") from None


def _picked(document: gemmi.cif.Document, starts: tuple[str, ...]) -> gemmi.cif.Document:
    """Return the blocks with names that start so."""
    made = gemmi.cif.Document()
    for block in document:
        if block.name.startswith(starts):
            made.add_copied_block(block)
    return made


def _with_components(document: gemmi.cif.Document, names: list[str]) -> gemmi.cif.Document:
    """Return the blocks of these components, and the list of groups that they belong to."""
    made = _picked(document, ("comp_list",))
    for name in names:
        made.add_copied_block(document[f"comp_{name}"])
    return made


def _without(document: gemmi.cif.Document, names: set[str]) -> gemmi.cif.Document:
    """Return a document without some components."""
    if not names:
        return document
    made = gemmi.cif.Document()
    for block in document:
        if block.name[5:] not in names or not _is_component(block):
            made.add_copied_block(block)
    return made


def _is_component(block: gemmi.cif.Block) -> bool:
    return block.name.startswith("comp_") and block.name != "comp_list"


def _in_folder(folder: Path, name: str) -> Path | None:
    """Return the file of a residue in a folder, laid out as CCP4 does or flat."""
    library: Any = gemmi.MonLib()
    library.monomer_dir = f"{folder}{os.sep}"
    for path in (Path(library.path(name)), folder / f"{name}.cif"):
        if path.is_file():
            return path
    return None


def _restraint_file(path: Path) -> gemmi.cif.Document:
    """Return a CIF file that is checked to have values for its restraints."""
    content = read_bytes(path, RestraintFileError)
    try:
        document = gemmi.cif.read_string(content.decode("utf-8", "replace"))
    except (RuntimeError, ValueError) as fault:
        raise RestraintFileError(f"{path}: not a readable CIF file: {one_line(fault)}") from None
    blocks = [block for block in document if _is_component(block)]
    if not blocks and not any(block.name.startswith(("link_", "mod_")) for block in document):
        raise RestraintFileError(
            f"{path}: no restraints (no block data_comp_NAME); "
            "make them with grade, AceDRG or eLBOW"
        )
    for block in blocks:
        for category, value in _VALUES:
            table = block.find(category, ["atom_id_1", value, f"{value}_esd"])
            if len(table) == 0 and len(block.find(category, ["atom_id_1"])) > 0:
                raise RestraintFileError(
                    f"{path}: {block.name[5:]} has no {category}{value} and _esd; "
                    "make restraints with grade, AceDRG or eLBOW"
                )
    return document
