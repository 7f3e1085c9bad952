"""Faulty input and usage: exit status 2, one line that says what and where, nothing left behind."""

import gzip
import os
import subprocess
import sys
import tempfile

import gemmi
import numpy as np
import pytest

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
TEXT = b"These are notes, and no model and no data.\n"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working folder; temporary files go to a folder in it, so that strays are seen."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(command, place):
    """A function that calls the command line and checks all that holds for every refusal."""

    def check(*arguments, says):
        before = _tree(place)
        called = command(*arguments)
        assert called.status == 2, called
        assert called.out == ""
        assert called.err.count("\n") == 1, called.err
        assert called.err.startswith("multicopy-refine: ")
        assert "Traceback" not in called.err
        for words in says:
            assert words in called.err
        assert _tree(place) == before

    return check


def _tree(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


# ---------------------------------------------------------------------- the model


def _with_occupancy(pdb, text):
    """Return the PDB file with the occupancy of its first atom replaced."""
    lines = pdb.split(b"\n")
    first = next(i for i, line in enumerate(lines) if line.startswith(b"ATOM"))
    lines[first] = lines[first][:54] + text.rjust(6) + lines[first][60:]
    return b"\n".join(lines)


def _crystal(pdb, record):
    """Return the PDB file with another CRYST1 record."""
    lines = [line for line in pdb.split(b"\n") if not line.startswith(b"CRYST1")]
    return b"\n".join([record, *lines])


CELL = b"CRYST1   28.000   30.000   32.000  90.00  90.00  90.00 "
PDB_FAULTS = {
    "png": (lambda pdb: PNG, "neither a PDB nor an mmCIF file"),
    "empty": (lambda pdb: b"", "empty"),
    "blank": (lambda pdb: b" \n\n", "empty"),
    "text": (lambda pdb: TEXT, "neither a PDB nor an mmCIF file"),
    "mtz": (lambda pdb: b"MTZ " + bytes(200), "name a PDB or mmCIF model"),
    "no CRYST1": (lambda pdb: _crystal(pdb, b""), "no unit cell"),
    "placeholder cell": (
        lambda pdb: _crystal(
            pdb, b"CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1"
        ),
        "no unit cell",
    ),
    "no space group": (lambda pdb: _crystal(pdb, CELL), "no space group"),
    "unknown space group": (lambda pdb: _crystal(pdb, CELL + b"P 9 9 9"), "'P 9 9 9' is not known"),
    "no atoms": (lambda pdb: CELL + b"P 21 21 21    4\nEND\n", "no atoms"),
    "occupancy stars": (lambda pdb: _with_occupancy(pdb, b"****"), "occupancy '****' of atom A/1/"),
    "occupancy nan": (lambda pdb: _with_occupancy(pdb, b"nan"), "occupancy 'nan' of atom A/1/"),
    "occupancy inf": (lambda pdb: _with_occupancy(pdb, b"inf"), "occupancy 'inf' of atom A/1/"),
    "unknown element": (lambda pdb: pdb.replace(b"15.93           N", b"15.93          QQ", 1),
                        "unknown element of A/1/SER/N;"),
    "damaged gzip": (lambda pdb: gzip.compress(pdb)[:-30], "damaged gzip file"),
    "garbled gzip": (lambda pdb: gzip.compress(pdb)[:200] + bytes(300), "damaged gzip file"),
}  # fmt: skip


@pytest.mark.parametrize("fault", PDB_FAULTS)
def test_faulty_pdb_file(fault, demo, place, refused):
    spoil, says = PDB_FAULTS[fault]
    (place / "faulty.pdb").write_bytes(spoil((demo / "start.pdb").read_bytes()))
    refused("refine", "faulty.pdb", demo / "2.5.mtz", says=["faulty.pdb: ", says])


def _without(block, *categories):
    for category in categories:
        block.find_mmcif_category(category).erase()


def _set(block, tag, text):
    block.find_values(f"_atom_site.{tag}")[0] = text


CIF_FAULTS = {
    "no _cell": (lambda b: _without(b, "_cell."), "no unit cell"),
    "no space group": (lambda b: _without(b, "_symmetry.", "_space_group."), "no space group"),
    "unknown space group": (
        lambda b: b.set_pair("_symmetry.space_group_name_H-M", "'P 9 9 9'"), "P 9 9 9"),
    "no atoms": (lambda b: _without(b, "_atom_site."), "no atoms"),
    "occupancy abc": (lambda b: _set(b, "occupancy", "abc"), "occupancy 'abc' of atom A/1/SER/N"),
    "occupancy nan": (lambda b: _set(b, "occupancy", "nan"), "occupancy 'nan' of atom A/1/SER/N"),
    "unknown element": (lambda b: _set(b, "type_symbol", "QQ"), "unknown element of A/1/SER/N"),
    "coordinate": (lambda b: _set(b, "Cartn_x", "abc"), "A/1/SER/N"),
}  # fmt: skip


@pytest.mark.parametrize("fault", CIF_FAULTS)
def test_faulty_mmcif_file(fault, start_cif, demo, place, refused):
    spoil, says = CIF_FAULTS[fault]
    spoil(start_cif[0])
    start_cif.write_file("faulty.cif")
    refused("refine", "faulty.cif", demo / "2.5.mtz", says=["faulty.cif: ", says])


def test_broken_mmcif_syntax(start_cif, demo, place, refused):
    (place / "faulty.cif").write_text(start_cif.as_string()[:-20])
    refused("refine", "faulty.cif", demo / "2.5.mtz", says=["faulty.cif: not a readable mmCIF"])


def test_model_that_is_not_there(demo, refused):
    refused("refine", "none.pdb", demo / "2.5.mtz", says=["none.pdb: no such file"])
    refused("groups", "none.pdb", says=["none.pdb: no such file"])
    refused("simulate", "none.pdb", "--d-min", 3, "--out", "x.mtz", says=["none.pdb: no such file"])


def test_model_that_is_a_directory(demo, place, refused):
    (place / "folder.pdb").mkdir()
    refused("refine", "folder.pdb", demo / "2.5.mtz", says=["folder.pdb: is a directory"])


def test_occupancy_with_uncertainty_in_brackets_is_read(command, demo, start_cif, place):
    column = start_cif[0].find_values("_atom_site.occupancy")
    row = next(i for i, text in enumerate(column) if float(text) == 0.8)
    column[row] = "0.70(2)"
    start_cif.write_file("brackets.cif")
    called = command("groups", "brackets.cif", "--format", "json")
    assert called.status == 0
    assert '"occupancy": 0.7,' in called.out
    assert command("refine", "brackets.cif", demo / "2.5.mtz", "--quiet").status == 0


# ---------------------------------------------------------------------- the data


DATA_FAULTS = {
    "png": (lambda mtz: PNG, "neither an MTZ nor an SF-mmCIF"),
    "empty": (lambda mtz: b"", ""),
    "text": (lambda mtz: TEXT, "neither an MTZ nor an SF-mmCIF"),
    "cut in the header": (lambda mtz: mtz[:40], "damaged MTZ"),
    "cut in the data": (lambda mtz: mtz[: len(mtz) // 2], "damaged MTZ"),
    "cut in the column list": (lambda mtz: mtz[: mtz.index(b"COLUMN F ")], "damaged MTZ"),
    "damaged gzip": (lambda mtz: gzip.compress(mtz)[:-30], "damaged gzip file"),
    "cif without reflections": (lambda mtz: b"data_x\n_refln.nothing 1\n", ""),
    "broken cif": (lambda mtz: b"data_x\nloop_\n_refln.index_h\n_refln.index_k\n1\n",
                   "not a readable SF-mmCIF"),
}  # fmt: skip


@pytest.mark.parametrize("fault", DATA_FAULTS)
def test_faulty_data_file(fault, demo, place, refused):
    spoil, says = DATA_FAULTS[fault]
    (place / "faulty.mtz").write_bytes(spoil((demo / "2.5.mtz").read_bytes()))
    refused("refine", demo / "start.pdb", "faulty.mtz", says=["faulty.mtz: ", says])


def test_data_that_are_not_there(demo, refused):
    refused("refine", demo / "start.pdb", "none.mtz", says=["none.mtz: no such file"])


def test_data_that_are_a_directory(demo, place, refused):
    (place / "folder.mtz").mkdir()
    refused("refine", demo / "start.pdb", "folder.mtz", says=["folder.mtz: is a directory"])


def test_no_amplitude_column(demo, edited_mtz, refused):
    data = edited_mtz(columns={"F": None, "SIGF": None})
    refused("refine", demo / "start.pdb", data, says=["data.mtz: no column of amplitudes", "FreeR"])


def test_calculated_amplitudes_alone_are_not_observations(demo, edited_mtz, refused):
    mtz = gemmi.read_mtz_file(str(demo / "2.5.mtz"))
    f, sigma = np.array(mtz.column_with_label("F")), np.array(mtz.column_with_label("SIGF"))
    columns = {"F": None, "SIGF": None, "FC": ("F", f), "SIGFC": ("Q", sigma)}
    data = edited_mtz(columns=columns)
    refused("refine", demo / "start.pdb", data, says=["data.mtz: no column of amplitudes"])


def test_no_reflections_within_d_min(demo, refused):
    data = demo / "2.5.mtz"
    says = ["2.5.mtz: no reflections left", "50"]
    refused("refine", demo / "start.pdb", data, "--d-min", 50, says=says)


def test_no_positive_sigma(demo, edited_mtz, refused):
    n = gemmi.read_mtz_file(str(demo / "2.5.mtz")).nreflections
    data = edited_mtz(columns={"SIGF": ("Q", np.zeros(n))})
    refused("refine", demo / "start.pdb", data, says=["data.mtz: no reflections left"])


def test_all_reflections_free(demo, edited_mtz, refused):
    n = gemmi.read_mtz_file(str(demo / "2.5.mtz")).nreflections
    data = edited_mtz(columns={"FreeR_flag": ("I", np.zeros(n))})
    arguments = ("refine", demo / "start.pdb", data, "--free-value", 0)
    refused(*arguments, says=["data.mtz: no reflections left in the work set"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--labels", "FX,SIGFX"), "no column 'FX'"),
        (("--labels", "F"), "--labels takes a value and its sigma"),
        (("--labels", ""), ""),
        (("--free-label", "TEST"), "no free-flag column 'TEST'"),
        (("--free-value", "77"), "no reflection has free flag 77"),
    ],
)
def test_columns_that_are_not_there(options, says, demo, refused):
    data = demo / "2.5.mtz"
    refused("refine", demo / "start.pdb", data, *options, says=["2.5.mtz: ", says])


def test_damaged_mtz_names_no_temporary_file(command, demo, place):
    (place / "faulty.mtz").write_bytes((demo / "2.5.mtz").read_bytes()[:4000])
    called = command("refine", demo / "start.pdb", "faulty.mtz")
    assert "temporary" not in called.err


# ---------------------------------------------------------------------- model and data together


def test_other_cell(demo, edited_mtz, refused):
    data = edited_mtz(cell=(28 * 1.03, 30, 32, 90, 90, 90))
    says = ["cells of model and data differ by 3.0%", "28.84"]
    refused("refine", demo / "start.pdb", data, says=says)


def test_cell_within_two_percent_is_accepted(command, demo, edited_mtz, place):
    data = edited_mtz(cell=(28 * 1.01, 30, 32, 90, 90, 90))
    called = command("refine", demo / "start.pdb", data)
    assert called.status == 0
    assert "differ by 0.99%" in called.out or "differ by 1.00%" in called.out


def test_other_laue_symmetry(demo, edited_mtz, refused):
    data = edited_mtz(spacegroup="P 1 21 1")
    refused("refine", demo / "start.pdb", data, says=["symmetry", "P 21 21 21", "P 1 21 1"])


# ---------------------------------------------------------------------- output


@pytest.fixture
def used(place):
    """A folder that holds somebody's file."""
    (place / "used").mkdir()
    (place / "used" / "notes.txt").write_text("mine")
    return place / "used"


def test_folder_in_use_is_refused(demo, used, refused):
    arguments = ("refine", demo / "start.pdb", demo / "2.5.mtz", "--out", "used")
    refused(*arguments, says=["used: ", "in use", "--overwrite"])


def test_folder_in_use_is_accepted_with_overwrite(command, demo, used):
    inputs = (demo / "start.pdb", demo / "2.5.mtz")
    called = command("refine", *inputs, "--out", "used", "--overwrite", "--quiet")
    assert (called.status, called.out, called.err) == (0, "", "")
    assert (used / "notes.txt").read_text() == "mine"
    assert (used / "result.json").is_file()


def test_a_report_of_an_earlier_run_does_not_stay(command, demo, used):
    inputs = (demo / "start.pdb", demo / "2.5.mtz")
    command("refine", *inputs, "--out", "used", "--overwrite", "--quiet")
    assert (used / "report.html").is_file()
    called = command("refine", *inputs, "--out", "used", "--overwrite", "--no-report")
    assert called.status == 0
    assert not (used / "report.html").exists()
    assert "report.html" not in called.out
    assert (used / "notes.txt").read_text() == "mine"


def test_empty_folder_is_accepted(command, demo, place):
    (place / "empty").mkdir()
    inputs = (demo / "start.pdb", demo / "2.5.mtz")
    assert command("refine", *inputs, "--out", "empty", "--quiet").status == 0
    assert (place / "empty" / "result.json").is_file()


def test_output_path_that_is_a_file(demo, place, refused):
    (place / "taken").write_text("mine")
    inputs = (demo / "start.pdb", demo / "2.5.mtz")
    refused("refine", *inputs, "--out", "taken", says=["taken: is a file"])
    refused("refine", *inputs, "--out", "taken/below", says=["taken", "not a folder"])


def test_failed_run_leaves_a_folder_in_use_as_it_was(demo, used, refused):
    arguments = ("refine", demo / "start.pdb", "none.mtz", "--out", "used", "--overwrite")
    refused(*arguments, says=["none.mtz: no such file"])


def test_simulate_does_not_replace_a_file(demo, place, refused):
    (place / "x.mtz").write_text("mine")
    arguments = ("simulate", demo / "truth.pdb", "--d-min", 3, "--out", "x.mtz")
    refused(*arguments, says=["x.mtz: the file is there already"])


def test_output_in_a_folder_that_is_not_there(demo, refused):
    says = ["nowhere", "does not exist"]
    refused("groups", demo / "start.pdb", "--output", "nowhere/groups.json", says=says)
    arguments = ("simulate", demo / "truth.pdb", "--d-min", 3, "--out", "nowhere/x.mtz")
    refused(*arguments, says=says)


@pytest.mark.parametrize("name", ["refined.pdb", "refined.mtz"])
def test_input_in_the_output_folder_is_never_replaced(name, command, demo, used):
    inputs = {"refined.pdb": demo / "start.pdb", "refined.mtz": demo / "2.5.mtz"}
    content = inputs[name].read_bytes()
    (used / name).write_bytes(content)
    inputs[name] = used / name
    command("refine", *inputs.values(), "--out", used, "--overwrite", "--quiet")
    assert (used / name).read_bytes() == content


def test_groups_do_not_replace_the_model(command, demo, place):
    content = (demo / "start.pdb").read_bytes()
    (place / "model.pdb").write_bytes(content)
    command("groups", "model.pdb", "--format", "json", "--output", "model.pdb")
    assert (place / "model.pdb").read_bytes() == content


# ---------------------------------------------------------------------- usage


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("fly",), "fly"),
        (("refine",), "MODEL"),
        (("refine", "MODEL"), "DATA"),
        (("refine", "MODEL", "DATA", "more"), "more"),
        (("refine", "MODEL", "DATA", "--faster"), "--faster"),
        (("refine", "MODEL", "DATA", "--target", "best"), "--target"),
        (("refine", "MODEL", "DATA", "--grouping", "chain"), "--grouping"),
        (("refine", "MODEL", "DATA", "--parameters", "charge"), "--parameters"),
        (("refine", "MODEL", "DATA", "--d-min", "high"), "--d-min"),
        (("refine", "MODEL", "DATA", "--d-min", "-2"), "--d-min"),
        (("refine", "MODEL", "DATA", "--threads", "0"), "--threads"),
        (("refine", "MODEL", "DATA", "--free-value", "x"), "--free-value"),
        (("groups", "MODEL", "--format", "xml"), "--format"),
        (("simulate", "MODEL", "--d-min", "3"), "--out"),
        (("simulate", "MODEL", "--d-min", "0", "--out", "x.mtz"), "resolution"),
        (("simulate", "MODEL", "--d-min", "nan", "--out", "x.mtz"), "resolution"),
        (("simulate", "MODEL", "--d-min", "100", "--out", "x.mtz"), "no reflections within"),
        (("simulate", "MODEL", "--d-min", "3", "--noise", "-1", "--out", "x.mtz"), "noise"),
    ],
)
def test_wrong_usage(arguments, says, demo, refused):
    inputs = {"MODEL": demo / "start.pdb", "DATA": demo / "2.5.mtz"}
    refused(*(inputs.get(a, a) for a in arguments), says=[says])


def test_fault_of_the_program_is_one_line_and_status_1(command, demo, place, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("out of luck")

    monkeypatch.setattr("multicopy_refinement.run.pipeline.refine", fail)
    before = _tree(place)
    called = command("refine", demo / "start.pdb", demo / "2.5.mtz")
    assert called.status == 1
    assert called.err.count("\n") == 1
    assert "out of luck" in called.err
    assert called.out == ""
    assert _tree(place) == before


# ---------------------------------------------------------------------- a process of its own


def _process(*arguments):
    line = [sys.executable, "-m", "multicopy_refinement", *(str(a) for a in arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_process_that_fails(place):
    done = _process("refine", "none.pdb", "none.mtz")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "multicopy-refine: none.pdb: no such file\n"


@pytest.mark.alone
def test_help_is_fast_and_loads_no_torch(place):
    code = (
        "import sys\n"
        "from multicopy_refinement.cli.main import main\n"
        "try:\n    main()\n"
        "finally:\n    print(sorted({'torch', 'numba', 'gemmi', 'pandas'} & set(sys.modules)),"
        " file=sys.stderr)\n"
    )
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-c", code, "refine", "--help"], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    after = os.times()  # of the processor: the clock counts what others do as well
    spent = after.children_user + after.children_system
    assert spent - before.children_user - before.children_system < 1
    assert done.returncode == 0
    assert "--d-min" in done.stdout
    assert done.stderr == "[]\n"
