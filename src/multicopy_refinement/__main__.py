"""``python -m multicopy_refinement``: the command line."""

from multicopy_refinement.cli.main import console

console()
