"""``check``: each kind of trouble is found in a file that has it, nothing in one without."""

import pytest

from helpers import atom_line
from multicopy_refinement.run.check import check

HEAD = "CRYST1   20.000   21.000   22.000  90.00  90.00  90.00 P 1 2 1"
CHAIN = ("N", "CA", "C", "O", "CB", "OG")


def residue(number: int, letters: dict[str, float], *, at: float = 4.0, atoms=CHAIN) -> list[str]:
    """Return lines of a serine with altlocs, each moved by an angstrom."""
    return [
        atom_line(
            name, "SER", number, q, altloc=letter,
            xyz=(at + 1.2 * i, 5.0 + 3.8 * number + (ord(letter) - 65 if letter else 0), 6 + i % 2),
        )
        for letter, q in letters.items()
        for i, name in enumerate(atoms)
    ]  # fmt: skip


def ligand(
    name: str, q: float, place: tuple[float, float, float], *, letter: str = ""
) -> list[str]:
    x, y, z = place
    return [
        atom_line(f"C{i}", name, 201, q, altloc=letter, record="HETATM", element="C",
                  xyz=(x + 1.4 * i, y, z))
        for i in range(3)
    ]  # fmt: skip


def water(number: int, q: float, place: tuple[float, float, float]) -> list[str]:
    return [atom_line("O", "HOH", number, q, chain="W", record="HETATM", xyz=place)]


SOUND = [*residue(1, {"": 1.0}), *residue(2, {"A": 0.6, "B": 0.4}), *water(1, 1.0, (3, 3, 18))]
TROUBLE = {
    "sums": ("set_sum", [*residue(1, {"A": 0.7, "B": 0.5})], "A/1/SER", True),
    "mixed": ("uneven_part", [line.replace("0.60", "0.40") if " CB " in line else line
                              for line in residue(1, {"A": 0.6, "B": 0.4})], "A/1/SER:A", True),
    "above": ("occupancy_above_1", water(7, 1.2, (9, 9, 9)), "W/7/HOH", True),
    "lone": ("lone_altloc", residue(1, {"A": 0.6}), "partial occupancy", False),
    "letter": ("lone_altloc", residue(1, {"A": 1.0}), "needs no letter", False),
    "blank": ("blank_among_altlocs",
              [*residue(1, {"": 1.0}), *residue(1, {"A": 0.5, "B": 0.5}, atoms=("CB", "OG"))],
              "A/1/SER", False),
    "image": ("clash_with_image", water(7, 1.0, (0.7, 9, 0.5)), "W/7/HOH/O - W/7/HOH/O", False),
    "waters": ("close_waters", [*water(7, 0.5, (9, 9, 9)), *water(8, 0.5, (9, 10, 9))],
               "W/7/HOH", False),
    "link": ("uneven_link", [*residue(1, {"": 1.0}), *ligand("LIG", 0.6, (10.0, 8.8, 8.4))],
             "(1.00) - A/201/LIG", False),
}  # fmt: skip


def written(tmp_path, lines: list[str], name: str = "model.pdb"):
    path = tmp_path / name
    path.write_text("\n".join([HEAD, *lines, "END", ""]))
    return path


def test_a_sound_model_has_nothing(tmp_path, command):
    path = written(tmp_path, SOUND)
    ended = command("check", path)
    assert ended.status == 0
    assert "nothing found" in ended.out
    assert ended.err == ""


@pytest.mark.parametrize("kind", TROUBLE)
def test_trouble_is_found_named_and_mended_where_it_asks_for_no_decision(tmp_path, kind, command):
    code, lines, named, mended = TROUBLE[kind]
    path = written(tmp_path, lines)
    found = check(path)
    mine = [one for one in found.findings if one.code == code]
    assert mine, [one.code for one in found.findings]
    assert any(named in one.message for one in mine)
    assert all(one.atoms for one in mine)
    assert (mine[0] in found.mended) == mended
    before = path.read_bytes()
    ended = command("check", path, "--fix", tmp_path / "fixed.pdb")
    assert ended.status == 1
    assert code in ended.out
    assert path.read_bytes() == before
    assert (tmp_path / "fixed.pdb").exists() == mended
    if mended:
        again = check(tmp_path / "fixed.pdb")
        assert not [one for one in again.findings if one.code == code]


def test_ends_with_one_occupancy_or_a_whole_end_are_no_trouble(tmp_path):
    whole = [*residue(1, {"": 1.0}), *ligand("LIG", 1.0, (10.0, 8.8, 8.4))]
    assert not [n for n in check(written(tmp_path, whole)).findings if n.code == "uneven_link"]
    parts = [*residue(1, {"": 1.0}), *ligand("LIG", 0.5, (10.0, 8.8, 8.4), letter="A"),
             *ligand("LIG", 0.5, (10.0, 9.3, 8.4), letter="B")]  # fmt: skip
    assert not [n for n in check(written(tmp_path, parts)).findings if n.code == "uneven_link"]


def test_a_model_that_cannot_be_read_and_a_file_in_the_way(tmp_path, command):
    path = written(tmp_path, SOUND)
    assert command("check", tmp_path / "none.pdb").status == 2
    assert command("check", path, "--fix", path).status == 2
    other = tmp_path / "cell.pdb"
    other.write_text(path.read_text().replace("20.000", "40.000"))
    assert command("simulate", other, "--d-min", "3", "--out", tmp_path / "x.mtz").status == 0
    ended = command("check", path, tmp_path / "x.mtz")
    assert ended.status == 2
    assert "take the data of this crystal" in ended.err
