"""The README's Python runs as it stands."""

import re
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from multicopy_refinement import Model
from multicopy_refinement.simulate import simulate, write_simulated

README = Path(__file__).resolve().parents[2] / "README.md"


@pytest.fixture
def own_files(tmp_path, monkeypatch):
    """A folder with model.pdb and data.mtz, to run in."""
    demo = files("multicopy_refinement") / "demo"
    truth = Model(dtype_float=torch.float64).load(str(demo / "truth.pdb"))
    write_simulated(simulate(truth, 2.2, seed=1), truth, tmp_path / "data.mtz")
    (tmp_path / "model.pdb").write_text((demo / "start.pdb").read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_python_blocks_run_one_after_the_other(own_files, capsys):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    names: dict = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert "groups refined" in capsys.readouterr().out
    assert (own_files / "refined.cif").is_file()
    assert names["loss"].item() > 0


def test_commands_that_are_named_exist():
    text = README.read_text(encoding="utf-8")
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
