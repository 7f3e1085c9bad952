"""Templates of pages, and how pages write numbers and flags."""

from __future__ import annotations

import base64
import json
import math
import zlib
from functools import partial
from typing import TYPE_CHECKING

from multicopy_refinement.results.standing import standing
from multicopy_refinement.words import probability, with_su

if TYPE_CHECKING:
    from jinja2 import Template

#: Flags in words.
FLAGS = {
    "undetermined": "not determined by the data",
    "not_supported": "not supported by the data",
    "at_bound": "at a bound",
    "indistinguishable_from_0": "within 2 su of 0",
    "indistinguishable_from_1": "within 2 su of 1",
    "correlated_with_b": "correlated with B",
    "poor_fit": "fits worse than others",
    "held_off": "place or B off",
}


def template(name: str) -> Template:
    """Return a template of the package, with the filters that numbers need."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("multicopy_refinement.report"), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["number"] = _number
    environment.filters["with_su"] = with_su
    environment.filters["standing"] = standing
    environment.filters["probability"] = partial(probability, none="\u2013")
    return environment.get_template(name)


def deflated(content: bytes, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> str:
    """Return bytes as a page carries them: deflated, in base 64; ``inflate`` of the page reads it.

    >>> len(deflated(bytes(3000))) < 40
    True
    """
    packer = zlib.compressobj(9, strategy=strategy)
    return base64.b64encode(packer.compress(content) + packer.flush()).decode()


def carried(name: str, code: str) -> str:
    """Return the element in which a page carries a library, for ``library(name)`` of its script."""
    packed = deflated(code.encode())
    return f'<script type="application/octet-stream" id="library-{name}">{packed}</script>'


def as_json(content: object) -> str:
    """Return JSON that cannot end a script element."""
    return json.dumps(content, separators=(",", ":")).replace("</", "<\\/")


def _number(value: float | None, digits: int = 3) -> str:
    """Return a number, or a dash where there is none."""
    if value is None or math.isnan(value):
        return "\u2013"
    return f"{round(value, digits) + 0.0:.{digits}f}"  # no -0.0
