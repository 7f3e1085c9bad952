"""Radii of atoms and their part in hydrogen bonds, by the energy types of their dictionaries."""

from __future__ import annotations

from dataclasses import dataclass

import gemmi
import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray
from multicopy_refinement.atoms.connections import WATERS
from multicopy_refinement.atoms.table import AtomTable

#: Types of atoms that no dictionary describes; of other elements the type is the symbol.
_BY_ELEMENT = {"C": "CH1", "N": "N31", "O": "OH1", "D": "H"}


@dataclass(frozen=True, eq=False)
class AtomTypes:
    """What contacts need to know of each atom.

    Attributes
    ----------
    radius
        Van der Waals radius in A of the atom alone, ``[n]``.
    with_hydrogens
        The same with the hydrogens that are bound to it.
    ionic
        Ionic radius in A, not a number where there is none.
    donor, acceptor
        Of hydrogen bonds.
    metal
        Which atoms are metals.
    """

    radius: FloatArray
    with_hydrogens: FloatArray
    ionic: FloatArray
    donor: BoolArray
    acceptor: BoolArray
    metal: BoolArray

    @classmethod
    def of(cls, table: AtomTable, types: dict[int, str], energies: gemmi.EnerLib) -> AtomTypes:
        """Return them for a table, types known for some of its rows."""
        symbols = [symbol.decode() for symbol in table.element.tolist()]
        water = np.isin(table.resname, WATERS)
        kinds = [
            types.get(row) or ("OH2" if water[row] and s == "O" else _BY_ELEMENT.get(s, s))
            for row, s in enumerate(symbols)
        ]
        known = {str(name): atom for name, atom in energies.atoms.items()}
        pairs = [
            (kind if kind in known else _BY_ELEMENT.get(symbol, symbol), symbol)
            for kind, symbol in zip(kinds, symbols, strict=True)
        ]
        unique = sorted(set(pairs))
        rows = np.array([_figures(kind, symbol, known) for kind, symbol in unique])
        rows = rows.reshape(-1, 6)
        place = {pair: i for i, pair in enumerate(unique)}
        found = rows[[place[pair] for pair in pairs]]
        return cls(
            found[:, 0], found[:, 1], found[:, 2],
            found[:, 3] > 0, found[:, 4] > 0, found[:, 5] > 0,
        )  # fmt: skip


def _figures(
    kind: str, symbol: str, known: dict[str, gemmi.EnerLib.Atom]
) -> tuple[float, float, float, float, float, float]:
    """Return radius, radius with hydrogens, ionic radius, donor, acceptor, metal."""
    element = gemmi.Element(symbol)
    atom = known.get(kind)
    if atom is None or not np.isfinite(atom.vdw_radius):
        return element.vdw_r, element.vdw_r, float("nan"), 0, 0, float(element.is_metal)
    grown = atom.vdwh_radius if np.isfinite(atom.vdwh_radius) else atom.vdw_radius
    role = str(atom.hb_type)
    return (
        atom.vdw_radius, grown, atom.ion_radius,
        role in "DB", role in "AB", float(element.is_metal),
    )  # fmt: skip
