"""The end of each command's help: an example, and where to read on."""

from __future__ import annotations

#: Where the documentation is.
DOCUMENTATION = "docs/commands.md in the source (make docs builds the pages)"
#: A command line of each command, and what it does.
EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "refine": (
        (
            "multicopy-refine refine model.pdb data.mtz -o refined",
            "Refine what is not at 1, and all alternative conformations.",
        ),
        (
            "multicopy-refine refine model.pdb data.mtz --ligands -o hit",
            "Refine ligands that stand at 1, too.",
        ),
    ),
    "groups": (
        (
            "multicopy-refine groups model.pdb --grouping connected",
            "Show what would be refined, with fewer parameters.",
        ),
    ),
    "check": (
        (
            "multicopy-refine check model.pdb data.mtz --fix mended.pdb",
            "See what is wrong, and mend it.",
        ),
    ),
    "compare": (
        ("multicopy-refine compare refined hit model.pdb", "See which of them the data prefer."),
    ),
    "prune": (
        (
            "multicopy-refine prune refined --protect ligands -o pruned",
            "Take out what the data do not ask for, ligands apart.",
        ),
    ),
    "merge": (("multicopy-refine merge refined -o merged", "Make conformers one that are."),),
    "report": (("multicopy-refine report refined", "Make the page again."),),
    "simulate": (
        (
            "multicopy-refine simulate model.pdb --d-min 2 -o simulated.mtz",
            "Make data of known truth.",
        ),
    ),
    "campaign": (
        (
            "multicopy-refine campaign screen.csv --ligands -o screen",
            "Refine the data sets of a table, with all their ligands.",
        ),
        (
            "multicopy-refine campaign --find '*/refine.pdb' --data '*.free.mtz' -o screen",
            "Refine what folders hold.",
        ),
        (
            "multicopy-refine campaign screen.csv -o screen --resume",
            "Go on with what is missing or changed.",
        ),
    ),
    "series": (
        (
            "multicopy-refine series states.pdb times.csv --state B --reference dark -o series",
            "Refine the fraction of the conformers B in each data set.",
        ),
        (
            "multicopy-refine series bound.pdb titration.csv --state A/301/LIG -o titration",
            "Refine how much of a ligand is bound at each concentration.",
        ),
    ),
    "demo": (("multicopy-refine demo -o demo", "See a refinement beside the truth."),),
}
_START = (
    ("multicopy-refine model.pdb data.mtz", "Refine: the command may be left out."),
    ("multicopy-refine demo", "Try it without files of your own."),
)


def ending(command: str | None = None) -> str:
    """Return the end of the help of a command, or of the program, in rich's markup."""
    examples = _START if command is None else EXAMPLES[command]
    title = "Example" if len(examples) == 1 else "Examples"
    lines = [f"  [bold]{line}[/]\n    {what}" for line, what in examples]
    return "\n".join([f"{title}:", *lines, f"\nDocumentation: {DOCUMENTATION}"])
