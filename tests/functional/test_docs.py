"""Commands and Python of the documentation run as they stand, page by page."""

import re
import shlex
from pathlib import Path

import pytest

from multicopy_refinement.occupancy.rules import KINDS

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"```(python|console|toml)\n(.*?)```", re.DOTALL)
PAGES = sorted(p.name for p in DOCS.glob("*.md") if BLOCK.search(p.read_text("utf-8")))
#: What the examples of a page print, among other things.
PRINTED = {
    "groups.md": ["held by --hold A/17/GLU", "fixed by sharing_rules[0]",
                  "['A/5/GLN:A', 'A/5/GLN:B']", "B shift", "atoms for each occupancy"],
    "how-to-ligand.md": ["log-likelihood gain"],
    "how-to-torch.md": ["OccupancyTensor("],
    "files.md": ["0."],
}  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")
def test_examples_run(page, own_files, command, capsys):
    text = (DOCS / page).read_text(encoding="utf-8")
    names: dict = {}
    for kind, block in BLOCK.findall(text):
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
    printed = capsys.readouterr().out
    for words in PRINTED.get(page, []):
        assert words in printed


def test_no_page_with_examples_is_forgotten():
    assert len(PAGES) >= 8
    assert {"groups.md", "tutorial.md", "how-to-ensemble.md", "how-to-torch.md"} <= set(PAGES)


def test_every_page_is_in_the_navigation():
    navigation = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    for page in DOCS.glob("*.md"):
        assert f": {page.name}" in navigation


def test_every_rule_is_in_the_table():
    text = (DOCS / "groups.md").read_text(encoding="utf-8")
    for key in (kind.KEY for kind in KINDS):
        assert re.search(rf"^\| `{key} = ", text, re.MULTILINE) or f'"{key}"' in text
