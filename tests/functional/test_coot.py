"""The script for Coot against a stand-in of the functions that it calls, and its selections."""

import json
import shutil
from types import SimpleNamespace

import gemmi
import numpy as np
import pytest

from coot_stand_in import run_script
from helpers import atom_line
from multicopy_refinement.report.run_files import read_run
from multicopy_refinement.results.record import read_record


@pytest.fixture(scope="module")
def run(command, demo, tmp_path_factory):
    """A run whose starting model has waters where nothing is."""
    folder = tmp_path_factory.mktemp("coot")
    structure = gemmi.read_structure(str(demo / "start.pdb"))
    search = gemmi.NeighborSearch(structure[0], structure.cell, 6).populate()
    places = (gemmi.Position(x, y, 3.0) for x in range(0, 28, 2) for y in range(0, 30, 2))
    free = [place for place in places if not search.find_atoms(place, radius=3.5)][:3]
    lines = [
        atom_line("O", "HOH", 90 + i, 0.5, serial=9000 + i, chain="W", xyz=place.tolist())
        for i, place in enumerate(free)
    ]
    text = (demo / "start.pdb").read_text().replace("\nEND", "\n" + "\n".join(lines) + "\nEND")
    (folder / "model.pdb").write_text(text)
    out = folder / "out"
    called = command("refine", folder / "model.pdb", demo / "2.5.mtz", "--out", out)
    assert called.status == 0, called.err
    return out


@pytest.fixture(scope="module")
def groups(run):
    return json.loads((run / "coot_groups.json").read_text())["groups"]


@pytest.fixture
def started(run, monkeypatch):
    """A function that runs the script in a folder, and returns Coot, its dialog and the session."""

    def start(folder=run, *, graphics=True):
        return run_script(folder, monkeypatch, graphics=graphics)

    return start


def atoms_of(structure):
    return [site.atom for site in structure[0].all()]


def test_it_loads_from_its_own_folder_and_shows_the_groups(started, run, groups, tmp_path):
    moved = tmp_path / "moved here"
    shutil.copytree(run, moved)
    found = started(moved)
    assert found.coot.maps == [str(moved / "refined.mtz")]
    assert found.coot.drawn == [("FOMIT", "PHOMIT")]
    ((title, (width, height), buttons, close),) = found.shown
    assert (title, close) == ("Occupancies", "Close")
    assert min(width, height) > 100
    assert [label.split("   ")[0] for label, _ in buttons[5:]] == [g["name"] for g in groups]


def test_without_a_window_nothing_is_shown(started):
    found = started(graphics=False)
    assert found.shown == []
    assert found.session.groups


def test_buttons_go_to_groups_change_and_remove_them(started, groups):
    found = started()
    coot, buttons = found.coot, found.shown[0][2]
    press = dict(buttons)
    before = len(atoms_of(coot.structure))
    number = next(i for i, g in enumerate(groups) if len(g["atoms"]) > 1)
    group, widget = groups[number], object()
    buttons[5 + number][1](widget)
    assert coot.centre == tuple(group["centre"])
    press["Occupancy 0"](widget)
    absent = [atom for atom in atoms_of(coot.structure) if atom.occ == 0]
    assert len(absent) >= len(group["atoms"])
    press["Occupancy as refined"](widget)
    for atom in group["atoms"]:
        assert coot._find(7, *atom)[1].occ == pytest.approx(group["occupancy"], abs=1e-6)
    press["Remove the atoms of the group"](widget)
    assert len(atoms_of(coot.structure)) == before - len(group["atoms"])
    press["Next group"](widget)
    assert coot.centre == tuple(groups[(number + 1) % len(groups)]["centre"])
    press["Previous group"](widget)
    assert coot.centre == tuple(group["centre"])


def test_groups_come_in_the_order_of_advice(run, groups):
    advice = read_run(run).advice
    wanted = list(dict.fromkeys(name for one in advice for name in one.groups))
    assert {"W/90/HOH", "W/91/HOH"} & set(wanted)
    assert len(wanted) > 1
    names = [g["name"] for g in groups]
    assert names[: len(wanted)] == wanted
    for group in groups:
        assert group["advice"] == [one.title for one in advice if group["name"] in one.groups]
    record = read_record(run / "result.json")
    assert sorted(names) == sorted(g.name for g in record.groups if g.refined)


def test_selections_and_addresses_name_the_atoms_of_the_group(run, groups):
    record = read_record(run / "result.json")
    members = {g.name: g.atom_indices for g in record.groups}
    structure = gemmi.read_structure(str(run / "refined.pdb"))
    serials = [int(line[6:11]) for line in (run / "refined.pdb").read_text().splitlines()
               if line.startswith(("ATOM", "HETATM"))]  # fmt: skip
    for group in groups:
        wanted = sorted(serials[i] for i in members[group["name"]])
        found = [
            site.atom.serial
            for cid in group["cids"]
            for model in gemmi.Selection(cid).models(structure)
            for chain in gemmi.Selection(cid).chains(model)
            for residue in gemmi.Selection(cid).residues(chain)
            for site in [SimpleNamespace(atom=a) for a in gemmi.Selection(cid).atoms(residue)]
        ]
        assert sorted(found) == wanted, group["cids"]
        assert len(group["atoms"]) == len(wanted)
        places = [atom.pos.tolist() for atom in atoms_of(structure) if atom.serial in wanted]
        assert np.abs(np.array(places) - group["centre"]).max(axis=1).min() < 0.001


def test_selections_are_those_of_coots_own_library(run, groups, tmp_path, monkeypatch):
    """Runs where the PyPI package ``coot-headless-api`` is installed."""
    chapi = pytest.importorskip("coot_headless_api")
    monkeypatch.chdir(tmp_path)  # it keeps its backups where it runs
    session = chapi.molecules_container_t(False)
    model = session.read_coordinates(str(run / "refined.pdb"))
    for group in groups:
        for cid in group["cids"]:
            session.set_occupancy(model, cid, 9.5)
        session.write_coordinates(model, str(tmp_path / "again.pdb"))
        structure = gemmi.read_structure(str(tmp_path / "again.pdb"))
        assert sum(atom.occ == 9.5 for atom in atoms_of(structure)) == len(group["atoms"])
        for cid in group["cids"]:
            session.set_occupancy(model, cid, 0.5)
