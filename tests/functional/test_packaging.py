"""What is shipped: package data, one version, and recipes that say what pyproject.toml says."""

import fnmatch
import re
import subprocess
import tomllib
from pathlib import Path

import yaml

import multicopy_refinement

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
VERSION = multicopy_refinement.__version__
#: Names of conda-forge that are not those of PyPI.
CONDA = {"torch": "pytorch"}


def _yaml(name):
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def _requirements(lines):
    """Return requirements as {name: condition}, without spaces."""
    found = (re.match(r"([A-Za-z0-9_.-]+)\s*(.*)", line) for line in lines)
    return {m[1].lower(): m[2].replace(" ", "") for m in found}


def test_every_file_of_the_package_is_shipped():
    package = ROOT / "src" / "multicopy_refinement"
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["multicopy_refinement"]
    others = [
        str(path.relative_to(package))
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc", ".nbi", ".nbc"}
    ]
    assert "report/templates/report.html.j2" in others
    assert [n for n in others if not any(fnmatch.fnmatch(n, p) for p in patterns)] == []
    assert all(any(fnmatch.fnmatch(n, p) for n in others) for p in patterns)
    folders = {path.parent for path in package.rglob("*.py")}
    assert all((folder / "__init__.py").is_file() for folder in folders)


def test_the_version_stands_in_one_place():
    assert PROJECT["project"]["dynamic"] == ["version"]
    source = PROJECT["tool"]["setuptools"]["dynamic"]["version"]["attr"]
    assert source == "multicopy_refinement.__version__"
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.?(a|b|rc|dev)\d+)?", VERSION)
    assert str(_yaml("CITATION.cff")["version"]) == VERSION
    assert _yaml("conda/recipe/recipe.yaml")["context"]["version"] == VERSION


def test_changelog_and_tag_agree_with_the_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings
    released = [h for h in headings if h != "Unreleased"]
    assert headings == [*(["Unreleased"] if "Unreleased" in headings else []), *released]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+\S* - \d{4}-\d{2}-\d{2}", h) for h in released)
    if headings[0] != "Unreleased":
        assert released[0].split()[0] == VERSION
    done = subprocess.run(
        ["git", "-C", ROOT, "tag", "--points-at", "HEAD"], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    for tag in done.stdout.split():
        assert tag == f"v{VERSION}"
        assert headings[0].startswith(f"{VERSION} - ")


def test_the_oldest_python_is_the_same_everywhere():
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert PROJECT["tool"]["mypy"]["python_version"] == oldest
    assert _yaml("conda/recipe/recipe.yaml")["context"]["python_min"] == oldest
    classifiers = PROJECT["project"]["classifiers"]
    known = [c.rpartition(" ")[2] for c in classifiers if re.search(r"Python :: 3\.\d+$", c)]
    assert known[0] == oldest
    assert known == [f"3.{minor}" for minor in range(11, 11 + len(known))]


def test_the_conda_recipe_has_the_requirements_of_the_project():
    recipe = _yaml("conda/recipe/recipe.yaml")
    ours = _requirements(PROJECT["project"]["dependencies"])
    theirs = _requirements(recipe["requirements"]["run"])
    assert theirs.pop("python") == ">=${{python_min}}"
    assert theirs == {CONDA.get(name, name): condition for name, condition in ours.items()}
    build = _requirements(PROJECT["build-system"]["requires"])
    host = _requirements(recipe["requirements"]["host"])
    assert build.items() <= host.items()
    (program,) = PROJECT["project"]["scripts"].items()
    assert recipe["build"]["python"]["entry_points"] == [" = ".join(program)]
    assert recipe["about"]["summary"] == PROJECT["project"]["description"]
    assert recipe["about"]["license"] == PROJECT["project"]["license"]
    assert (ROOT / recipe["about"]["license_file"]).is_file()
    folder = ROOT / "conda" / "recipe" / recipe["source"]["path"]
    assert folder.resolve() == ROOT


def test_all_requirements_have_a_tested_version():
    tested = _requirements((ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()[1:])
    extras = PROJECT["project"]["optional-dependencies"]["dev"]
    for line in [*PROJECT["project"]["dependencies"], *extras]:
        name = re.match(r"[A-Za-z0-9_.-]+", line)[0].lower().replace("_", "-")
        assert name in {known.replace("_", "-") for known in tested}, line


def test_the_citation_is_whole():
    cited = _yaml("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(cited)  # what the schema asks for
    assert cited["cff-version"] == "1.2.0"
    assert cited["license"] == PROJECT["project"]["license"]
    assert [a["name"] for a in cited["authors"]] == [
        a["name"] for a in PROJECT["project"]["authors"]
    ]
    assert cited["keywords"] == PROJECT["project"]["keywords"]
    for reference in cited["references"]:
        assert {"type", "title", "authors", "year", "doi"} <= set(reference)
        assert re.fullmatch(r"10\.\d{4,}/\S+", reference["doi"])
