"""The table of a series: what it must have, and how its faults are told."""

import math

import pytest

from multicopy_refinement.errors import InputError
from multicopy_refinement.series.table import read_series


@pytest.fixture
def table(tmp_path):
    """A function that writes a table beside a model and two files of data."""
    for name in ("model.pdb", "a.mtz", "b.mtz"):
        (tmp_path / name).write_text("")

    def write(text: str, **given):
        path = tmp_path / "series.csv"
        path.write_text(text)
        return read_series(path, tmp_path / "model.pdb", **given)

    return write


def test_variable_names_and_paths(table, tmp_path):
    found = table("name,data,Time,free_label,#mine\ndark,a.mtz,,FREE,x\nlate,b.mtz,2.5,,\n",
                  reference="dark", common={"free_label": "R"})  # fmt: skip
    assert found.variable == "time"
    first, second = found.entries
    assert math.isnan(first.x)
    assert (second.name, second.x) == ("late", 2.5)
    assert first.job.data == tmp_path / "a.mtz"
    assert [one.job.free_label for one in found.entries] == ["FREE", "R"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,data\na,a.mtz\nb,b.mtz\n", "one column has to be time"),
        ("name,data,time,dose\na,a.mtz,1,2\nb,b.mtz,1,2\n", "not time and dose"),
        ("name,time\na,1\nb,2\n", "no column 'data'"),
        ("name,data,time\na,a.mtz,1\na,b.mtz,2\n", "row 3: the name 'a' is there already (row 2)"),
        ("name,data,time\na,a.mtz,1\nb,c.mtz,2\n", "c.mtz: no such file"),
        ("name,data,time\na,a.mtz,1\nb,b.mtz,soon\n", "row 3: time has to be a number, not 'soon'"),
        ("name,data,time\na,a.mtz,1\nb,b.mtz,\n", "row 3: time has to be a number, not ''"),
        ("name,data,time\na,a.mtz,1\nb,b.mtz,nan\n", "not 'nan'"),
        ("name,data,temperature\na,a.mtz,100\nb,b.mtz,-3\n", "temperature is in kelvin"),
        ("name,data,time\na,a.mtz,1\n", "2 data sets or more, not 1"),
        ("name,data,time,hold\na,a.mtz,1,A\nb,b.mtz,2,\n", "'hold' is none of a series"),
        ("name,data,time,d_min\na,a.mtz,1,x\nb,b.mtz,2,\n", "row 2: --d-min"),
        ("", "the first row has to name the columns: name, data, one of time|dose"),
    ],
)
def test_faults_are_one_line(table, text, said):
    with pytest.raises(InputError) as fault:
        table(text)
    assert said in str(fault.value)
    assert "\n" not in str(fault.value)
