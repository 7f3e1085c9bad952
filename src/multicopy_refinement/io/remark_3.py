"""REMARK 3 of a PDB file: of this refinement, and below it what the input says of earlier ones."""

from __future__ import annotations

import re
import textwrap

from multicopy_refinement.io.facts import PROGRAM, RefinementFacts, is_ours

_TAG = b"REMARK   3"
#: Says where the lines of the input begin; they have a bar, so that no reader takes them for ours.
_OF_INPUT, _BAR = b"  OF THE INPUT, BY EARLIER PROGRAMS:", b"  | "
_WIDTH = 80
#: Records before the first remark; remarks follow in the order of their numbers.
_TITLE = (
    b"HEADER", b"OBSLTE", b"TITLE ", b"SPLIT ", b"CAVEAT", b"COMPND", b"SOURCE", b"KEYWDS",
    b"EXPDTA", b"NUMMDL", b"MDLTYP", b"AUTHOR", b"REVDAT", b"SPRSDE", b"JRNL  ",
)  # fmt: skip
_NUMBER = re.compile(rb"REMARK +(\d+)")
_PROGRAM_LINE = re.compile(rb"\s*PROGRAM\s*:(.*)")


def with_remark_3(content: bytes, facts: RefinementFacts) -> bytes:
    """Return the content of a PDB file with REMARK 3 of this refinement.

    What stood there of other programs is kept below, behind a bar; details of TLS groups, which
    the atoms still have, stay as they are. What stood there of this program is replaced.
    """
    end = b"\r\n" if b"\r\n" in content[:400] else b"\n"
    lines = content.split(b"\n")
    atoms = (i for i, line in enumerate(lines) if line.startswith((b"ATOM  ", b"HETATM")))
    header = lines[: next(atoms, len(lines))]
    there = [line.rstrip()[len(_TAG) :] for line in header if line.startswith(_TAG)]
    tls, others = _of_input(there)
    made = [text.encode("ascii", "replace") for text in _ours(facts)] + tls
    if others:
        made += [b"", _OF_INPUT, *others]
    written = [(_TAG + line).ljust(_WIDTH) + end.removesuffix(b"\n") for line in made]
    place = _place(header)
    kept = [line for line in header[place:] if not line.startswith(_TAG)]
    return b"\n".join([*header[:place], *written, *kept, *lines[len(header) :]])


def _place(header: list[bytes]) -> int:
    """Return where REMARK 3 stands, or has to stand."""
    for place, line in enumerate(header):
        if line.startswith(_TAG):
            return place
    for place, line in enumerate(header):
        number = _NUMBER.match(line)
        early = int(number[1]) < 3 if number else line.startswith(_TITLE)
        if not early:
            return place
    return len(header)


def _of_input(texts: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return the details of TLS, and all else that earlier programs said, behind a bar."""
    if _OF_INPUT in texts:  # a file of this program
        there = texts.index(_OF_INPUT) + 1
        tls, _ = _sections(texts[:there])
        return tls, texts[there:]
    tls, others = _sections(texts)
    named = [found[1].decode("latin-1") for text in texts if (found := _PROGRAM_LINE.match(text))]
    if any(is_ours(name) for name in named):
        return tls, []
    while others and not others[0].strip():
        del others[0]
    return tls, [line for text in others for line in _barred(text)]


def _sections(texts: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return the section TLS DETAILS if it has groups, and all other lines.

    Headings are indented by two.
    """
    tls: list[bytes] = []
    others: list[bytes] = []
    inside = False
    for text in texts:
        if text[:2] == b"  " and text[2:3].strip():
            inside = text.strip().startswith(b"TLS DETAILS")
        (tls if inside else others).append(text)
    if not any(b"TLS GROUP :" in text for text in tls):
        return [], texts
    while not tls[-1].strip():
        del tls[-1]
    return [b"", *tls], others


def _barred(text: bytes) -> list[bytes]:
    """Return a line behind a bar, as two where it becomes too long."""
    room = _WIDTH - len(_TAG) - len(_BAR)
    text = text.removeprefix(b" ")
    if len(text) <= room:
        return [(_BAR + text).rstrip()]
    cut = max(text.rfind(b" ", 0, room), 0) or room
    return [(_BAR + text[:cut]).rstrip(), _BAR + b"  " + text[cut:].strip()]


def _ours(facts: RefinementFacts) -> list[str]:
    """Return the lines of this refinement, as the wwPDB format 3.3 names the values."""
    free = facts.r_free is not None
    none = "NULL"
    return [
        "",
        " REFINEMENT.",
        f"   PROGRAM     : {PROGRAM.upper()} {facts.version}",
        f"   AUTHORS     : {none}",
        "",
        f"    REFINEMENT TARGET : {facts.target}",
        "",
        "  DATA USED IN REFINEMENT.",
        f"   RESOLUTION RANGE HIGH (ANGSTROMS) : {facts.d_min:.2f}",
        f"   RESOLUTION RANGE LOW  (ANGSTROMS) : {facts.d_max:.2f}",
        "   DATA CUTOFF            (SIGMA(F)) : NONE",
        f"   COMPLETENESS FOR RANGE        (%) : {facts.completeness:.1f}",
        f"   NUMBER OF REFLECTIONS             : {facts.n_used}",
        "",
        "  FIT TO DATA USED IN REFINEMENT.",
        f"   CROSS-VALIDATION METHOD          : {'THROUGHOUT' if free else 'NONE'}",
        f"   FREE R VALUE TEST SET SELECTION  : {none}",
        f"   R VALUE     (WORKING + TEST SET) : {facts.r_all:.4f}",
        f"   R VALUE            (WORKING SET) : {facts.r_work:.4f}",
        f"   FREE R VALUE                     : {_number(facts.r_free, 4)}",
        f"   FREE R VALUE TEST SET SIZE   (%) : {f'{facts.free_percent:.2f}' if free else none}",
        f"   FREE R VALUE TEST SET COUNT      : {facts.n_free if free else none}",
        "",
        "  B VALUES.",
        f"   FROM WILSON PLOT           (A**2) : {none}",
        f"   MEAN B VALUE      (OVERALL, A**2) : {facts.b_mean:.2f}",
        "   OVERALL ANISOTROPIC B VALUE.",
        *(
            f"    B{ij} (A**2) : {value:.2f}"
            for ij, value in zip((11, 22, 33, 12, 13, 23), facts.b_scale, strict=True)
        ),
        "",
        "  ESTIMATED COORDINATE ERROR.",
        f"   DPI (CRUICKSHANK) BASED ON FREE R VALUE  (A) : {_number(facts.dpi_free, 3)}",
        "",
        "  BULK SOLVENT MODELLING.",
        "   METHOD USED : MASK",
        "   PARAMETERS FOR MASK CALCULATION",
        f"   SHRINKAGE RADIUS   : {facts.shrink:.2f}",
        f"   KSOL        : {facts.k_sol:.3f}",
        f"   BSOL        : {facts.b_sol:.1f}",
        "",
        "  OTHER REFINEMENT REMARKS:",
        *(
            f"   {line}"
            for sentence in said(facts)
            for line in textwrap.wrap(sentence.upper(), _WIDTH - len(_TAG) - 4)
        ),
    ]


def said(facts: RefinementFacts) -> list[str]:
    """Return what a refinement is described by in sentences, for both formats."""
    left_out = f"Reflections left out as outliers: {facts.n_outliers}."
    free = "There is no free set." if facts.free_set is None else f"Free set: {facts.free_set}."
    return [*facts.refined, left_out, free]


def _number(value: float | None, digits: int) -> str:
    return "NULL" if value is None else f"{value:.{digits}f}"
