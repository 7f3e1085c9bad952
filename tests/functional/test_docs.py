"""Commands and Python of the documentation run as they stand, one after the other."""

import re
import shlex
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"```(python|console|toml)\n(.*?)```", re.DOTALL)
PAGES = ["groups.md"]


@pytest.mark.parametrize("page", PAGES)
def test_examples_run(page, own_files, command, capsys):
    text = (DOCS / page).read_text(encoding="utf-8")
    names: dict = {}
    counts = dict.fromkeys(("python", "console", "toml"), 0)
    for kind, block in BLOCK.findall(text):
        counts[kind] += 1
        if kind == "toml":
            (own_files / "groups.toml").write_text(block)
        elif kind == "python":
            exec(compile(block, page, "exec"), names)
        else:
            for line in block.splitlines():
                program, *arguments = shlex.split(line.removeprefix("$ "))
                assert program == "multicopy-refine"
                called = command(*arguments)
                assert called.status == 0, called.err
    assert min(counts.values()) > 0
    printed = capsys.readouterr().out
    assert "fixed by sharing_rules[0]" in printed
    assert "['A/5/GLN:A', 'A/5/GLN:B']" in printed
    assert "B shift" in printed
    assert "atoms for each occupancy" in printed
    assert (own_files / "ruled" / "result.json").is_file()


def test_every_page_with_examples_is_run():
    with_python = [p.name for p in DOCS.glob("*.md") if "```python" in p.read_text("utf-8")]
    assert with_python == PAGES


def test_every_rule_is_in_the_table():
    from multicopy_refinement.atoms.rule_models import _BY_KEY

    text = (DOCS / "groups.md").read_text(encoding="utf-8")
    for key in _BY_KEY:
        assert re.search(rf"^\| `{key} = ", text, re.MULTILINE) or f'"{key}"' in text
