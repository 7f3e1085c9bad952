"""Occupancies by neutrons, electrons and X-rays near an edge; the truth is made by gemmi alone."""

import json

import gemmi
import numpy as np
import pytest

import gemmi_truth
from multicopy_refinement import Model, refine
from multicopy_refinement.modes import Radiation
from multicopy_refinement.refinement.options import RefineOptions

#: k_sol of water for electrons and X-rays, of 40% D2O for neutrons; and of H2O.
K_SOL = {Radiation.XRAY: 0.35, Radiation.ELECTRON: 0.1, Radiation.NEUTRON: 0.22}
OF_H2O = -0.056
#: f' of zinc at its edge, and its occupancy.
F_PRIME, ZINC = -6.9, 0.6
D_MIN = 1.8
#: Longer than that of the demonstration, which has no room for a ligand clear of its mates, in A.
CELL = (28.0, 30.0, 40.0)
#: Parts of D of exchanged sites.
LEVELS = (0.3, 0.75, 0.5, 0.2, 0.9)


def truth(demo, *, exchanged=False, zinc=False):
    """Return the demonstration crystal with sulfates, and with amides exchanged, or a zinc."""
    structure = gemmi.read_structure(str(demo / "truth.pdb"))
    structure.cell = gemmi.UnitCell(*CELL, 90, 90, 90)
    structure.setup_cell_images()
    chain = gemmi.Chain("Z")
    for number, (place, q) in enumerate(zip(_places(structure, 3), (0.4, 0.7, ZINC), strict=True)):
        if number == 2 and not zinc:
            continue
        residue = gemmi.Residue()
        residue.name, residue.seqid = "ZN" if number == 2 else "SO4", gemmi.SeqId(str(number + 1))
        residue.het_flag = "H"
        corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 1.49 / 3**0.5
        if number == 2:
            atoms = [("ZN", "Zn", place)]
        else:
            atoms = [("S", "S", place)]
            atoms += [(f"O{i + 1}", "O", place + c) for i, c in enumerate(corners)]
        for name, element, xyz in atoms:
            residue.add_atom(_atom(name, element, xyz, q, 20.0))
        chain.add_residue(residue)
    structure[0].add_chain(chain)
    if exchanged:
        _exchange(structure[0]["A"])
    return structure


def _atom(name, element, xyz, occupancy, b_iso, altloc="\0"):
    atom = gemmi.Atom()
    atom.name, atom.element, atom.pos = name, gemmi.Element(element), gemmi.Position(*xyz)
    atom.occ, atom.b_iso, atom.altloc = occupancy, b_iso, altloc
    return atom


def _places(structure, n):
    """Return places in the solvent that are near the model, and far from each other."""
    random, found = np.random.default_rng(3), []
    search = gemmi.NeighborSearch(structure[0], structure.cell, 8.0).populate()
    while len(found) < n:
        place = structure.cell.orthogonalize(gemmi.Fractional(*random.uniform(0, 1, 3)))
        apart = all(structure.cell.find_nearest_pbc_image(place, o, 0).dist() > 8 for o in found)
        if apart and 4.5 < gemmi_truth.nearest(search, structure, [place]) < 5.5:
            found.append(place)
    return [np.array(place.tolist()) for place in found]


def _exchange(chain):
    """Put H and D on the amides, 1.01 A from N, of which a part is D."""
    for number, (before, residue) in enumerate(zip(chain, list(chain)[1:], strict=False)):
        if residue.name == "PRO" or not all(n in residue for n in ("N", "CA")):
            continue
        n, ca, c = (
            np.array(r[name][0].pos.tolist())
            for r, name in ((residue, "N"), (residue, "CA"), (before, "C"))
        )
        away = (n - ca) / np.linalg.norm(n - ca) + (n - c) / np.linalg.norm(n - c)
        xyz = n + 1.01 * away / np.linalg.norm(away)
        q, b = LEVELS[number % len(LEVELS)], 1.2 * residue["N"][0].b_iso
        residue.add_atom(_atom("H", "H", xyz, round(1 - q, 2), b, "A"))
        residue.add_atom(_atom("D", "D", xyz, q, b, "B"))


def write(folder, structure, radiation, *, k_sol=None, f_prime=0.0):
    """Write what refinement starts from, and data of the truth: gemmi's sums and masks."""
    kinds = {
        Radiation.XRAY: gemmi.StructureFactorCalculatorX,
        Radiation.ELECTRON: gemmi.StructureFactorCalculatorE,
        Radiation.NEUTRON: gemmi.StructureFactorCalculatorN,
    }
    calculator = kinds[radiation](structure.cell)
    if f_prime:
        calculator.addends.set(gemmi.Element("Zn"), f_prime)
    structure.setup_cell_images()
    group = gemmi.SpaceGroup(structure.spacegroup_hm)
    hkl = gemmi.make_miller_array(structure.cell, group, D_MIN, 100.0)
    f = np.array([calculator.calculate_sf_from_model(structure[0], h) for h in hkl.tolist()])
    s_squared = np.asarray(structure.cell.calculate_1_d2_array(hkl))
    grid = gemmi_truth.solvent(structure)
    mask = gemmi.transform_map_to_f_phi(grid, half_l=True).get_value_by_hkl(hkl)
    k_sol = K_SOL[radiation] if k_sol is None else k_sol
    total = np.abs(f + k_sol * np.exp(-46 * s_squared / 4) * mask)
    data = gemmi_truth.observe(hkl, total, s_squared, seed=1)
    gemmi_truth.write_mtz(folder / "data.mtz", structure, data)
    start = structure.clone()
    for site in start[0].all():
        if site.atom.occ < 1:
            site.atom.occ = 0.5
    start.write_pdb(str(folder / "start.pdb"))
    structure.write_pdb(str(folder / "known.pdb"))
    return folder / "start.pdb", folder / "data.mtz"


def deviations(folder, solution):
    """Return (q - truth)/su by the names of the groups, and the occupancies."""
    known = Model(folder / "known.pdb").table.occupancy
    groups = solution.groups
    found = {}
    for g in np.flatnonzero(groups.refined).tolist():
        expected = known[groups.members[g]].mean()
        if 0 < expected < 1 and np.isfinite(solution.su[g]):
            z = (solution.occupancy[g] - expected) / solution.su[g]
            found[groups.names[g]] = (float(z), float(solution.occupancy[g]))
    return found


def assert_known(found, *, at_least):
    z = np.array([z for z, _ in found.values()])
    assert len(z) >= at_least
    assert np.abs(z).max() < 3.5, found
    # 1.17 over five seeds by electrons, 1.13 by X-rays, 1.19 by neutrons
    assert 0.6 < np.sqrt(np.mean(z**2)) < 1.5, found


#: Coordinates and B are those of the truth: the su is that of errors of the data alone.
OPTIONS = {"decoys": 0, "uncertainty": "conditional"}


@pytest.mark.parametrize("k_sol", [K_SOL[Radiation.NEUTRON], OF_H2O], ids=["D2O", "H2O"])
def test_exchange_is_known_by_neutrons(k_sol, demo, tmp_path):
    structure = truth(demo, exchanged=True)
    model, data = write(tmp_path, structure, Radiation.NEUTRON, k_sol=k_sol)
    solution = refine(model, data, RefineOptions(radiation="neutron", **OPTIONS))
    found = deviations(tmp_path, solution)
    assert_known(found, at_least=40)
    assert sum(name.startswith("A/") for name in found) > 30
    assert solution.experiment.scale.k_sol == pytest.approx(k_sol, abs=0.03)
    assert solution.final.r_work < 0.04
    known = Model(tmp_path / "known.pdb").table
    of_d = {
        known.residue_label(a): known.occupancy[a] for a in np.flatnonzero(known.element == b"D")
    }
    # one residue has conformers, of which the letters of H and D are one each
    assert len(solution.exchange) == len(of_d) - 1 > 20
    for one in solution.exchange:
        assert (one.site, one.parent) == ("D", "N")
        assert one.fraction == pytest.approx(solution.occupancy[one.groups[1]], abs=1e-9)
        assert abs(one.fraction - of_d[one.residue]) < 3.5 * one.su


def test_exchange_is_a_table(demo, tmp_path, command):
    model, data = write(tmp_path, truth(demo, exchanged=True), Radiation.NEUTRON)
    text = model.read_text().splitlines()
    dropped = next(i for i, line in enumerate(text) if line[76:78].strip() == "H")
    name = f"A/{int(text[dropped][22:26])}/{text[dropped][17:20]}"
    alone = tmp_path / "alone.pdb"
    alone.write_text("\n".join(text[:dropped] + text[dropped + 1 :]) + "\n")
    listed = command("groups", alone)
    assert "Exchangeable sites with H or D alone: 3 (" in listed.out
    assert f"({name}/D:B, A/27/ARG/H:A, A/27/ARG/D:B)" in listed.out
    out = tmp_path / "run"
    called = command("refine", model, data, "--radiation", "neutron", "--d-min", 2.6, "--decoys", 0,
                     "--out", out)  # fmt: skip
    assert called.status == 0, called.err
    assert "Exchange: part of D" in called.out
    sites = json.loads((out / "result.json").read_text())["exchange"]
    assert len(sites) > 20
    assert {"residue", "site", "parent", "fraction_d", "su", "groups"} <= sites[0].keys()
    assert f"{sites[-1]['fraction_d']:.1f}"[:2] in (out / "run.log").read_text()
    page = (out / "report.html").read_text()
    assert "Exchange of H and D" in page
    assert page.count('<th scope="row">A/') >= len({one["residue"] for one in sites})


def test_all_of_it_is_refined_by_neutrons(demo, tmp_path):
    """Coordinates and B, too, from where they are right: nothing is drawn away."""
    model, data = write(tmp_path, truth(demo, exchanged=True), Radiation.NEUTRON)
    options = {"parameters": "occupancy,xyz,b_iso", "max_cycles": 2, "uncertainty": "none"}
    solution = refine(model, data, RefineOptions(radiation="neutron", decoys=0, **options))
    assert solution.final.r_work < 0.03
    assert np.sqrt(np.mean(solution.relaxation.shift**2)) < 0.1


def test_waters_and_sulfates_are_known_by_electrons(demo, tmp_path):
    model, data = write(tmp_path, truth(demo), Radiation.ELECTRON)
    solution = refine(model, data, RefineOptions(radiation="electron", **OPTIONS))
    found = deviations(tmp_path, solution)
    assert_known(found, at_least=15)
    assert {"Z/1/SO4", "Z/2/SO4", "W/8/HOH"} <= set(found)
    assert solution.experiment.scale.k_sol == pytest.approx(0.1, rel=0.25)


def test_a_zinc_at_its_edge(demo, tmp_path, command):
    model, data = write(tmp_path, truth(demo, zinc=True), Radiation.XRAY, f_prime=F_PRIME)
    out = tmp_path / "with"
    called = command("refine", model, data, "--f-prime", f"Zn={F_PRIME}", "--decoys", 0,
                     "--uncertainty", "conditional", "--out", out, "--no-report")  # fmt: skip
    assert called.status == 0, called.err
    assert "Radiation: X-rays; f' ZN -6.90 e" in called.out
    record = json.loads((out / "result.json").read_text())
    assert record["data"]["f_prime"] == {"ZN": F_PRIME}
    assert "radiation: X-rays; f' ZN -6.90 e" in (out / "run.log").read_text()
    (zinc,) = [g for g in record["groups"] if g["name"] == "Z/3/ZN"]
    assert abs(zinc["occupancy"] - ZINC) < 3 * zinc["su"]
    plain = refine(model, data, RefineOptions(**OPTIONS))
    place = plain.groups.names.index("Z/3/ZN")
    assert plain.occupancy[place] == pytest.approx(ZINC * (30 + F_PRIME) / 30, abs=0.04)
    assert ZINC - plain.occupancy[place] > 5 * plain.su[place]


def test_the_kind_is_found_and_kept(demo, tmp_path, command):
    """From the method of the file to the run, what it writes, and the commands that read it."""
    model, data = write(tmp_path, truth(demo), Radiation.NEUTRON)
    model.write_text(f"EXPDTA    NEUTRON DIFFRACTION\n{model.read_text()}")
    out = tmp_path / "run"
    called = command("refine", model, data, "--d-min", 2.6, "--decoys", 0, "--out", out)
    assert called.status == 0, called.err
    assert "Radiation: neutrons" in called.out
    record = json.loads((out / "result.json").read_text())
    assert record["data"]["radiation"] == "neutron"
    assert "fm/A^3" in (out / "run.log").read_text()
    assert "RADIATION: NEUTRONS" in (out / "refined.pdb").read_text()
    block = gemmi.cif.read(str(out / "refined.cif"))[0]
    assert gemmi.cif.as_string(block.find_value("_refine.pdbx_refine_id")) == "NEUTRON DIFFRACTION"
    reflections = gemmi.cif.read(str(out / "refined-sf.cif"))[0]
    assert reflections.find_value("_diffrn_radiation.pdbx_scattering_type") == "neutron"
    assert "neutrons" in (out / "report.html").read_text()
    # its own reflections, pruning and comparison go on with neutrons
    again = command("refine", out / "refined.pdb", out / "refined-sf.cif", "--decoys", 0,
                    "--no-report", "--out", tmp_path / "again")  # fmt: skip
    assert again.status == 0, again.err
    other = json.loads((tmp_path / "again" / "result.json").read_text())
    assert other["statistics"]["final"]["r_work"] == pytest.approx(
        record["statistics"]["final"]["r_work"], abs=2e-3
    )
    pruned = command("prune", out, "--out", tmp_path / "pruned", "--no-report")
    assert pruned.status == 0, pruned.err
    smaller = json.loads((tmp_path / "pruned" / "result.json").read_text())
    assert smaller["data"]["radiation"] == "neutron"
    assert smaller["statistics"]["final"]["r_work"] < 0.04
    compared = command("compare", out, model)
    assert compared.status == 0, compared.err
    refused = command("refine", out / "refined.pdb", out / "refined-sf.cif", "--radiation", "xray",
                      "--out", tmp_path / "no")  # fmt: skip
    assert refused.status == 2
    assert "measured with neutrons" in refused.err
    assert not (tmp_path / "no").exists()


def test_the_wavelength_of_the_data_gives_f_prime(demo, tmp_path, command):
    structure = truth(demo, zinc=True)
    model, data = write(tmp_path, structure, Radiation.XRAY, f_prime=F_PRIME)
    mtz = gemmi.read_mtz_file(str(data))
    for one in mtz.datasets:
        one.wavelength = 1.28
    mtz.write_to_file(str(data))
    solution = refine(model, data, RefineOptions(decoys=0))
    beam = solution.experiment.model.beam
    assert beam.wavelength == pytest.approx(1.28)
    energy = gemmi.hc / 1.28
    expected = {s: gemmi.cromer_liberman(z=gemmi.Element(s).atomic_number, energy=energy)[0]
                for s in ("C", "N", "O", "S", "ZN")}  # fmt: skip
    assert dict(beam.f_prime) == pytest.approx(expected, abs=1e-3)
    (notice,) = [n for n in solution.experiment.model.notices if n.code == "f_prime"]
    assert "at 1.28 A (of the reflections' file)" in notice.message
    assert "ZN -5.44" in notice.message
    none = Model(model).measured_with(f_prime=["none"], of_data=1.28)
    assert none.beam.f_prime == ()
    out = tmp_path / "out"
    called = command("refine", model, data, "--f-prime", "Zn=-6.9,0.5", "--f-prime", "S=0",
                     "--decoys", 0, "--no-report", "--out", out)  # fmt: skip
    assert called.status == 0, called.err
    little = {s: pytest.approx(expected[s], abs=1e-3) for s in ("C", "N", "O")}
    used = json.loads((out / "result.json").read_text())["data"]["f_prime"]
    assert used == {"ZN": -6.9, **little}
    assert gemmi.read_mtz_file(str(out / "refined.mtz")).datasets[1].wavelength == pytest.approx(
        1.28
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--f-prime", "Zn"), "--f-prime: 'Zn' is not an element with its f'"),
        (("--f-prime", "Qq=-1"), "--f-prime: 'Qq=-1' is not an element"),
        (("--wavelength", "0"), "--wavelength: input should be greater than or equal to 0.1"),
        (("--radiation", "neutron", "--wavelength", "1"), "--wavelength: f' is of X-rays"),
        (("--radiation", "electron", "--f-prime", "Zn=1"), "--f-prime: f' is of X-rays"),
    ],
)
def test_bad_options_are_one_line(options, words, demo, tmp_path, command):
    called = command("refine", demo / "start.pdb", demo / "2.5.mtz", *options, "--out",
                     tmp_path / "no")  # fmt: skip
    assert called.status == 2
    assert words in called.err
    assert called.err.count("\n") == 1
    assert not (tmp_path / "no").exists()


def test_ions_are_named_for_electrons(demo, tmp_path):
    structure = truth(demo, zinc=True)
    structure[0]["Z"]["3"][0]["ZN"][0].charge = 2
    structure.write_pdb(str(tmp_path / "m.pdb"))
    (notice,) = [n for n in Model(tmp_path / "m.pdb", radiation="electron").notices
                 if n.code == "neutral_factors"]  # fmt: skip
    assert "Z/3/ZN" in notice.message
    assert "+2" in notice.message
    plain = Model(tmp_path / "m.pdb")
    assert not any(n.code == "neutral_factors" for n in plain.notices)


def test_a_simulation_has_its_radiation(demo, tmp_path, command):
    out = tmp_path / "n.mtz"
    called = command("simulate", demo / "truth.pdb", "--d-min", 3, "--radiation", "neutron",
                     "--noise", 0, "--out", out)  # fmt: skip
    assert called.status == 0, called.err
    assert "neutrons" in called.err
    zinc = tmp_path / "x.mtz"
    called = command("simulate", demo / "truth.pdb", "--d-min", 3, "--wavelength", 1.5418, "--out",
                     zinc)  # fmt: skip
    assert called.status == 0, called.err
    assert "X-rays of 1.5418 A; f' S +0.33 e" in " ".join(called.err.split())
    assert gemmi.read_mtz_file(str(zinc)).datasets[1].wavelength == pytest.approx(1.5418)
    checked = command("check", demo / "truth.pdb", out, "--radiation", "neutron")
    assert checked.status in {0, 1}
    assert "Traceback" not in checked.err
