"""Small models with random altlocs, partial parts, insertion codes, hydrogens and waters."""

from __future__ import annotations

import numpy as np

from helpers import atom_line, pdb_text

_RESIDUES = {
    "ALA": ("N", "CA", "C", "O", "CB"),
    "SER": ("N", "CA", "C", "O", "CB", "OG", "HG"),
    "VAL": ("N", "CA", "C", "O", "CB", "CG1", "CG2"),
}
_SIDE = {"CB", "OG", "HG", "CG1", "CG2"}


def random_model(seed: int) -> str:
    """Return a PDB file; residues follow one another at the distance of a peptide bond or not."""
    random = np.random.default_rng(seed)
    lines: list[str] = []

    def add(name, resname, number, q, *, letter="", chain="A", icode="", at=(0, 0, 0), het=False):
        lines.append(
            atom_line(
                name, resname, number, q, altloc=letter, chain=chain, icode=icode,
                serial=len(lines) + 1, xyz=at, record="HETATM" if het else "ATOM",
            )
        )  # fmt: skip

    for c, chain in enumerate("AB"[: random.integers(1, 3)]):
        number, icode, place = 0, "", np.array([0.0, 40.0 * c, 0.0])
        for _ in range(random.integers(3, 9)):
            inserted = number > 0 and random.random() < 0.15
            icode = chr(ord(icode or "@") + 1) if inserted else ""
            number += 0 if inserted else 1
            place = place + np.array([random.choice([3.8, 7.0]), 0.0, 0.0])
            resname = str(random.choice(list(_RESIDUES)))
            letters = "ABCD"[: random.choice([0, 0, 1, 2, 2, 3, 4])]
            values = _values(random, len(letters))
            side_only = random.random() < 0.4
            blank = float(random.choice([1.0, 1.0, 1.0, 0.5, 0.8]))
            for k, name in enumerate(_RESIDUES[resname]):
                at = place + np.array([1.2 * (k % 3), 1.4 * k, 0.3 * k])
                if not letters or (side_only and name not in _SIDE):
                    q = 0.4 if name == "O" and random.random() < 0.1 else blank
                    add(name, resname, number, q, chain=chain, icode=icode, at=at)
                    continue
                for j, letter in enumerate(letters):
                    where = at + np.array([0.0, 0.0, 1.5 * j])
                    add(
                        name, resname, number, values[j], letter=letter, chain=chain, icode=icode,
                        at=where,
                    )  # fmt: skip
    for number in range(random.integers(0, 6)):
        q = float(random.choice([1.0, 0.5, 0.73]))
        at = random.uniform(0, 40, 3)
        add("O", "HOH", 500 + number, q, chain="W", at=at, het=True)
    return pdb_text(lines)


def _values(random: np.random.Generator, n: int) -> list[float]:
    """Return two-decimal occupancies that sum to 1; of a lone letter, one below 1."""
    if n < 2:
        return [0.6] * n
    parts = np.floor(100 * random.dirichlet(np.ones(n)))
    parts[0] += 100 - parts.sum()
    return (parts / 100).tolist()
