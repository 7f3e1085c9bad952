"""Commands and Python of the documentation run as they stand, page by page."""

import importlib.util
import re
import shlex
from collections import Counter
from pathlib import Path

import pytest
import yaml
from latex2mathml.converter import convert

from multicopy_refinement.notices import HARMFUL
from multicopy_refinement.occupancy.rules import KINDS
from multicopy_refinement.refinement.found import Flag
from notice_codes import notice_codes

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


def _page(name):
    return (DOCS / name).read_text(encoding="utf-8")


def test_every_warning_has_a_row_that_says_what_to_do():
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", _page("warnings.md"), re.MULTILINE)
    listed = [code for codes, *_ in rows for code in re.findall(r"`(\w+)`", codes)]
    flags = {str(flag) for flag in Flag}
    assert Counter(listed) == Counter([*notice_codes(), *flags])  # undetermined is both
    bold = {code for codes, *_ in rows for code in re.findall(r"\*\*`(\w+)`\*\*", codes)}
    assert bold == set(HARMFUL)
    assert all(what.strip() and todo.strip() for _, what, todo in rows)


def test_the_reference_of_commands_is_that_of_the_program():
    script = DOCS.parent / "scripts" / "write_commands.py"
    spec = importlib.util.spec_from_file_location("write_commands", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.page() == _page("commands.md"), "run python scripts/write_commands.py"


def test_equations_can_be_read():
    """The pages' LaTeX is what the converter knows; what it does not know it leaves as text."""
    for page in DOCS.glob("*.md"):
        text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text("utf-8"), flags=re.DOTALL)
        for formula in re.findall(r"\$\$(.+?)\$\$|\$([^$\n]+)\$", text, re.DOTALL):
            mathml = convert("".join(formula).strip())
            assert "\\" not in mathml, (page.name, formula)


def test_citation_page_names_what_the_file_names():
    cited = yaml.safe_load((DOCS.parent / "CITATION.cff").read_text(encoding="utf-8"))
    page = _page("citation.md")
    assert f"multicopy_refinement {cited['version']}" in page
    for reference in cited["references"]:
        assert f"https://doi.org/{reference['doi']}" in page


def test_links_and_pictures_are_there():
    for page in [*DOCS.glob("*.md"), DOCS.parent / "README.md"]:
        text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if "://" not in target:
                assert (page.parent / target).exists(), (page.name, target)
