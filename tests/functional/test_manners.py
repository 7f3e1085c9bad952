"""How the command line takes what people write, and what it shows while they wait."""

import gzip
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import gemmi
import pytest
import typer

from multicopy_refinement.cli import hints
from multicopy_refinement.cli.examples import EXAMPLES
from multicopy_refinement.cli.inputs import Holds, holds, model_and_data
from multicopy_refinement.cli.main import app
from multicopy_refinement.errors import InputError
from multicopy_refinement.results.record import read_record
from multicopy_refinement.results.tables import ligand_table, summary_tables

COMMANDS = typer.main.get_command(app).commands
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


# ---------------------------------------------------------------------- help


def test_no_words_are_one_line(command):
    called = command()
    assert (called.status, called.out) == (2, "")
    assert called.err.splitlines() == [
        "multicopy-refine: no command and no files; write multicopy-refine MODEL DATA to refine "
        "(see multicopy-refine --help)"
    ]


@pytest.mark.parametrize("name", [None, *COMMANDS])
@pytest.mark.parametrize("width", [80, 120])
def test_help_ends_with_an_example_and_where_to_read_on(name, width, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    out = command(*([] if name is None else [name]), "--help").out
    lines = [line.rstrip() for line in out.splitlines()]
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)
    example = next(i for i, line in enumerate(lines) if re.fullmatch(r" Examples?:", line))
    assert lines[example + 1].startswith(f"   multicopy-refine {name or ''}")
    last = [line for line in lines if line][-1]
    assert last.startswith(" Documentation: docs/commands.md")


@pytest.mark.parametrize("name", COMMANDS)
def test_options_are_told_in_sentences(name):
    for parameter in COMMANDS[name].params:
        assert re.fullmatch(r"[A-Z].*\.", parameter.help), parameter.name


def test_examples_are_command_lines_that_run(command, own_files):
    for name, examples in EXAMPLES.items():
        for line, _ in examples:
            program, *words = shlex.split(line)
            assert (program, words[0]) == ("multicopy-refine", name)
    order = ["check", "groups", "refine", "report", "compare", "simulate"]
    for line, _ in (example for name in order for example in EXAMPLES[name]):
        called = command(*shlex.split(line)[1:])
        assert called.status == 0, called
    assert {"refined", "hit", "simulated.mtz"} < {path.name for path in own_files.iterdir()}


def test_short_options(command, own_files):
    called = command("refine", "model.pdb", "data.mtz", "-q", "-o", "here", "--no-report")
    assert (called.status, called.out, called.err) == (0, "", "")
    assert (own_files / "here" / "result.json").is_file()
    assert command("-V").out == command("--version").out
    assert command("-V").out.startswith("multicopy-refine 0.")
    assert command("groups", "model.pdb", "-o", "groups.txt").status == 0
    assert (own_files / "groups.txt").is_file()
    assert command("simulate", "model.pdb", "--d-min", "5", "-o", "new.mtz").status == 0


def test_completion_is_offered():
    environment = {**os.environ, "_MULTICOPY_REFINE_COMPLETE": "complete_bash",
                   "COMP_WORDS": "multicopy-refine re", "COMP_CWORD": "1"}  # fmt: skip
    line = [sys.executable, "-m", "multicopy_refinement"]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["refine", "report"]
    environment |= {"COMP_WORDS": "multicopy-refine refine --d", "COMP_CWORD": "2"}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["--d-min", "--decoys"]


# ---------------------------------------------------------------------- files


def test_files_alone_in_either_order_are_refined(command, own_files):
    called = command("data.mtz", "model.pdb", "-o", "one", "-q", "--no-report")
    assert (called.status, called.out, called.err) == (0, "", "")
    called = command("-o", "two", "-q", "model.pdb", "data.mtz", "--no-report")
    assert (called.status, called.out, called.err) == (0, "", "")
    one, two = (read_record(own_files / name / "result.json") for name in ("one", "two"))
    assert (one.inputs.model, one.inputs.data) == ("model.pdb", "data.mtz")
    assert one.groups == two.groups
    expected = command("check", "model.pdb", "data.mtz")
    assert command("check", "data.mtz", "model.pdb") == expected


@pytest.fixture
def files(demo, tmp_path):
    """A folder with models and data of all kinds, under names that say nothing."""
    model, data = demo / "start.pdb", demo / "2.5.mtz"
    document = gemmi.read_pdb(str(model)).make_mmcif_document()
    text = gemmi.MtzToCif().write_cif_to_string(gemmi.read_mtz_file(str(data)))
    contents = {
        "pdb": model.read_bytes(), "mtz": data.read_bytes(), "cif": document.as_string().encode(),
        "sf": text.encode(), "both": (document.as_string() + text).encode(), "text": b"notes\n",
    }  # fmt: skip
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
    return tmp_path


def test_files_are_told_apart_by_content(files):
    kinds = {"pdb": Holds.MODEL, "cif": Holds.MODEL, "mtz": Holds.DATA, "sf": Holds.DATA,
             "both": Holds.BOTH, "text": Holds.UNKNOWN}  # fmt: skip
    for name, kind in kinds.items():
        assert holds(files / name) is holds(files / f"{name}.gz") is kind
    (files / "damaged").write_bytes(gzip.compress(b"ATOM")[:-9])
    assert holds(files / "damaged") is holds(files / "nothing") is Holds.UNKNOWN


@pytest.mark.parametrize(
    ("model", "data"),
    [("pdb", "mtz"), ("pdb", "sf"), ("cif", "mtz"), ("cif", "sf.gz"), ("both", "mtz"),
     ("both", "sf"), ("pdb", "both"), ("text", "mtz"), ("pdb", "text")],
)  # fmt: skip
def test_the_order_is_free(files, model, data):
    expected = files / model, files / data
    assert model_and_data(*expected) == model_and_data(*expected[::-1]) == expected


@pytest.mark.parametrize("names", [("both", "both.gz"), ("text", "both"), ("text", "text.gz")])
def test_where_content_does_not_tell_the_order_counts(files, names):
    assert model_and_data(*(files / n for n in names)) == tuple(files / n for n in names)


@pytest.mark.parametrize(
    ("names", "says"),
    [(("pdb", "cif"), "name an MTZ or SF-mmCIF"), (("sf", "mtz"), "name a PDB or mmCIF model")],
)
def test_two_of_one_kind_are_one_line(files, names, says, command):
    with pytest.raises(InputError, match=says):
        model_and_data(*(files / name for name in names))
    called = command(*(files / name for name in names))
    assert (called.status, called.out, called.err.count("\n")) == (2, "", 1)


# ---------------------------------------------------------------------- hints


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("refine m d --resolution 2", "no option --resolution; use --d-min: leave out reflections"),
        ("refine m d -resolution 2", "no option -resolution; use --d-min"),
        ("refine m d --high 2", "use --d-min"),
        ("refine m d --dmin=2", "no option --dmin; use --d-min"),
        ("refine m d --d_min 2", "it is written --d-min"),
        ("refine --hklin d", "DATA is named without an option"),
        ("refine --xyzin m", "MODEL is named without an option"),
        ("refine m d --labin F,SIGF", "use --labels"),
        ("refine m d --free x", "use --free-label"),
        ("refine m d --ncyc 3", "use --max-cycles"),
        ("refine m d --output x", "use --out:"),
        ("groups m --out x", "use --output:"),
        ("refine m d --params x.eff", "use --rules"),
        ("refine m d --altloc A", "use --grouping"),
        ("refine m d --labls F,SIGF", "nearest: --labels"),
        ("refine m d --verbose", "every step is in run.log"),
        ("refine m d --frobnicate", "no option --frobnicate (see multicopy-refine refine --help)"),
        ("simulate m --resolution 2", "use --d-min: simulate to this resolution"),
        ("--resolution 2 m.pdb d.mtz", "use --d-min"),
        ("refine m.pdb", "Missing argument 'DATA'; write multicopy-refine refine MODEL DATA"),
        ("refine XYZIN m HKLIN d", "unexpected extra argument"),
        ("validate m", "no command 'validate'; nearest: check"),
        ("refin m d", "nearest: refine"),
        ("fly", "there are refine, groups"),
        ("none.pdb none.mtz", "none.pdb: no such file"),
    ],
)
def test_the_words_of_other_programs_are_understood(words, says, command):
    called = command(*words.split())
    assert (called.status, called.out) == (2, "")
    assert called.err.count("\n") == 1
    assert says in called.err


def test_hints_lead_to_what_is_there():
    flags = {flag for one in COMMANDS.values() for param in one.params for flag in param.opts}
    assert set(hints.OPTIONS) <= flags
    assert set(hints.COMMANDS) <= set(COMMANDS)
    for name, words in hints.OPTIONS.items():
        assert name[2:] not in words
        assert all(re.fullmatch("[a-z-]+", word) for word in words)


# ---------------------------------------------------------------------- progress and colour

SPY = """
import importlib.abc, sys
class Spy(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "torch":
            sys.stderr.write("<torch>")
        return None
sys.meta_path.insert(0, Spy())
from multicopy_refinement.cli.main import main
main()
"""


def _on_terminal(*words):
    """Return what a run writes to standard error, which is a terminal, and to standard output."""
    ours, theirs = pty.openpty()
    line = [sys.executable, "-c", SPY, *map(str, words)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    out = process.communicate()[0].decode()
    assert process.returncode == 0, shown
    return ESCAPE.sub("", shown.decode()), out


def test_steps_are_shown_on_a_terminal_from_the_first_on(demo, tmp_path):
    shown, out = _on_terminal(
        demo / "start.pdb", demo / "2.5.mtz", "--out", tmp_path / "out", "--no-report"
    )
    assert shown.index("starting") < shown.index("<torch>")
    steps = ("structure factors", "scale and solvent", "solving, cycle 1", "evidence", "files")
    # a step may pass between two pictures; their order holds
    places = [shown.index(step) for step in steps if step in shown]
    assert len(places) >= 2
    assert places == sorted(places)
    assert "starting" not in out
    assert "Results are in" in out
    assert "Results are in" not in shown


def test_nothing_is_shown_where_nobody_looks(demo, tmp_path):
    words = ("refine", demo / "start.pdb", demo / "2.5.mtz", "--no-report", "--out")
    line = [sys.executable, "-m", "multicopy_refinement", *map(str, words), str(tmp_path / "out")]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    shown, out = _on_terminal(*words, tmp_path / "quiet", "--quiet")
    assert (shown, out) == ("<torch>", "")


@pytest.fixture
def flagged(command, own_files):
    """The record of a run with flags of all colours."""
    assert command("refine", "model.pdb", "data.mtz", "--no-report", "-q").status == 0
    record = read_record(Path("refined/result.json"))
    marked = next(i for i, g in enumerate(record.groups) if g.refined)
    flags = ["not_supported", "at_bound", "indistinguishable_from_0"]
    group = record.groups[marked].model_copy(update={"flags": flags})
    groups = [*record.groups[:marked], group, *record.groups[marked + 1 :]]
    return record.model_copy(update={"groups": groups})


def test_flags_have_colours(flagged, monkeypatch):
    from rich.console import Console

    def printed():
        console = Console(force_terminal=True, color_system="standard", width=140)
        with console.capture() as text:
            for table in summary_tables(flagged, width=140):
                console.print(table)
        return text.get()

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[31mnot supported\x1b[0m" in printed()
    assert "\x1b[33mat bound\x1b[0m" in printed()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31m" not in printed()
    assert "not supported, at bound, indistinguishable from 0" in ESCAPE.sub("", printed())


def test_a_wide_terminal_has_the_evidence(flagged):
    def columns(table):
        return [" ".join(str(column.header).split()) for column in table.columns]

    for narrow, wide in (
        (summary_tables(flagged, width=80)[1], summary_tables(flagged, width=120)[1]),
        (ligand_table(flagged, width=80), ligand_table(flagged, width=120)),
    ):
        assert set(columns(wide)) - set(columns(narrow)) == {"ΔlogL"}
        at, name = columns(wide).index("ΔlogL"), next(iter(wide.columns[0].cells))
        known = {one.name: one for one in (*flagged.groups, *flagged.ligands)}
        one = known.get(name, flagged.ligands[0])
        assert next(iter(wide.columns[at].cells)) == f"{one.delta_log_likelihood:.1f}"
    tied = flagged.groups[-1].model_copy(update={"set": "site", "refined": True})
    tied = flagged.model_copy(update={"groups": [*flagged.groups[:-1], tied]})
    assert "set" in columns(summary_tables(tied, width=120)[1])
