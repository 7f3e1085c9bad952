"""The command line with spoiled files: exit status 0 or 2, one line, nothing half-written."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzzing import EXAMPLES, in_time
from spoiled import spoiled

SEEDS = st.integers(0, 2**40)


def called(command, *arguments):
    with in_time():
        found = command(*arguments)
    assert found.status in (0, 2), found.err
    assert "Traceback" not in found.err
    assert "fault of the program" not in found.err
    if found.status == 2:
        assert len(found.err.strip().splitlines()) == 1
    return found


@pytest.mark.parametrize("name", ["model.pdb", "model.cif"])
def test_groups(command, whole, tmp_path, name):
    @given(SEEDS)
    def one(seed):
        (tmp_path / name).write_bytes(spoiled(whole[name], seed))
        called(command, "groups", tmp_path / name)

    one()


@pytest.mark.parametrize("bad", ["model.pdb", "2.5.mtz", "rules.toml"])
def test_refine(command, whole, tmp_path, bad):
    @settings(max_examples=max(EXAMPLES // 4, 5))
    @given(SEEDS)
    def one(seed):
        for name in ("model.pdb", "2.5.mtz", "rules.toml"):
            content = whole[name]
            (tmp_path / name).write_bytes(spoiled(content, seed) if name == bad else content)
        out = tmp_path / f"out-{seed:015d}"
        found = called(
            command, "refine", tmp_path / "model.pdb", tmp_path / "2.5.mtz", "--rules",
            tmp_path / "rules.toml", "--d-min", "3.5", "--max-cycles", "1", "--decoys", "0",
            "--uncertainty", "conditional", "--no-report", "--quiet", "--out", out,
        )  # fmt: skip
        assert (out / "result.json").exists() == (found.status == 0)
        if found.status == 2:
            assert not list(tmp_path.glob(f"*{seed:015d}*"))

    one()


@pytest.mark.parametrize("bad", ["result.json", "refined.mtz", "refined.cif"])
def test_report(command, finished, tmp_path, bad):
    whole = {path.name: path.read_bytes() for path in finished.iterdir() if path.is_file()}

    @settings(max_examples=max(EXAMPLES // 4, 5))
    @given(SEEDS)
    def one(seed):
        folder = tmp_path / f"run{seed}"
        folder.mkdir(exist_ok=True)
        for name, content in whole.items():
            (folder / name).write_bytes(spoiled(content, seed) if name == bad else content)
        called(command, "report", folder)

    one()
