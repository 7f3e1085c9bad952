"""Every reader, with spoiled files: a result, or one line that says what is wrong."""

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo_data import DEMO
from fuzzing import in_time
from multicopy_refinement import Model, read_reflections
from multicopy_refinement.campaign.table import data_sets, read_table
from multicopy_refinement.errors import InputError
from multicopy_refinement.geometry import Geometry
from multicopy_refinement.occupancy.exchange import read_rules
from spoiled import spoiled

SEEDS = st.integers(0, 2**40)


def check_line(fault):
    """Check that a fault is one line."""
    text = str(fault)
    assert text.strip()
    assert "\n" not in text.strip()
    assert len(text) < 2000


def read(reader, path, content):
    """Return what a reader makes of a content, None where it refuses it in one line."""
    path.write_bytes(content)
    with in_time():
        try:
            return reader(path)
        except InputError as fault:
            check_line(fault)
            return None


@pytest.mark.parametrize("name", ["model.pdb", "model.cif"])
def test_models(whole, tmp_path, name):
    @given(SEEDS)
    def one(seed):
        content = spoiled(whole[name], seed)
        model = read(Model, tmp_path / name, content)
        if model is None:
            return
        table = model.table
        assert np.isfinite(table.xyz).all()
        q = model.group_occupancies()
        assert ((q >= 0) & (q <= 1)).all()
        out = tmp_path / f"again{name[-4:]}"
        try:
            model.write(out)
        except InputError as fault:
            check_line(fault)
            return
        again = Model(out)
        assert len(again.table) == len(table)

    one()


def test_packed_models(whole, tmp_path):
    @given(SEEDS)
    def one(seed):
        packed = gzip.compress(whole["model.pdb"], mtime=0)
        read(Model, tmp_path / "model.pdb.gz", spoiled(packed, seed))

    one()


@pytest.mark.parametrize("name", ["data.mtz", "data.cif"])
def test_reflections(whole, tmp_path, name):
    @given(SEEDS)
    def one(seed):
        data = read(read_reflections, tmp_path / name, spoiled(whole[name], seed))
        if data is None:
            return
        assert np.isfinite(data.f_obs).all()
        assert (data.sigma > 0).all()
        assert len(np.unique(data.hkl, axis=0)) == len(data)

    one()


@pytest.mark.parametrize("name", ["rules.toml", "phenix.txt", "refmac.txt", "shelx.txt"])
def test_rules(whole, tmp_path, name):
    table = Model(DEMO / "start.pdb").table

    @given(SEEDS)
    def one(seed):
        rules = read(lambda p: read_rules(p, table), tmp_path / name, spoiled(whole[name], seed))
        if rules is not None:
            model = Model(DEMO / "start.pdb")
            try:
                model.regroup(rules=rules)
            except InputError as fault:
                check_line(fault)

    one()


def test_dictionaries(whole, tmp_path):
    model = Model(DEMO / "start.pdb")
    path = tmp_path / "dictionary.cif"

    @given(SEEDS)
    def one(seed):
        made = read(
            lambda p: Geometry.of(model, restraints=p), path, spoiled(whole[path.name], seed)
        )
        if made is not None:
            assert np.isfinite(made.residuals(made.state(model))).all()

    one()


def test_tables_of_campaigns(whole, tmp_path):
    for name in ("start.pdb", "2.5.mtz"):
        (tmp_path / name).write_bytes(b"")

    @given(SEEDS)
    def one(seed):
        def reader(path):
            columns, rows = read_table(path)
            return data_sets(path, columns, rows, folder=tmp_path)

        read(reader, tmp_path / "table.csv", spoiled(whole["table.csv"], seed))

    one()
