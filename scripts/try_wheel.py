"""Build the wheel, install it into an empty environment, and refine the demo outside the checkout.

The environment borrows the libraries of the Python that runs this script, so that torch is not
installed twice; the package itself can only come from the wheel.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "multicopy_refinement"
#: What a build needs of the repository, as a tarball has it.
SOURCES = ("src", "pyproject.toml", "README.md", "LICENSE")
_JUNK = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.pyc", "*.nbi", "*.nbc")


def build(folder: Path) -> Path:
    """Return the wheel of a copy of the sources: nothing else of the checkout can enter it."""
    copy = folder / "source"
    copy.mkdir()
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=_JUNK)
        else:
            shutil.copyfile(source, copy / name)
    _run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, copy])
    (wheel,) = folder.glob("*.whl")
    return wheel


def missing_files(wheel: Path) -> list[str]:
    """Return the files of the package that the wheel lacks."""
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    package = ROOT / "src"
    wanted = (p for p in (package / PACKAGE).rglob("*") if p.is_file())
    names = {str(p.relative_to(package)) for p in wanted if "__pycache__" not in p.parts}
    return sorted(names - inside)


def install(wheel: Path, folder: Path) -> Path:
    """Return the folder of programs of an environment with the wheel and borrowed libraries."""
    target = folder / "environment"
    venv.create(target, with_pip=False)
    programs = target / ("Scripts" if os.name == "nt" else "bin")
    python = programs / "python"
    own = {"base": str(target), "platbase": str(target)}
    site = Path(sysconfig.get_path("purelib", "venv", vars=own))
    # a line of a .pth file is a place to look in; .pth files found there (editable installs of the
    # checkout) are not read
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    _run([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps",
          "--force-reinstall", wheel])  # fmt: skip
    return programs


def try_out(programs: Path, folder: Path) -> None:
    """Run the program from the wheel, far from the checkout."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    place = folder / "elsewhere"
    place.mkdir()

    def run(*words: str) -> str:
        return _run([programs / words[0], *words[1:]], cwd=place, env=environment)

    code = f"import {PACKAGE}; print({PACKAGE}.__file__)"
    found = Path(run("python", "-c", code).strip())
    if programs.parent not in found.parents:
        raise SystemExit(f"{found}: the package does not come from the wheel")
    run("multicopy-refine", "demo", "--out", "demo")
    (place / "demo" / "refined" / "report.html").unlink()
    run("multicopy-refine", "report", "demo/refined")
    run("multicopy-refine", "groups", "demo/start.pdb", "--format", "json", "-o", "groups.json")
    for name in ("demo/refined/report.html", "demo/refined/coot_groups.py", "groups.json"):
        if not (place / name).stat().st_size:
            raise SystemExit(f"{name} is empty")


def _run(line: list[object], **options: object) -> str:
    """Return what a command prints; its failure is ours."""
    done = subprocess.run(
        [str(word) for word in line], text=True, capture_output=True, check=False, **options
    )  # type: ignore[call-overload]
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, line))}\n{done.stdout}{done.stderr}")
    return str(done.stdout)


def main() -> None:
    """Build, look inside, install, run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="keep the wheel in this folder")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(folder)
        missing = missing_files(wheel)
        if missing:
            raise SystemExit(f"{wheel.name} lacks {', '.join(missing)}: see package-data")
        try_out(install(wheel, folder), folder)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(wheel, out / wheel.name)
        print(f"{wheel.name}: installed, refined the demo and reported on it outside the checkout")


if __name__ == "__main__":
    main()
