"""The atoms of a file as a frozen table of columns, in the order of the file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from multicopy_refinement._typing import BoolArray, FloatArray

if TYPE_CHECKING:
    import pandas as pd

_CODE_H, _CODE_D = (int(np.array([s], dtype="S2").view(np.uint16)[0]) for s in (b"H", b"D"))

#: Columns of the data frame form, in order.
FRAME_COLUMNS = (
    "record", "chainid", "resseq", "icode", "resname", "name", "altloc", "element",
    "x", "y", "z", "occupancy", "tempfactor", "charge",
    "u11", "u22", "u33", "u12", "u13", "u23",
)  # fmt: skip
_U_COLUMNS = FRAME_COLUMNS[-6:]


@dataclass(frozen=True, eq=False)
class AtomTable:
    """One row an atom; text columns are bytes, blank altloc and insertion code are ``b""``.

    Attributes
    ----------
    hetatm
        Bool ``[n]``.
    model
        Number of the MODEL, ``[n]``.
    chain, resname, name
        ``S8 [n]``.
    resseq
        ``int32 [n]``.
    icode, altloc
        ``S1 [n]``.
    element
        Chemical symbol in capitals as gemmi writes it, ``S2 [n]``.
    charge
        Formal charge, ``int8 [n]``.
    xyz
        Cartesian coordinates in A, ``[n, 3]``.
    occupancy
        As read, ``[n]``.
    b_iso
        A^2, ``[n]``.
    u_aniso
        U11 U22 U33 U12 U13 U23 in A^2, ``[n, 6]``, zero for isotropic atoms.
    links
        Pairs of atoms that the file says are bonded (LINK, SSBOND, struct_conn).
    program
        What the file says it was refined with, blank where it does not.
    """

    hetatm: BoolArray
    model: NDArray[np.int32]
    chain: NDArray[np.bytes_]
    resseq: NDArray[np.int32]
    icode: NDArray[np.bytes_]
    resname: NDArray[np.bytes_]
    name: NDArray[np.bytes_]
    altloc: NDArray[np.bytes_]
    element: NDArray[np.bytes_]
    charge: NDArray[np.int8]
    xyz: FloatArray
    occupancy: FloatArray
    b_iso: FloatArray
    u_aniso: FloatArray
    links: tuple[tuple[int, int], ...] = ()
    program: str = ""

    def __len__(self) -> int:
        return len(self.name)

    @cached_property
    def hydrogen(self) -> BoolArray:
        """Which atoms are H or D."""
        codes = self.element.view(np.uint16)  # numbers are compared faster than strings
        return np.asarray((codes == _CODE_H) | (codes == _CODE_D))

    @cached_property
    def anisotropic(self) -> BoolArray:
        """Which atoms have an anisotropic displacement."""
        found = np.zeros(len(self), dtype=bool)
        for column in self.u_aniso.T:
            found |= column != 0
        return found

    @cached_property
    def several_models(self) -> bool:
        """Whether the file has more than one MODEL."""
        return len(self) > 0 and bool((self.model != self.model[0]).any())

    def with_occupancy(self, occupancy: FloatArray) -> AtomTable:
        """Return the table with other occupancies."""
        return replace(self, occupancy=np.asarray(occupancy, dtype=np.float64))

    def residue_label(self, atom: int) -> str:
        """Return chain/number/name of an atom's residue, for example ``A/10/ARG``."""
        model = f"{self.model[atom]}/" if self.several_models else ""
        icode = self.icode[atom].decode()
        return (
            f"{model}{self.chain[atom].decode()}/{self.resseq[atom]}{icode}/"
            f"{self.resname[atom].decode()}"
        )

    def label(self, atom: int) -> str:
        """Return the name of an atom, for example ``A/10/ARG/CB:B``."""
        altloc = self.altloc[atom].decode()
        tail = f":{altloc}" if altloc else ""
        return f"{self.residue_label(atom)}/{self.name[atom].decode()}{tail}"

    def labels(self, atoms: Any) -> tuple[str, ...]:
        """Return the names of several atoms, by index or by mask."""
        return tuple(self.label(int(i)) for i in np.arange(len(self))[atoms])

    def to_frame(self) -> pd.DataFrame:
        """Return the table as a data frame with the columns `FRAME_COLUMNS`.

        ``model`` follows where the file has several MODELs.
        """
        import pandas as pd

        text = {
            "chainid": self.chain, "icode": self.icode, "resname": self.resname,
            "name": self.name, "altloc": self.altloc,
        }  # fmt: skip
        columns: dict[str, Any] = {k: v.astype("U8").astype(object) for k, v in text.items()}
        columns["record"] = np.where(self.hetatm, "HETATM", "ATOM").astype(object)
        columns["element"] = self.element.astype("U2").astype(object)
        columns["resseq"] = self.resseq.astype(np.int64)
        columns["charge"] = self.charge.astype(np.int64)
        columns["occupancy"], columns["tempfactor"] = self.occupancy, self.b_iso
        columns.update({axis: self.xyz[:, i] for i, axis in enumerate("xyz")})
        columns.update({u: self.u_aniso[:, i] for i, u in enumerate(_U_COLUMNS)})
        frame = pd.DataFrame({name: columns[name] for name in FRAME_COLUMNS})
        if self.several_models:  # copies of a residue are told apart by it
            frame["model"] = self.model.astype(np.int64)
        return frame

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> AtomTable:
        """Return the table of a data frame; columns that grouping does not need may be absent."""
        n = len(frame)

        def text(column: str, width: int, default: str = "") -> NDArray[np.bytes_]:
            if column not in frame:
                return np.full(n, default, dtype=f"S{width}")
            values = [str(v).strip() for v in frame[column].fillna("")]
            wide = max([width, *(len(v.encode()) for v in values)]) if width == 8 else width
            return np.array([v.encode() for v in values], dtype=f"S{wide}")

        def number(column: str, default: float = 0.0) -> FloatArray:
            if column not in frame:
                return np.full(n, default)
            return frame[column].to_numpy(dtype=np.float64)

        return cls(
            hetatm=np.asarray(text("record", 6, "ATOM") == b"HETATM"),
            model=number("model", 1.0).astype(np.int32),
            chain=text("chainid", 8),
            resseq=number("resseq").astype(np.int32),
            icode=text("icode", 1),
            resname=text("resname", 8),
            name=text("name", 8),
            altloc=text("altloc", 1),
            element=_elements(text("element", 2), text("name", 8)),
            charge=number("charge").astype(np.int8),
            xyz=np.stack([number(axis) for axis in "xyz"], axis=1),
            occupancy=number("occupancy", 1.0),
            b_iso=number("tempfactor"),
            u_aniso=np.stack([number(u) for u in _U_COLUMNS], axis=1),
        )


def _elements(symbols: NDArray[np.bytes_], names: NDArray[np.bytes_]) -> NDArray[np.bytes_]:
    """Return symbols as gemmi writes them, the first letter of the name where one is blank."""
    guessed = np.array([n.strip(b"0123456789'\" ")[:1] for n in names.tolist()], dtype="S2")
    given = np.where(symbols == b"", guessed, symbols) if len(symbols) else symbols
    unique, inverse = np.unique(given, return_inverse=True)
    known = [gemmi.Element(symbol.decode()).name.upper() for symbol in unique.tolist()]
    return np.array(known, dtype="S2")[inverse] if known else given
