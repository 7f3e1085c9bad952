"""A crystal model in torch: parameters that are called for the state of every atom."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.crystal.beam import PLAIN, Beam
from multicopy_refinement.errors import ModelFileError, MulticopyError, OutputError
from multicopy_refinement.io.radiation import beam_of, radiation_of
from multicopy_refinement.io.structure import StructureFile, read_structure
from multicopy_refinement.io.write_structure import AtomValues, write_mmcif, write_pdb
from multicopy_refinement.modes import Grouping, Radiation
from multicopy_refinement.notices import Notice, listed
from multicopy_refinement.occupancy.grouping import (
    GroupingOptions,
    Rules,
    Selections,
    group_atoms,
)
from multicopy_refinement.occupancy.groups import OccupancyGroups
from multicopy_refinement.occupancy.summary import summary_of
from multicopy_refinement.parameters import (
    MixedTensor,
    OccupancyTensor,
    PositiveMixedTensor,
    members_from_sums,
)
from multicopy_refinement.units import EIGHT_PI_SQUARED
from multicopy_refinement.words import counted

if TYPE_CHECKING:
    import gemmi
    import pandas as pd

logger = logging.getLogger(__name__)

#: B factors at or below zero are taken as this, in A^2.
SMALLEST_B = 0.01
#: A set whose sum is this close to 1 obeys it.
OBEYED = 1e-6


class Model(nn.Module):
    """Atoms of a crystal with differentiable occupancies, coordinates and displacements.

    ``xyz()`` ``[n, 3]`` A, ``b_iso()`` ``[n]`` A^2, ``u_aniso()`` ``[n, 6]`` A^2 (zero for
    isotropic atoms) and ``occupancy()`` ``[n]`` are parameters that are called.

    Parameters
    ----------
    source
        The path of a PDB or mmCIF file, or a gemmi.Structure, loaded at once; without it the model
        is empty until `load`.
    dtype_float
        Type of all parameters.
    device
        Where they live.
    verbose
        1 logs what was loaded, 2 also every notice.
    radiation
        What the crystal was measured with; what the file says, or X-rays, when left out.

    Attributes
    ----------
    beam
        `Beam`: the radiation, and f' of elements, which `measured_with` and `refine` settle. A
        new one may be assigned.
    table
        `AtomTable`, the atoms as read.
    cell, spacegroup
        Of the crystal. A file without them can be loaded and grouped; asking for them is an error.
    occupancy_groups
        `OccupancyGroups`: names, members, sets, and why each group exists.
    notices
        What was odd in the file or changed while it was loaded.
    """

    xyz: MixedTensor
    b_iso: PositiveMixedTensor
    u_aniso: MixedTensor
    occupancy: nn.Module
    table: AtomTable
    anisotropic: Tensor
    occupancy_groups: OccupancyGroups
    notices: tuple[Notice, ...]

    def __init__(
        self,
        source: str | Path | gemmi.Structure | None = None,
        *,
        dtype_float: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        verbose: int = 0,
        radiation: Radiation | str | None = None,
    ) -> None:
        super().__init__()
        self._asked = None if radiation is None else Radiation(radiation)
        self.beam = PLAIN if self._asked is None else Beam(self._asked)
        self._of_beam: tuple[Notice, ...] = ()
        self._dtype_float, self._device = dtype_float, torch.device(device)
        self.verbose = verbose
        self._source: StructureFile | None = None
        self._grouping = GroupingOptions()
        self._rules: Rules | None = None
        if source is not None:
            self.load(source)

    @property
    def radiation(self) -> Radiation:
        """What the crystal was measured with."""
        return self.beam.radiation

    @property
    def device(self) -> torch.device:
        """Where the parameters live, after ``to`` as well."""
        return self.anisotropic.device if self._source is not None else self._device

    @property
    def dtype_float(self) -> torch.dtype:
        """Type of the parameters, after ``to`` as well."""
        return self.xyz.fixed_values.dtype if self._source is not None else self._dtype_float

    # ------------------------------------------------------------------ loading

    def load_pdb_from_file(self, path: str | Path, *, sharing_rules: Rules | None = None) -> Model:
        """Load a coordinate file; the name is that of the first specification of the package."""
        return self.load(path, sharing_rules=sharing_rules)

    def load(
        self,
        path: str | Path | gemmi.Structure,
        *,
        sharing_rules: Rules | None = None,
        grouping: Grouping | GroupingOptions = Grouping.RESIDUE,
        refine: Selections = (),
        hold: Selections = (),
        ligands: bool = False,
        waters: bool = False,
        radiation: Radiation | str | None = None,
    ) -> Model:
        """Load PDB or mmCIF, told apart by content, gzipped or not, and return the model.

        Parameters
        ----------
        path
            The file, or a gemmi.Structure.
        sharing_rules
            Rules that change the automatic groups: mappings as in docs/groups.md, or the path of
            a file (our TOML, phenix parameters, REFMAC or SHELXL keywords).
        grouping
            The automatic rules.
        refine, hold, ligands, waters
            What is refined beside what is anyway, and what is held: names as they are printed, or
            selections as in rules (``--refine``, ``--hold``, ``--ligands``, ``--waters``).
        radiation
            What the crystal was measured with; that of the model, what the file says, or X-rays,
            when left out.

        Raises
        ------
        ModelFileError
            What makes the file unusable.
        RuleError
            A rule that selects nothing, contradicts another, or makes a set impossible.
        """
        source = read_structure(path)
        asked = GroupingOptions.of(grouping).asking(refine, hold, ligands=ligands, waters=waters)
        said = self._asked if radiation is None else Radiation(radiation)
        kind, notices = radiation_of(source, said)
        beam = Beam(kind)
        if kind is not Radiation.XRAY:
            beam, others = beam_of(source, kind)
            notices += others
        self.beam, self._of_beam = beam, tuple(notices)
        self._take(source, asked, sharing_rules)
        return self

    def measured_with(
        self,
        radiation: Radiation | str | None = None,
        *,
        wavelength: float | None = None,
        f_prime: Sequence[str] = (),
        of_data: float | None = None,
        f_double_prime: Sequence[str] = (),
        anomalous: bool = False,
    ) -> Model:
        """Settle radiation, wavelength and f', and return the model.

        Parameters
        ----------
        radiation
            That of the model when left out.
        wavelength
            In A; that of the data, or else of the model's file, when left out.
        f_prime
            f' in electrons as ``Zn=-6.9``, or ``none``; of elements that are not named it is that
            of the wavelength.
        of_data
            The wavelength that the data's file names.
        f_double_prime
            f'' in electrons as ``Zn=3.9``; of other elements that of the wavelength.
        anomalous
            Whether f'' is wanted, so that F(+) and F(-) differ.

        Raises
        ------
        InputError
            f' or a wavelength for neutrons or electrons; f' that cannot be read; f'' that nothing
            tells.
        """
        kind = self.radiation if radiation is None else Radiation(radiation)
        beam, found = beam_of(
            self.source, kind, wavelength=wavelength, f_prime=f_prime, of_data=of_data,
            f_double_prime=f_double_prime, anomalous=anomalous,
        )  # fmt: skip
        kept = () if radiation is not None else self._of_beam
        of_beam = tuple({n.code: n for n in (*kept, *found)}.values())
        others = [n for n in self.notices if n not in self._of_beam]
        self.beam, self._of_beam, self.notices = beam, of_beam, (*of_beam, *others)
        return self

    def regroup(
        self,
        *,
        grouping: Grouping | GroupingOptions | None = None,
        rules: Rules | None = None,
        refine: Selections = (),
        hold: Selections = (),
        ligands: bool = False,
        waters: bool = False,
    ) -> Model:
        """Put the atoms of the file into groups anew, and return the model.

        All begins with what the file says. What is not given is as when the model was loaded;
        ``refine``, ``hold``, ``ligands`` and ``waters`` come on top of what was asked for then.

        Raises
        ------
        RuleError
            As for `load`.
        """
        options = self._grouping if grouping is None else GroupingOptions.of(grouping)
        asked = options.asking(refine, hold, ligands=ligands, waters=waters)
        self._take(self.source, asked, self._rules if rules is None else rules)
        return self

    def _take(self, source: StructureFile, grouping: GroupingOptions, rules: Rules | None) -> None:
        """Make groups and parameters of a file."""
        result = group_atoms(source.table, grouping, rules=rules, crystal=source.crystal)
        self._grouping, self._rules = grouping, rules
        self.adopt(source, result.groups, result.notices)

    def adopt(
        self, source: StructureFile, groups: OccupancyGroups, notices: tuple[Notice, ...] = ()
    ) -> Model:
        """Take a file whose atoms are in groups already, and return the model.

        ``groups.table`` are the atoms of the file, in its order.
        """
        self._dtype_float, self._device = self.dtype_float, self.device
        self._source = None  # until there are parameters
        self.table = groups.table
        self.__dict__.pop("pdb", None)
        self.occupancy_groups = groups
        b_iso, b_notices = _positive_b(self.table)
        self.notices = self._of_beam + source.notices + notices + b_notices
        self._make_parameters(b_iso)
        self._source = source
        self._log()
        return self

    def _make_parameters(self, b_iso: FloatArray) -> None:
        dtype, device = self.dtype_float, self.device
        isotropic = torch.as_tensor(~self.table.anisotropic)
        self.xyz = MixedTensor(
            torch.as_tensor(self.table.xyz), name="xyz", dtype=dtype, device=device
        )
        self.b_iso = PositiveMixedTensor(
            torch.as_tensor(b_iso), isotropic, name="b_iso", dtype=dtype, device=device
        )
        self.u_aniso = MixedTensor(
            torch.as_tensor(self.table.u_aniso),
            ~isotropic,
            name="u_aniso",
            dtype=dtype,
            device=device,
        )
        self.register_buffer("anisotropic", (~isotropic).to(self.device), persistent=False)
        self.occupancy = self._occupancy_tensor()

    def _occupancy_tensor(self) -> OccupancyTensor:
        groups = self.occupancy_groups
        return OccupancyTensor(
            torch.as_tensor(groups.occupancy[groups.index]),
            torch.as_tensor(groups.refined[groups.index]),
            torch.as_tensor(groups.index),
            members_from_sums(groups.sums),
            dtype=self.dtype_float, device=self.device, name="occupancy",
        )  # fmt: skip

    def _create_occupancy_groups(self) -> tuple[list[list[int]], Tensor]:
        """Return sharing groups as lists of atoms, and the refinable mask of the atoms."""
        groups = self.occupancy_groups
        return (
            [atoms.tolist() for atoms in groups.members],
            torch.as_tensor(groups.refined[groups.index]),
        )

    def set_default_masks(self) -> None:
        """Make all coordinates and every atom's own kind of displacement refinable.

        Occupancy is left alone: its mask comes from the grouping rules.
        """
        self.xyz.set_refinable_mask(torch.ones(len(self.table), dtype=torch.bool))
        self.b_iso.set_refinable_mask(~self.anisotropic)
        self.u_aniso.set_refinable_mask(self.anisotropic)

    # ------------------------------------------------------------------ description

    @cached_property
    def pdb(self) -> pd.DataFrame:
        """The atoms as read, a data frame with one row an atom."""
        return self.table.to_frame()

    @property
    def cell(self) -> Cell:
        """Unit cell; a `ModelFileError` where the file has none."""
        if self.source.cell is None:
            raise ModelFileError(self.source.crystal_fault)
        return self.source.cell

    @property
    def spacegroup(self) -> SpaceGroup:
        """Space group; a `ModelFileError` where the file has none."""
        if self.source.spacegroup is None:
            raise ModelFileError(self.source.crystal_fault)
        return self.source.spacegroup

    @property
    def source(self) -> StructureFile:
        """The file that was loaded."""
        if self._source is None:
            raise MulticopyError("the model is empty: load a file first")
        return self._source

    def extra_repr(self) -> str:
        """Say what the model holds, for ``repr``."""
        if self._source is None:
            return "empty"
        groups, spacegroup = self.occupancy_groups, self.source.spacegroup
        return (
            f"{self.source.path.name!r}, atoms={len(self.table)}, groups={len(groups)}, "
            f"refined groups={int(groups.refined.sum())}, sets={len(groups.sets)}, "
            f"space group={str(spacegroup.name) if spacegroup else None!r}"
        )

    def _repr_html_(self) -> str:
        """Say what the model holds, for notebooks."""
        if self._source is None:
            return "<p>Model: empty</p>"
        words = summary_of(self.occupancy_groups, self.group_occupancies()).in_words()
        lines = "".join(f"<li>{escape(line)}</li>" for line in words.splitlines())
        notices = "".join(f"<li>{escape(n.message)}</li>" for n in self.notices)
        warned = f"<p>Warnings:</p><ul>{notices}</ul>" if notices else ""
        return f"<p>Model <b>{escape(self.source.path.name)}</b></p><ul>{lines}</ul>{warned}"

    def _log(self) -> None:
        if self.verbose > 0:
            logger.info("%s", self.extra_repr())
        if self.verbose > 1:
            for notice in self.notices:
                logger.warning("%s", notice.message)

    # ------------------------------------------------------------------ constraints

    def enforce_occ_alternative_conformations(self) -> None:
        """Project the occupancies onto the sums of the model's sets, ratios kept.

        A model that obeys its sets is left unchanged to the last bit. ``occupancy`` may be any
        `MixedTensor` of one value an atom.
        """
        occupancy = self.occupancy
        if not isinstance(occupancy, MixedTensor):
            raise MulticopyError(f"occupancy is a {type(occupancy).__name__}, not a MixedTensor")
        with torch.no_grad():
            values = occupancy().detach()
            projected = self._projected(values)
            if projected is not None:
                occupancy.set_values(projected)

    def _projected(self, values: Tensor) -> Tensor | None:
        """Return the occupancies with every broken set rescaled, or None where all are obeyed."""
        groups = self.occupancy_groups
        per_atom = values.double().cpu().numpy()
        count = np.bincount(groups.index)
        mean = np.bincount(groups.index, per_atom, minlength=len(groups)) / count
        if (np.abs(groups.sums.excess(mean)) <= OBEYED).all():
            return None
        projected = groups.sums.restored(mean, tolerance=OBEYED)
        atoms = (projected != mean)[groups.index]
        per_atom[atoms] = projected[groups.index][atoms]
        return torch.as_tensor(per_atom).to(values)

    # ------------------------------------------------------------------ writing

    def write(self, path: str | Path) -> None:
        """Write the model as PDB (``.pdb``, ``.ent``) or mmCIF (``.cif``, ``.mmcif``) by suffix."""
        suffix = Path(path).suffix.lower()
        if suffix in {".pdb", ".ent"}:
            write_pdb(self.source, self.atom_values(decimals=2), path)
        elif suffix in {".cif", ".mmcif"}:
            write_mmcif(self.source, self.atom_values(decimals=4), path)
        else:
            raise OutputError(f"{path}: the name must end in .pdb, .ent, .cif or .mmcif")

    def group_occupancies(self) -> FloatArray:
        """Return the present occupancy of each group, ``[n_groups]``, in float64."""
        groups = self.occupancy_groups
        with torch.no_grad():
            values = self.occupancy().detach().double().cpu().numpy()
        total = np.bincount(groups.index, values, minlength=len(groups))
        return np.asarray(total / np.bincount(groups.index, minlength=len(groups)))

    def assign_group_occupancies(self, values: FloatArray) -> None:
        """Assign the occupancy of each group, ``[n_groups]``."""
        if not isinstance(self.occupancy, MixedTensor):
            raise MulticopyError("occupancy is not a MixedTensor: it cannot be assigned")
        per_atom = np.clip(values, 0.0, 1.0)[self.occupancy_groups.index]
        self.occupancy.set_values(torch.as_tensor(per_atom))

    def atom_values(
        self, *, decimals: int, group_su: FloatArray | None = None,
        xyz_su: FloatArray | None = None, b_su: FloatArray | None = None,
    ) -> AtomValues:  # fmt: skip
        """Return what is to be written: occupancies rounded so that sets still sum to 1."""
        groups = self.occupancy_groups
        rounded = groups.rounded(self.group_occupancies(), decimals)
        with torch.no_grad():
            xyz, b_iso, u_aniso = (
                t().detach().double().cpu().numpy() for t in (self.xyz, self.b_iso, self.u_aniso)
            )
        # B of an anisotropic atom follows its U, where that has moved
        moved = np.abs(u_aniso - self.table.u_aniso).max(axis=1, initial=0.0) > 1e-6
        moved &= self.table.anisotropic
        b_iso = np.where(moved, EIGHT_PI_SQUARED * u_aniso[:, :3].mean(axis=1), b_iso)
        # what had no B above zero, and has not moved since, is written as it was read
        raised = ~(self.table.b_iso > 0) & ~moved & (np.abs(b_iso - SMALLEST_B) < 1e-6)
        b_iso = np.where(raised, self.table.b_iso, b_iso)
        su = None if group_su is None else group_su[groups.index]
        return AtomValues(rounded[groups.index], xyz, b_iso, u_aniso, su, xyz_su, b_su)


def _positive_b(table: AtomTable) -> tuple[FloatArray, tuple[Notice, ...]]:
    """Return B factors above zero, and a notice for those that were not."""
    low = ~(table.b_iso > 0)
    if not low.any():
        return table.b_iso, ()
    b_iso = np.where(low, SMALLEST_B, table.b_iso)
    used = low & ~table.anisotropic
    if not used.any():  # the B of an anisotropic atom is not used
        return b_iso, ()
    labels = table.labels(used)
    message = (
        f"B factor of {counted(len(labels), 'atom')} set to {SMALLEST_B} A^2 for F_calc, and "
        f"written as it was: {listed(list(labels))}"
    )
    return b_iso, (Notice("b_not_positive", message, labels),)
