"""Tables of campaigns: every fault is named with its row before anything runs."""

from pathlib import Path

import pytest

from multicopy_refinement.campaign.find import in_folders, in_pandda, is_events
from multicopy_refinement.campaign.table import OPTIONS, data_sets, read_table, write_table
from multicopy_refinement.cli.campaign import sets_of
from multicopy_refinement.errors import InputError
from multicopy_refinement.run.job import RefineJob


@pytest.fixture
def folder(tmp_path):
    for name in ("m.pdb", "d.mtz", "r.toml", "a.cif", "b.cif"):
        (tmp_path / name).touch()
    return tmp_path


def read(folder, text, **options):
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    columns, rows = read_table(path)
    return data_sets(path, columns, rows, folder=folder, **options)


def test_columns_are_options_and_paths_begin_where_the_table_is(folder):
    one, two = read(
        folder,
        "Name,model,data,max-cycles,--hold,rules,restraints,ligands,#compound\n"
        'x1,m.pdb,d.mtz,12,"//A/5/CA,CB:A; A/7",r.toml,a.cif;b.cif,true,"C1, ours"\n'
        f"x2,{folder / 'm.pdb'},d.mtz,,,,,,\n\n",
    )
    assert (one.name, two.name) == ("x1", "x2")
    assert one.job == RefineJob(
        model=folder / "m.pdb", data=folder / "d.mtz", max_cycles=12,
        hold=("//A/5/CA,CB:A", "A/7"), rules=folder / "r.toml",
        restraints=(folder / "a.cif", folder / "b.cif"), ligands=True,
    )  # fmt: skip
    assert two.job == RefineJob(model=folder / "m.pdb", data=folder / "d.mtz")


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_and_a_byte_order_mark(folder, delimiter):
    text = "\ufeff" + "name,model,data,labels\nx1,m.pdb,d.mtz,F\n".replace(",", delimiter)
    (one,) = read(folder, text)
    assert one.job.labels == ("F",)


def test_a_switch_may_be_named_as_it_is_turned_off(folder):
    for column in ("no_report", "no-report", "--no-report"):
        sets = read(
            folder,
            f"name,model,data,{column}\na,m.pdb,d.mtz,true\nb,m.pdb,d.mtz,no\nc,m.pdb,d.mtz,\n",
        )
        assert [one.job.report for one in sets] == [False, True, True]
    with pytest.raises(InputError, match=r"row 2: --report: .*'perhaps'"):
        read(folder, "name,model,data,no_report\na,m.pdb,d.mtz,perhaps\n")
    with pytest.raises(InputError, match="no option is called as the column 'no_hold'"):
        read(folder, "name,model,data,no_hold\na,m.pdb,d.mtz,x\n")
    with pytest.raises(InputError, match="no option is called as the column 'no_no_restraints'"):
        read(folder, "name,model,data,no_no_restraints\na,m.pdb,d.mtz,x\n")


def test_options_of_all_data_sets_are_overruled_by_rows(folder):
    text = "name,model,data,ligands,d_min\nx1,m.pdb,d.mtz,,\nx2,m.pdb,d.mtz,no,2.5\n"
    one, two = read(folder, text, common={"ligands": True, "d_min": 1.5})
    assert (one.job.ligands, one.job.d_min) == (True, 1.5)
    assert (two.job.ligands, two.job.d_min) == (False, 2.5)


def test_all_faults_are_named_at_once_with_their_rows(folder):
    with pytest.raises(InputError) as fault:
        read(
            folder,
            "name,model,data,max_cycles,tolerance,rules\n"
            "x1,m.pdb,d.mtz,0,soon,\n"
            "X1,m.pdb,d.mtz,,,\n"
            "\n"
            "a/b,,none.mtz,,,\n"
            "x4,m.pdb,other.mtz,,,no.toml\n",
        )
    text = str(fault.value)
    assert "\n" not in text
    assert "8 faults, nothing was run" in text
    for says in (
        "row 2: --max-cycles: input should be greater than or equal to 1, not '0'",
        "row 2: --tolerance: input should be a valid number",
        "row 3: the name 'X1' is there already (row 2)",
        "row 5: 'a/b' cannot name a folder",
        "row 5: no model",
        f"row 5: data {folder / 'none.mtz'}: no such file",
        f"row 6: data {folder / 'other.mtz'}: no such file",
        f"row 6: rules {folder / 'no.toml'}: no such file",
    ):
        assert says in text, says


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the first row has to name the columns: name, model, data"),
        ("name,model\nx,m.pdb\n", "there is no column 'data'"),
        ("name,model,data,max_cycels\nx,m.pdb,d.mtz,3\n", "nearest: max_cycles"),
        ("name,model,data,out\nx,m.pdb,d.mtz,there\n", "no option is called as the column 'out'"),
        ("name,model,data,compound\nx,m.pdb,d.mtz,C\n", "put # before the names of your own"),
        ("name,model,data,data\nx,m.pdb,d.mtz,d.mtz\n", "the column 'data' is there twice"),
        ("name,model,data\nx,m.pdb,d.mtz,more\n", "row 2 has more fields than the 3 columns"),
        ("name,model,data\n", "there are no data sets"),
        ("name,model,data\n,m.pdb,d.mtz\n", "row 2: there is no name"),
    ],
)
def test_tables_that_cannot_be(folder, text, says):
    with pytest.raises(InputError) as fault:
        read(folder, text)
    assert says in str(fault.value)


def test_a_table_of_many_faults_is_told_in_part(folder):
    with pytest.raises(InputError, match=r"30 faults.* and 10 more$"):
        read(folder, "name,model,data\n" + "".join(f"x{k},m.pdb,no\n" for k in range(30)))


def test_a_table_that_is_no_text(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"t\.csv: cannot be read as text"):
        read_table(tmp_path / "t.csv")
    with pytest.raises(InputError, match="cannot be read as text"):
        read_table(tmp_path / "none.csv")


def test_a_written_table_makes_the_same_jobs_elsewhere(folder, tmp_path_factory):
    sets = read(
        folder,
        "name,model,data,parameters,refine,report,d_min,labels\n"
        'x1,m.pdb,d.mtz,"occupancy,b_group","A/5;A/6",false,2.1,"F,SIGF"\n'
        "x2,m.pdb,d.mtz,,,,,\n",
        common={"ligands": True},
    )
    there = tmp_path_factory.mktemp("there") / "table.csv"
    write_table(there, sets)
    columns, rows = read_table(there)
    assert set(columns) <= {"name", "model", "data", *OPTIONS}
    assert data_sets(there, columns, rows, folder=there.parent) == sets


def test_folders_make_a_table(tmp_path, monkeypatch):
    for name in ("x1", "x2", "x10"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "refine.pdb").touch()
        (tmp_path / name / f"{name}.free.mtz").touch()
    monkeypatch.chdir(tmp_path)
    rows = in_folders("*/refine.pdb", "*.free.mtz")
    assert [row.values["name"] for row in rows] == ["x1", "x10", "x2"]
    assert rows[0].values["data"] == "x1/x1.free.mtz"
    assert rows == in_folders("**/refine.pdb", "{name}.free.mtz")
    absolute = in_folders(str(tmp_path / "*" / "refine.pdb"), "*.mtz", only=["x2"])
    assert [row.values["model"] for row in absolute] == [str(tmp_path / "x2" / "refine.pdb")]
    (tmp_path / "x1" / "second.free.mtz").touch()
    (tmp_path / "x2" / "x2.free.mtz").unlink()
    with pytest.raises(InputError) as fault:
        in_folders("*/refine.pdb", "*.free.mtz")
    assert "x1/refine.pdb: 2 files of data" in str(fault.value)
    assert "x2/refine.pdb: no data" in str(fault.value)
    with pytest.raises(InputError, match="x9: no model"):
        in_folders("*/refine.pdb", "{name}.free.mtz", only=["x1", "x9"])
    with pytest.raises(InputError, match="no file has such a name"):
        in_folders("*/model.cif", "*.mtz")


def pandda(folder: Path, *, placed="Ligand Placed"):
    """Write what PanDDA leaves of two hits, one of them with two events, and of another."""
    table = folder / "analyses" / "pandda_inspect_events.csv"
    table.parent.mkdir()
    table.write_text(
        f"dtag,event_idx,site_idx,z_peak,Interesting,{placed},Ligand Confidence,Comment\n"
        "p-x1,1,1,5.1,True,True,High,None\np-x1,2,3,4.0,True,True,Low,None\n"
        "p-x2,1,1,4.4,False,False,Low,None\np-x3,1,1,6.0,True,True,High,None\n"
    )
    for name, model in (("p-x1", "ensemble"), ("p-x3", "pandda")):
        built = folder / "processed_datasets" / name / "modelled_structures"
        built.mkdir(parents=True)
        (built / f"{name}-{model}-model.pdb").touch()
        (built / f"{name}-pandda-model.pdb").touch()
        (built.parent / f"{name}-pandda-input.mtz").touch()
    return table


def test_hits_of_pandda_make_a_table(tmp_path):
    table = pandda(tmp_path)
    columns, rows = read_table(table)
    assert is_events(columns)
    made = in_pandda(table, rows)
    assert [row.values["name"] for row in made] == ["p-x1", "p-x3"]
    models = [Path(row.values["model"]).name for row in made]
    assert models == ["p-x1-ensemble-model.pdb", "p-x3-pandda-model.pdb"]
    assert Path(made[0].values["data"]).name == "p-x1-pandda-input.mtz"
    Path(made[0].values["data"]).unlink()
    with pytest.raises(InputError, match=r"p-x1-pandda-input\.mtz: no such file"):
        in_pandda(table, rows)


def test_events_that_nobody_has_inspected_are_refused(tmp_path):
    table = pandda(tmp_path, placed="Viewed")
    with pytest.raises(InputError, match=r"no column 'Ligand Placed'; pandda\.inspect writes it"):
        in_pandda(table, read_table(table)[1])


def test_the_command_line_takes_tables_folders_and_events(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("p-x1", "p-x3", "p-x7"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "refine.pdb").touch()
        (tmp_path / name / f"{name}.free.mtz").touch()
    (tmp_path / "rules.toml").touch()
    given = {"ligands": True, "rules": Path("rules.toml"), "hold": [], "max_iterations": 60}
    pattern = ("*/refine.pdb", "{name}.free.mtz")
    found = sets_of(None, *pattern, tmp_path / "out", given)
    assert [one.name for one in found] == ["p-x1", "p-x3", "p-x7"]
    assert found[0].job == RefineJob(
        model=tmp_path / "p-x1" / "refine.pdb", data=tmp_path / "p-x1" / "p-x1.free.mtz",
        ligands=True, rules=tmp_path / "rules.toml",
    )  # fmt: skip
    events = pandda(tmp_path)
    hits = sets_of(events, *pattern, tmp_path / "out", {})
    assert [one.name for one in hits] == ["p-x1", "p-x3"]
    assert hits[0].job.model == tmp_path / "p-x1" / "refine.pdb"
    alone = sets_of(events, None, None, tmp_path / "out", {})
    assert alone[1].job.model.name == "p-x3-pandda-model.pdb"
    (tmp_path / "out").mkdir()
    write_table(tmp_path / "out" / "table.csv", found)
    assert sets_of(None, None, None, tmp_path / "out", {}) == found
