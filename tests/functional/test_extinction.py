"""Extinction by the command: what is printed and written, and what refuses it."""

import json

import gemmi
import numpy as np
import pytest

from multicopy_refinement.crystal import SpaceGroup
from multicopy_refinement.results.real_space import read_amplitudes


@pytest.fixture(scope="module")
def run(shared_data, tmp_path_factory, command):
    """The small molecule, refined with extinction."""
    out = tmp_path_factory.mktemp("extinction") / "out"
    folder = shared_data / "sh2185-cu"
    words = [
        "refine", folder / "model.cif", folder / "data.mtz", "--no-restraints", "--extinction",
    ]  # fmt: skip
    return out, words, command(*words, "--wavelength", "1.54184", "--out", out)


def test_it_is_printed_and_written(run):
    out, _, printed = run
    assert printed.status == 0, printed.err
    record = json.loads((out / "result.json").read_text())
    value, su = record["extinction"]["coefficient"], record["extinction"]["su"]
    assert 0.0015 < value < 0.0023
    assert 0.00008 < su < 0.0003
    assert "Extinction: coefficient 0.0018" in printed.out
    assert "extinction: coefficient 0.0018" in (out / "run.log").read_text()
    assert "Extinction as in SHELXL, coefficient 0.0018" in (out / "refined.cif").read_text()
    assert "As in SHELXL, coefficient 0.0018" in (out / "report.html").read_text()
    assert record["inputs"]["options"]["extinction"] is True


def test_what_was_compared_with_the_data_stands_beside_them(run):
    out, _, _ = run
    written = gemmi.read_mtz_file(str(out / "refined.mtz"))
    weaker, model = (np.array(written.column_with_label(n)) for n in ("FC_EXTINCT", "FC_ALL"))
    seen = np.isfinite(weaker)
    ratio = (weaker / model)[seen]
    assert 0.9 < ratio.min() < 0.97  # of the strongest
    assert np.argmin(ratio) in np.argsort(-model[seen])[:5]
    assert np.median(ratio) > 0.9995
    record = json.loads((out / "result.json").read_text())
    read = read_amplitudes(out / "refined.mtz", ("F", "FREE", 0), SpaceGroup("P 21 21 21"))
    work = ~read.free
    r_work = np.abs(read.f_obs - read.f_model)[work].sum() / read.f_obs[work].sum()
    assert r_work == pytest.approx(record["statistics"]["final"]["r_work"], abs=1e-3)


def test_what_it_does_not_go_with_is_refused_in_a_line(run, command, tmp_path):
    out, words, _ = run
    other = tmp_path / "other"
    for asked, said in (
        ((*words, "--out", other), "give it with --wavelength"),
        ((*words, "--wavelength", "1.5", "--twin", "--out", other), "not refined with twin"),
        (("compare", out, out), "with extinction cannot be compared"),
    ):
        refused = command(*asked)
        assert refused.status == 2
        assert said in " ".join(refused.err.split())
        assert not other.exists()
