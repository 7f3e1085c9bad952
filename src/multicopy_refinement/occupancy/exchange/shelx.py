"""Free variables, parts and sums of SHELXL (Sheldrick 2015, Acta Cryst. C71, 3).

A site occupation factor of 10 m + p is p times free variable m (m > 1), fixed at p for m = 1;
-(10 m + p) is p times (1 - free variable m). ``SUMP target sigma w1 m1 w2 m2 ...`` restrains
w1 fv(m1) + w2 fv(m2) + ... to the target.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

import numpy as np

from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.crystal import Cell, SpaceGroup
from multicopy_refinement.errors import RuleError
from multicopy_refinement.occupancy.exchange.common import (
    listed_sets,
    lone_groups,
    set_in_words,
    special_in_words,
)
from multicopy_refinement.occupancy.exchange.shelx_symmetry import crystal_lines
from multicopy_refinement.occupancy.groups import OccupancyGroups, OccupancySet
from multicopy_refinement.occupancy.rules import (
    FixRule,
    GroupRule,
    PlacedRule,
    RefineRule,
    RuleSet,
    SumRule,
)
from multicopy_refinement.units import EIGHT_PI_SQUARED
from multicopy_refinement.words import counted

#: Sigma of sums that are equalities here.
_TIGHT = 0.001

# ---------------------------------------------------------------------- reading

#: Words that begin a line which is not an atom.
_INSTRUCTIONS = (
    " ABIN ACTA AFIX ANIS ANSC ANSR BASF BIND BLOC BOND BUMP CELL CGLS CHIV CONF CONN DAMP DANG"
    " DEFS DELU DFIX DISP EADP END EQIV EXTI EXYZ FEND FLAT FMAP FRAG FREE FVAR GRID HFIX HKLF HTAB"
    " ISOR LATT LAUE LIST MERG MORE MOVE MPLA NCSY NEUT OMIT PART PLAN PRIG REM RESI RIGU RTAB SADI"
    " SAME SFAC SHEL SIMU SIZE SPEC STIR SUMP SWAT SYMM TEMP TITL TWIN TWST UNIT WGHT WIGL WPDB"
    " XNPD ZERR "
)


@dataclass
class _Instructions:
    """What a file of instructions says of occupancies; ``names`` are those of the atoms."""

    names: np.ndarray
    variables: list[float] = field(default_factory=list)
    groups: dict[tuple[int, bool, float], list[int]] = field(default_factory=dict)
    fixed: dict[float, list[int]] = field(default_factory=dict)
    lines: dict[tuple[int, bool, float], int] = field(default_factory=dict)
    sums: list[tuple[int, list[float]]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    used: set[int] = field(default_factory=set)
    free: list[tuple[int, float, int]] = field(default_factory=list)


def read(text: str, table: AtomTable, source: str) -> RuleSet:
    """Return the groups of free variables: atoms of one variable and multiplier share a group.

    Atoms are found by name and residue (RESI, with the chain if it is given), and by altloc where a
    name is there several times: PART 1 is the first altloc of the model, PART 2 the second. v and
    1 - v of a variable sum to 1; SUMP is a restraint, as in SHELXL. A factor on PART or AFIX takes
    the place of those on the atoms' lines.
    """
    found = _instructions(text, table, source)
    rules: list[PlacedRule] = []
    by_variable: dict[int, dict[bool, list[tuple[int, ...]]]] = {}
    for key, atoms in found.groups.items():
        number, complement, part = key
        where = f"{source}, line {found.lines[key]}"
        if number > len(found.variables):
            raise RuleError(f"{where}: there is no free variable {number} in FVAR")
        value = found.variables[number - 1]
        value = part * (1 - value if complement else value)
        if not 0 <= value <= 1:
            raise RuleError(f"{where}: {table.label(atoms[0])} would have occupancy {value:g}")
        places = tuple(atoms)
        rules.append(PlacedRule(GroupRule(atoms=(places,), value=value), where))
        by_variable.setdefault(number, {}).setdefault(complement, []).append(places)
    parts = {number: {key[2] for key in found.groups if key[0] == number}
             for number in by_variable}  # fmt: skip
    for number, sides in by_variable.items():
        if len(parts[number]) > 1:
            raise RuleError(
                f"{source}: free variable {number} has several multipliers "
                f"({', '.join(f'{p:g}' for p in sorted(parts[number]))}), which groups cannot have"
            )
        total = parts[number].copy().pop()
        where = f"{source}, free variable {number}"
        if sides.keys() == {True, False}:
            members = tuple(side[0] for _, side in sorted(sides.items()))
            rules.append(PlacedRule(SumRule(sum=members, equal=float(total)), where))
        else:
            (lone,) = sides.values()
            rules += [PlacedRule(RefineRule(refine=(places,)), where) for places in lone]
    multipliers = {number: next(iter(parts[number])) for number in parts}
    rules += _sum_rules(found, by_variable, multipliers, source)
    for atom, value, line in found.free:
        where = f"{source}, line {line}"
        if not 0 <= value <= 1:
            raise RuleError(f"{where}: {table.label(atom)} would have occupancy {value:g}")
        rules.append(PlacedRule(GroupRule(atoms=((atom,),), value=value), where))
        rules.append(PlacedRule(RefineRule(refine=((atom,),)), where))
    for value, atoms in found.fixed.items():
        if not 0 <= value <= 1:
            label = table.label(atoms[0])
            raise RuleError(f"{source}: {label} would have occupancy {value:g}")
        rules.append(PlacedRule(GroupRule(atoms=(tuple(atoms),), value=value), source))
        rules.append(PlacedRule(FixRule(fix=(tuple(atoms),), value=value), source))
    remarks: tuple[str, ...] = ()
    if found.missing:
        names = ", ".join(found.missing[:6])
        n_missing = counted(len(found.missing), "atom", "are")
        remarks = (f"{source}: {n_missing} not in the model: {names}",)
    return RuleSet(tuple(rules), False, remarks)


def _sum_rules(
    found: _Instructions,
    by_variable: dict[int, dict[bool, list[tuple[int, ...]]]],
    multipliers: dict[int, float],
    source: str,
) -> list[PlacedRule]:
    rules = []
    for line, numbers in found.sums:
        where = f"{source}, line {line}"
        if len(numbers) < 4:
            raise RuleError(f"{where}: SUMP needs a target, a sigma, weights and free variables")
        target, sigma, *terms = numbers
        weights, variables = terms[0::2], [round(m) for m in terms[1::2]]
        if len(weights) != len(variables):
            raise RuleError(f"{where}: SUMP has a weight without a free variable")
        members, shares = [], []
        for m, weight in zip(variables, weights, strict=True):
            sides, part = by_variable.get(m), multipliers.get(m, 1.0)
            if sides is None:
                raise RuleError(f"{where}: no atom has free variable {m}")
            if False in sides:  # q = p fv
                members.append(sides[False][0])
                shares.append(weight / part)
            else:  # q = p (1 - fv)
                members.append(sides[True][0])
                shares.append(-weight / part)
                target -= weight
        rule = SumRule(sum=tuple(members), equal=target, sigma=sigma, weights=tuple(shares))
        rules.append(PlacedRule(rule, where))
    return rules


def _instructions(text: str, table: AtomTable, source: str) -> _Instructions:
    found = _Instructions(np.char.upper(table.name))
    part, resi = 0, None
    given: dict[str, float] = {}  # what PART and AFIX say of the factors of atoms, the last first
    for number, line in _lines(text):
        words = line.split()
        head = words[0].upper().split("_")[0]
        where = f"{source}, line {number}"
        if head == "END":
            break
        if head == "FVAR":
            found.variables += [_number(w, where) for w in words[1:]]
        elif head == "PART":
            part = round(_number(words[1], where)) if len(words) > 1 else 0
            _take_factor(given, head, words[2:3], where)
        elif head == "AFIX":  # AFIX mn d sof
            _take_factor(given, head, words[3:4], where)
        elif head == "RESI":
            resi = next((w for w in words[1:] if re.fullmatch(r"(\w:)?-?\d+", w)), None)
        elif head == "SUMP":
            found.sums.append((number, [_number(w, where) for w in words[1:]]))
        elif f" {head} " not in _INSTRUCTIONS and len(words) >= 6 and _is_number(words[1]):
            sof = list(given.values())[-1] if given else _number(words[5], where)
            _take_atom(found, table, words[0], resi, part, sof, number)
    return found


def _take_factor(given: dict[str, float], head: str, words: list[str], where: str) -> None:
    """Note the factor that an instruction gives to the atoms after it, or that it gives none."""
    given.pop(head, None)
    if words:
        given[head] = _number(words[0], where)


def _take_atom(
    found: _Instructions, table: AtomTable, name: str, resi: str | None, part: int, sof: float,
    line: int,
) -> None:  # fmt: skip
    fits = found.names == name.upper().encode()
    if resi:
        chain, _, seqid = resi.rpartition(":")
        fits &= table.resseq == int(seqid)
        if chain:
            fits &= table.chain == chain.encode()
    atoms = np.array([a for a in np.flatnonzero(fits).tolist() if a not in found.used], dtype=int)
    if len(atoms) > 1 and part:
        letters = sorted({a for a in table.altloc.tolist() if a})
        wanted = letters[abs(part) - 1] if abs(part) <= len(letters) else b"?"
        atoms = atoms[table.altloc[atoms] == wanted]
    if len(atoms) == 0:
        found.missing.append(name)
        return
    number = int(abs(sof) + 5) // 10
    multiplier = abs(sof) - 10 * number
    atom = int(atoms[0])
    found.used.add(atom)
    if number == 0:  # a parameter of its own
        found.free.append((atom, multiplier, line))
        return
    if number == 1:
        if abs(multiplier - 1) > 1e-6:
            found.fixed.setdefault(round(multiplier, 6), []).append(atom)
        return
    key = (number, sof < 0, round(multiplier, 6))
    found.groups.setdefault(key, []).append(atom)
    found.lines.setdefault(key, line)


def _lines(text: str) -> list[tuple[int, str]]:
    """Return lines, those that end in = joined with the next."""
    found: list[tuple[int, str]] = []
    pending, first = "", 0
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split("!")[0].rstrip()
        if not pending:
            first = number
        if line.endswith("=") and not line.upper().startswith(("REM", "TITL")):
            pending += line[:-1] + " "
            continue
        if (pending + line).strip():
            found.append((first, pending + line))
        pending = ""
    return found


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text) is not None


def _number(text: str, where: str) -> float:
    if not _is_number(text) or not math.isfinite(float(text)):
        raise RuleError(f"{where}: {text!r} is not a number")
    return float(text)


# ---------------------------------------------------------------------- writing


def write(
    groups: OccupancyGroups, cell: Cell | None, title: str = "", *,
    spacegroup: SpaceGroup | None = None, wavelength: float | None = None,
) -> str:  # fmt: skip
    """Return FVAR, SUMP and all atoms with their codes; remarks name what cannot be expressed.

    It is a part of a file of instructions, to be merged into that of the crystal: HKLF, restraints
    and so on are there. CELL, LATT and SYMM stand in it where the wavelength is known.

    Raises
    ------
    RuleError
        Without a cell: SHELXL's coordinates are fractional.
    """
    if cell is None:
        raise RuleError("the SHELXL form needs a unit cell, and the model has none")
    codes = _Codes(groups)
    of = f" of {title}" if title else ""
    head = [
        f"REM occupancy groups{of}: a fragment to merge into your .ins",
        "REM take SFAC (mind the order of elements), FVAR, SUMP and the atoms from here;",
        "REM keep your TITL, ZERR, UNIT, HKLF, restraints and all else",
    ]
    head += [f"REM {text}" for text in special_in_words(groups, once=False)]
    head += [
        f"REM not expressed: {set_in_words(groups, one)}"
        for one in listed_sets(groups)
        if not one.complete and not _is_bound(one)
    ]
    if (groups.table.icode != b"").any():
        head.append(
            "REM not expressed: insertion codes; residues that have them are not told apart"
        )
    elements = list(dict.fromkeys(e.decode() for e in groups.table.element.tolist()))
    head += crystal_lines(cell, spacegroup, wavelength)
    head += [f"SFAC {' '.join(elements)}", *codes.sums()]
    for start in range(0, len(codes.variables), 7):
        values = codes.variables[start : start + 7]
        head.append("FVAR " + " ".join(f"{v:.5f}" for v in values))
    return "\n".join([*head, *_atom_lines(groups, cell, codes.code, elements), "END", ""])


class _Codes:
    """Free variables, and the code of every refined group."""

    def __init__(self, groups: OccupancyGroups) -> None:
        self.groups = groups
        self.variables = [1.0]
        self.code: dict[int, float] = {}
        for one in listed_sets(groups):
            free = self._free(one)
            if _is_pair(one) and len(free) == 2:
                self.code[free[1]] = -(10.0 * self._new(free[0]) + 1.0)
            elif _is_bound(one):
                self._new(free[0], one.total)
            else:
                for g in free:
                    self._new(g)
        for g in lone_groups(groups):
            self._new(g)

    def _new(self, g: int, part: float = 1.0) -> int:
        self.variables.append(float(self.groups.occupancy[g]) / part)
        self.code[g] = 10.0 * len(self.variables) + part
        return len(self.variables)

    def _free(self, one: OccupancySet) -> list[int]:
        return [g for g in one.groups if self.groups.refined[g]]

    def _term(self, g: int, weight: float) -> tuple[float, str]:
        """Return what weight times an occupancy is: a constant, and a term of SUMP."""
        if g not in self.code:
            return weight * float(self.groups.occupancy[g]), ""
        code = self.code[g]
        number = int(abs(code) + 5) // 10
        if code < 0:  # the second of a pair is 1 minus the variable of the first
            return weight, f"{-weight:g} {number}"
        return 0.0, f"{weight * (code - 10 * number):g} {number}"

    def _sum(self, groups: list[int], weights: list[float], target: float, sigma: float) -> str:
        parts = [self._term(g, w) for g, w in zip(groups, weights, strict=True)]
        terms = " ".join(term for _, term in parts if term)
        return f"SUMP {target - sum(c for c, _ in parts):g} {sigma:g} {terms}" if terms else ""

    def sums(self) -> list[str]:
        """Return the SUMP lines of sets and restraints."""
        lines = []
        for one in listed_sets(self.groups):
            if one.complete and not (_is_pair(one) and len(self._free(one)) == 2):
                groups, weights = list(one.groups), [1.0] * len(one.groups)
                if one.parent is not None:
                    groups, weights = [*groups, one.parent], [*weights, -1.0]
                lines.append(self._sum(groups, weights, one.total, _TIGHT))
        lines += [
            self._sum(list(r.groups), list(r.weights), r.target, r.sigma)
            for r in self.groups.restraints
        ]
        return [line for line in lines if line]


def _is_bound(one: OccupancySet) -> bool:
    return len(one.groups) == 1 and not one.complete and one.parent is None


def _is_pair(one: OccupancySet) -> bool:
    return len(one.groups) == 2 and one.complete and one.parent is None and one.total == 1.0


def _atom_lines(
    groups: OccupancyGroups, cell: Cell, codes: dict[int, float], elements: list[str]
) -> list[str]:
    table = groups.table
    letters = sorted({a for a in table.altloc.tolist() if a})
    fractional = np.einsum("ij,kj->ik", table.xyz, cell.fractionalization)
    lines: list[str] = []
    resi, part = "", 0
    for atom in range(len(table)):
        place = f"{table.chain[atom].decode()}:{table.resseq[atom]}"
        here = f"RESI {place} {table.resname[atom].decode()}"
        altloc = table.altloc[atom]
        now = letters.index(altloc) + 1 if altloc else 0
        if here != resi:
            lines += (["PART 0"] if part else []) + [here]
            resi, part = here, 0
        if now != part:
            lines.append(f"PART {now}")
            part = now
        g = int(groups.index[atom])
        sof = codes.get(g, 10.0 + float(groups.occupancy[g]))
        x, y, z = fractional[atom]
        u = float(table.b_iso[atom]) / EIGHT_PI_SQUARED
        lines.append(
            f"{table.name[atom].decode():<4} {elements.index(table.element[atom].decode()) + 1} "
            f"{x:.6f} {y:.6f} {z:.6f} {sof:.5f} {u:.5f}"
        )
    return lines
